"""What the checks of `data inspect` look at, and the form of what they find.

A finding is a dictionary: kind, severity, title, meaning, advice, and the pictures, in groups where
they belong together.

N pictures, P pairs.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from trainer.config.data import Data
from trainer.data.examples import SIDES, Examples
from trainer.data.inspect.duplicates import Pairs, groups
from trainer.data.inspect.survey import Survey

LEFT_OUT = -1  # instead of an index in SIDES
FLAT = 1  # standard deviation of the grey values; below it there is nothing to see

Finding = dict[str, Any]


class Look(NamedTuple):
    """What the checks look at; indices are those of the examples."""

    examples: Examples
    records: np.ndarray  # [N] of survey.RECORD
    reasons: dict[int, str]  # why pictures cannot be read
    pairs: Pairs
    spec: Data
    side_N: np.ndarray  # int8, index in SIDES or LEFT_OUT
    readable: np.ndarray  # indices
    usable: np.ndarray  # indices of what is on a side, or else of what can be read
    copied_N: np.ndarray  # the smallest index among the exact copies of each picture
    groups: list[np.ndarray]  # indices of duplicates, at least two, the largest group first


def looked_at(
    examples: Examples, found: Survey, pairs: Pairs, spec: Data, side_N: np.ndarray
) -> Look:
    """Brings together what the checks need; arguments as in `findings.findings`."""
    readable = np.flatnonzero(found.records["readable"])
    usable = np.flatnonzero(side_N != LEFT_OUT)
    return Look(
        examples, found.records, found.reasons, pairs, spec, side_N, readable,
        usable if len(usable) else readable,
        copies(len(examples), pairs),
        _members(groups(len(examples), (pairs.first, pairs.second))),
    )  # fmt: skip


def copies(count: int, pairs: Pairs) -> np.ndarray:
    """int64 [N]: the smallest index among the exact copies of each picture."""
    return groups(count, (pairs.first[pairs.exact], pairs.second[pairs.exact]))


def conflicts(examples: Examples, pairs: Pairs, copied_N: np.ndarray) -> list[np.ndarray]:
    """Indices of exact copies that do not all have the same labels, in groups."""
    first, second = pairs.first[pairs.exact], pairs.second[pairs.exact]
    bad = np.unique(copied_N[first[~same_labels(examples, first, second)]])
    return [np.flatnonzero(copied_N == leader) for leader in bad]


def flat(records: np.ndarray) -> np.ndarray:
    """Indices of readable pictures of one colour."""
    return np.flatnonzero(records["readable"] & (records["spread"] < FLAT))


def same_labels(examples: Examples, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """bool [P]: whether the pictures at P pairs of indices have the same labels."""
    equal = examples.labels[first] == examples.labels[second]
    return equal.all(axis=1) if equal.ndim == 2 else equal


def some(count: int, one: str, many: str) -> str:
    """`1 picture is`, `2,520 pictures are`."""
    return f"{count:,} {one if count == 1 else many}"


def _members(group_N: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(group_N, kind="stable")
    starts = np.flatnonzero(np.diff(group_N[order], prepend=-1))
    members = [each for each in np.split(order, starts[1:]) if len(each) > 1]
    return sorted(members, key=lambda each: (-len(each), each[0]))


def _picture(look: Look, index: int, why: str = "") -> dict[str, Any]:
    """As reports show it."""
    side, record = int(look.side_N[index]), look.records[index]
    shown = {
        "index": index,
        "path": look.examples.pictures.name(index),
        "labels": look.examples.names_of(index),
        "side": SIDES[side] if side >= 0 else "left out",
        "height": int(record["height"]),
        "width": int(record["width"]),
    }
    return shown | ({"why": why} if why else {})


def finding(
    look: Look | None,
    kind: str,
    severity: str,
    title: str,
    meaning: str,
    advice: str,
    pictures: Mapping[int, str] | np.ndarray | None = None,
    grouped: Sequence[np.ndarray] | None = None,
) -> Finding:
    """One finding; its pictures as indices, with reasons or without, or in groups."""
    found: Finding = {"kind": kind, "severity": severity, "title": title}
    found |= {"meaning": meaning, "advice": advice}
    if look is not None and pictures is not None:
        listed = pictures.items() if isinstance(pictures, Mapping) else ((i, "") for i in pictures)
        found["pictures"] = [_picture(look, int(index), why) for index, why in listed]
    if look is not None and grouped is not None:
        found["groups"] = [
            [_picture(look, index) for index in members.tolist()] for members in grouped
        ]
    return found
