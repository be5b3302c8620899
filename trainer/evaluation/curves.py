"""What each threshold of a score would give. N examples, T different scores.

As scikit-learn's functions, on the points of which they agree; equal scores are one point.
"""

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


def average_precision(truth_N: np.ndarray, scores_N: np.ndarray) -> float:
    """The mean of the precisions at every example of the class, the best scores first: the area
    below the curve in steps, as scikit-learn's `average_precision_score`. 0 without an example."""
    precision, recall, _ = precision_recall(truth_N, scores_N)
    return float(-(np.diff(recall) * precision[:-1]).sum())


def area(truth_N: np.ndarray, scores_N: np.ndarray) -> float:
    """ROC-AUC: how often an example of the class scores higher than another one, ties counting
    half. NaN where all or none are of the class."""
    positives = np.count_nonzero(truth_N)
    if positives in (0, len(truth_N)):
        return float("nan")
    false, true, _ = roc(truth_N, scores_N)
    return float(np.trapezoid(true, false))


def _counts(truth_N: np.ndarray, scores_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How many of the class, and of others, have at least each score [T]; the scores, falling."""
    order = np.argsort(-scores_N, kind="stable")
    sorted_N = scores_N[order]
    last_T = np.append(np.flatnonzero(np.diff(sorted_N)), len(sorted_N) - 1)[: len(sorted_N)]
    found_T = np.cumsum(truth_N[order].astype(bool))[last_T]
    return found_T, last_T + 1 - found_T, sorted_N[last_T]
