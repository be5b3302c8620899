"""An export is not done until it agrees with Keras."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def compare(
    truth_NK: np.ndarray,
    expected_NK: np.ndarray,
    received: Mapping[int, np.ndarray] | str,
    tolerance: float | None,
    max_drop: float | None = None,
) -> dict[str, Any]:
    """How far the probabilities of an exported file lie from Keras's on the same N > 0 images.

    `agrees` demands, for every size of batches, the same shape, finite numbers and a largest
    difference within the tolerance; and an accuracy that is at most `max_drop` below Keras's.
    Accuracy is the share of pictures whose most probable label holds.

    Args:
        truth_NK: 1 where a label holds.
        expected_NK: what Keras says.
        received: size of the batches -> what the file says [N, K]; or why it says nothing.
        tolerance: None where the accuracy alone decides.
        max_drop: 0 to 1; None where only the tolerance counts.
    """
    row: dict[str, Any] = {"images": len(expected_NK)}
    if isinstance(received, str):
        return row | {"agrees": False, "reason": received}
    for size, scores_NK in received.items():
        if scores_NK.shape != expected_NK.shape:
            shapes = f"{list(scores_NK.shape)} instead of {list(expected_NK.shape)}"
            reason = f"shape {shapes} in batches of {size}"
            return row | {"agrees": False, "reason": reason}
    by_size = {size: float(np.abs(each - expected_NK).max()) for size, each in received.items()}
    worst = max(by_size, key=lambda size: (np.isnan(by_size[size]), by_size[size]))
    best_N, expected_N = received[worst].argmax(axis=1), expected_NK.argmax(axis=1)
    accuracy, before = _accuracy(truth_NK, best_N), _accuracy(truth_NK, expected_N)
    lost = round(before - accuracy, 9)  # 0.2 - 0.15 is more than 0.05
    near = by_size[worst] <= (np.finfo(float).max if tolerance is None else tolerance)
    good = max_drop is None or lost <= max_drop
    return row | {
        "largest_difference": by_size[worst],
        "by_batch_size": by_size,
        "same_label": int((best_N == expected_N).sum()),
        "accuracy": accuracy,
        "accuracy_of_keras": before,
        "accuracy_lost": lost,
        "tolerance": tolerance,
        "max_drop": max_drop,
        "agrees": bool(near and good),
    }


def _accuracy(truth_NK: np.ndarray, best_N: np.ndarray) -> float:
    return float(truth_NK[np.arange(len(best_N)), best_N].mean())
