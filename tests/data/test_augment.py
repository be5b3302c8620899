"""albumentations, one generator per picture."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from trainer.config.base import Call
from trainer.data import augment
from trainer.errors import UserError, leaves

CALLS = (
    Call("HorizontalFlip"),
    Call("Affine", {"rotate": [-40, 40], "scale": [0.8, 1.2], "p": 0.8}),
    Call("OneOf", {"transforms": ["RandomBrightnessContrast", {"GaussNoise": {"p": 1}}], "p": 0.9}),
)
PIXELS = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)


def test_the_position_alone_decides_what_a_picture_becomes() -> None:
    apply = augment.build(CALLS, 1)
    forward = [apply(PIXELS, k) for k in range(40)]
    apply = augment.build(CALLS, 1)
    backward = [apply(PIXELS, k) for k in reversed(range(40))][::-1]
    with ThreadPoolExecutor(4) as pool:
        threads = list(pool.map(lambda k: apply(PIXELS, k), range(40)))
    for others in (backward, threads):
        assert all(np.array_equal(a, b) for a, b in zip(forward, others, strict=True))
    assert len({picture.tobytes() for picture in forward}) > 30


def test_transforms_draw_independently() -> None:
    """set_random_seed would give each transform the same numbers: flips in both directions or none."""
    apply = augment.build((Call("HorizontalFlip"), Call("VerticalFlip")), 1)
    corner = np.zeros((2, 2, 3), np.uint8)
    corner[0, 0] = 255
    places = [apply(corner, k)[..., 0].argmax() for k in range(400)]
    counts = np.bincount(places, minlength=4)
    assert counts.min() > 60  # 100 each, standard deviation 9


def test_in_a_warmup_more_and_more_pictures_are_augmented() -> None:
    apply = augment.build((Call("InvertImg", {"p": 1}),), 1, warmup=1000.0)
    inverted = np.array([not np.array_equal(apply(PIXELS, k), PIXELS) for k in range(1200)])
    assert not inverted[0]
    assert inverted[1000:].all()
    quarters = inverted[:1000].reshape(4, 250).mean(1)
    assert quarters == pytest.approx([0.125, 0.375, 0.625, 0.875], abs=0.1)  # deviation 0.02, 0.03
    again = augment.build((Call("InvertImg", {"p": 1}),), 1, warmup=1000.0)
    for k in reversed(range(1000)):
        assert np.array_equal(again(PIXELS, k), PIXELS) != inverted[k]


def test_after_a_warmup_pictures_become_what_they_become_without_one() -> None:
    apply, warmed = augment.build(CALLS, 1), augment.build(CALLS, 1, warmup=30.0)
    for k in range(30, 60):
        assert np.array_equal(apply(PIXELS, k), warmed(PIXELS, k))


def test_no_transforms_change_nothing() -> None:
    assert np.array_equal(augment.build((), 1)(PIXELS, 1), PIXELS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (Call("RandomCrop", {"height": 8, "width": 10}), "RandomCrop turns 16x20x3 pixels (height, width, channels) into 8x10x3"),
        (Call("RandomRotate90"), "RandomRotate90 turns 16x20x3 pixels (height, width, channels) into 20x16x3"),
        (Call("OneOf", {"transforms": [{"NoOp": {}}, {"Resize": {"height": 8, "width": 8}}], "p": 0.01}), "Resize turns 16x20x3 pixels (height, width, channels) into 8x8x3"),
        (Call("ToFloat"), "ToFloat turns pixels into float32; they stay uint8, 0 to 255"),
        (Call("CenterCrop", {"height": 99, "width": 99}), "CenterCrop fails on a picture: "),
    ],
)  # fmt: skip
def test_what_does_not_keep_the_picture(call: Call, message: str) -> None:
    with pytest.raises(UserError) as error:
        augment.check((Call("NoOp"), call), (16, 20, 3))
    assert str(error.value).startswith(f"data.augment[1]: {message}")


def test_a_transform_with_an_attribute_transforms_is_one() -> None:
    augment.check((Call("ColorJitter"),), (16, 20, 3))


def test_what_keeps_the_picture_passes() -> None:
    resized = Call("RandomResizedCrop", {"size": [16, 20], "scale": [0.5, 1.0]})
    augment.check((*CALLS, resized), (16, 20))


def test_values_that_albumentations_refuses() -> None:
    with pytest.raises(UserError) as error:
        augment.build((Call("Affine", {"rotate": "much"}),), 1)
    assert str(error.value) == (
        "data.augment[0].Affine: refused by albumentations: rotate: "
        "Input should be a valid tuple, received the text 'much'"
    )


def test_unknown_arguments_are_mistakes_not_warnings() -> None:
    with pytest.raises(ExceptionGroup) as group:
        augment.build((Call("OneOf", {"transforms": [{"Blur": {"limit": 3}}]}),), 1)
    assert [str(error) for error in leaves(group.value)] == [
        "data.augment[0].OneOf.transforms[0].Blur.limit: Blur has no argument 'limit'\n"
        "  did you mean 'blur_limit'?"
    ]
