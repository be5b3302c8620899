"""Examples -> training, validation and test examples."""

import csv
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainer import files
from trainer.config.data import Split
from trainer.data.examples import SIDES, Examples, one_hot
from trainer.errors import UserError


class Sides(NamedTuple):
    """The three sides; test may be empty."""

    train: Examples
    validation: Examples
    test: Examples


def split(examples: Examples, spec: Split, seed: int) -> Sides:
    """Stratified: the shares hold in every class, rounded, and at least one picture each.

    Within a class the pictures are drawn by a hash of (seed, class, file name), so neither the
    order of listing nor the place of the folder matters. Sides given by the source stay; those
    that are missing are taken from its training pictures.

    Raises: UserError when a class has too few pictures.
    """
    given = np.array(examples.sides or [SIDES[0]] * len(examples.paths), dtype=object)
    wanted = {
        side: share
        for side, share in (("validation", spec.validation), ("test", spec.test))
        if share and side not in given
    }
    sides = given.copy()
    classes_N = examples.labels_NK.argmax(axis=1)
    for index, name in enumerate(examples.classes):
        members = np.flatnonzero((classes_N == index) & (given == "train")).tolist()
        counts = {side: max(1, round(len(members) * share)) for side, share in wanted.items()}
        if len(members) <= sum(counts.values()):
            _too_few(name, len(members), counts)
        members = sorted(members, key=lambda i: _draw(seed, name, examples.paths[i]))
        start = 0
        for side, count in counts.items():
            sides[members[start : start + count]] = side
            start += count
    return Sides(*(examples.take(np.flatnonzero(sides == side)) for side in SIDES))


def _draw(seed: int, name: str, path: str) -> bytes:
    return hashlib.sha256(os.fsencode(f"{seed}/{name}/{Path(path).name}")).digest()


def _too_few(name: str, count: int, counts: dict[str, int]) -> None:
    hint = "add pictures of the class or remove its folder"
    if not counts:
        raise UserError("data.source.path", f"class '{name}' has no training picture", hint)
    needs = ", ".join(f"{number} for {side}" for side, number in counts.items())
    raise UserError(
        "data.split",
        f"class '{name}' has {count} training picture{'s' * (count != 1)}, too few to split: "
        f"{needs} and at least 1 to train on",
        hint,
    )


def same(one: Sides, other: Sides) -> bool:
    """Whether the same pictures with the same labels are on the same sides."""
    return all(
        list(mine.paths) == list(theirs.paths) and np.array_equal(mine.labels_NK, theirs.labels_NK)
        for mine, theirs in zip(one, other, strict=True)
    )


def write(sides: Sides, path: Path) -> None:
    """A CSV with the columns path, label, split."""
    rows = [
        (picture, examples.classes[label], side)
        for side, examples in zip(SIDES, sides, strict=True)
        for picture, label in zip(examples.paths, examples.labels_NK.argmax(axis=1), strict=True)
    ]
    files.write_csv(path, ("path", "label", "split"), rows)


def read(path: Path, classes: Sequence[str]) -> Sides:
    """The sides as written. Raises UserError if the file is missing or of other classes."""
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            rows = list(csv.DictReader(file))
        index = {name: number for number, name in enumerate(classes)}
        labels = [index[row["label"]] for row in rows]
    except (OSError, KeyError) as error:
        raise UserError(str(path), f"is not the split of this run: {error}") from None
    examples = Examples(
        [row["path"] for row in rows], one_hot(labels, len(classes)), tuple(classes)
    )
    given = np.array([row["split"] for row in rows])
    return Sides(*(examples.take(np.flatnonzero(given == side)) for side in SIDES))
