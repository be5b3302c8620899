"""Precision over recall, and ROC, a line per class. K classes, T thresholds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from trainer.plots import style
from trainer.plots.style import BLUE, GREY, ORANGE

# Mostly Okabe and Ito's (2008), apart for the colour-blind.
COLOURS = (BLUE, ORANGE, "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7a5195", "#6b7280")


class Line(NamedTuple):
    """The curve of a class."""

    name: str
    x: np.ndarray  # [T]
    y: np.ndarray  # [T]
    area: float  # said in the legend: average precision, or ROC-AUC


def pr(lines: Sequence[Line]) -> Figure:
    """x is recall, y is precision, as from `evaluation.curves.precision_recall`."""
    return _drawn(lines, "precision and recall", ("recall", "precision"), "steps-post")


def roc(lines: Sequence[Line]) -> Figure:
    """x is the false positive rate, y the true positive one, as from `evaluation.curves.roc`."""
    figure = _drawn(lines, "ROC", ("false positive rate", "true positive rate"), "default")
    figure.axes[0].plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    return figure


def _drawn(lines: Sequence[Line], title: str, names: tuple[str, str], steps: str) -> Figure:
    """The lowest areas have colours and names, as many as there are colours; others are grey."""
    figure, axes = style.figure(8, 5.2)
    worst = sorted(lines, key=lambda line: line.area)
    for line in worst[len(COLOURS) :]:
        axes.plot(line.x, line.y, color=GREY, linewidth=0.8, drawstyle=steps)
    for line, colour in zip(worst, COLOURS, strict=False):
        said = f"{line.name}  {line.area:.3f}"
        axes.plot(line.x, line.y, color=colour, linewidth=1.8, drawstyle=steps, label=said)
    style.titled(axes, title, *names)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    title = f"lowest {len(COLOURS)} of {len(lines)}" if len(lines) > len(COLOURS) else "area"
    if lines:
        legend = axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), title=title)
        for text in legend.get_texts():
            text.set_parse_math(False)  # a dollar sign in a name begins no formula
    return figure
