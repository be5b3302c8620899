"""An export is not done until it agrees with Keras."""

from typing import Any

import numpy as np


def compare(expected_NK: np.ndarray, received_NK: np.ndarray, tolerance: float) -> dict[str, Any]:
    """How far the probabilities of an exported file lie from Keras's on the same N > 0 images.

    `agrees` demands the same shape and a largest difference within the tolerance, which NaN is not.
    """
    if received_NK.shape != expected_NK.shape:
        shapes = f"{list(received_NK.shape)} instead of {list(expected_NK.shape)}"
        return {"images": len(expected_NK), "agrees": False, "reason": f"shape {shapes}"}
    difference = float(np.abs(received_NK - expected_NK).max())
    same_N = received_NK.argmax(axis=1) == expected_NK.argmax(axis=1)
    return {
        "images": len(expected_NK),
        "largest_difference": difference,
        "same_label": int(same_N.sum()),
        "tolerance": tolerance,
        "agrees": bool(difference <= tolerance),
    }
