"""What is written is what TensorBoard reads."""

from pathlib import Path

import numpy as np
import pytest
from tensorboard.plugins.pr_curve import summary as pr_curves
from tensorboard.util import tensor_util

from tests.board.reading import Board
from trainer.board import events
from trainer.board.events import Events


def written(folder: Path, *values: events.Value) -> Board:
    file = Events(folder)
    file.write(3, values)
    file.close()
    return Board(folder)


def test_a_scalar_is_a_point_of_a_curve(tmp_path: Path) -> None:
    board = written(tmp_path, events.scalar("metrics/loss", 0.25))
    assert board.plugin("metrics/loss") == "scalars"
    assert (board.steps("metrics/loss"), board.scalars("metrics/loss")) == ([3], [0.25])


def test_a_picture_comes_back_pixel_by_pixel(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    board = written(tmp_path, events.image("images", pixels))
    assert board.plugin("images") == "images"
    assert np.array_equal(board.images("images")[0], pixels)


def test_half_of_a_file_is_none_of_tensorboards(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "explain"
    for value in (1.0, 2.0):
        with events.alone(folder) as add:
            add(events.scalar("a", value))
            events_files = [path for path in tmp_path.rglob("*") if "tfevents" in path.name]
            assert len(events_files) == int(value) - 1  # that of the time before
        assert Board(folder).scalars("a") == [value]
    with pytest.raises(ZeroDivisionError), events.alone(folder) as add:
        add(events.scalar("a", 1 / 0))
    assert Board(folder).scalars("a") == [2.0]
    assert len(list(folder.iterdir())) == 1
    assert [each.name for each in folder.parent.iterdir()] == ["explain"]


def test_text_is_markdown(tmp_path: Path) -> None:
    board = written(tmp_path, events.text("config", "# größer"))
    assert board.plugin("config") == "text"
    assert board.arrays("config")[0].item().decode() == "# größer"


def test_a_histogram_counts_what_is_a_number(tmp_path: Path) -> None:
    values = np.array([[0.0, 1.0], [3.0, np.nan]], np.float32)
    board = written(tmp_path, events.histogram("weights/a", values))
    assert board.plugin("weights/a") == "histograms"
    rows = board.arrays("weights/a")[0]  # left edge, right edge, count
    assert rows.shape == (30, 3)
    assert (rows[0, 0], rows[-1, 1], rows[:, 2].sum()) == (0, 3, 3)
    assert rows[[0, 10, 29], 2].tolist() == [1, 1, 1]


def test_histograms_of_equal_and_of_no_values_are_no_error(tmp_path: Path) -> None:
    for values in (np.full(4, 2.0), np.array([np.inf, np.nan])):
        board = written(tmp_path / str(values.size), events.histogram("a", values))
        assert board.arrays("a")[0][:, 2].sum() == np.isfinite(values).sum()


def test_a_curve_by_hand(tmp_path: Path) -> None:
    truth, scores = np.array([1, 1, 0, 0]), np.array([0.9, 0.4, 0.6, 0.1])
    board = written(tmp_path, events.pr_curve("pr_curves/rock", truth, scores))
    assert board.plugin("pr_curves/rock") == "pr_curves"
    rows = board.arrays("pr_curves/rock")[0]
    assert rows.shape == (6, 101)
    # true and false positives, true and false negatives, precision, recall, from half a probability
    assert rows[:, 50].tolist() == [1, 1, 1, 1, 0.5, 0.5]
    assert rows[:, 0].tolist() == [2, 2, 0, 0, 0.5, 1]
    assert rows[:, 100].tolist() == [0, 0, 2, 2, 1, 0]


def test_a_curve_equals_that_of_tensorboard() -> None:
    generator = np.random.default_rng(0)
    truth = generator.random(500) < 0.3
    scores = np.round(generator.random(500, np.float32) * 0.8 + 0.2 * truth, 3)
    theirs = pr_curves.pb("a", truth, scores + 1e-6, num_thresholds=events.THRESHOLDS)
    ours = events.pr_curve("a", truth, scores + 1e-6)
    received, expected = map(tensor_util.make_ndarray, (ours.tensor, theirs.value[0].tensor))
    assert np.allclose(received, expected)


def test_a_label_that_is_never_true_has_a_curve(tmp_path: Path) -> None:
    board = written(tmp_path, events.pr_curve("a", np.zeros(3, bool), np.array([0.1, 0.5, 0.9])))
    assert np.isfinite(board.arrays("a")[0]).all()
