"""Copies of pictures in a folder for each class."""

import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

from trainer import files
from trainer.commands._answers import Answer
from trainer.data import inputs
from trainer.data.decode import suffix
from trainer.data.sources.folder import SUFFIXES
from trainer.errors import UserError

NONE = "none"  # the folder of pictures without a label
LENGTH = 200  # bytes of a name; file systems end at 255

_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # on Windows


class Copies:
    """Copies pictures into `<folder>/<class>/`: never moves, never overwrites."""

    def __init__(self, folder: Path, labels: Sequence[str]) -> None:
        self._folder, self._names = folder, folders(labels)
        self._last: Counter[tuple[str, str]] = Counter()  # number of the last copy of that name
        self.made = 0

    def add(self, answer: Answer) -> None:
        """One copy in the folder of each of its labels, or in `none`. A name that is taken gets a
        number: `1.jpg`, `1-2.jpg`. Raises: UserError if it cannot be written."""
        name = file_name(answer)
        for label in answer.verdict.labels or (None,):
            folder = self._names[label]
            names = self._numbered(folder, name)
            with files.adding(self._folder / folder, names) as partial:
                _write(answer, partial)
            self.made += 1

    def _numbered(self, folder: str, name: str) -> Iterator[str]:
        """The name, then with numbers; from where the copies before have come to."""
        path = Path(name)
        for number in count(self._last[folder, name] + 1):
            self._last[folder, name] = number
            yield name if number == 1 else f"{path.stem}-{number}{path.suffix}"


def folders(labels: Sequence[str]) -> dict[str | None, str]:
    """Label -> the name of its folder, for any file system; different ones also where case does not
    count. None stands for no label."""
    found: dict[str | None, str] = {}
    taken: set[str] = set()
    for label in (*labels, None):
        plain = NONE if label is None else safe(label)
        names = (plain if number == 1 else f"{plain}-{number}" for number in count(1))
        found[label] = next(name for name in names if name.casefold() not in taken)
        taken.add(found[label].casefold())
    return found


def file_name(answer: Answer) -> str:
    """Of its copy: that of the file, of the frame, or the last part of the address."""
    if answer.original is None:
        return Path(answer.name).name
    address = answer.name.partition("?")[0] if inputs.is_address(answer.name) else answer.name
    name = safe(address.rstrip("/").rpartition("/")[2])
    return name if name.lower().endswith(SUFFIXES) else f"{name}{suffix(answer.original)}"


def safe(text: str) -> str:
    """A name that any file system takes."""
    plain = re.sub(r'[\x00-\x1f<>:"/\\|?*]', "_", text)
    plain = plain.encode("utf-8", "replace")[:LENGTH].decode("utf-8", "ignore").rstrip(". ")
    plain = f"_{plain[1:]}" if plain.startswith(".") else plain  # would be hidden
    return f"_{plain}" if _RESERVED.match(plain) else plain or "_"


def _write(answer: Answer, path: Path) -> None:
    if answer.original is not None:
        path.write_bytes(answer.original)
        return
    try:
        source = Path(answer.name).open("rb")  # noqa: SIM115 (errors of the copy are others)
    except OSError as error:
        raise UserError(answer.name, f"cannot be copied: {error.strerror}") from None
    with source, path.open("wb") as target:
        shutil.copyfileobj(source, target)
