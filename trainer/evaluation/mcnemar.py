"""Whether two classifiers differ by more than chance, on the same N examples."""

import math
from typing import NamedTuple

import numpy as np

FEW = 25  # discordant examples, below which the chi-square distribution is too coarse


class McNemar(NamedTuple):
    """How often each was right, and how likely so unequal a number is by chance alone."""

    both: int  # right
    only_first: int
    only_second: int
    neither: int
    p: float  # two-sided
    exact: bool  # by the binomial distribution, else by chi-square

    @property
    def examples(self) -> int:
        """N."""
        return self.both + self.only_first + self.only_second + self.neither


def test(first_N: np.ndarray, second_N: np.ndarray) -> McNemar:
    """McNemar's test (1947), which Dietterich (1998) recommends for classifiers that are trained
    once: if they are equally good, each discordant example is as likely to be either's.

    Exactly so for fewer than FEW of them; for more by chi-square of one degree of freedom, with
    Edwards's correction for continuity (1948).

    Args:
        first_N, second_N: bool, whether each example is right.
    """
    cells = np.bincount(2 * first_N.astype(np.int64) + second_N, minlength=4)
    neither, second, first, both = map(int, cells)
    count = first + second
    exact = count < FEW
    p = _binomial(min(first, second), count) if exact else _chi_square(abs(first - second), count)
    return McNemar(both, first, second, neither, p, exact)


def _binomial(least: int, count: int) -> float:
    """Of at most so many heads, or as many tails, of `count` fair coins."""
    tail = sum(math.comb(count, each) for each in range(least + 1))
    return min(1.0, 2 * tail / 2**count)


def _chi_square(apart: int, count: int) -> float:
    """The upper tail of one degree of freedom: the square of a normal variable."""
    corrected = max(apart - 1, 0) ** 2 / count
    return math.erfc(math.sqrt(corrected / 2))
