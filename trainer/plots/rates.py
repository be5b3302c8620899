"""A learning-rate range test."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from trainer.plots import style
from trainer.plots.style import BLUE, GREY, ORANGE


def range_test(
    path: Path,
    title: str,
    rates_S: np.ndarray,
    losses_S: np.ndarray,
    smoothed_S: np.ndarray,
    marks: tuple[float, float] | None,
) -> None:
    """Draws a learning-rate range test as a PNG of 1200 × 750 pixels.

    What lies far above the first losses is cut off: a loss that explodes would press all else
    flat.

    Args:
        rates_S, losses_S, smoothed_S: of the S steps.
        marks: the suggested learning rate and that of the least loss, if there are such.
    """
    figure, axes = style.figure(8, 5)
    axes.plot(rates_S, losses_S, color=GREY, linewidth=0.9, label="loss of a batch")
    axes.plot(rates_S, smoothed_S, color=BLUE, linewidth=2.2, label="smoothed")
    axes.set_xscale("log")
    axes.set_ylim(*_height(losses_S, smoothed_S))
    axes.margins(x=0.01)
    axes.xaxis.set_major_locator(LogLocator(numticks=12))
    axes.xaxis.set_minor_locator(NullLocator())
    plain = FuncFormatter(lambda value, _: f"{value:g}".replace("e-0", "e-"))
    axes.xaxis.set_major_formatter(plain)
    style.titled(axes, title, "learning rate (logarithmic)", "training loss")
    if marks:
        _mark(axes, *marks, rates_S, smoothed_S)
    axes.legend(frameon=False, loc="lower left")
    style.save(figure, path)


def _mark(
    axes: Axes, suggested: float, least: float, rates_S: np.ndarray, smoothed_S: np.ndarray
) -> None:
    height = np.interp(np.log10([suggested, least]), np.log10(rates_S), smoothed_S)
    axes.axvline(suggested, color=ORANGE, linewidth=1.4, linestyle=(0, (4, 3)), zorder=1)
    axes.plot(suggested, height[0], "o", color=ORANGE, markersize=8, zorder=5)
    axes.plot(least, height[1], "o", color="white", markeredgecolor=BLUE, markersize=8, zorder=5)
    axes.annotate(
        f"suggested: {suggested:.2g}",
        (suggested, 1),
        xycoords=("data", "axes fraction"),
        xytext=(6, -4),
        textcoords="offset points",
        va="top",
        color=ORANGE,
        fontweight="bold",
    )
    axes.annotate(
        f"least loss: {least:.2g}",
        (least, height[1]),
        xytext=(0, -12),
        textcoords="offset points",
        ha="center",
        va="top",
        color=BLUE,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1},
    )


def _height(losses_S: np.ndarray, smoothed_S: np.ndarray) -> tuple[float, float]:
    """The least and the greatest loss to show."""
    first = float(np.median(losses_S[:10]))
    low = float(losses_S.min())
    high = min(float(losses_S.max()), first + max(first - float(smoothed_S.min()), abs(first) / 2))
    margin = 0.05 * (high - low or 1)
    return low - margin, high + margin
