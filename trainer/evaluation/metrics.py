"""Figures of a classifier. N examples, K classes; truth and predicted are class indices [N]."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def confusion(truth_N: np.ndarray, predicted_N: np.ndarray, classes: int) -> np.ndarray:
    """int64 [K, K]: row the true class, column the predicted one."""
    cells = np.bincount(truth_N * classes + predicted_N, minlength=classes * classes)
    return cells.reshape(classes, classes)


def summary(confusion_KK: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Accuracy, and precision, recall, F1 and support per class; 0 where a ratio has no ground, as
    scikit-learn does with zero_division=0."""
    right_K = np.diag(confusion_KK)
    precision_K = _ratio(right_K, confusion_KK.sum(axis=0))
    recall_K = _ratio(right_K, confusion_KK.sum(axis=1))
    f1_K = _ratio(2 * precision_K * recall_K, precision_K + recall_K)
    return {
        "examples": int(confusion_KK.sum()),
        "accuracy": float(_ratio(right_K.sum(), confusion_KK.sum())),
        "classes": {
            name: {
                "precision": float(precision_K[index]),
                "recall": float(recall_K[index]),
                "f1": float(f1_K[index]),
                "support": int(confusion_KK[index].sum()),
            }
            for index, name in enumerate(classes)
        },
        "confusion": confusion_KK.tolist(),
    }


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    zeros = np.zeros(np.shape(denominator))
    return np.divide(numerator, denominator, out=zeros, where=np.asarray(denominator) != 0)
