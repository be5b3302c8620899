"""What each threshold of a score would give. N examples, T different scores.

As scikit-learn's functions, on the points of which they agree; equal scores are one point.
"""

from typing import NamedTuple

import numpy as np


def precision_recall(
    truth_N: np.ndarray, scores_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As scikit-learn's `precision_recall_curve`.

    Args:
        truth_N: whether the class is there; bool, or 0 and 1.

    Returns: precision [T + 1] and recall [T + 1] of what has at least the threshold, thresholds [T]
    rising; last precision 1 and recall 0, of a threshold that nothing reaches. Without an example
    of the class recall is 0.
    """
    found_T, wrong_T, thresholds_T = _counts(truth_N, scores_N)
    precision_T = found_T / (found_T + wrong_T)
    recall_T = found_T / max(np.count_nonzero(truth_N), 1)
    return np.append(precision_T[::-1], 1.0), np.append(recall_T[::-1], 0.0), thresholds_T[::-1]


def roc(truth_N: np.ndarray, scores_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As scikit-learn's `roc_curve(drop_intermediate=False)`.

    Returns: the false positive rate [T + 1], the true positive rate [T + 1] and the thresholds
    [T + 1], falling from infinity, where both rates are 0. A rate of no examples is 0.
    """
    found_T, wrong_T, thresholds_T = _counts(truth_N, scores_N)
    positives = np.count_nonzero(truth_N)
    false_T = wrong_T / max(len(truth_N) - positives, 1)
    true_T = found_T / max(positives, 1)
    return np.append(0.0, false_T), np.append(0.0, true_T), np.append(np.inf, thresholds_T)


class Areas(NamedTuple):
    """Below both curves; NaN where none is of the class, ROC-AUC also where all are."""

    average_precision: float  # in steps, as scikit-learn's `average_precision_score`
    roc_auc: float  # how often one of the class scores higher than another, ties counting half


class Ranking(NamedTuple):
    """Examples from the highest score to the lowest: sorted once, asked for many weights."""

    order_N: np.ndarray  # of the examples
    truth_N: np.ndarray  # bool, in this order
    first_N: np.ndarray  # the position of the first one with an equal score
    last_N: np.ndarray  # and of the last one

    def areas(self, weights_N: np.ndarray) -> Areas:
        """Each example counting as often as its weight says."""
        found_N = np.where(self.truth_N, weights_N[self.order_N], 0)
        wrong_N = weights_N[self.order_N] - found_N
        found, wrong = found_N.sum(), wrong_N.sum()
        above_N = np.cumsum(found_N)[self.last_N]
        wrong_above_N = np.concatenate([[0], np.cumsum(wrong_N)])  # of so many positions
        before_N, until_N = wrong_above_N[self.first_N], wrong_above_N[self.last_N + 1]
        precision_N = above_N / np.maximum(above_N + until_N, 1)
        below_N = wrong - (before_N + until_N) / 2
        nan = float("nan")
        return Areas(
            float(found_N @ precision_N / found) if found else nan,
            float(found_N @ below_N / (found * wrong)) if found and wrong else nan,
        )


def ranked(truth_N: np.ndarray, scores_N: np.ndarray) -> Ranking:
    """The ranking by score."""
    order_N = np.argsort(-scores_N, kind="stable")
    last_T = _ends(scores_N[order_N])
    sizes_T = np.diff(last_T, prepend=-1)
    first_T = last_T - sizes_T + 1
    truth_N = truth_N[order_N].astype(bool)
    return Ranking(order_N, truth_N, np.repeat(first_T, sizes_T), np.repeat(last_T, sizes_T))


def areas(truth_N: np.ndarray, scores_N: np.ndarray) -> Areas:
    """The areas below both curves."""
    return ranked(truth_N, scores_N).areas(np.ones(len(scores_N), np.int64))


def _counts(truth_N: np.ndarray, scores_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How many of the class, and of others, have at least each score [T]; the scores, falling."""
    order_N = np.argsort(-scores_N, kind="stable")
    last_T = _ends(scores_N[order_N])
    found_T = np.cumsum(truth_N[order_N].astype(bool))[last_T]
    return found_T, last_T + 1 - found_T, scores_N[order_N][last_T]


def _ends(sorted_N: np.ndarray) -> np.ndarray:
    """The last position of each value."""
    return np.append(np.flatnonzero(np.diff(sorted_N)), len(sorted_N) - 1)[: len(sorted_N)]
