"""Figures of a classifier. N examples, K classes; truth and predicted are class indices [N], or for
multi-label 0 and 1 [N, K]."""

from collections.abc import Sequence
from typing import Any

import numpy as np

THRESHOLD = 0.5  # a label of a multi-label picture holds from this probability on


def confusion(truth_N: np.ndarray, predicted_N: np.ndarray, classes: int) -> np.ndarray:
    """int64 [K, K]: row the true class, column the predicted one."""
    cells = np.bincount(truth_N * classes + predicted_N, minlength=classes * classes)
    return cells.reshape(classes, classes)


def summary(confusion_KK: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Accuracy, and precision, recall, F1 and support per class; 0 where a ratio has no ground, as
    scikit-learn does with zero_division=0."""
    right_K = np.diag(confusion_KK)
    return {
        "examples": int(confusion_KK.sum()),
        "accuracy": float(_ratio(right_K.sum(), confusion_KK.sum())),
        "classes": _per_class(right_K, confusion_KK.sum(axis=0), confusion_KK.sum(axis=1), classes),
        "confusion": confusion_KK.tolist(),
    }


def multi_label_summary(
    truth_NK: np.ndarray, scores_NK: np.ndarray, classes: Sequence[str]
) -> dict[str, Any]:
    """Figures of independent labels at THRESHOLD, and average precision, which needs none.

    `exact_match` is the share of pictures with every label right, `hamming_loss` the share of wrong
    labels; `f1` is the mean over classes (macro) or over all labels together (micro).
    """
    predicted_NK = scores_NK >= THRESHOLD
    truth_NK = truth_NK.astype(bool)
    right_K = (predicted_NK & truth_NK).sum(axis=0)
    found = _per_class(right_K, predicted_NK.sum(axis=0), truth_NK.sum(axis=0), classes)
    for index, name in enumerate(classes):
        precision = average_precision(truth_NK[:, index], scores_NK[:, index])
        found[name]["average_precision"] = precision
    micro = _ratio(2 * right_K.sum(), predicted_NK.sum() + truth_NK.sum())
    known = [row["average_precision"] for row in found.values() if row["support"]]
    return {
        "examples": len(truth_NK),
        "exact_match": float((predicted_NK == truth_NK).all(axis=1).mean()),
        "hamming_loss": float((predicted_NK != truth_NK).mean()),
        "macro_f1": float(np.mean([row["f1"] for row in found.values()])),
        "micro_f1": float(micro),
        "mean_average_precision": float(np.mean(known)) if known else 0.0,
        "classes": found,
    }


def average_precision(truth_N: np.ndarray, scores_N: np.ndarray) -> float:
    """The mean of the precisions at every right picture, the best scores first; equal scores count
    as one step. As scikit-learn's average_precision_score; 0 without a right picture."""
    order = np.argsort(-scores_N, kind="stable")
    right = np.cumsum(truth_N[order])
    ends = np.append(np.flatnonzero(np.diff(scores_N[order])), len(order) - 1)
    precision, recall = right[ends] / (ends + 1), _ratio(right[ends], np.full(len(ends), right[-1]))
    return float((np.diff(recall, prepend=0) * precision).sum())


def _per_class(
    right_K: np.ndarray, predicted_K: np.ndarray, support_K: np.ndarray, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    precision_K, recall_K = _ratio(right_K, predicted_K), _ratio(right_K, support_K)
    f1_K = _ratio(2 * right_K, predicted_K + support_K)
    return {
        name: {
            "precision": float(precision_K[index]),
            "recall": float(recall_K[index]),
            "f1": float(f1_K[index]),
            "support": int(support_K[index]),
        }
        for index, name in enumerate(classes)
    }


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    zeros = np.zeros(np.shape(denominator))
    return np.divide(numerator, denominator, out=zeros, where=np.asarray(denominator) != 0)
