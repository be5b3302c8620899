"""Figures of several trainings as one: their mean, and how far they lie apart."""

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """Of one figure over F folds."""

    mean: float
    deviation: float  # the standard deviation of a sample: divided by F - 1


def spread(folds: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """Of every figure that all folds have, by name, in the order of the first; at least two folds.

    The deviation says how much a training depends on its pictures. It is no standard error of the
    mean: folds share most of their training pictures, and no unbiased estimate of that exists
    (Bengio and Grandvalet 2004).
    """
    first, *others = folds
    return {
        name: Spread(statistics.fmean(values), statistics.stdev(values))
        for name in first
        if all(name in each for each in others)
        for values in [[each[name] for each in folds]]
    }
