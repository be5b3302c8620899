"""What a survey of the pictures means: facts, and findings in plain sentences.

Pure: numbers in, a dictionary out. `commands/data/inspect.py` shows it.

N pictures, K classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer.config.data import Data
from trainer.data.examples import SIDES, Examples
from trainer.data.inspect import checks
from trainer.data.inspect.checks import SEVERITIES
from trainer.data.inspect.duplicates import Pairs
from trainer.data.inspect.look import LEFT_OUT, Look, conflicts, copies, flat, looked_at
from trainer.data.inspect.survey import Survey
from trainer.errors import UserError


def findings(
    examples: Examples,
    found: Survey,
    pairs: Pairs,
    spec: Data,
    side_N: np.ndarray,
    stopped: Sequence[UserError] = (),
) -> dict[str, Any]:
    """Everything that `data inspect` reports: facts, and findings with the gravest first.

    Args:
        pairs: the duplicates among all readable pictures.
        side_N: int8, index in SIDES of where `fit` puts each picture, or LEFT_OUT.
        stopped: what keeps `fit` from splitting the pictures, if anything does.
    """
    look = looked_at(examples, found, pairs, spec, side_N)
    every = [*checks.stopped(stopped), *(each for check in checks.CHECKS for each in check(look))]
    return {
        "pictures": len(examples),
        "readable": len(look.readable),
        "multi_label": examples.multi_label,
        "sides": {name: int((side_N == side).sum()) for side, name in enumerate(SIDES)},
        "left_out": int((side_N == LEFT_OUT).sum()),
        "classes": _classes(look),
        "sizes": _sizes(look),
        "formats": _formats(look),
        "findings": sorted(every, key=lambda each: SEVERITIES.index(each["severity"])),
    }


def to_quarantine(examples: Examples, found: Survey, pairs: Pairs) -> dict[str, str]:
    """Why training is better off without some pictures, by their names: those that cannot be read,
    those of one colour, and exact copies with different labels (all of them)."""
    name = examples.pictures.name
    why = {index: f"cannot be read: {reason}" for index, reason in found.reasons.items()}
    why |= dict.fromkeys(flat(found.records).tolist(), "one colour only")
    copied_N = copies(len(examples), pairs)
    for members in conflicts(examples, pairs, copied_N):
        for index in members.tolist():
            mine = examples.names_of(index)
            other = next(each for each in members.tolist() if examples.names_of(each) != mine)
            labels = " and ".join(examples.names_of(other)) or "no label"
            why[index] = f"the same picture as {name(other)} ({labels})"
    return {name(index): why[index] for index in sorted(why)}


def _classes(look: Look) -> list[dict[str, Any]]:
    labels = look.examples.labels
    hot = labels.astype(bool) if labels.ndim == 2 else None

    def counts(indices: np.ndarray) -> np.ndarray:
        if hot is not None:
            return hot[indices].sum(axis=0)
        return np.bincount(labels[indices], minlength=len(look.examples.classes))

    columns = {"pictures": counts(np.arange(len(labels)))}
    columns |= {name: counts(np.flatnonzero(look.side_N == i)) for i, name in enumerate(SIDES)}
    columns["left_out"] = counts(np.flatnonzero(look.side_N == LEFT_OUT))
    return [
        {"class": name} | {key: int(column[index]) for key, column in columns.items()}
        for index, name in enumerate(look.examples.classes)
    ]


def _sizes(look: Look) -> dict[str, dict[str, float]]:
    """Smallest, median and largest of the readable pictures; aspect is width / height."""
    records = look.records[look.readable]
    if not len(records):
        return {}
    columns = {
        "height": records["height"],
        "width": records["width"],
        "aspect": np.round(records["width"] / records["height"], 3),
    }
    return {
        name: {
            "smallest": column.min().item(),
            "median": round(float(np.median(column)), 3),
            "largest": column.max().item(),
        }
        for name, column in columns.items()
    }


def _formats(look: Look) -> dict[str, int]:
    names, counts = np.unique(look.records["format"][look.readable], return_counts=True)
    return {str(name) or "unknown": int(n) for name, n in zip(names, counts, strict=True)}
