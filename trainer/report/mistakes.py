"""Which pictures a network gets wrong, and how badly. K classes."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

CONFIDENT = 1 / 3  # of `Mistake.margin`: where two answers are possible, one is twice as likely
SURE = 0.8  # of `Mistake.sure`, from which on a label is worth a look by all means
EPSILON = 1e-7  # of a probability in a logarithm


class Judged(NamedTuple):
    """A picture and what a network says of it."""

    path: str
    side: str
    truth: tuple[str, ...]  # its labels; one, or where several may hold any number
    said: tuple[str, ...]
    scores_K: tuple[float, ...]


class Mistake(NamedTuple):
    """A wrong answer, by its worst label."""

    judged: Judged
    label: str  # which is said wrongly, or missed
    missed: bool  # where several may hold
    probability: float  # of the label
    of_truth: float  # the probability of the true label; where several may hold, that of `label`
    sure: float  # 0 to 1: how far the network is on the wrong side
    margin: float  # by how much its answer is more probable than that of the label
    loss: float  # crossentropy in nats


def mistakes(every: Iterable[Judged], classes: Sequence[str], multi_label: bool) -> list[Mistake]:
    """The wrong ones, in their order."""
    number = {name: index for index, name in enumerate(classes)}
    judge = _several if multi_label else _single
    return [
        judge(each, number)
        for each in every
        if set(each.said) != set(each.truth) and {*each.said, *each.truth} <= number.keys()
    ]


def confident(found: Iterable[Mistake]) -> list[Mistake]:
    """Those that are more than a guess, the surest first: with a margin of CONFIDENT or more."""
    return [each for each in surest(found) if each.margin >= CONFIDENT]


def surest(found: Iterable[Mistake]) -> list[Mistake]:
    """The surest first: p(said) - p(true), the margin of confident learning (Northcutt et al. 2021,
    arXiv:1911.00068), finds wrong labels; of several labels the one furthest off."""
    return sorted(found, key=lambda each: (-each.sure, each.judged.path))


def worst(found: Iterable[Mistake]) -> list[Mistake]:
    """The greatest losses first."""
    return sorted(found, key=lambda each: (-each.loss, each.judged.path))


def _single(judged: Judged, number: dict[str, int]) -> Mistake:
    (said,), (true,) = judged.said, judged.truth
    p_said, p_true = judged.scores_K[number[said]], judged.scores_K[number[true]]
    loss = -math.log(max(p_true, EPSILON))
    margin = p_said - p_true
    return Mistake(judged, said, False, p_said, p_true, margin, margin, loss)


def _several(judged: Judged, number: dict[str, int]) -> Mistake:
    off = {
        name: abs((name in judged.truth) - judged.scores_K[number[name]])
        for name in set(judged.said) ^ set(judged.truth)
    }
    label = max(sorted(off), key=off.__getitem__)
    loss = -sum(
        math.log(max(p if name in judged.truth else 1 - p, EPSILON))
        for name, p in zip(number, judged.scores_K, strict=True)
    )
    p = judged.scores_K[number[label]]
    sure = off[label]
    return Mistake(judged, label, label in judged.truth, p, p, sure, 2 * sure - 1, loss)
