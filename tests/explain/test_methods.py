"""Occlusion, feature maps, filters and highlights, by hand."""

from pathlib import Path

import keras
import numpy as np
import pytest

from tests.explain import networks
from trainer.commands.explain import METHODS
from trainer.errors import UserError
from trainer.explain import features, filters, highlights, occlusion
from trainer.explain.occlusion import Place


def test_every_method_has_its_file() -> None:
    folder = Path(occlusion.__file__).parent
    written = {path.stem for path in folder.glob("[!_]*.py")} - {"overlay"}
    assert written == {name.rstrip("+") for name in METHODS}


# --- occlusion ----------------------------------------------------------------------------------


def test_the_cover_goes_from_edge_to_edge() -> None:
    assert occlusion.places(4, 6) == [Place(y, x, y + 1, x + 1) for y in range(4) for x in range(6)]
    long = occlusion.places(10, 60)  # higher than the cover is the picture not
    assert [each.left for each in long] == [0, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50]
    assert all((each.top, each.bottom) == (0, 10) for each in long)
    assert len(occlusion.places(299, 299)) == 121


def test_a_linear_network_loses_what_is_covered() -> None:
    model, image = networks.flat(), np.zeros((6, 6, 1), np.uint8)
    image[0, 1], image[4, 0], image[5, 5] = 200, 16, 144  # their mean is 10
    found = occlusion.drops(model, np.stack([image, image]), np.array([1, 0]))
    weights = 0.01 * np.arange(36).reshape(6, 6)
    np.testing.assert_allclose(found[0], weights * (image[..., 0] - 10.0), atol=1e-4)
    assert not found[1].any()  # class 0 has no weights
    heat = occlusion.heat(model, np.stack([image, image]), np.array([1, 0]))
    expected = np.zeros((6, 6))
    expected[0, 1], expected[4, 0], expected[5, 5] = 0.01 * 190, 0.24 * 6, 0.35 * 134
    np.testing.assert_allclose(heat[0], expected / expected.max(), atol=1e-5)
    assert not heat[1].any()


def test_a_pixel_has_the_mean_of_the_covers_that_hide_it() -> None:
    model = keras.Sequential(
        [keras.Input((12, 12, 1)), keras.layers.Flatten(), keras.layers.Dense(1)]
    )
    model.layers[-1].set_weights([np.ones((144, 1)), np.zeros(1)])
    image = np.zeros((1, 12, 12, 1), np.uint8)
    image[0, 0, 0] = 72  # the mean is 0.5, and rounds to 0
    found = occlusion.drops(model, image, np.array([0]))[0]
    # Covers of 2 × 2: one of them hides the corner, two the pixel beside it, four the next one.
    np.testing.assert_allclose(found[:3, :3], [[72, 36, 0], [36, 18, 0], [0, 0, 0]], atol=1e-4)


# --- maps ---------------------------------------------------------------------------------------


def test_layers_are_spread_from_the_first_convolution_to_the_last() -> None:
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Rescaling(1.0)]
        + [keras.layers.Conv2D(2, 1, name=f"c{at}") for at in range(7)]
        + [keras.layers.ReLU(name="r"), keras.layers.GlobalMaxPooling2D()]
    )
    assert features.layers(model) == ("c0", "c2", "c4", "c6")
    assert features.layers(model, ["r", "c3"]) == ("r", "c3")
    with pytest.raises(UserError, match="no convolution"):
        features.layers(networks.flat())


def test_maps_are_what_the_layer_gives() -> None:
    model, images = networks.averaging([]), networks.noise(3, 4, 4)
    found = features.maps(model, images, ["conv"])
    np.testing.assert_array_equal(found["conv"], images[..., :2])
    maps = np.zeros((2, 2, 4))
    maps[0, 0] = [1, -9, 3, 2]
    assert features.strongest(maps, 2) == (2, 3)
    assert features.strongest(maps, 9) == (0, 1, 2, 3)


# --- filters ------------------------------------------------------------------------------------


def test_filters_are_seen_in_the_colours_of_the_picture() -> None:
    inputs = keras.Input((8, 8, 3))
    x = keras.ops.take(inputs, [2, 1, 0], axis=-1)  # as ResNet50 and VGG want it
    x = keras.layers.Rescaling([1.0, 2.0, 1.0], [-9.0, 0.0, 3.0])(x)
    conv = keras.layers.Conv2D(2, (1, 2), name="conv")
    model = keras.Model(inputs, keras.layers.GlobalMaxPooling2D()(conv(x)))
    kernel = np.zeros((1, 2, 3, 2))
    kernel[0, 0, 0, 0], kernel[0, 1, 1, 0] = (
        4,
        -1,
    )  # blue on the left, green to be dark on the right
    conv.set_weights([kernel, np.zeros(2)])
    found = filters.first(model)
    assert found.layer == "conv" and found.pictures.shape == (2, 1, 2, 3)
    np.testing.assert_allclose(found.pictures[0, 0], [[0.5, 0.5, 1], [0.5, 0.25, 0.5]], atol=1e-6)
    np.testing.assert_allclose(found.pictures[1], 0.5)  # no weights at all


@pytest.mark.parametrize(
    ("layer", "channels", "count"),
    [
        (keras.layers.Conv2D(4, 3), 1, 4),
        (keras.layers.DepthwiseConv2D(3, depth_multiplier=2), 3, 6),
        (keras.layers.SeparableConv2D(5, 3), 3, 3),
        (keras.layers.Conv2D(6, 3, groups=3), 3, 6),
    ],
    ids=["grey", "depthwise", "separable", "groups"],
)
def test_filters_of_other_convolutions(
    layer: keras.layers.Layer, channels: int, count: int
) -> None:
    model = keras.Sequential(
        [keras.Input((8, 8, channels)), layer, keras.layers.GlobalMaxPooling2D()]
    )
    found = filters.first(model).pictures
    assert found.shape == (count, 3, 3, 3) and found.min() >= 0 and found.max() <= 1
    if count == 6 and isinstance(layer, keras.layers.DepthwiseConv2D):
        assert (found[:2, ..., 1:] == 0.5).all() and not (found[:2, ..., 0] == 0.5).all()  # red


def test_filters_of_equivariant_convolutions() -> None:
    assert filters.first(networks.equivariant()).pictures.shape == (2, 3, 3, 3)


# --- highlights ---------------------------------------------------------------------------------


def looking(*convolutions: keras.layers.Layer) -> keras.Model:
    return keras.Sequential(
        [keras.Input((20, 20, 3)), *convolutions, keras.layers.GlobalMaxPooling2D()]
    )


def test_what_a_place_looks_at() -> None:
    keras.utils.set_random_seed(1)
    convs = [keras.layers.Conv2D(4, 3, padding="same", name=f"c{at}") for at in range(2)]
    model = looking(*convs)
    assert highlights.field(model, "c0") == (3, 3)
    assert highlights.field(model, "c1") == (5, 5)
    model = looking(keras.layers.MaxPooling2D(4), keras.layers.Conv2D(4, 1, name="c"))
    assert highlights.field(model, "c") == (4, 4)  # one of each 16 pixels at a time
    model = looking(keras.layers.Conv2D(4, (1, 7), activation="relu", name="c"))
    assert highlights.field(model, "c") == (1, 7)


def test_the_parts_that_move_a_channel_most() -> None:
    mean = keras.layers.Conv2D(3, 3, padding="same", use_bias=False, name="c")
    model = looking(mean)
    kernel = np.zeros((3, 3, 3, 3))
    kernel[..., 0, 0] = kernel[..., 1, 2] = 1 / 9  # channel 0 red, 1 nothing, 2 green
    mean.set_weights([kernel])
    images = np.zeros((40, 20, 20, 3), np.uint8)
    images[37, 4:7, 8:11, 0] = 180  # the best of red
    images[2, 0, 0, 0] = 90  # in a corner, where the part moves into the picture
    images[5, 12, 12, 1] = 18
    images[5, 12, 18, 1] = 9
    red, green = highlights.regions(model, images, "c", channels=8, count=3)
    assert (red.channel, green.channel) == (0, 2)
    assert red.pictures[0] == 37 and red.answers[0] == pytest.approx(180)
    np.testing.assert_array_equal(red.parts[0], images[37, 4:7, 8:11])
    assert green.pictures == (5, 5, 5)
    assert green.answers[0] == pytest.approx(2) and green.answers[2] <= 2
    one = highlights.regions(model, images, "c", channels=1, count=30)
    assert [each.channel for each in one] == [0] and 2 in one[0].pictures
    assert {part.shape for part in one[0].parts} == {(3, 3, 3)}


def test_nothing_moves_a_dark_layer() -> None:
    model = looking(keras.layers.Conv2D(4, 3, name="c"))
    assert highlights.regions(model, np.zeros((2, 20, 20, 3), np.uint8), "c", 4, 4) == ()
