"""Pictures with words below them."""

import numpy as np

from trainer.board import gallery
from trainer.board.gallery import CELL, GAP, LINE, Cell


def test_a_grid_of_scaled_pictures() -> None:
    red, blue = (np.full((33, 66, 3), colour, np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    sheet = gallery.draw([Cell([each], ["word"]) for each in (red, blue, red, red)])
    assert sheet.shape == (2 * (66 + 2 + LINE + 2 + GAP) + GAP, 2 * (CELL + GAP) + GAP, 3)
    assert sheet.dtype == np.uint8
    assert (sheet[GAP : GAP + 66, GAP : GAP + CELL] == (255, 0, 0)).all()  # twice as large
    assert (sheet[GAP + 40, 2 * GAP + CELL + 40] == (0, 0, 255)).all()
    assert (sheet[GAP + 68 : GAP + 68 + LINE, GAP : GAP + CELL] < 100).any()  # words


def test_several_pictures_stand_one_above_the_other() -> None:
    parts = [np.full((CELL, CELL, 1), grey, np.uint8) for grey in (10, 200)]
    sheet = gallery.draw([Cell(parts, [])])
    assert sheet[GAP + 5, GAP + 5].tolist() == [10, 10, 10]
    assert sheet[GAP + CELL + 7, GAP + 5].tolist() == [200, 200, 200]


def test_large_pictures_shrink_and_any_name_can_be_written() -> None:
    huge = np.zeros((900, 300, 3), np.uint8)
    names = ["\ud800 \n\t", "a" * 500, "", "größer"]
    sheet = gallery.draw([Cell([huge], [name]) for name in names])
    assert sheet.shape[1] % (CELL + GAP) == GAP


def test_the_grid_is_as_wide_as_the_card() -> None:
    assert [gallery._columns(count, 144, 194) for count in (1, 2, 6, 16)] == [1, 2, 3, 6]
    assert gallery._columns(6, 144, 300) == 6  # two pictures one above the other
