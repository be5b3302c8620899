"""RandomBackground: what it cuts out, what it leaves alone, that its generators decide everything."""

import pickle
import random

import cv2
import numpy as np
import pytest

from trainer.backgrounds import background
from trainer.config.base import Call
from trainer.data import augment
from trainer.errors import UserError
from trainer.transforms import RandomBackground, cut_out

SKIN = (150, 90, 60)


def disc(size: int = 64, colour: tuple[int, ...] = SKIN, ground: int = 255) -> np.ndarray:
    """A round thing of radius size / 4 in the middle, smooth at its edge; uint8 [size, size, C]."""
    wide = np.full((4 * size, 4 * size, len(colour)), ground, np.uint8)
    cv2.circle(wide, (2 * size, 2 * size), size, colour, -1)
    return cv2.resize(wide, (size, size), interpolation=cv2.INTER_AREA).reshape(size, size, -1)


def radius(size: int = 64) -> np.ndarray:
    """Distance of each pixel from the middle; [size, size]."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.hypot(x, y)


def keyed(transform: RandomBackground, seed: int) -> RandomBackground:
    transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
    return transform


def changed(pixels: np.ndarray, seed: int = 1, **arguments: float) -> np.ndarray:
    return keyed(RandomBackground(p=1, **arguments), seed)(image=pixels)["image"]


def test_the_cover_is_the_disc() -> None:
    found = cut_out(disc(), 5)
    assert found is not None
    assert (found.cover[radius() < 15] == 1).all()
    assert (found.cover[radius() > 17] == 0).all()
    edge = found.cover[(radius() > 15.5) & (radius() < 16.5)]
    assert edge.mean() == pytest.approx(0.5, abs=0.1)  # as much of it as the disc covers


def test_the_edge_keeps_nothing_of_the_background() -> None:
    found = cut_out(disc(), 5)
    assert found is not None
    seen = found.colours[found.cover > 0.05]
    assert np.abs(seen - SKIN).max() < 2  # white mixed in would add up to 195


def test_no_halo_on_a_dark_background() -> None:
    found = cut_out(disc(), 5)
    assert found is not None
    laid = found.cover[..., None] * found.colours  # on black
    assert (laid <= np.array(SKIN) + 2).all()


def test_a_hole_is_background_and_a_highlight_is_not() -> None:
    pixels = disc()
    cv2.circle(pixels, (32, 32), 5, (255, 255, 255), -1)  # as between thumb and finger
    pixels[40, 32] = 255  # as on a nail
    found = cut_out(pixels, 5)
    assert found is not None
    assert (found.cover[radius() < 4] == 0).all()
    assert found.cover[40, 32] == 1


def test_shadows_are_background() -> None:
    pixels = disc()
    pixels[:, 56:] = 233
    found = cut_out(pixels, 5)
    assert found is not None
    assert (found.cover[:, 56:] == 0).all()


def test_thin_things_keep_their_colour() -> None:
    pixels = np.full((64, 64, 3), 255, np.uint8)
    pixels[20:, 30:33] = SKIN
    pixels[40:, 20:50] = SKIN
    found = cut_out(pixels, 5)
    assert found is not None
    assert (found.cover[21:, 31] == 1).all()
    assert np.abs(found.colours[found.cover > 0] - SKIN).max() < 2


@pytest.mark.parametrize(
    "pixels",
    [
        np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8),
        np.full((64, 64, 3), 255, np.uint8),
        np.repeat(np.repeat(np.uint8([[SKIN, (255, 255, 255)]]), 64, 0), 32, 1),
    ],
    ids=["busy", "empty", "half and half"],
)
def test_without_a_thing_on_one_colour_the_picture_stays(pixels: np.ndarray) -> None:
    assert cut_out(pixels, 5) is None
    assert changed(pixels) is pixels


def test_the_background_changes_and_the_thing_stays() -> None:
    pixels = disc()
    before = pixels.copy()
    result = changed(pixels, light=(1, 1), tint=0, shadow=(0, 0), sleeve=0)
    assert np.array_equal(pixels, before)
    assert result.shape == pixels.shape
    assert result.dtype == np.uint8
    inside, outside = radius() < 15, radius() > 18
    assert np.abs(result[inside].astype(int) - SKIN).max() <= 1
    assert (result[outside] == 255).mean() < 0.5


def test_the_generators_decide() -> None:
    pixels = disc()
    pictures = [changed(pixels, seed) for seed in (*range(20), *range(20))]
    assert all(np.array_equal(a, b) for a, b in zip(pictures[:20], pictures[20:], strict=True))
    assert len({each.tobytes() for each in pictures}) == 20
    np.random.seed(1)
    again = changed(pixels, 3)
    np.random.seed(2)
    assert np.array_equal(changed(pixels, 3), again)


def test_light_is_a_factor_within_its_range() -> None:
    for seed in range(20):
        result = changed(disc(), seed, light=(0.5, 0.8), tint=0, shadow=(0, 0), sleeve=0)
        factors = result[radius() < 15] / np.array(SKIN)
        assert factors.min() > 0.48
        assert factors.max() < 0.82


def test_a_sleeve_covers_the_arm_where_it_leaves_the_picture() -> None:
    pixels = disc()
    pixels[32:, 26:38] = SKIN
    plain, sleeved = (
        changed(pixels, 4, light=(1, 1), tint=0, shadow=(0, 0), sleeve=sleeve)
        for sleeve in (0.0, 1.0)
    )
    assert np.abs(plain[60:, 28:36].astype(int) - SKIN).max() <= 1
    assert np.abs(sleeved[60:, 28:36].astype(int) - SKIN).mean() > 20
    assert np.array_equal(plain[:30], sleeved[:30])


def test_a_sleeve_has_no_halo() -> None:
    pixels = disc()
    pixels[32:, 26:38] = SKIN
    for seed in range(20):
        transform = keyed(
            RandomBackground(p=1, light=(1, 1), tint=0, shadow=(0, 0), sleeve=1), seed
        )
        params = transform.get_params_dependent_on_data({}, {"image": pixels})
        params["ground"] = np.zeros_like(params["ground"])
        params["sleeve"] = (0.5, np.full_like(params["ground"], 40))
        result = transform.apply(pixels, **params)
        assert (result <= np.array(SKIN) + 2).all()  # of the white that was beside the arm


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 1)])
def test_grey_pictures(shape: tuple[int, ...]) -> None:
    pixels = disc(colour=(90,)).reshape(shape)
    result = changed(pixels)
    assert result.shape == shape
    assert not np.array_equal(result, pixels)


def test_it_travels_to_another_process() -> None:
    transform = keyed(RandomBackground(p=1, shadow=(0.2, 0.3)), 5)
    copy = pickle.loads(pickle.dumps(transform))
    assert np.array_equal(transform(image=disc())["image"], copy(image=disc())["image"])


@pytest.mark.parametrize("seed", range(30))
def test_every_background_is_a_picture(seed: int) -> None:
    ground = background((48, 64, 3), np.random.default_rng(seed))
    assert ground.shape == (48, 64, 3)
    assert ground.dtype == np.float32
    assert 0 <= ground.min() <= ground.max() <= 255


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tolerance": -1}, "tolerance: Input should be greater than or equal to 0, received -1"),
        ({"sleeve": 2}, "sleeve: Input should be less than or equal to 1, received 2"),
        ({"tint": "much"}, "tint: Input should be a valid number, unable to parse string as a number, received the text 'much'"),
        ({"shadow": [0.5, 2]}, "shadow: Value error, All values in (0.5, 2.0) must be >= 0 and <= 1, received a list of 2"),
        ({"light": [1.2, 0.8]}, "light: Value error, First value should be less than the second value, got (1.2, 0.8) instead, received a list of 2"),
    ],
)  # fmt: skip
def test_wrong_arguments(arguments: dict[str, object], message: str) -> None:
    name = "trainer.transforms.RandomBackground"
    with pytest.raises(UserError) as error:
        augment.build((Call(name, arguments),), 1)
    assert str(error.value) == f"data.augment[0].{name}: refused by albumentations: {message}"


def test_an_unknown_argument_is_a_mistake() -> None:
    call = Call("trainer.transforms.RandomBackground", {"shadows": [0, 1]})
    with pytest.raises(ExceptionGroup) as group:
        augment.build((call,), 1)
    assert "RandomBackground has no argument 'shadows'" in str(group.value.exceptions[0])
