"""What all pictures share: colours, titles, and the ways out.

Figures are made without pyplot: no window, no backend, nothing to be closed.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BLUE, ORANGE, GREY, INK = "#1f5fa8", "#d1600a", "#b3bbc3", "#22272e"  # apart for the colour-blind
GRID = "#e6e9ec"
DPI = 150


def figure(width: float, height: float) -> tuple[Figure, Axes]:
    """One picture with one pair of axes; inches."""
    made = Figure(figsize=(width, height), layout="constrained")
    return made, made.add_subplot()


def titled(axes: Axes, title: str, x: str, y: str) -> None:
    """The house's look: a title on the left, names of the axes, a faint grid, no frame."""
    axes.set_xlabel(x, color=INK)
    axes.set_ylabel(y, color=INK)
    axes.set_title(title, loc="left", color=INK, fontsize=12, pad=10)
    axes.grid(axis="both", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path) -> None:
    """As a PNG of 150 pixels per inch."""
    figure.savefig(path, dpi=DPI)


def pixels(figure: Figure, dpi: int = 100) -> np.ndarray:
    """uint8 [H, W, 3], for TensorBoard."""
    figure.set_dpi(dpi)
    canvas: Any = FigureCanvasAgg(figure)  # its methods are without types
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def svg(figure: Figure) -> str:
    """For a page: the element alone, the same text for the same figure."""
    file = io.StringIO()
    with rc_context({"svg.hashsalt": "trainer", "svg.fonttype": "none"}):  # ids, and text as text
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
