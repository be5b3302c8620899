"""Mistakes by hand."""

import math

import pytest

from trainer.report.mistakes import Judged, confident, mistakes, surest, worst

ABC = ("a", "b", "c")


def judged(path: str, truth: str, said: str, *scores: float) -> Judged:
    return Judged(path, "test", tuple(truth), tuple(said), scores)


def test_a_wrong_label_is_as_sure_as_it_is_above_the_true_one() -> None:
    (found,) = mistakes([judged("1", "a", "b", 0.2, 0.7, 0.1)], ABC, multi_label=False)
    assert (found.label, found.missed, found.probability, found.of_truth) == ("b", False, 0.7, 0.2)
    assert found.sure == pytest.approx(0.5)
    assert found.loss == pytest.approx(-math.log(0.2))


def test_right_answers_and_strange_labels_are_no_mistakes() -> None:
    every = [judged("1", "a", "a", 0.9, 0.1, 0.0), judged("2", "z", "a", 0.9, 0.1, 0.0)]
    assert mistakes(every, ABC, multi_label=False) == []
    assert mistakes([judged("3", "ab", "ba", 0.9, 0.8, 0.0)], ABC, multi_label=True) == []


def test_of_several_labels_the_one_furthest_off_counts() -> None:
    every = [
        judged("missed", "ab", "a", 0.9, 0.1, 0.2),
        judged("said", "", "c", 0.0, 0.3, 0.8),
    ]
    missed, said = mistakes(every, ABC, multi_label=True)
    assert (missed.label, missed.missed) == ("b", True)
    assert (said.label, said.missed) == ("c", False)
    assert [missed.sure, said.sure] == pytest.approx([0.9, 0.8])
    assert missed.loss == pytest.approx(-math.log(0.9) - math.log(0.1) - math.log(0.8))


def test_the_surest_are_not_those_of_the_greatest_loss() -> None:
    sure, lost = judged("sure", "a", "b", 0.1, 0.9, 0.0), judged("lost", "a", "b", 0.01, 0.5, 0.49)
    found = mistakes([lost, sure], ABC, multi_label=False)
    assert [each.judged.path for each in confident(found)] == ["sure", "lost"]
    assert [each.judged.path for each in worst(found)] == ["lost", "sure"]


def test_a_guess_is_no_confident_mistake() -> None:
    """Of two answers one is twice as likely; of three it leads by a third of all."""
    every = [judged("two", "a", "b", 0.33, 0.67), judged("guess", "a", "b", 0.34, 0.66)]
    found = mistakes(every, ABC[:2], multi_label=False)
    assert [each.judged.path for each in confident(found)] == ["two"]
    assert [each.judged.path for each in surest(found)] == ["two", "guess"]
    every = [judged("lost", "a", "b", 0.3, 0.4, 0.3), judged("sure", "a", "b", 0.1, 0.5, 0.4)]
    found = mistakes(every, ABC, multi_label=False)
    assert [each.judged.path for each in confident(found)] == ["sure"]
    every = [judged("missed", "a", "", 0.33, 0), judged("guess", "", "a", 0.66, 0)]
    found = mistakes(every, ABC[:2], multi_label=True)
    assert [each.judged.path for each in confident(found)] == ["missed"]
    assert [each.margin for each in found] == pytest.approx([0.34, 0.32])


def test_a_probability_of_zero_loses_no_infinity() -> None:
    (found,) = mistakes([judged("1", "a", "b", 0.0, 1.0, 0.0)], ABC, multi_label=False)
    assert found.loss == pytest.approx(-math.log(1e-7))
