"""The drawn hands: their form, their repeatability, and what they refuse."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from trainer.data import hands


def _picture(label: str, seed: int, size: int = 64) -> np.ndarray:
    return hands.draw(label, np.random.default_rng(seed), size)


@pytest.mark.parametrize("label", hands.CLASSES)
@pytest.mark.parametrize("size", [16, 63, 200])
def test_a_picture_is_square_rgb(label: str, size: int) -> None:
    picture = _picture(label, 0, size)
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8
    assert picture.std() > 5


@pytest.mark.parametrize("label", hands.CLASSES)
def test_the_generator_alone_decides_the_picture(label: str) -> None:
    assert np.array_equal(_picture(label, 1), _picture(label, 1))
    assert not np.array_equal(_picture(label, 1), _picture(label, 2))


def test_threads_draw_what_one_thread_draws() -> None:
    seeds = range(24)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: _picture("rock", seed), seeds))
    assert np.array_equal(together, [_picture("rock", seed) for seed in seeds])


def test_unknown_labels_and_tiny_sizes_are_refused() -> None:
    with pytest.raises(ValueError) as unknown:
        _picture("lizard", 0)
    assert str(unknown.value) == (
        "label must be one of ('paper', 'rock', 'scissors'), got 'lizard'"
    )
    with pytest.raises(ValueError) as tiny:
        _picture("rock", 0, 15)
    assert str(tiny.value) == "size must be at least 16, got 15"


@pytest.mark.parametrize("label", hands.CLASSES)
def test_every_kind_of_picture_is_drawn_without_a_warning(label: str) -> None:
    """Enough of them that each ground, each thumb, rings and sleeves come up."""
    with np.errstate(all="raise", under="ignore"):
        for seed in range(60):
            assert _picture(label, seed, 40).std() > 1
