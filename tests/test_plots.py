"""What all pictures share."""

from pathlib import Path

import cv2
import numpy as np

from trainer.plots import style


def drawn() -> style.Figure:
    figure, axes = style.figure(4, 3)
    style.titled(axes, "a <title>", "x", "y")
    axes.plot([0, 1], [0, 1], color=style.BLUE)
    return figure


def test_sizes_are_in_inches(tmp_path: Path) -> None:
    style.save(drawn(), tmp_path / "it.png")
    assert cv2.imread(str(tmp_path / "it.png")).shape == (450, 600, 3)
    found = style.pixels(drawn())
    assert (found.shape, found.dtype) == ((300, 400, 3), np.uint8)
    assert len(np.unique(found)) > 10


def test_the_same_figure_is_the_same_text() -> None:
    text = style.svg(drawn())
    assert text.startswith("<svg") and "a &lt;title&gt;" in text
    assert text == style.svg(drawn())
