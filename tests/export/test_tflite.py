"""TensorFlow Lite: what int8 rounds, what is left in float, and which layers are to blame."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import Outcome
from trainer.config.about import About
from trainer.config.export import TfLite
from trainer.errors import UserError
from trainer.export import parity, tflite
from trainer.export.material import Material
from trainer.model import network

ABOUT = About(name="a", task="single_label", labels=("x", "y", "ß"), image_size=(8, 8))


@pytest.fixture(scope="module")
def material() -> Material:
    """With names that TensorFlow's numbering of scopes could confuse, and grouped convolution."""
    keras.utils.set_random_seed(1)
    network = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, activation="relu", name="conv"),
            keras.layers.Conv2D(4, 3, groups=2, name="conv_1"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, activation="softmax", name="last"),
        ]
    )
    images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), np.uint8)
    return Material(network, ABOUT, lambda count: images[:count])


def rounded(path: Path) -> tuple[type, set[str]]:
    """The type of the input, and the layers whose results are integers."""
    interpreter = tf.lite.Interpreter(str(path))
    integers = {
        part.split("/")[-2]
        for each in interpreter.get_tensor_details()
        if each["dtype"] == np.int8 and each["shape_signature"][:1] == -1
        for part in each["name"].split(";")
        if "/" in part
    }
    return interpreter.get_input_details()[0]["dtype"], integers


def test_layers_can_be_left_in_float(material: Material, tmp_path: Path) -> None:
    path = tmp_path / "model_int8.tflite"
    tflite.write(material, TfLite(kind="tflite", precision="int8"), path)
    kind, layers = rounded(path)
    assert kind == np.uint8
    assert {"conv_1", "conv_1_2", "last_1"} <= layers
    tflite.write(material, TfLite(kind="tflite", precision="int8", keep_float=("conv_1",)), path)
    kind, layers = rounded(path)
    assert kind == np.float32
    assert "conv_1" in layers
    assert "conv_1_2" not in layers  # as TensorFlow numbers the layer `conv_1`


@pytest.mark.parametrize(
    ("node", "layer"),
    [
        ("net_1/conv_1/Relu;net_1/conv_1/BiasAdd", "conv"),
        ("net_1/relu_1/Relu;net_1/norm_1/add;net_1/conv_1_2/convolution", "conv_1"),
        ("net_1/relu_1/Relu", "relu"),
        ("net_1/relu_1/Relu;net_1/norm_1/add", "relu"),
        ("StatefulPartitionedCall:0", ""),
    ],
)
def test_a_node_is_called_after_the_layer_with_the_kernel(node: str, layer: str) -> None:
    known = {"conv": True, "conv_1": True, "norm": False, "relu": False}
    assert tflite._layer(node, known) == layer


def test_layers_of_an_ensemble_have_their_own_names(tmp_path: Path) -> None:
    """Not that of the network inside the network, whose weights are theirs."""

    def member() -> keras.Model:
        pixels = keras.Input((8, 8, 3))
        maps = keras.layers.Conv2D(4, 3, name="conv")(pixels)
        maps = keras.layers.ReLU()(keras.layers.BatchNormalization(name="norm")(maps))
        pooled = keras.layers.GlobalMaxPooling2D()(maps)
        return keras.Model(pixels, keras.layers.Dense(3, "softmax", name="last")(pooled))

    images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 3), np.uint8)
    both = Material(network.averaged([member(), member()]), ABOUT, lambda count: images[:count])
    spec = TfLite(kind="tflite", precision="int8", keep_float=("member_?",))
    with pytest.raises(UserError, match=r"expected one of: conv, global_max_pooling2d, "):
        tflite.write(both, spec, tmp_path / "model_int8.tflite")


def test_a_layer_that_is_none(material: Material, tmp_path: Path) -> None:
    spec = TfLite(kind="tflite", precision="int8", keep_float=("conv", "conw"))
    with pytest.raises(UserError) as caught:
        tflite.write(material, spec, tmp_path / "model_int8.tflite")
    text = "keep_float[1]: int8 rounds no layer called 'conw'\n  did you mean 'conv'?"
    assert str(caught.value) == text


def test_layers_are_blamed(material: Material, tmp_path: Path) -> None:
    spec = TfLite(kind="tflite", precision="int8", keep_float=("last",))
    images = material.calibration(16)
    found = tflite.blame(material, spec, tmp_path / "model_int8.tflite", images)
    assert {"conv", "conv_1"} <= set(found)
    assert "last" not in found
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert all(0 <= change < 0.1 for change in found.values())


def test_it_describes_itself(material: Material, tmp_path: Path) -> None:
    tflite.write(material, TfLite(kind="tflite"), tmp_path / "model.tflite")
    with zipfile.ZipFile(tmp_path / "model.tflite") as archive:
        assert archive.namelist() == ["about.json", "labels.txt"]
        assert archive.read("labels.txt").decode() == "x\ny\nß\n"


def test_the_command_says_what_int8_has_cost(
    small: Path, trainer: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trainer("fit", small, "--set", "training.epochs=1").code == 0
    layer = r"(conv2d|dense|flatten)\w*"
    blamed = (
        rf"; rounded alone, these layers change a probability most: {layer} by \d\.\d{{3}}.*"
        rf"\n  leave the worst in float, as with keep_float: \[{layer}\]\n"
    )
    nothing = r"; no layer is left to blame\n  use precision: float16, or a larger max_drop\n"
    for more, said in (("", blamed), (", keep_float: ['*']", nothing)):
        accuracies = iter([0.5, 1.0])
        monkeypatch.setattr(parity, "_accuracy", lambda *_, given=accuracies: next(given))
        done = trainer("export", "--set", f"export=[{{kind: tflite, precision: int8{more}}}]")
        assert done.code == 1
        assert re.fullmatch(
            r"error: not written, because it disagrees with Keras: \S+/model_int8.tflite\n"
            rf"  model_int8.tflite loses 0.5000 of the accuracy and may lose 0.01{said}",
            done.err,
        )
        assert [path.name for path in Path("runs/small/latest/export").iterdir()] == ["parity.json"]
