"""How far confidence may be trusted, and how it is mended. N examples, K classes, B bins."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from trainer.evaluation.curves import Ranking, precision_recall, ranked
from trainer.logits import logits

BINS = 15  # as Guo et al. (2017), and most since
THRESHOLD = 0.5  # from which a label of a multi-label picture holds where nothing else is known
TRIES = 50  # resamples, to see whether a chosen threshold is better
LEAST, MOST = 0.05, 20.0  # temperatures that are looked at


class Reliability(NamedTuple):
    """Confidence against accuracy, in equal bins of confidence. What an empty bin has is 0."""

    edges: np.ndarray  # [B + 1], 0 to 1
    counts: np.ndarray  # int [B]
    confidence: np.ndarray  # [B], the mean
    accuracy: np.ndarray  # [B], the share that is right

    @property
    def error(self) -> float:
        """Expected calibration error: by how much confidence and accuracy differ, on the mean over
        examples; 0 to 1 (Naeini et al. 2015)."""
        gaps_B = np.abs(self.accuracy - self.confidence)
        return float((self.counts * gaps_B).sum() / max(self.counts.sum(), 1))


def reliability(
    confidence_N: np.ndarray,
    right_N: np.ndarray,
    bins: int = BINS,
    weights_N: np.ndarray | None = None,
) -> Reliability:
    """A bin has confidences above its lower edge, up to its upper one; the first has 0 too.

    Args:
        confidence_N: what is claimed, 0 to 1.
        right_N: whether it held; bool, or 0 and 1.
        weights_N: int, how often each example counts; once if None.
    """
    weights_N = np.ones(len(confidence_N), np.int64) if weights_N is None else weights_N
    return binned(confidence_N, right_N, bins)(weights_N)


def binned(
    confidence: np.ndarray, right: np.ndarray, bins: int = BINS
) -> Callable[[np.ndarray], Reliability]:
    """`reliability`, prepared so that it can be asked for with many weights [N].

    Args:
        confidence: [N], or the claims of each example [N, K].
        right: of the same shape.
    """
    count, edges = len(confidence), np.linspace(0, 1, bins + 1)
    bin_of = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    cells = (bin_of.reshape(count, -1 if count else 0) + bins * np.arange(count)[:, None]).ravel()

    def summed(values: np.ndarray) -> np.ndarray:
        return np.bincount(cells, values.ravel(), minlength=count * bins).reshape(count, bins)

    claims_NB, claimed_NB, held_NB = map(summed, (np.ones(confidence.shape), confidence, right))

    def ask(weights_N: np.ndarray) -> Reliability:
        counts = (weights_N @ claims_NB).astype(np.int64)
        filled = np.maximum(counts, 1)
        sums = (weights_N @ claimed_NB, weights_N @ held_NB)
        return Reliability(edges, counts, *(each / filled for each in sums))

    return ask


def tempered(scores_NK: np.ndarray, temperature: float, multi_label: bool) -> np.ndarray:
    """The probabilities, float64, that the network would give with its logits divided by the
    temperature: above 1 less sure, below 1 surer; never another order of the classes."""
    if temperature == 1:
        return scores_NK.astype(np.float64)
    return _probabilities(_logits(scores_NK, multi_label) / temperature, multi_label)


def fit_temperature(truth_NK: np.ndarray, scores_NK: np.ndarray, multi_label: bool) -> float:
    """The temperature under which the truth is most likely (Guo et al. 2017), LEAST to MOST.

    Where no example is wrong there is none, as ever more sureness is ever more likely: 1. What is
    found at one of the bounds would lie beyond it: `bound` says what that means.

    Args:
        truth_NK: 1 where the class is there.
        scores_NK: probabilities at temperature 1.
    """
    logits_NK = _logits(scores_NK, multi_label)

    def slope(sharpness: float) -> float:
        """Of the log loss, over 1 / temperature, in which it is convex."""
        wrong_NK = _probabilities(logits_NK * sharpness, multi_label) - truth_NK
        return float((wrong_NK * logits_NK).sum())

    low, high = 1 / MOST, 1 / LEAST
    if slope(high) <= 1e-9 * len(truth_NK):
        return LEAST if _wrong(truth_NK, logits_NK, multi_label) else 1.0
    if slope(low) >= 0:
        return MOST
    for _ in range(50):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return float(1 / high)


def bound(temperature: float) -> Literal["most", "least"] | None:
    """Which end of the search a fitted temperature is at, if any. MOST: the more even the
    probabilities, the likelier the truth, so they know next to nothing of it. LEAST: the truth is
    likelier than they ever say, so they hardly differ although their order is right."""
    if temperature >= MOST:
        return "most"
    return "least" if temperature <= LEAST else None


def best_thresholds(truth_NK: np.ndarray, scores_NK: np.ndarray) -> list[float]:
    """From which probability on each label holds, so that its F1 is the greatest on these examples.

    Halfway between two scores that occur; of equally good ones the highest. THRESHOLD where that
    does not pay: thresholds chosen on resamples have to beat it on the examples outside of them.
    Without that, on 140 pictures with 25 to 45 of a label each, chosen thresholds cost 0.03 of F1.
    """
    generator, count = np.random.default_rng(0), len(truth_NK)
    draws = (generator.integers(0, count, count) for _ in range(TRIES))
    weights_TN = np.array([np.bincount(each, minlength=count) for each in draws])
    found = []
    for pair in zip(truth_NK.T, scores_NK.T, strict=True):
        ranking, scores_N = ranked(*pair), pair[1]
        pays = _gain(ranking, scores_N, weights_TN) > 0
        once_N = np.ones(count, np.int64)
        found.append(_best(ranking, scores_N, once_N) if pays else THRESHOLD)
    return found


def reject_threshold(
    confidence_N: np.ndarray, right_N: np.ndarray, precision: float
) -> tuple[float, float] | None:
    """The least confidence from which on at least the share `precision` is right, and the share of
    the examples that has it; None if no confidence is enough."""
    found, _, thresholds = precision_recall(right_N, confidence_N)
    enough = np.flatnonzero(found[:-1] >= precision)
    if not len(enough):
        return None
    least = thresholds[enough[0]]
    return float(least), float((confidence_N >= least).mean())


def _best(ranking: Ranking, scores_N: np.ndarray, weights_N: np.ndarray) -> float:
    """The threshold with the greatest F1, each example counting as often as its weight says. There
    has to be an example with the label."""
    weights, scores = weights_N[ranking.order_N], scores_N[ranking.order_N]
    found_N = np.cumsum(weights * ranking.truth_N)[ranking.last_N]
    said_N = np.cumsum(weights)[ranking.last_N]
    best = np.argmax(found_N / (said_N + found_N[-1]))
    below = np.searchsorted(said_N, said_N[best], side="right")  # the next with any weight
    return float((scores[best] + (scores[below] if below < len(scores) else 0.0)) / 2)


def _gain(ranking: Ranking, scores_N: np.ndarray, weights_TN: np.ndarray) -> float:
    """By how much the F1 of thresholds chosen on T resamples beats that of THRESHOLD, summed, on
    the examples outside of them."""
    truth_N, gain = np.empty(len(scores_N), bool), 0.0
    truth_N[ranking.order_N] = ranking.truth_N
    for weights_N in weights_TN:
        if weights_N[truth_N].any():
            outside = weights_N == 0
            truth, scores = truth_N[outside], scores_N[outside]
            best = _best(ranking, scores_N, weights_N)
            gain += _f1(truth, scores >= best) - _f1(truth, scores >= THRESHOLD)
    return gain


def _f1(truth_N: np.ndarray, predicted_N: np.ndarray) -> float:
    both = np.count_nonzero(truth_N) + np.count_nonzero(predicted_N)
    return 2 * int(np.count_nonzero(truth_N & predicted_N)) / max(int(both), 1)


def _wrong(truth_NK: np.ndarray, logits_NK: np.ndarray, multi_label: bool) -> bool:
    """Whether any example is: another class is more probable, or a label on the wrong side of a
    half."""
    holds_NK = truth_NK.astype(bool)
    if multi_label:
        return bool(((logits_NK > 0) != holds_NK).any())
    return bool((logits_NK[holds_NK] < logits_NK.max(axis=1)).any())


def _logits(scores_NK: np.ndarray, multi_label: bool) -> np.ndarray:
    return np.asarray(logits(scores_NK.astype(np.float64), multi_label, np))


def _probabilities(logits_NK: np.ndarray, multi_label: bool) -> np.ndarray:
    if multi_label:
        return 1 / (1 + np.exp(-np.clip(logits_NK, -700, 700)))
    raised_NK = np.exp(logits_NK - logits_NK.max(axis=1, keepdims=True))
    return raised_NK / raised_NK.sum(axis=1, keepdims=True)
