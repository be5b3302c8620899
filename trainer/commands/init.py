"""`trainer init`: looks at pictures and writes a config that fits them."""

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer import files
from trainer.config import tree
from trainer.config.draft import draft
from trainer.data.examples import Examples, demand_names
from trainer.data.facts import look
from trainer.data.recognise import FOLDER, recognise
from trainer.errors import UserError
from trainer.parts import part
from trainer.terminal import say


def run(path: str, out: Path | None) -> None:
    """Writes the YAML file and says what was seen.

    Args:
        out: the file; `<name>.yaml` in the working directory if None, the name being that of the
            folder with the pictures.

    Raises: UserErrors, also when the file is there already.
    """
    name = named(path)
    target = out or Path(f"{name}.yaml")
    _demand_new(target, out)
    with _about_the_folder():
        source = recognise(path)
        examples = part("data.sources", source.kind).read(source)
        demand_names(examples.classes)
        _demand_pairs(examples)
        facts = look(name, source.model_dump(exclude_unset=True, mode="json"), examples)
    files.write_text(target, draft(facts, shlex.quote(str(target))))
    say(f"source   {tree.line(facts.source)}")
    what = "labels, of which a picture may have several" if facts.multi_label else "classes"
    say(f"pictures {facts.pictures:,} with {len(facts.classes)} {what}")
    say(f"written  {target}")
    for verb in ("data inspect", "data preview", "fit"):
        say(f"next: trainer {verb} {shlex.quote(str(target))}")


def named(path: str) -> str:
    """The name of the folder, or of the one that a file lies in, as a config's name may be."""
    place = Path(path).expanduser()
    folder = place if place.is_dir() else place.parent
    folder = folder.resolve() if folder.name == ".." else folder.absolute()  # a link's own name
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", folder.name).strip("_.-")
    return name or "pictures"


def _demand_new(target: Path, out: Path | None) -> None:
    if not (target.exists() or target.is_symlink()):
        files.demand_writable(target, "--out")
        return
    hint = "remove it, or choose another place with --out"
    raise UserError("--out" if out else "", f"{target} is there already", hint)


def _demand_pairs(examples: Examples) -> None:
    """Raises UserError for a class that cannot be on both sides, training and validation."""
    counts = examples.counts()
    if examples.multi_label or examples.sides is not None or counts.min() > 1:
        return
    problem = f"class '{examples.classes[counts.argmin()]}' has one picture only"
    hint = "two are the least, to train and to validate: add pictures or remove the class"
    raise UserError(FOLDER, problem, hint)


@contextmanager
def _about_the_folder() -> Iterator[None]:
    """What a source finds wrong is said of the argument, for there is no config yet."""
    try:
        yield
    except UserError as error:
        if error.where.startswith("data.source"):
            raise UserError(FOLDER, error.problem, error.hint, error.place) from None
        raise
