"""What `evaluate` is asked about: a split of a run, or other pictures. Takes no TensorFlow, so that
mistakes are said at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainer import records
from trainer import run as runs
from trainer.config import Config
from trainer.config.data import Csv, Source
from trainer.config.load import load
from trainer.data import recognise
from trainer.data.examples import SIDES, Examples
from trainer.errors import UserError, suggestion
from trainer.parts import part

NAMED = 5  # unknown classes, each with what may be meant


class Given(NamedTuple):
    """Other pictures with the classes of a run."""

    path: str  # as typed
    source: Source
    examples: Examples

    @property
    def name(self) -> str:
        """For the folder of their evaluation."""
        return f"data_{Path(self.path).name or Path(self.path).resolve().name}"


def asked(
    this: runs.Run, overrides: Sequence[str] = (), split: str | None = None, data: str | None = None
) -> str | Given:
    """The name of a split that the run has, `test` if nothing is said, or the pictures of `data`.

    Raises: UserErrors.
    """
    if split is not None and split not in SIDES:
        raise UserError("--split", f"expected {', '.join(SIDES)}, received '{split}'")
    if split is not None and data is not None:
        raise UserError("--data", "are other pictures than those of --split", "leave one out")
    if data is not None:
        return _given(data, load(this.config, overrides), this)
    name = split or "test"
    if not records.read_data(this)["pictures"].get(name):
        hint = f"trainer evaluate {this.folder} --split validation"
        raise UserError(f"data.split.{name}", f"the run has no {name} split", hint)
    return name


def _given(path: str, config: Config, this: runs.Run) -> Given:
    """A table is read as that of the run, if it had one."""
    source, classes = config.data.source, records.read_classes(this)
    multi_label = records.read_data(this)["task"] == "multi_label"
    try:
        if isinstance(source, Csv) and Path(path).suffix.lower() in recognise.TABLES:
            source = source.model_copy(update={"path": path})
        else:
            source = recognise.recognise(path)
        examples: Examples = part("data.sources", source.kind).read(source)
    except UserError as error:
        raise UserError("--data", error.problem, error.hint, error.place) from None
    if examples.multi_label != multi_label:
        many = ["one label", "several labels"]
        here, there = many[examples.multi_label], many[multi_label]
        raise UserError("--data", f"its pictures have {here} each, those of the run {there}")
    return Given(path, source, _renumbered(examples, classes))


def _renumbered(examples: Examples, classes: tuple[str, ...]) -> Examples:
    """The same with the classes of the run. Raises UserErrors for those that the run has not."""
    unknown = [name for name in examples.classes if name not in classes]
    if unknown:
        found = [
            UserError(
                "--data",
                f"has the class '{name}', which the run does not know",
                suggestion(name, classes),
            )
            for name in unknown[:NAMED]
        ]
        if more := unknown[NAMED:]:
            found.append(UserError("--data", f"and {len(more)} more, such as '{more[0]}'"))
        raise ExceptionGroup("classes", found)
    places = np.array([classes.index(name) for name in examples.classes])
    if not examples.multi_label:
        return Examples(examples.pictures, places[examples.labels].astype(np.int32), classes)
    labels = np.zeros((len(examples), len(classes)), np.uint8)
    labels[:, places] = examples.labels
    return Examples(examples.pictures, labels, classes)
