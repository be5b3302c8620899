"""What all pictures share."""

from pathlib import Path

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from trainer.plots import comparison, confusion, curves, explanation, reliability, style, tiles


def drawn() -> Figure:
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


def words(figure: Figure) -> list[str]:
    """What can be read in its first axes."""
    axes = figure.axes[0]
    legend = axes.get_legend()
    ticks = [*axes.get_xticklabels(), *axes.get_yticklabels()]
    return [text.get_text() for text in (*axes.texts, *ticks, *(legend.texts if legend else ()))]


def heights(axes: Axes) -> list[float]:
    return [bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)]


def test_a_confusion_matrix_has_counts_or_per_cent() -> None:
    counts = np.array([[3, 1], [0, 0]])
    assert words(confusion.draw(counts, ("cat", "$dog$"), False))[:4] == ["3", "1", "0", "0"]
    shares = confusion.draw(counts, ("cat", "$dog$"), True)
    assert words(shares)[:6] == ["75", "25", "0", "0", "cat", "$dog$"]
    assert "$dog$" in style.svg(shares)  # no formula


def test_a_large_confusion_matrix_has_no_numbers() -> None:
    names = [f"class number {index} of many classes" for index in range(30)]
    found = words(confusion.draw(np.eye(30, dtype=int), names, False))
    assert found[0] == "class number…any classes"
    style.pixels(confusion.draw(np.eye(100, dtype=int), [str(i) for i in range(100)], True))


def test_a_reliability_diagram_leaves_empty_bins_out() -> None:
    edges, counts = np.linspace(0, 1, 5), np.array([0, 0, 1, 3])
    figure = reliability.draw(edges, counts, np.array([0, 0, 0.6, 0.9]), np.array([0, 0, 1, 0.5]))
    above, below = figure.axes
    assert above.get_title("left") == "calibration, expected error 0.400"
    assert heights(above) == [1, 0.5]
    assert heights(below) == [0, 0, 1, 3]
    style.pixels(reliability.draw(edges, np.zeros(4, int), np.zeros(4), np.zeros(4)))


def test_curves_name_the_lowest_areas() -> None:
    line = np.array([0.0, 1.0])
    lines = [curves.Line(f"{index}", line, line, index / 10) for index in range(10)]
    for draw in (curves.pr, curves.roc):
        assert words(draw(lines))[-8:] == [f"{index}  0.{index}00" for index in range(8)]
        style.pixels(draw([]))


def test_tiles_stand_in_rows() -> None:
    grey = np.full((4, 4, 1), 200, np.uint8)
    few = tiles.draw("a $title$", "a note", [grey] * 3, ["a", "b_$", ""], columns=8)
    many = tiles.draw("a", "b", [np.eye(4)] * 9, [""] * 9, columns=4, group=2)
    assert [round(side, 2) for side in few.get_size_inches()] == [4.5, 1.94]
    assert [round(side, 2) for side in many.get_size_inches()] == [4.75, 4.58]
    lefts = [round(axes.get_position().x0 * 4.75, 2) for axes in many.axes]
    assert lefts == [0.1, 1.2, 2.55, 3.65, 0.1, 1.2, 2.55, 3.65, 0.1]
    assert len(np.unique(style.pixels(many))) > 10


def test_an_explanation_shows_the_label_that_was_asked_for() -> None:
    picture, heat = np.zeros((8, 16, 1), np.uint8), np.eye(2)
    panels = [explanation.Panel("Grad-CAM", heat, np.zeros((8, 16, 3), np.uint8))]
    labels = [f"label {number}" for number in range(9)]
    scores = np.arange(9, 0, -1) / 10
    figure = explanation.draw("p.png", picture, labels, scores, [explanation.Asked(7, panels)])
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts[::2] == ["label 0", "label 1", "label 2", "label 3", "label 7"]
    assert texts[1::2] == ["0.900", "0.800", "0.700", "0.600", "0.200"]
    assert style.pixels(figure).ndim == 3


def test_long_names_are_cut() -> None:
    assert explanation.short("folder/" * 9 + "hand.png") == "…folder/folder/folder/hand.png"
    assert explanation.short("a\udce9\n") == "a\\udce9?"


# --- trainings laid over each other -------------------------------------------------------------


def test_only_logs_that_all_trainings_have_are_laid_over_each_other() -> None:
    one = {"loss": [2.0, 1.0], "val_loss": [3.0, 2.0], "f1": [0.5, 0.6], "learning_rate": [1, 1]}
    other = {"loss": [2.0], "learning_rate": [1]}
    panels = comparison.panels(["A", "B"], [one, other], [2, None])
    assert list(panels) == ["loss"]
    assert panels["loss"][0] == comparison.Course("A", [2.0, 1.0], [3.0, 2.0], 2)
    assert panels["loss"][1] == comparison.Course("B", [2.0], None, None)


def test_a_colour_per_training_and_a_ring_at_the_best_epoch() -> None:
    panels = {
        "loss": [comparison.Course("$A$", [2, 1], [3, 2], 2), comparison.Course("B", [2], None, 9)]
    }
    figure = comparison.draw(panels)
    axes = figure.axes[0]
    assert words(figure)[-4:] == ["$A$", "B", "training", "validation"]
    ring = next(line for line in axes.lines if line.get_marker() == "o")
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (2, 2)  # of validation
    assert len([line for line in axes.lines if line.get_marker() == "o"]) == 1  # 9 is no epoch of B
    assert axes.lines[0].get_color() != axes.lines[-3].get_color()
    style.pixels(
        comparison.draw({"loss": [comparison.Course(str(n), [n], [n], 1) for n in range(12)]})
    )
