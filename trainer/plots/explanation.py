"""One picture explained: what the network says, and where in the picture that comes from."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from trainer.plots.style import GREY, INK, ORANGE

PANEL = 2.5  # inches; the longer side of a picture
BARS = 5  # labels at most
HEAT = "inferno"
LETTERS = 30  # of a name, in the width of a panel


class Panel(NamedTuple):
    """What one method says."""

    title: str
    heat: np.ndarray  # [h, w], 0 to 1
    overlay: np.ndarray  # uint8 [H, W, 3]


class Asked(NamedTuple):
    """A label that is explained."""

    label: int
    panels: Sequence[Panel]


def draw(
    name: str,
    picture: np.ndarray,
    labels: Sequence[str],
    scores_K: np.ndarray,
    asked: Sequence[Asked],
) -> Figure:
    """For every label that is asked for two rows: the picture and the heat of each method over it,
    below them the probabilities and the heat alone.

    Args:
        name: of the picture.
        picture: uint8 [H, W, 1 or 3].
        scores_K: probabilities, by labels.
        asked: each with the same methods.
    """
    height, width = (PANEL * side / max(picture.shape[:2]) for side in picture.shape[:2])
    rows, columns = 2 * len(asked), 1 + len(asked[0].panels)
    size = columns * (width + 0.25) + 0.9, rows * (height + 0.42) + 0.2
    figure = Figure(figsize=size, layout="constrained")
    grid = GridSpec(rows, columns, figure)
    heats = []
    for number, (label, panels) in enumerate(asked):
        above = figure.add_subplot(grid[2 * number, 0])
        _picture(above, picture, name if not number else "")
        bars = figure.add_subplot(grid[2 * number + 1, 0])
        _bars(bars, labels, scores_K, label, height / width)
        for column, panel in enumerate(panels, 1):
            _picture(figure.add_subplot(grid[2 * number, column]), panel.overlay, panel.title)
            heats.append(figure.add_subplot(grid[2 * number + 1, column]))
            heats[-1].imshow(
                panel.heat, cmap=HEAT, vmin=0, vmax=1, extent=(0, 1, height / width, 0)
            )
            _bare(heats[-1])
    scale = ScalarMappable(Normalize(0, 1), HEAT)
    bar = figure.colorbar(scale, ax=heats, shrink=0.9, aspect=30, ticks=[0, 1])
    bar.ax.set_yticklabels(["none", "most"], color=INK, fontsize=9)
    bar.outline.set_visible(False)
    return figure


def _picture(axes: Axes, pixels: np.ndarray, title: str) -> None:
    shown = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
    axes.imshow(shown, interpolation="antialiased")
    axes.set_title(short(title), color=INK, fontsize=10, loc="left", parse_math=False)
    _bare(axes)


def _bars(axes: Axes, labels: Sequence[str], scores_K: np.ndarray, asked: int, tall: float) -> None:
    """The most probable labels, and the one that is asked for in any case."""
    order = np.argsort(-scores_K, kind="stable").tolist()
    shown = order[:BARS] if asked in order[:BARS] else [*order[: BARS - 1], asked]
    for row, index in enumerate(shown):
        chosen = index == asked
        axes.barh(row, 1, 0.16, color="#eef0f2")
        axes.barh(row, scores_K[index], 0.16, color=ORANGE if chosen else GREY)
        style = {"color": INK, "fontsize": 10, "fontweight": "bold" if chosen else "normal"}
        text = short(labels[index], LETTERS - 14)
        axes.text(0, row - 0.2, text, va="bottom", parse_math=False, **style)  # type: ignore[arg-type]
        number = f"{scores_K[index]:.3f}"
        axes.text(1, row - 0.2, number, va="bottom", ha="right", **style)  # type: ignore[arg-type]
    axes.set_xlim(0, 1)
    axes.set_ylim(max(len(shown), 4) - 0.5, -0.8)
    axes.set_box_aspect(tall)
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def short(text: str, most: int = LETTERS) -> str:
    """The end of a long name, where file names differ; bytes that are no UTF-8 as \\x.."""
    text = text.encode("utf-8", "backslashreplace").decode()
    text = "".join(each if each.isprintable() else "?" for each in text)
    return text if len(text) <= most else f"…{text[1 - most :]}"
