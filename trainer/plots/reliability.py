"""A reliability diagram: what confidence claims against what holds. B bins."""

import numpy as np
from matplotlib.figure import Figure

from trainer.plots import style
from trainer.plots.style import BLUE, GREY, INK, ORANGE


def draw(
    edges: np.ndarray, counts: np.ndarray, confidence: np.ndarray, accuracy: np.ndarray
) -> Figure:
    """Above, accuracy by confidence, with the gap to what was claimed; below, how many pictures.

    Args:
        edges: [B + 1], 0 to 1.
        counts: pictures of each bin [B]; those with none are left out.
        confidence, accuracy: the means of each bin [B].
    """
    figure = Figure(figsize=(5.5, 5.5), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    filled = np.asarray(counts) > 0
    left, width = edges[:-1][filled], np.diff(edges)[filled]
    accuracy, confidence = accuracy[filled], confidence[filled]
    axes.bar(left, accuracy, width, align="edge", color=BLUE, edgecolor="white", label="accuracy")
    axes.vlines(confidence, confidence, accuracy, color=ORANGE, linewidth=2, label="gap")
    axes.plot(confidence, confidence, "o", color=ORANGE, markersize=5, label="mean confidence")
    axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=(0, (4, 3)), label="perfect")
    share = np.asarray(counts) / max(np.sum(counts), 1)
    error = float((share[filled] * np.abs(accuracy - confidence)).sum())
    style.titled(axes, f"calibration, expected error {error:.3f}", "", "accuracy")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(frameon=False, loc="upper left")
    below.bar(edges[:-1], counts, np.diff(edges), align="edge", color=GREY, edgecolor="white")
    style.titled(below, "", "confidence", "pictures")
    return figure
