"""How far confidence may be trusted. N examples, B bins."""

from typing import NamedTuple

import numpy as np

BINS = 15  # as Guo et al. (2017), and most since


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


def reliability(confidence_N: np.ndarray, right_N: np.ndarray, bins: int = BINS) -> Reliability:
    """A bin has confidences above its lower edge, up to its upper one; the first has 0 too.

    Args:
        confidence_N: what is claimed, 0 to 1.
        right_N: whether it held; bool, or 0 and 1.
    """
    edges = np.linspace(0, 1, bins + 1)
    bin_N = np.clip(np.searchsorted(edges, confidence_N, side="left") - 1, 0, bins - 1)
    counts = np.bincount(bin_N, minlength=bins)
    filled = np.maximum(counts, 1)
    confidence = np.bincount(bin_N, confidence_N, minlength=bins) / filled
    return Reliability(edges, counts, confidence, np.bincount(bin_N, right_N, bins) / filled)
