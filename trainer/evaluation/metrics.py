"""Figures of a classifier. N examples, K classes.

Each equals scikit-learn's function of its kind; 0 where a ratio has no ground, as there with
zero_division=0. All take weights, how often each example counts, so that resampling is a matter of
other weights.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from trainer.evaluation import calibration, curves

Figures = Callable[[np.ndarray], dict[str, float]]  # int weights [N] -> figures by name

RANKED = 200_000  # numbers; more are not ranked anew for every resample (1,000 of them: 3 s)
_EPS = np.finfo(np.float64).eps  # a log loss is never infinite, as in scikit-learn


class Scored(NamedTuple):
    """What is true, and what a classifier says."""

    truth: np.ndarray  # int [N], the class of each; multi-label: 0 and 1 [N, K]
    scores_NK: np.ndarray  # probabilities
    thresholds_K: np.ndarray | None = None  # multi-label: from which on a label holds

    def take(self, indices: np.ndarray) -> "Scored":
        """These examples."""
        return Scored(self.truth[indices], self.scores_NK[indices], self.thresholds_K)

    @property
    def holds(self) -> np.ndarray:
        """The truth as bool [N, K]."""
        if self.thresholds_K is None:
            return self.truth[:, None] == np.arange(self.scores_NK.shape[1])
        return self.truth.astype(bool)

    @property
    def said(self) -> np.ndarray:
        """The answer as bool [N, K]: the most probable class, of equal ones the first; multi-label:
        all from their thresholds on."""
        if self.thresholds_K is None:
            best_N = self.scores_NK.argmax(axis=1)
            return best_N[:, None] == np.arange(self.scores_NK.shape[1])
        return self.scores_NK >= self.thresholds_K


class Counts(NamedTuple):
    """Of each class [K]: examples that are rightly predicted, predicted, and there."""

    right_K: np.ndarray
    predicted_K: np.ndarray
    support_K: np.ndarray


def confusion(scored: Scored) -> np.ndarray:
    """int64 [K, K]: row the true class, column the predicted one; of one label per example."""
    classes = scored.scores_NK.shape[1]
    cells = scored.truth * classes + scored.scores_NK.argmax(axis=1)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def figures(scored: Scored, top: Sequence[int] = (), ranked: bool = True) -> Figures:
    """All figures of the whole, prepared so that they can be asked for with many weights.

    What has no ground at all, such as the ROC-AUC of one class, is left out.

    Args:
        top: a `top_k_accuracy` for each of these k below K; of one label per example.
        ranked: whether to give those that follow from the ranking of the examples.
    """
    several = scored.thresholds_K is not None
    means = _means(scored, top)
    pairs = zip(scored.holds.T, scored.scores_NK.T, strict=True)
    rankings = [curves.ranked(*pair) for pair in pairs] if ranked else []
    count, binned = _counter(scored), calibration.binned(*_claims(scored))

    def ask(weights_N: np.ndarray) -> dict[str, float]:
        counts = count(weights_N)
        total = weights_N.sum()
        found = {
            **{name: (weights_N @ values_N) / total for name, values_N in means.items()},
            **(_worst(counts) if several else _recalls(counts)),
            **_averages(counts),
            **_agreement(_decisions(counts, total) if several else counts),
            "calibration_error": binned(weights_N).error,
            **_ranked([each.areas(weights_N) for each in rankings]),
        }
        return {name: float(value) for name, value in found.items()}

    return ask


def whole(scored: Scored, top: Sequence[int] = ()) -> dict[str, float]:
    """All figures, each example counting once."""
    return figures(scored, top)(np.ones(len(scored.truth), np.int64))


def calibration_error(scored: Scored) -> float:
    """Expected calibration error of what is claimed: one class per example, or every label."""
    claimed, held = _claims(scored)
    return calibration.reliability(claimed.ravel(), held.ravel()).error


def per_class(scored: Scored, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Precision, recall, F1, support, and the areas below both curves (None where all or none are
    of the class), by the names of the classes; multi-label: also the threshold."""
    truth_NK = scored.holds
    counts = _counter(scored)(np.ones(len(truth_NK), np.int64))
    ratios = _ratios(counts)
    found: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(classes):
        areas = curves.areas(truth_NK[:, index], scored.scores_NK[:, index])._asdict()
        found[name] = {
            **{ratio: float(values_K[index]) for ratio, values_K in ratios.items()},
            "support": int(counts.support_K[index]),
            **{area: None if np.isnan(value) else value for area, value in areas.items()},
        }
        if scored.thresholds_K is not None:
            found[name]["threshold"] = float(scored.thresholds_K[index])
    return found


def by_value(
    scored: Scored, values_N: Sequence[str], top: Sequence[int] = ()
) -> dict[str, dict[str, Any]]:
    """The figures of the examples of each value, and how many they are; values sorted."""
    values = np.asarray(values_N, dtype=object)
    found: dict[str, dict[str, Any]] = {}
    for value in sorted(set(values_N)):
        chosen = np.flatnonzero(values == value)
        found[value] = {"examples": len(chosen), **whole(scored.take(chosen), top)}
    return found


def intervals(
    scored: Scored, seed: int, resamples: int, level: float, top: Sequence[int] = ()
) -> dict[str, list[float]]:
    """The bounds of each figure at a level of confidence, as 0.95. None at all without resamples.

    A share of the examples, such as accuracy, has Wilson's (1927). Every other figure has those of
    the percentile bootstrap (Efron 1979): between them it lies in the share `level` of all
    resamples, which are drawn with replacement from a seeded generator. Where all resamples agree,
    as those of a figure that is perfect do, they know nothing of its bounds, and it has none; nor
    have figures of the ranking where more than RANKED scores would be ranked each time.
    """
    if not resamples:
        return {}
    count = len(scored.truth)
    ask = figures(scored, top, ranked=scored.scores_NK.size <= RANKED)
    generator = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {}
    for _ in range(resamples):
        weights_N = np.bincount(generator.integers(0, count, count), minlength=count)
        for name, value in ask(weights_N).items():
            drawn.setdefault(name, []).append(value)
    rest = (1 - level) / 2
    bounds = {
        name: np.quantile(values, (rest, 1 - rest)).tolist()
        for name, values in drawn.items()
        if max(values) - min(values) > 1e-9  # sums of ones differ in the last digit
    }
    shares = {name: each for name, each in _means(scored, top).items() if each.dtype == bool}
    return bounds | {name: wilson(each.mean(), count, level) for name, each in shares.items()}


def wilson(share: float, count: int, level: float) -> list[float]:
    """The score interval (Wilson 1927) of a share of so many examples: the shares from which the
    one found is no further than chance takes it at this level. Unlike the bootstrap's it says that
    297 right of 297 may be 98.7 %."""
    z = statistics.NormalDist().inv_cdf((1 + level) / 2)
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    low, high = ((middle + sign * half) / (1 + z * z / count) for sign in (-1, 1))
    return [max(float(low), 0.0), min(float(high), 1.0)]


# --- the parts ----------------------------------------------------------------------------------


def _counter(scored: Scored) -> Callable[[np.ndarray], Counts]:
    """weights [N] -> the counts."""
    if scored.thresholds_K is not None:
        truth_NK, predicted_NK = scored.holds, scored.said
        parts = (truth_NK & predicted_NK, predicted_NK, truth_NK)
        numbers = [each.astype(np.float64) for each in parts]  # exact, and multiplied by BLAS
        return lambda weights_N: Counts(*(weights_N @ each for each in numbers))
    truth_N, predicted_N = scored.truth, scored.scores_NK.argmax(axis=1)
    right_N, classes = truth_N == predicted_N, scored.scores_NK.shape[1]

    def count(weights_N: np.ndarray) -> Counts:
        parts = ((truth_N, weights_N * right_N), (predicted_N, weights_N), (truth_N, weights_N))
        return Counts(*(np.bincount(of, each, classes) for of, each in parts))

    return count


def _means(scored: Scored, top: Sequence[int]) -> Mapping[str, np.ndarray]:
    """What each example [N] adds to a mean; bool where that is a share of the examples."""
    return _one(scored, top) if scored.thresholds_K is None else _several(scored)


def _one(scored: Scored, top: Sequence[int]) -> Mapping[str, np.ndarray]:
    """Where an example has one label."""
    truth_N, scores_NK = scored.truth, scored.scores_NK
    classes = scores_NK.shape[1]
    own_N = scores_NK[np.arange(len(truth_N)), truth_N]
    before_NK = np.arange(classes) < truth_N[:, None]  # of equal scores the first counts
    rank_N = ((scores_NK > own_N[:, None]) | ((scores_NK == own_N[:, None]) & before_NK)).sum(
        axis=1
    )
    square_N = ((scores_NK - scored.holds) ** 2).sum(axis=1)
    return {
        "accuracy": rank_N == 0,
        **{f"top_{k}_accuracy": rank_N < k for k in top if 1 < k < classes},
        "log_loss": -np.log(np.clip(own_N.astype(np.float64), _EPS, 1 - _EPS)),
        "brier": square_N / 2 if classes == 2 else square_N,
    }


def _several(scored: Scored) -> Mapping[str, np.ndarray]:
    """Where it may have several."""
    truth_NK, right_NK = scored.holds, scored.said == scored.holds
    scores_NK = np.clip(scored.scores_NK.astype(np.float64), _EPS, 1 - _EPS)
    loss_NK = -np.log(np.where(truth_NK, scores_NK, 1 - scores_NK))
    return {
        "exact_match": right_NK.all(axis=1),
        "hamming_loss": 1 - right_NK.mean(axis=1),
        "log_loss": loss_NK.mean(axis=1),
        "brier": ((scored.scores_NK - truth_NK) ** 2).mean(axis=1),
    }


def _claims(scored: Scored) -> tuple[np.ndarray, np.ndarray]:
    """Each claim with its confidence, and whether it held: the class of an example [N], or every
    label of it [N, K]."""
    if scored.thresholds_K is None:
        return scored.scores_NK.max(axis=1), scored.scores_NK.argmax(axis=1) == scored.truth
    return scored.scores_NK, scored.holds


def _ratios(counts: Counts) -> dict[str, np.ndarray]:
    right, predicted, support = counts
    return {
        "precision": _ratio(right, predicted),
        "recall": _ratio(right, support),
        "f1": _ratio(2 * right, predicted + support),
    }


def _recalls(counts: Counts) -> dict[str, float]:
    """Of the classes that are there."""
    recall_K = _ratios(counts)["recall"][counts.support_K > 0]
    return {"balanced_accuracy": recall_K.mean(), **_worst(counts)}


def _worst(counts: Counts) -> dict[str, float]:
    """Recall of the class that has the least, of those that are there."""
    recall_K = _ratios(counts)["recall"][counts.support_K > 0]
    return {"worst_recall": recall_K.min() if len(recall_K) else 0.0}


def _averages(counts: Counts) -> dict[str, float]:
    """Over the classes that are there alike (macro), over all decisions together (micro), over
    examples (weighted)."""
    ratios, there_K = _ratios(counts), counts.support_K > 0
    micro = _ratios(Counts(*(each.sum(keepdims=True) for each in counts)))
    share_K = _ratio(counts.support_K, counts.support_K.sum())
    return {
        **{f"macro_{name}": _ratio(each @ there_K, there_K.sum()) for name, each in ratios.items()},
        **{f"micro_{name}": values[0] for name, values in micro.items()},
        **{f"weighted_{name}": values_K @ share_K for name, values_K in ratios.items()},
    }


def _decisions(counts: Counts, examples: int) -> Counts:
    """All labels of all examples as one question of two classes, no and yes."""
    right, predicted, support = (each.sum() for each in counts)
    all_ = examples * len(counts.support_K)
    no_right = all_ - predicted - support + right
    pairs = ((no_right, right), (all_ - predicted, predicted), (all_ - support, support))
    return Counts(*map(np.array, pairs))


def _agreement(counts: Counts) -> dict[str, float]:
    """Matthews' correlation (Gorodkin 2004) and Cohen's kappa (1960); 0 is chance, 1 perfect."""
    right, predicted_K, support_K = counts.right_K.sum(), counts.predicted_K, counts.support_K
    total = float(support_K.sum())
    chance = float(predicted_K @ support_K)
    spread = (total**2 - predicted_K @ predicted_K) * (total**2 - support_K @ support_K)
    return {
        "matthews_correlation": _ratio(right * total - chance, np.sqrt(float(spread))),
        "cohen_kappa": _ratio(right * total - chance, total**2 - chance),
    }


def _ranked(areas: Sequence[curves.Areas]) -> dict[str, float]:
    """Means over the classes that have areas."""
    values_AK = np.array(areas).reshape(-1, 2).T
    names = ("mean_average_precision", "roc_auc")
    known = [values_K[~np.isnan(values_K)] for values_K in values_AK]
    return {
        name: values_K.mean() for name, values_K in zip(names, known, strict=True) if len(values_K)
    }


def _ratio(numerator: Any, denominator: Any) -> Any:
    zeros = np.zeros(np.broadcast_shapes(np.shape(numerator), np.shape(denominator)))
    return np.divide(numerator, denominator, out=zeros, where=np.asarray(denominator) != 0)
