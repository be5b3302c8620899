"""`kind: backbone`."""

import os
import urllib.error
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests import families
from trainer.config.about import About
from trainer.config.base import Call
from trainer.config.export import Onnx, SavedModel
from trainer.config.model import Backbone
from trainer.errors import UserError, leaves
from trainer.model import backbone, network

ABOUT = About(name="x", task="single_label", labels=tuple("abcde"), image_size=(16, 20))
CLASSES = ("a", "b", "c", "d", "e")
TOP = ("GlobalAveragePooling2D", {"Dense": {"units": "$classes", "activation": "softmax"}})
SMALL = {"MobileNet": {"alpha": 0.25}}

# The smallest member of each module, with the smallest picture that it takes (height, width).
FAMILIES: dict[str, tuple[int, int]] = {
    "ConvNeXtTiny": (32, 32),
    "DenseNet121": (32, 32),
    "EfficientNetB0": (32, 32),
    "EfficientNetV2B0": (32, 32),
    "InceptionResNetV2": (75, 75),
    "InceptionV3": (75, 75),
    "MobileNet": (32, 40),
    "MobileNetV2": (32, 32),
    "MobileNetV3Small": (32, 32),
    "NASNetMobile": (32, 32),
    "ResNet50": (32, 32),
    "ResNet50V2": (32, 32),
    "VGG16": (32, 40),
    "VGG19": (32, 32),
    "Xception": (71, 71),
}


def every(*fast: str) -> list[Any]:
    """All families; those that are not named are slow."""
    return [
        each if each in fast else pytest.param(each, marks=pytest.mark.slow) for each in FAMILIES
    ]


def notation(called: object, weights: str = "none", head: tuple[object, ...] = TOP) -> Backbone:
    return Backbone(
        kind="backbone",
        network=Call.parse(called),
        weights=weights,
        head=tuple(Call.parse(item) for item in head),
    )


def settled(model: keras.Model, pixels: np.ndarray | None = None) -> keras.Model:
    """With the statistics of pixels (or noise) in its BatchNormalization: with those that Keras
    begins with, the signal of a deep network is lost on the way."""
    shape = (8, *model.input_shape[1:])
    noise = np.random.default_rng(1).uniform(0, 255, shape).astype(np.float32)
    norms = [each for each in model.layers if isinstance(each, keras.layers.BatchNormalization)]
    momenta = [each.momentum for each in norms]
    for each in norms:
        each.momentum = 0
    model(noise if pixels is None else pixels, training=True)
    for each, momentum in zip(norms, momenta, strict=True):
        each.momentum = momentum
    return model


def problem(spec: Backbone, shape: tuple[int, int, int] = (32, 32, 3)) -> str:
    with pytest.raises((UserError, ExceptionGroup)) as error:
        network.build(spec, shape, CLASSES, pretrained=True)
    if isinstance(error.value, ExceptionGroup):
        return "\n".join(map(str, leaves(error.value)))
    return str(error.value)


def test_every_family_is_here() -> None:
    functions = [getattr(keras.applications, name) for name in dir(keras.applications)]
    modules = {each.__module__ for each in functions if callable(each)}
    assert {getattr(keras.applications, name).__module__ for name in FAMILIES} == modules
    assert len(modules) == 15


@pytest.mark.parametrize("name", every("MobileNet", "VGG16"))
def test_it_is_keras_s_network_with_its_own_preprocessing(name: str, tmp_path: Path) -> None:
    """Equal to the application after its preprocess_input: neither left out nor applied twice."""
    keras.utils.set_random_seed(1)
    shape = (*FAMILIES[name], 3)
    spec = notation(name)
    model = network.build(spec, shape, CLASSES)
    function = getattr(keras.applications, name)
    application = function(include_top=False, weights=None, input_shape=shape)
    application.set_weights(model.get_weights()[: len(application.weights)])
    names = network.backbone_layers(model, spec)
    assert len(names) == len(application.layers) - 1
    features = keras.Model(model.input, model.get_layer(names[-1]).output)
    images = np.random.default_rng(0).uniform(0, 255, (2, *shape)).astype(np.float32)
    module = __import__(function.__module__, fromlist=["preprocess_input"])
    expected = np.asarray(application(module.preprocess_input(images.copy())))
    found = np.asarray(features(images))
    assert np.ptp(expected) > 0
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", every("MobileNet"))
def test_it_trains_saves_and_loads(name: str, tmp_path: Path) -> None:
    shape = (*FAMILIES[name], 3)
    families.model(lambda: settled(network.build(notation(name), shape, CLASSES)), 5, tmp_path)
    model = network.build(notation(name), shape, CLASSES)
    model.compile(optimizer="sgd", loss="categorical_crossentropy", jit_compile=False)
    images = np.random.default_rng(0).uniform(0, 255, (2, *shape)).astype(np.float32)
    before = model.trainable_variables[0].numpy()
    assert np.isfinite(model.train_on_batch(images, np.eye(5, dtype=np.float32)[:2]))
    assert not np.array_equal(before, model.trainable_variables[0])


def test_the_layers_are_those_of_one_flat_network() -> None:
    spec = notation(SMALL)
    model = network.build(spec, (32, 32, 3), CLASSES)
    names = [layer.name for layer in model.layers[1:4]]
    assert names == ["preprocessing", "conv1", "conv1_bn"]
    names = network.backbone_layers(model, spec)
    assert (names[0], names[-1], len(names)) == ("conv1", "conv_pw_13_relu", 85)


def test_grey_pictures_become_three_equal_channels() -> None:
    keras.utils.set_random_seed(1)
    grey = network.build(notation(SMALL), (32, 32, 1), CLASSES)
    colour = network.build(notation(SMALL), (32, 32, 3), CLASSES)
    colour.set_weights(grey.get_weights())
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 1)).astype(np.float32)
    expected = colour(images.repeat(3, axis=-1))
    assert np.abs(grey(images) - expected).max() < 1e-6
    assert network.backbone_layers(grey, notation(SMALL))[0] == "conv1"


def test_a_head_has_blocks_and_named_inputs() -> None:
    head = (
        {"GlobalAveragePooling2D": {"name": "mean"}},
        {"GlobalMaxPooling2D": {"name": "largest", "inputs": "input"}},
        {"Concatenate": {"inputs": ["mean", "largest"]}},
        {"Dense": {"units": "$classes"}},
    )
    model = network.build(notation(SMALL, head=head), (32, 32, 3), CLASSES)
    assert model.layers[-2].output.shape == (None, 512)
    assert network.backbone_layers(model, notation(SMALL, head=head))[-1] == "conv_pw_13_relu"


@pytest.mark.parametrize("name", ["MobileNet", "VGG16", "DenseNet121"])
@pytest.mark.parametrize("spec", [SavedModel(kind="saved_model"), Onnx(kind="onnx")], ids=str)
def test_preprocessing_is_exported(name: str, spec: Any, tmp_path: Path) -> None:
    """TensorFlow's scale, Caffe's blue-green-red order, PyTorch's mean and deviation."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((16, 20, 3))
    tensor = backbone.preprocessed(getattr(keras.applications, name), inputs)
    tensor = keras.layers.Flatten()(keras.layers.Conv2D(4, 5, 3, activation="relu")(tensor))
    model = keras.Model(inputs, keras.layers.Dense(5, activation="softmax")(tensor))
    families.exporter(spec, model, ABOUT, tmp_path)


# --- weights --------------------------------------------------------------------------------------


@pytest.fixture
def application() -> keras.Model:
    keras.utils.set_random_seed(7)
    return keras.applications.MobileNet(
        alpha=0.25, include_top=False, weights=None, input_shape=(64, 64, 3)
    )


@pytest.mark.parametrize("name", ["mine.h5", "mine.weights.h5", "mine.keras"])
def test_weights_of_a_file(name: str, application: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / name
    application.save_weights(path) if "weights" in name else application.save(path)
    model = network.build(notation(SMALL, str(path)), (32, 32, 3), CLASSES, pretrained=True)
    for expected, found in zip(application.get_weights(), model.get_weights(), strict=False):
        assert np.array_equal(expected, found)
    untouched = network.build(notation(SMALL, str(path)), (32, 32, 3), CLASSES)
    assert not np.array_equal(untouched.get_weights()[0], application.get_weights()[0])


@pytest.mark.parametrize("name", ["mine.h5", "mine.keras"])
def test_weights_of_another_network(name: str, application: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / name
    application.save(path)
    text = problem(notation({"MobileNet": {"alpha": 0.5}}, str(path)))
    network = "MobileNet: {alpha: 0.5} without its top"
    assert text.startswith(f"model.weights: {path} does not hold the weights of {network}: ")
    for part in ("conv1", "(3, 3, 3, 16)", "(3, 3, 3, 8)"):
        assert part in text
    assert len(text) < 600
    assert "MobileNetV2 without its top: " in problem(notation("MobileNetV2", str(path)))


def test_weights_of_a_run_of_this_backbone(application: keras.Model, tmp_path: Path) -> None:
    model = network.build(notation(SMALL), (32, 32, 3), CLASSES)
    model.save(tmp_path / "best.keras")
    spec = notation(SMALL, str(tmp_path / "best.keras"))
    other = network.build(spec, (48, 48, 3), ("x", "y"), pretrained=True)
    for expected, found in zip(model.get_weights()[:-2], other.get_weights()[:-2], strict=True):
        assert np.array_equal(expected, found)


def test_no_weights_are_touched_unless_asked_for() -> None:
    network.build(notation(SMALL, "nowhere.h5"), (32, 32, 3), CLASSES)
    network.build(notation(SMALL, "imagenet"), (32, 32, 3), CLASSES)


@pytest.mark.parametrize(
    ("called", "weights", "message"),
    [
        (SMALL, "nowhere.h5", "model.weights: no such file: nowhere.h5\n  write imagenet, none, or a file that ends in .h5 (as Keras publishes them), .weights.h5 or .keras"),
        (SMALL, "notes.txt", "model.weights: notes.txt is of no known kind\n  write imagenet, none, or a file that ends in .h5 (as Keras publishes them), .weights.h5 or .keras"),
        (SMALL, "broken.h5", "model.weights: broken.h5 does not hold the weights of MobileNet: {alpha: 0.25} without its top: Unable to synchronously open file (file signature not found)"),
        ({"MobileNet": {"alpha": 0.3}}, "imagenet", "model.network.MobileNet: refused by keras.applications: If imagenet weights are being loaded, alpha can be one of`0.25`, `0.50`, `0.75` or `1.0` only. Received alpha=0.3"),
        ({"MobileNet": {"alhpa": 0.3}}, "none", "model.network.MobileNet.alhpa: MobileNet has no argument 'alhpa'\n  did you mean 'alpha'?"),
        ("MobilNet", "none", "model.network.MobilNet: keras.applications has no 'MobilNet'\n  did you mean 'MobileNet'?"),
        ("InceptionV3", "none", "data.image_size: InceptionV3: Input size must be at least 75x75; Received: input_shape=(32, 32, 3)"),
    ],
)  # fmt: skip
def test_mistakes(workplace: Path, called: object, weights: str, message: str) -> None:
    Path("notes.txt").write_text("notes")
    Path("broken.h5").write_text("broken")
    assert problem(notation(called, weights)) == message


def test_a_damaged_file_of_keras_is_told_by_its_hash(workplace: Path) -> None:
    name = "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    Path(name).write_text("half of it")
    assert problem(notation("VGG16", name)) == (
        f"model.weights: {name} is damaged: its md5 is c480aa5bbf7247d48d87b46fa064c71e, expected "
        "6d6bbae143d832006294945121d1f1fc\n"
        "  fetch it again from https://storage.googleapis.com/tensorflow/keras-applications/vgg16/"
        f"{name}, or rename it if it is your own"
    )


def test_without_a_network_the_file_can_be_fetched_elsewhere(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError(OSError(-3, "Temporary failure in name resolution"))

    monkeypatch.setenv("KERAS_HOME", str(workplace))
    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", offline)
    url = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet/mobilenet_2_5_224_tf_no_top.h5"
    assert problem(notation(SMALL, "imagenet")) == (
        f"model.weights: cannot be fetched: URL fetch failure on {url}: None -- [Errno -3] Temporary "
        "failure in name resolution\n"
        f"  fetch {url} elsewhere, and write the file's path as weights"
    )


DATA = os.environ.get("TRAINER_DATA", "")


@pytest.mark.skipif(not DATA, reason="TRAINER_DATA names no folder of real data")
def test_the_weights_that_keras_publishes() -> None:
    path = Path(DATA) / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    model = network.build(notation(SMALL, str(path)), (96, 96, 3), CLASSES, pretrained=True)
    conv1 = model.get_layer("conv1").kernel.numpy()
    other = network.build(notation(SMALL), (96, 96, 3), CLASSES)
    assert not np.array_equal(conv1, other.get_layer("conv1").kernel.numpy())
    variances = model.get_layer("conv1_bn").moving_variance.numpy()
    assert np.ptp(variances) > 0  # as trained, not as made
