"""A confusion matrix."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from trainer.plots import style
from trainer.plots.style import BLUE, INK

NUMBERS = 25  # classes, above which numbers would be too small to be read
NAMES = 60  # classes, above which names would
LONG = 24  # characters of a name that are shown, its beginning and its end
_SHADES = LinearSegmentedColormap.from_list("white to blue", ["white", BLUE])


def draw(counts_KK: np.ndarray, names: Sequence[str], normalised: bool) -> Figure:
    """Row the true class, column the predicted one; shaded by the share of the row.

    Args:
        counts_KK: int [K, K].
        normalised: whether the numbers are shares of the row in per cent rather than pictures.
    """
    counts_KK, classes = np.asarray(counts_KK), len(names)
    share_KK = counts_KK / np.maximum(counts_KK.sum(axis=1, keepdims=True), 1)
    size = 2.2 + 0.4 * classes if classes <= NUMBERS else 9
    figure, axes = style.figure(size + 1, size)
    axes.imshow(share_KK, cmap=_SHADES, vmin=0, vmax=1, interpolation="nearest")
    title = "confusion, per cent of the true class" if normalised else "confusion, pictures"
    style.titled(axes, title, "predicted", "true")
    axes.grid(visible=False)
    axes.tick_params(length=0, colors=INK)
    _name(axes, names)
    if classes <= NUMBERS:
        _number(axes, 100 * share_KK if normalised else counts_KK, share_KK)
    return figure


def _name(axes: Axes, names: Sequence[str]) -> None:
    if len(names) > NAMES:  # their numbers have to do
        return
    ticks = range(len(names))
    half = LONG // 2
    names = [name.encode("utf-8", "backslashreplace").decode() for name in names]
    shown = [name if len(name) <= LONG else f"{name[:half]}…{name[1 - half :]}" for name in names]
    size = 9 if len(names) <= NUMBERS else 6
    turned = {"rotation": 0} if len(names) <= 4 else {"rotation": 45, "ha": "right"}
    # A dollar sign in a name begins no formula.
    axes.set_xticks(ticks, shown, fontsize=size, parse_math=False, **turned)
    axes.set_yticks(ticks, shown, fontsize=size, parse_math=False)


def _number(axes: Axes, values_KK: np.ndarray, share_KK: np.ndarray) -> None:
    for (row, column), value in np.ndenumerate(values_KK):
        axes.text(
            column,
            row,
            f"{value:.0f}",
            ha="center",
            va="center",
            fontsize=9 if len(values_KK) <= 12 else 8,
            color="white" if share_KK[row, column] > 0.6 else INK,
        )
