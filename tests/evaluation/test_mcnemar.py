"""McNemar's test, by values computed by hand."""

import math

import numpy as np
import pytest

from trainer.evaluation import mcnemar


def outcome(both: int, only_first: int, only_second: int, neither: int) -> mcnemar.McNemar:
    counts = (both, only_first, only_second, neither)
    first = np.repeat([True, True, False, False], counts)
    second = np.repeat([True, False, True, False], counts)
    return mcnemar.test(first, second)


def test_few_discordant_examples_are_tossed_coins() -> None:
    found = outcome(90, 1, 5, 4)
    assert found[:4] == (90, 1, 5, 4) and found.examples == 100
    assert found.exact
    assert found.p == 2 * (1 + 6) / 2**6  # 0 or 1 heads of 6, or tails


def test_many_are_chi_square_with_correction() -> None:
    found = outcome(60, 5, 20, 15)
    assert not found.exact
    # (|5 - 20| - 1)² / 25 = 7.84, which chi-square of one degree of freedom exceeds so often
    assert found.p == pytest.approx(0.005110, abs=1e-6)
    assert found.p == pytest.approx(math.erfc(2.8 / math.sqrt(2)), abs=1e-12)  # a normal's 2.8


def test_the_limit_between_both() -> None:
    assert outcome(0, 12, 12, 0).exact
    assert not outcome(0, 12, 13, 0).exact
    assert outcome(0, 12, 13, 0).p == 1.0


def test_no_difference_is_no_evidence() -> None:
    assert outcome(10, 0, 0, 3).p == 1.0
    assert outcome(10, 3, 3, 3).p == 1.0


def test_who_is_first_does_not_matter() -> None:
    for one, other in ((2, 9), (10, 30)):
        assert outcome(5, one, other, 5).p == outcome(5, other, one, 5).p
