"""Grad-CAM against what can be computed by hand, in networks of all kinds."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.explain import networks
from trainer.errors import UserError
from trainer.explain import _network, gradcam
from trainer.explain.overlay import overlaid


def picture() -> np.ndarray:
    """Red 100 in one corner, 50 beside it, green 60 on both and 80 in the corner opposite."""
    image = np.zeros((1, 4, 4, 3), np.uint8)
    image[0, 0, 0], image[0, 0, 1], image[0, 3, 3] = (100, 60, 9), (50, 60, 9), (0, 80, 9)
    return image


def by_hand(cells: dict[tuple[int, int], float]) -> np.ndarray:
    expected = np.zeros((1, 4, 4))
    for place, value in cells.items():
        expected[(0, *place)] = value
    return expected


# Of class 0 a place has 3 red - 2 green: 180, 30, -160; of class 1 -red + 4 green: 140, 190, 320.
FIRST = by_hand({(0, 0): 1, (0, 1): 30 / 180})
SECOND = by_hand({(0, 0): 140 / 320, (0, 1): 190 / 320, (3, 3): 1})

ENDS = {
    "softmax": ([], {"activation": "softmax"}),
    "sigmoid": ([], {"activation": "sigmoid"}),
    "logits": ([], {}),
    "a layer of its own": ([keras.layers.Activation("softmax")], {}),
    "Softmax": ([keras.layers.Softmax()], {}),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("scale", [0.1, 100])
def test_the_heat_is_that_of_the_paper_however_sure_the_network_is(end: str, scale: float) -> None:
    last, dense = ENDS[end]
    model = networks.averaging(
        [type(each).from_config(each.get_config()) for each in last], scale, **dense
    )
    if scale == 100 and end != "logits":  # nothing is left of the gradient of the probability
        assert set(model(picture().astype("float32")).numpy().ravel()) <= {0.0, 1.0}
    found = gradcam.heat(model, picture().repeat(2, axis=0), np.array([0, 1]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.concatenate([FIRST, SECOND]), atol=1e-6)


def test_grad_cam_plus_plus_is_that_of_the_paper() -> None:
    model = networks.averaging([], activation="softmax")
    # The gradient g of class 1 is -1/16 for red (left out) and 4/16 for green, whose map sums to
    # 200: alpha = g² / (2 g² + 200 g³), so heat is green times 16 alpha g.
    found = gradcam.heat(model, picture(), np.array([1]), plus=True)
    expected = by_hand({(0, 0): 60 / 80, (0, 1): 60 / 80, (3, 3): 1})
    np.testing.assert_allclose(found, expected, atol=1e-6)
    weights = gradcam._plus(
        np.full((1, 2, 2, 1), 3.0), np.array([2.0, -1, 0, 1]).reshape(1, 2, 2, 1)
    )
    # alpha = 4 / (8 + 12 · 8) and 1 / (2 + 12); the place with -1 counts for nothing.
    np.testing.assert_allclose(weights, [[2 * 4 / 104 + 1 / 14]])


def test_no_evidence_is_no_heat() -> None:
    model = networks.averaging([], activation="softmax")
    green = np.zeros((1, 4, 4, 3), np.uint8) + np.uint8([0, 7, 0])
    assert not gradcam.heat(model, green, np.array([0])).any()
    assert gradcam.heat(model, green[:0], np.array([], int)).shape == (0, 4, 4)


def test_half_precision() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = networks.averaging([keras.layers.Activation("softmax", dtype="float32")])
    finally:
        keras.config.set_dtype_policy("float32")
    found = gradcam.heat(model, picture(), np.array([1]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, SECOND, atol=0.01)


def test_networks_inside_networks() -> None:
    model = networks.nested()
    found = _network.maps(model)
    assert {name: tuple(each[1:]) for name, each in found.items()} == {
        "rescaling": (10, 10, 3),
        "middle/b": (8, 8, 4),
        "middle/inner/c": (6, 6, 5),
        "middle/inner": (6, 6, 5),
        "middle": (6, 6, 5),
        "pool": (3, 3, 5),
    }
    images, targets = networks.noise(40, 10, 10), np.arange(40) % 3
    inner = gradcam.heat(model, images, targets, "c")
    assert inner.shape == (40, 6, 6) and inner.max() == 1
    np.testing.assert_array_equal(inner, gradcam.heat(model, images, targets))
    np.testing.assert_array_equal(inner, gradcam.heat(model, images, targets, "middle/inner/c"))
    assert gradcam.heat(model, images, targets, "pool").shape == (40, 3, 3)
    # The same by Keras's own means, which see the outer network's layers.
    part = keras.Sequential(model.layers[1:3])  # Rescaling and middle
    with tf.GradientTape() as tape:
        maps = part(images.astype("float32"))
        tape.watch(maps)
        pool, flat, dense = model.layers[-3:]
        logits = tf.matmul(flat(pool(maps)), dense.kernel) + dense.bias
        chosen = tf.gather(logits, targets, batch_dims=1)
    slopes = tape.gradient(chosen, maps).numpy().mean(axis=(1, 2))
    raw = np.maximum(np.einsum("nhwc,nc->nhw", maps, slopes), 0)
    most = raw.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(inner, raw / np.where(most > 0, most, 1), atol=1e-5)


def test_a_network_inside_that_ends_with_pooling_is_merely_pooled() -> None:
    layers = keras.layers
    inside = [keras.Input((8, 8, 3)), layers.Conv2D(3, 3, name="conv"), layers.MaxPooling2D(3)]
    block = keras.Sequential(inside, name="block")
    head = [layers.Flatten(), layers.Dense(2, activation="softmax")]
    model = keras.Sequential([keras.Input((8, 8, 3)), block, *head])
    images = np.zeros((1, 8, 8, 3), np.uint8)
    assert gradcam.heat(model, images, np.array([0])).shape == (1, 6, 6)


def test_the_heat_turns_with_the_picture() -> None:
    model, images = networks.equivariant(), networks.noise(4, 8, 8)
    targets = np.arange(4) % 3
    upright = gradcam.heat(model, images, targets)
    turned = gradcam.heat(model, np.rot90(images, axes=(1, 2)).copy(), targets)
    assert upright.max() == 1
    np.testing.assert_allclose(turned, np.rot90(upright, axes=(1, 2)), atol=1e-5)


def test_the_network_is_left_as_it_was() -> None:
    model = networks.nested()
    with pytest.raises(ZeroDivisionError):
        _network.logits(model, networks.noise(1, 10, 10), lambda heard: 1 / 0)
    assert not any("call" in vars(layer) for layer in model._flatten_layers())


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("xyz", "--layer: the network has no layer 'xyz'\n  expected one of: middle, middle/b, middle/inner, middle/inner/c, pool, rescaling"),
        ("pol", "--layer: the network has no layer 'pol'\n  did you mean 'pool'?"),
        ("flat", "--layer: flat gives [45] for a picture, which is no map [h, w, channels] of it\n  the last layer with a map is middle/inner/c"),
    ],
)  # fmt: skip
def test_layers_that_will_not_do(layer: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        gradcam.heat(networks.nested(), networks.noise(1, 10, 10), np.array([0]), layer)
    assert str(error.value) == message


def test_a_network_without_convolution() -> None:
    with pytest.raises(UserError) as error:
        gradcam.heat(networks.flat(), networks.noise(1, 6, 6, 1), np.array([0]))
    assert str(error.value) == (
        "model: the network has no convolution, so there are no maps of the picture in it\n"
        "  --method occlusion explains every network"
    )


def test_the_picture_shows_where_there_is_no_heat() -> None:
    grey = np.full((6, 4, 1), 100, np.uint8)
    cold = overlaid(grey, np.zeros((3, 2)))
    assert cold.dtype == np.uint8 and cold.shape == (6, 4, 3) and (cold == 100).all()
    hot = overlaid(grey, np.array([[0.0], [1.0]]))
    assert (hot[0] == 100).all()
    yellow = np.array([252, 255, 164])  # where matplotlib's inferno ends
    np.testing.assert_allclose(hot[-1, 0], 100 + 0.8 * (yellow - 100), atol=2)
    red = np.zeros((2, 2, 3), np.uint8) + np.uint8([255, 0, 0])
    assert overlaid(red, np.zeros((1, 1)))[0, 0].tolist() == [144, 55, 55]
