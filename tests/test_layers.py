"""EquivariantConv2D: where its patterns lie, what turning a picture does, what it refuses."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from tests import families
from trainer.config.about import About
from trainer.config.export import Keras, Onnx
from trainer.layers import EquivariantConv2D


def turned(pictures: np.ndarray, quarters: int, mirror: bool) -> np.ndarray:
    pictures = ops.rot90(pictures, k=quarters, axes=(1, 2))
    return ops.flip(pictures, axis=2) if mirror else pictures


def network(size: int = 16) -> keras.Model:
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((size, size, 3)),
            EquivariantConv2D(16, 4, strides=2, lift=True),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(),
            EquivariantConv2D(24),
            keras.layers.ReLU(),
            EquivariantConv2D(32, padding="valid"),
            keras.layers.GlobalMaxPooling2D(),
            keras.layers.Reshape((8, 4)),
            keras.layers.GlobalMaxPooling1D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


def test_a_pattern_is_found_in_eight_orientations() -> None:
    """A kernel that looks at one pixel beside the middle and one at a corner: a knight's L."""
    layer = EquivariantConv2D(8, 3, lift=True)
    layer.build((None, 3, 3, 1))
    kernel = np.zeros((3, 3, 1, 1), np.float32)
    kernel[0, 1], kernel[0, 2] = 1, 2
    layer.kernel.assign(kernel)
    picture = np.zeros((1, 3, 3, 1), np.float32)
    picture[0, 1, 1] = 1  # the answer is the kernel itself, point by point about the middle
    answers = np.array(layer(picture))[0, ::-1, ::-1]
    found = {tuple(answers[..., g].astype(int).ravel().tolist()) for g in range(8)}
    assert found == {
        (0, 1, 2, 0, 0, 0, 0, 0, 0), (2, 1, 0, 0, 0, 0, 0, 0, 0),
        (0, 0, 2, 0, 0, 1, 0, 0, 0), (2, 0, 0, 1, 0, 0, 0, 0, 0),
        (0, 0, 0, 0, 0, 1, 0, 0, 2), (0, 0, 0, 1, 0, 0, 2, 0, 0),
        (0, 0, 0, 0, 0, 0, 0, 1, 2), (0, 0, 0, 0, 0, 0, 2, 1, 0),
    }  # fmt: skip


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_turned_picture_has_the_same_scores(quarters: int, mirror: bool) -> None:
    model = network()
    pictures = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype(np.float32)
    scores = np.array(model(pictures))
    assert np.ptp(scores, axis=0).max() > 0.01
    assert np.abs(np.array(model(turned(pictures, quarters, mirror))) - scores).max() < 1e-6


def test_it_has_an_eighth_of_the_weights() -> None:
    model = network()
    assert [weight.shape for weight in model.weights[:3]] == [
        (4, 4, 3, 2),
        (3, 3, 16, 3),
        (3, 3, 24, 4),
    ]
    assert [layer.output.shape for layer in model.layers[:5:3]] == [
        (None, 8, 8, 16),
        (None, 4, 4, 24),
    ]


def test_its_weights_are_as_large_as_those_of_a_whole_kernel() -> None:
    keras.utils.set_random_seed(1)
    layer = EquivariantConv2D(256)
    layer.build((None, 6, 6, 256))
    limit = np.sqrt(6 / (9 * (256 + 256)))  # glorot_uniform
    assert 0.99 * limit < np.abs(layer.kernel.numpy()).max() <= limit


def test_it_is_saved_and_exported(tmp_path: Path) -> None:
    model = network()
    pictures = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype(np.float32)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")  # importing the layer is enough
    assert np.array_equal(again(pictures), model(pictures))
    told = About(name="x", task="single_label", labels=("a", "b", "c"), image_size=(16, 16))
    scaled = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Rescaling(1 / 255), model])
    for spec in (Onnx(kind="onnx"), Keras(kind="keras")):
        families.exporter(spec, scaled, told, tmp_path)


def test_what_it_refuses() -> None:
    with pytest.raises(ValueError, match=r"^filters 12: expected a multiple of 8$"):
        EquivariantConv2D(12)
    with pytest.raises(
        ValueError,
        match=r"^channels of the input 3: expected a multiple of 8, or lift: true for a picture$",
    ):
        EquivariantConv2D(16).build((None, 8, 8, 3))
