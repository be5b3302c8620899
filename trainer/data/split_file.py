"""split.csv: which picture is on which side, by names that hold wherever the data lies."""

import csv
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from trainer import files
from trainer.data.examples import SIDES, Chosen, Examples, multi_hot, names
from trainer.data.split import Sides
from trainer.errors import UserError

SEPARATOR = "|"  # between the labels of one picture


def rows(sides: Sides) -> Iterator[tuple[str, str, str]]:
    """(name, labels, side) of every picture."""
    for name, side in zip(SIDES, sides, strict=True):
        yield from zip(names(side.pictures), _labels(side), itertools.repeat(name))


def _labels(side: Examples) -> Iterator[str]:
    """Of every picture, in one text each."""
    if not side.multi_label:
        return map(side.classes.__getitem__, side.labels.tolist())
    return (SEPARATOR.join(side.names_of(index)) for index in range(len(side)))


def write(sides: Sides, path: Path) -> None:
    """A CSV with the columns path, label, split."""
    files.write_csv(path, ("path", "label", "split"), rows(sides))


def read(path: Path) -> list[tuple[str, str, str]]:
    """The rows as written. Raises UserError if the file is missing or no split."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file, restval="")
            found = [(row["path"], row["label"], row["split"]) for row in reader]
    except OSError as error:
        raise UserError(str(path), f"cannot be read: {error.strerror}") from None
    except (KeyError, csv.Error) as error:
        raise UserError(str(path), f"is no split of pictures: {error}") from None
    if not {side for _, _, side in found} <= set(SIDES):
        raise UserError(str(path), f"expected {', '.join(SIDES)} in the column split")
    return found


def kept(path: Path) -> dict[str, int]:
    """Sides (index in SIDES) by name, as written. Raises UserError."""
    return {name: SIDES.index(side) for name, _, side in read(path)}


def restore(path: Path, examples: Examples, classes: Sequence[str]) -> tuple[Sides, list[str]]:
    """The sides as written, with the classes of the run, and the names of pictures that are gone.

    Args:
        examples: the source as it is now; pictures that came since are left out.

    Raises: UserError if the file is missing or has other classes.
    """
    where = {name: index for index, name in enumerate(names(examples.pictures))}
    written = read(path)
    there = [row for row in written if row[0] in where]
    number = {name: index for index, name in enumerate(classes)}
    try:
        labels = _numbers([label for _, label, _ in there], number, examples.multi_label)
    except KeyError as error:
        raise UserError(str(path), f"has the class {error}, which the run does not know") from None
    pictures = Chosen(examples.pictures, np.array([where[name] for name, _, _ in there], np.int64))
    whole = Examples(pictures, labels, tuple(classes))
    side_N = np.array([SIDES.index(side) for _, _, side in there])
    sides = Sides(*(whole.take(np.flatnonzero(side_N == side)) for side in range(3)))
    return sides, [name for name, _, _ in written if name not in where]


def _numbers(labels: Iterable[str], number: Mapping[str, int], multi_label: bool) -> np.ndarray:
    labels = list(labels)
    if not multi_label:
        return np.array([number[label] for label in labels], np.int32)
    cells = [
        (row, number[name])
        for row, label in enumerate(labels)
        for name in label.split(SEPARATOR)
        if name
    ]
    row, name = np.array(cells, np.int64).reshape(-1, 2).T
    return multi_hot(row, name, (len(labels), len(number)))
