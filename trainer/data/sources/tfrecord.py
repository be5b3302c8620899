"""`kind: tfrecord`: shards of tf.train.Example with encoded images, read in any order.

One pass finds where every image lies; from then on an image is one read at its place. The pass
steps over the images, so that it costs by the record and not by the byte. No index is kept on disk:
100,000 records take 1.5 s on one core, 3.7 s with eight more features in each.
"""

import glob
import itertools
import mmap
import os
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainer import terminal
from trainer.config.data import Tfrecord
from trainer.data import records
from trainer.data.arrays import named
from trainer.data.examples import SIDES, Examples, multi_hot, renamed, side_of, stamp
from trainer.errors import UserError

WHERE = "data.source"
NO_SHARDS = {".json", ".txt", ".csv", ".md", ".pbtxt", ".idx", ".index"}


class Records(NamedTuple):
    """Encoded images inside of shards; called after shard and record: `a.tfrecord#17`.

    A shard is opened for every read: that takes 10 µs where decoding takes milliseconds, and a
    thousand shards held open would be more files than a process may have.
    """

    root: str
    shards: Sequence[str]  # S paths below the root
    ends: np.ndarray  # int64 [S], the records of a shard and of those before it
    starts: np.ndarray  # int64 [N], of the image in its shard, in bytes
    sizes: np.ndarray  # int64 [N], in bytes; 0 where a record has no image

    def _find(self, index: int) -> tuple[str, int]:
        """The shard, and the number of the record in it."""
        shard = int(np.searchsorted(self.ends, index, "right"))
        return self.shards[shard], int(index - (self.ends[shard - 1] if shard else 0))

    def _path(self, index: int) -> str:
        return os.path.join(self.root, self._find(index)[0])  # noqa: PTH118 (called often)

    def __len__(self) -> int:
        return len(self.starts)

    def name(self, index: int) -> str:
        """The shard's path below the root, and the number of the record."""
        shard, number = self._find(index)
        return f"{shard}#{number}"

    def place(self, index: int) -> str:
        """The shard's path, and the number of the record."""
        return os.path.join(self.root, self.name(index))  # noqa: PTH118

    def content(self, index: int) -> bytes:
        """The bytes of the image. Raises OSError or ValueError."""
        size = int(self.sizes[index])
        if not size:
            raise ValueError("the record has no image")
        with open(self._path(index), "rb", buffering=0) as file:  # noqa: PTH123
            file.seek(int(self.starts[index]))
            content = file.read(size)
        if len(content) < size:
            raise ValueError("the shard has become shorter")
        return content

    def stamp(self, index: int) -> tuple[int, int]:
        """Size of the image and time of change of its shard."""
        return int(self.sizes[index]), stamp(self._path(index))[1]


class Index(NamedTuple):
    """What the pass over the shards gathers."""

    ends: array
    starts: array
    sizes: array
    rows: array  # the record of each label
    labels: array  # numbers, or the places of texts in `names`
    names: dict[str, int]  # labels that are texts, as met
    texts: dict[int, str]  # beside each number; empty if it is not always the same
    kinds: set[str]  # of the labels: number, text


def read(source: Tfrecord) -> Examples:
    """The records of all shards in the order of their paths; train, validation and test as words in
    these are the sides.

    Labels are numbers or texts. Numbers are named by `classes`, else by the texts beside them
    (image/class/text beside image/class/label), else by themselves. If a record has several, the
    examples are multi-label; else those without a label, or with -1, are left out.

    Raises: UserError for missing, compressed or damaged shards, and for features that are missing
        or of another kind.
    """
    root, shards = _shards(Path(source.path).expanduser())
    return indexed(source, root, shards)


def indexed(source: Tfrecord, root: Path, shards: Sequence[str]) -> Examples:
    """The records of these shards, given by their paths below the root. Raises UserError."""
    index = Index(array("q"), array("q"), array("q"), array("q"), array("q"), {}, {}, set())
    for shard in shards:
        _gather(source, root / shard, index)
    if not index.starts:
        raise UserError(f"{WHERE}.path", f"no records in {source.path}", "is it the right place?")
    ends, starts, sizes, rows, labels = (np.array(each, np.int64) for each in index[:5])
    pictures = Records(str(root), tuple(shards), ends, starts, sizes)
    sides = _sides(shards, np.diff(ends, prepend=0))
    rows, labels = rows[labels >= 0], labels[labels >= 0]
    indices, classes = _named(source, index, labels)
    if len(np.unique(rows)) < len(rows):
        hot = multi_hot(rows, indices, (len(pictures), len(classes)))
        return Examples(pictures, hot, classes, sides)
    without = len(pictures) - len(rows)
    if not without:
        return Examples(pictures, indices, classes, sides)
    first = pictures.place(int(np.setdiff1d(np.arange(len(pictures)), rows)[0]))
    terminal.warn(f"{without} records without a label are left out, such as {first}")
    whole = np.zeros(len(pictures), np.int32)
    whole[rows] = indices
    return Examples(pictures, whole, classes, sides).take(rows)


def _shards(path: Path) -> tuple[Path, list[str]]:
    """The folder that all shards lie below, and their paths below it, sorted."""
    if path.is_dir():
        found = [each for each in path.rglob("*") if "tfrec" in each.name.lower()]
        found = [each for each in found if each.suffix.lower() not in NO_SHARDS]
    elif path.is_file():
        found = [path]
    else:  # Path.glob takes no absolute patterns
        found = [Path(each) for each in glob.glob(str(path), recursive=True)]  # noqa: PTH207
    found = [each for each in found if each.is_file() and not each.name.startswith(".")]
    if not found:
        what = f"no files called *.tfrecord in {path}" if path.is_dir() else f"no such file: {path}"
        hint = f"the path is relative to the working directory, {Path.cwd()}"
        raise UserError(f"{WHERE}.path", what, hint)
    root = path if path.is_dir() else path.parent if path.is_file() else _fixed(path)
    return root, sorted(each.relative_to(root).as_posix() for each in found)


def _fixed(pattern: Path) -> Path:
    """The folders of a pattern before its first wildcard: what is found cannot move them, so the
    names of records stay when shards are added."""
    return Path(*itertools.takewhile(lambda part: not glob.has_magic(part), pattern.parts))


def _gather(source: Tfrecord, path: Path, index: Index) -> None:
    """Adds the records of a shard to the index."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size:  # an empty file cannot be mapped
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    for record in records.records(data):
                        _add(source, path, data, record, index)
    except OSError as error:
        raise UserError(f"{WHERE}.path", f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        packed = "compressed" in str(error)
        hint = "write it without compression" if packed else "fetch or write it again"
        raise UserError(f"{WHERE}.path", f"{path} {error}", hint) from None
    index.ends.append(len(index.starts))


def _add(source: Tfrecord, path: Path, data: mmap.mmap, record: records.Span, index: Index) -> None:
    """Adds a record to the index. Raises UserError if the first lacks what all should have."""
    found = records.features(data, record)
    row = len(index.starts)
    if not row:
        _demand(source, path, data, found)
    images, _ = records.values(data, found.get(source.image, (0, 0)))
    start, end = images[0] if images else (0, 0)
    index.starts.append(start)
    index.sizes.append(end - start)
    _add_labels(source.label, data, found, row, index)


def _add_labels(
    label: str, data: mmap.mmap, found: Mapping[str, records.Span], row: int, index: Index
) -> None:
    """Adds the labels of a record, and the texts beside them."""
    spans, numbers = records.values(data, found.get(label, (0, 0)))
    names = [_text(data, span) for span in spans]
    labels = numbers or [index.names.setdefault(name, len(index.names)) for name in names]
    if labels:
        index.kinds.add("numbers" if numbers else "texts")
    for number in dict.fromkeys(labels):
        index.rows.append(row)
        index.labels.append(number)
    spans, _ = records.values(data, found.get(_beside(label), (0, 0)))
    texts = [_text(data, span) for span in spans]
    for at, number in enumerate(numbers):
        text = texts[at] if len(texts) == len(numbers) else ""
        if index.texts.setdefault(number, text) != text:
            index.texts[number] = ""


def _demand(
    source: Tfrecord, path: Path, data: mmap.mmap, found: Mapping[str, records.Span]
) -> None:
    """Raises UserError if the first record has no image, or its label is of another kind."""
    for key, name in (("image", source.image), ("label", source.label)):
        if name not in found:
            problem = f"the first record of {path} has no feature '{name}'"
            hint = f"it has {', '.join(sorted(found)) or 'none'}; name one: {key}: …"
            raise UserError(f"{WHERE}.{key}", problem, hint)
    if len(records.values(data, found[source.image])[0]) != 1:
        problem = f"the feature '{source.image}' of the first record of {path} is no file's content"
        raise UserError(f"{WHERE}.image", problem, "expected one text of bytes, such as a JPEG's")
    if records.floats(data, found[source.label]):
        problem = f"the feature '{source.label}' of the first record of {path} holds floats"
        raise UserError(f"{WHERE}.label", problem, "expected whole numbers or texts")


def _named(
    source: Tfrecord, index: Index, labels: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """int32 class indices of the labels, and the names."""
    if len(index.kinds) > 1:
        problem = f"the feature '{source.label}' holds numbers in some records and texts in others"
        raise UserError(f"{WHERE}.label", problem, "write the shards again with one of them")
    if "texts" in index.kinds:
        if source.classes:
            problem = f"'{source.label}' holds texts already, such as {min(index.names)}"
            raise UserError(f"{WHERE}.classes", problem, "remove classes")
        return named(labels, tuple(index.names), source.path)
    present, places = np.unique(labels, return_inverse=True)
    texts = [index.texts[number] for number in present.tolist()]
    if source.classes or not all(texts) or len(set(texts)) < max(2, len(texts)):
        return named(labels, source.classes, source.path)
    return renamed(places.astype(np.int32), texts)


def _sides(shards: Sequence[str], counts: np.ndarray) -> np.ndarray | None:
    """int8 [N], or None if all are of one side; shards that do not say are for training."""
    sides = [SIDES.index(side_of(shard) or SIDES[0]) for shard in shards]
    return np.repeat(np.array(sides, np.int8), counts) if len(set(sides)) > 1 else None


def _beside(label: str) -> str:
    """The feature with the text of a label."""
    return f"{label.removesuffix('/label')}/text" if label.endswith("/label") else ""


def _text(data: mmap.mmap, span: records.Span) -> str:
    return data[span[0] : span[1]].decode("utf-8", "replace")
