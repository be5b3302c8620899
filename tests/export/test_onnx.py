"""`kind: onnx`: what it can express, how it is rounded, how large it may be."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import onnx
import onnxruntime
import pytest

from tests import families
from tests.conftest import Outcome
from tests.model import test_backbone
from trainer import files
from trainer.config.about import About
from trainer.config.export import Onnx
from trainer.errors import UserError
from trainer.export import _onnx_round, _onnx_trace, parity
from trainer.export import onnx as exporter
from trainer.export.material import Material
from trainer.model import network as network_of
from trainer.runtimes import opened

Trainer = Callable[..., Outcome]

ABOUT = About(name="hands", task="single_label", labels=("a", "b", "c"), image_size=(12, 10))
L = keras.layers


def network(*layers: keras.layers.Layer) -> keras.Model:
    """The layers between pixels of 12 x 10 and three probabilities."""
    keras.utils.set_random_seed(1)
    head = [L.Flatten(), L.Dense(3, activation="softmax", name="head")]
    return keras.Sequential([keras.Input((12, 10, 3)), L.Rescaling(1 / 255), *layers, *head])


def normalization() -> keras.layers.Layer:
    """Its mean and variance are constants, no variables of the network."""
    layer = L.Normalization()
    layer.adapt(np.random.default_rng(0).uniform(0, 1, (32, 12, 10, 3)))
    return layer


def modern() -> keras.Model:
    """What tf2onnx cannot write by itself."""
    return network(
        normalization(),
        L.Conv2D(6, 3, groups=3, name="grouped"),
        L.Activation("gelu"),
        L.LayerNormalization(),
        L.Dense(8, activation="gelu", name="pointwise"),
    )


def plain() -> keras.Model:
    """Two convolutions with a sum after the second, as in a residual network."""
    keras.utils.set_random_seed(2)
    image = keras.Input((12, 10, 3))
    scaled = L.Rescaling(1 / 127.5, offset=-1)(image)
    first = L.Conv2D(8, 3, padding="same", activation="relu", name="first")(scaled)
    second = L.Conv2D(8, 3, padding="same", name="second")(first)
    added = L.Add(name="sum")([first, second])
    flat = L.Flatten()(L.MaxPooling2D(name="pool")(added))
    return keras.Model(image, L.Dense(3, activation="softmax", name="head")(flat))


def written(spec: Onnx, model: keras.Model, folder: Path, apart: float | None = None) -> Any:
    """The graph of a file that agrees with Keras."""
    path = families.exporter(spec, model, ABOUT, folder, apart)
    return onnx.load(path).graph


def images(count: int = 32) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, 12, 10, 3), np.uint8)


@pytest.mark.parametrize("opset", [13, 18, 19, 25])
def test_what_tf2onnx_cannot_write_in_every_opset(opset: int, tmp_path: Path) -> None:
    """Constants, grouped convolutions, exact GELU."""
    path = families.exporter(Onnx(kind="onnx", opset=opset), modern(), ABOUT, tmp_path)
    proto = onnx.load(path)
    assert [(each.domain, each.version) for each in proto.opset_import] == [("", opset)]
    assert {node.domain for node in proto.graph.node} == {""}
    assert [each.name for each in proto.graph.input] == ["image"]
    assert proto.ir_version == onnx.helper.find_min_ir_version_for(list(proto.opset_import))


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_zeros_around_negative_values_stay_zeros(precision: Any, tmp_path: Path) -> None:
    """onnxruntime would make them part of the pooling, where they count as minus infinity."""
    model = network(
        L.Conv2D(4, 3, bias_initializer=keras.initializers.Constant(-3)),
        L.ZeroPadding2D(),
        L.MaxPooling2D(3, 1),
        L.ZeroPadding2D(),
        L.AveragePooling2D(3, 1),
    )
    graph = written(Onnx(kind="onnx", precision=precision), model, tmp_path)
    assert [node.op_type for node in graph.node].count("Pad") == 2


@pytest.mark.parametrize(("width", "padding"), [(2, "valid"), (1, "valid"), (1, "same")])
def test_windows_of_zeros_alone_after_a_relu(width: int, padding: str, tmp_path: Path) -> None:
    """onnxruntime opens no pooling whose padding is as wide as its windows."""
    zeros, pool = L.ZeroPadding2D(width), L.MaxPooling2D(2, padding=padding)
    model = network(L.Conv2D(4, 3, strides=2, activation="relu"), zeros, pool)
    operators = [node.op_type for node in written(Onnx(kind="onnx"), model, tmp_path).node]
    assert operators.count("Pad") == ((width, padding) != (1, "valid"))


def test_zeros_before_a_convolution_become_part_of_it(tmp_path: Path) -> None:
    """As in MobileNet, where tf2onnx leaves a Transpose between them."""
    norm, padding = L.BatchNormalization(), L.ZeroPadding2D(((0, 1), (0, 1)))
    model = network(L.Conv2D(4, 3), norm, L.ReLU(6), padding, L.DepthwiseConv2D(3, 2))
    operators = [node.op_type for node in written(Onnx(kind="onnx"), model, tmp_path).node]
    assert (operators.count("Conv"), operators.count("Pad")) == (2, 0)


@pytest.mark.parametrize("element", ["uint8", "float32"])
@pytest.mark.parametrize("turned", [False, True])
def test_channels_come_first_before_the_pixels_are_scaled(
    element: Any, turned: bool, tmp_path: Path
) -> None:
    """By different numbers for each, and maybe in another order, as ResNet50 wants them."""
    image = keras.Input((12, 10, 3))
    pixels = keras.ops.take(image, [2, 1, 0], axis=-1) if turned else image
    flat = L.Flatten()(L.Conv2D(4, 3)(normalization()(L.Rescaling(1 / 255)(pixels))))
    model = keras.Model(image, L.Dense(3, activation="softmax")(flat))
    graph = written(Onnx(kind="onnx", input=element), model, tmp_path)
    operators = [node.op_type for node in graph.node]
    start = operators.index("Transpose")
    assert set(operators[:start]) <= {"Cast"}
    assert operators[start:].index("Conv") > operators[start:].index("Mul")
    taken = {name for node in graph.node for name in node.input}
    assert {each.name for each in graph.initializer} <= taken


def test_axes_that_change_places_are_no_channels(tmp_path: Path) -> None:
    """A picture as wide as it has channels, so that the scale of each would fit a row too."""
    image = keras.Input((3, 3, 3))
    scaled = L.Rescaling([1 / 255, -2 / 255, 0.001], offset=[0, 1, 2])(image)
    flat = L.Flatten()(L.Permute((2, 1, 3))(scaled))
    model = keras.Model(image, L.Dense(3, activation="softmax")(flat))
    proto = _onnx_trace.graph(model, "float32", 18)
    onnx.save(proto, tmp_path / "model.onnx")
    images = np.random.default_rng(0).uniform(0, 255, (8, 3, 3, 3)).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    [found] = session.run(["probabilities"], {"image": images})
    np.testing.assert_allclose(found, model(images), atol=1e-4)


@pytest.mark.parametrize("opset", [13, 18])
def test_pooling_over_the_picture_keeps_the_channels_first(opset: int, tmp_path: Path) -> None:
    """So that all of BatchNormalization becomes part of the convolutions."""
    keras.utils.set_random_seed(3)
    image = keras.Input((12, 10, 3))
    scaled = L.Rescaling(1 / 255)(image)
    first = L.BatchNormalization()(L.Conv2D(4, 3)(scaled))
    weight = L.Conv2D(4, 1, activation="sigmoid")(L.GlobalAveragePooling2D(keepdims=True)(first))
    second = L.Conv2D(6, 3)(L.Multiply()([first, weight]))
    most = L.GlobalMaxPooling2D()(L.ReLU()(L.BatchNormalization()(second)))
    steep = keras.initializers.RandomNormal(stddev=9)
    scores = L.Dense(3, activation="softmax", kernel_initializer=steep)(most)
    model = keras.Model(image, scores)
    graph = written(Onnx(kind="onnx", opset=opset), model, tmp_path)
    found = Counter(node.op_type for node in graph.node)
    assert (found["GlobalMaxPool"], found["Transpose"]) == (1, 1)
    assert found["Mul"] == 2  # of the pixels and of the layer
    assert not {"Add", "BatchNormalization", "ReduceMax", "Reshape"} & set(found)


def test_the_graph_is_folded_and_its_nodes_carry_the_layers(tmp_path: Path) -> None:
    model = network(
        L.Conv2D(4, 3, use_bias=False, name="conv2d_1"),
        L.BatchNormalization(name="conv2d"),  # TensorFlow calls the second scope of this conv2d_1
        L.ReLU(),
    )
    nodes = written(Onnx(kind="onnx"), model, tmp_path).node
    assert [node.op_type for node in nodes].count("Conv") == 1
    assert not {"BatchNormalization", "Sqrt", "Rsqrt", "Identity"} & {n.op_type for n in nodes}
    known = {layer.name for layer in model.layers}
    [conv] = [node.name for node in nodes if node.op_type == "Conv"]
    assert _onnx_trace.layer_of(conv, known) == "conv2d_1"


def test_a_layer_that_is_used_twice_and_one_inside_another(tmp_path: Path) -> None:
    shared = L.Conv2D(3, 3, padding="same", name="shared")
    inner = keras.Sequential([keras.Input((12, 10, 3)), L.Conv2D(2, 3, name="conv")], name="inner")
    graph = written(Onnx(kind="onnx"), network(shared, shared, inner), tmp_path)
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)
    known = {"shared", "inner", "conv", "head"}
    convolutions = [each.name for each in graph.node if each.op_type == "Conv"]
    assert [_onnx_trace.layer_of(name, known) for name in convolutions] == [
        "shared", "shared", "inner/conv",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (
            L.Resizing(6, 6, interpolation="lanczos3", name="smaller"),
            "kind: the layer 'smaller' needs ScaleAndTranslate, which is no operator of ONNX\n"
            "  Resizing can be exported with interpolation: bilinear or nearest",
        ),
        (
            L.Lambda(keras.ops.erfinv, name="own"),
            "kind: the layer 'own' needs Erfinv, which is no operator of ONNX\n"
            "  use another layer, or kind: saved_model, which holds every layer",
        ),
    ],
    ids=["lanczos3", "own"],
)
def test_what_onnx_cannot_say_is_refused_by_name(
    layer: keras.layers.Layer, said: str, tmp_path: Path
) -> None:
    material = Material(network(layer), ABOUT, images)
    with pytest.raises(UserError) as error:
        exporter.write(material, Onnx(kind="onnx"), tmp_path / "model.onnx")
    assert str(error.value) == said
    assert not list(tmp_path.iterdir())


def test_half_precision(tmp_path: Path) -> None:
    for element, number in (("uint8", 2), ("float32", 1)):
        spec = Onnx(kind="onnx", precision="float16", input=element)  # type: ignore[arg-type]
        graph = written(spec, modern(), tmp_path)
        types = [each.type.tensor_type.elem_type for each in (*graph.input, *graph.output)]
        assert types == [number, 1, 7]  # float32 probabilities, int64 indices
        assert {each.data_type for each in graph.initializer if each.dims} <= {10, 6, 7}
    probabilities, index = onnxruntime.InferenceSession(tmp_path / spec.file).run(
        None, {"image": images().astype(np.float32)}
    )
    assert np.array_equal(probabilities.argmax(axis=1), index)


def test_int8_rounds_the_layers_and_leaves_the_scaling_of_the_pixels(tmp_path: Path) -> None:
    graph = written(Onnx(kind="onnx", precision="int8"), plain(), tmp_path, apart=0.02)
    assert {node.domain for node in graph.node} == {""}
    rounded = {each.name: each for each in graph.initializer if each.data_type == 3}  # int8
    kernels = [each for name, each in rounded.items() if "zero" not in name]
    assert sorted(list(each.dims) for each in kernels if len(each.dims) == 4) == [
        [8, 3, 3, 3],
        [8, 8, 3, 3],
    ]
    scales = {each.name: list(each.dims) for each in graph.initializer if "scale" in each.name}
    assert [8] in scales.values()  # one per channel of the output
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        inputs = {makers[name].op_type for name in node.input if name in makers}
        if node.op_type in ("Conv", "MaxPool") or node.name.startswith("sum/"):
            assert inputs == {"DequantizeLinear"}, node.name
        if node.op_type in ("Cast", "Mul", "Sub", "Softmax"):
            assert "DequantizeLinear" not in inputs or node.op_type == "Softmax"


def test_layers_that_stay_in_float(tmp_path: Path) -> None:
    spec = Onnx(kind="onnx", precision="int8", keep_float=("seco*", "head"), opset=25)
    graph = written(spec, plain(), tmp_path, apart=0.02)
    kernels = {tuple(each.dims) for each in graph.initializer if each.data_type == 1}
    assert {(8, 8, 3, 3)} <= kernels  # the second one's, in float
    assert (8, 3, 3, 3) not in kernels


def test_a_layer_to_keep_that_is_not_there(tmp_path: Path) -> None:
    for name, said in (
        ("frist", "keep_float[1]: int8 rounds no layer called 'frist'\n  did you mean 'first'?"),
        (
            "flatten",
            "keep_float[1]: int8 rounds no layer called 'flatten'\n"
            "  expected one of: first, head, pool, second, sum",
        ),
    ):
        spec = Onnx(kind="onnx", precision="int8", keep_float=("head", name))
        material = Material(plain(), ABOUT, images)
        with pytest.raises(UserError) as error:
            exporter.write(material, spec, tmp_path / spec.file)
        assert str(error.value) == said


def test_the_layer_that_rounding_hurts_is_named(tmp_path: Path) -> None:
    """One channel a thousand times the others makes steps of the size of what they hold."""
    model = plain()
    kernel, bias = model.get_layer("second").get_weights()
    bias[0] = 3000
    model.get_layer("second").set_weights([kernel, bias])
    head = model.get_layer("head")
    weights, bias = head.get_weights()
    weights.reshape(6, 5, 8, 3)[:, :, 0] = 0  # the loud channel itself tells nothing
    head.set_weights([weights, bias])
    spec = Onnx(kind="onnx", precision="int8", keep_float=("pool",))
    material = Material(model, ABOUT, images)
    blamed = exporter.blame(material, spec, tmp_path / spec.file, images())
    assert set(blamed) == {"first", "second", "sum", "head"}
    assert set(list(blamed)[:2]) <= {"second", "sum", "head"}
    assert blamed["first"] < 0.1 * max(blamed.values())
    assert list(blamed.values()) == sorted(blamed.values(), reverse=True)
    assert not list(tmp_path.iterdir())


def test_weights_that_are_too_large_for_one_file_lie_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2 GB take too long to write: the limit is lowered instead."""
    target, model = tmp_path / "model.onnx", plain()
    monkeypatch.setattr(exporter, "LARGEST", 1000)
    for precision, apart in (("float32", 1e-5), ("float16", 1e-2)):
        spec = Onnx(kind="onnx", precision=precision)  # type: ignore[arg-type]
        with files.staged(target) as partial:
            exporter.write(Material(model, ABOUT, images), spec, partial)
        names = sorted(path.name for path in tmp_path.iterdir())
        assert names == ["model.onnx", "model.onnx.data"]
        assert target.stat().st_size < 20_000
        outside = onnx.load(target, load_external_data=False).graph.initializer
        locations = {each.external_data[0].value for each in outside if each.external_data}
        assert locations == {"model.onnx.data"}
        session = onnxruntime.InferenceSession(target)
        received = session.run(["probabilities"], {"image": images()})[0]
        expected = model.predict(images().astype(np.float32), verbose=0)
        assert np.abs(received - expected).max() <= apart
    monkeypatch.undo()
    with files.staged(target) as partial:
        exporter.write(Material(model, ABOUT, images), Onnx(kind="onnx"), partial)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_what_is_staged_takes_its_place_only_if_the_block_ends_well(tmp_path: Path) -> None:
    target = tmp_path / "out" / "it.bin"
    for text in ("first", "second"):
        with files.staged(target) as partial:
            assert partial.name == "it.bin"
            partial.write_text(text)
            partial.with_name("it.bin.data").write_text(text)
        assert (target.read_text(), (target.parent / "it.bin.data").read_text()) == (text, text)
    with pytest.raises(RuntimeError), files.staged(target) as partial:
        partial.write_text("third")
        raise RuntimeError
    assert target.read_text() == "second"
    with files.staged(target) as partial:
        partial.mkdir()
        (partial / "inside").touch()
    assert [path.name for path in target.parent.iterdir()] == ["it.bin"]
    assert [path.name for path in target.iterdir()] == ["inside"]
    (target.parent / ".it.bin.12345678.partial").mkdir()  # of a process that was killed
    files.remove_partial(target.parent)
    assert [path.name for path in target.parent.iterdir()] == ["it.bin"]


def test_int8_from_the_config_to_the_refusal(
    small: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer("fit", small)
    folder = Path("runs/small") / Path("runs/small/latest").readlink() / "export"
    int8 = "export=[{kind: onnx}, {kind: onnx, precision: int8}, {kind: onnx, precision: float16}]"
    done = trainer("export", "--set", int8)
    assert done.code == 0, done.err
    assert {path.name for path in folder.iterdir()} == {
        "client", "model.onnx", "model_int8.onnx", "model_float16.onnx", "parity.json",
    }  # fmt: skip
    option = "export=[{kind: onnx, precision: int8, keep_float: [conf]}]"
    wrong = trainer("export", "--set", option)
    assert wrong.code == 2
    assert re.fullmatch(
        rf"error: --set {re.escape(option)}: export\[0\].keep_float\[0\]: int8 rounds no layer "
        r"called 'conf'\n  expected one of: conv2d\w*, dense\w*\n",
        wrong.err,
    )
    accuracies = iter([0.5, 1.0])
    monkeypatch.setattr(parity, "_accuracy", lambda *_: next(accuracies))
    done = trainer("export", "--set", "export=[{kind: onnx, precision: int8}]")
    assert done.code == 1
    assert re.fullmatch(
        rf"error: not written, because it disagrees with Keras: {folder}/model_int8.onnx\n"
        r"  model_int8.onnx loses 0.5000 of the accuracy and may lose 0.01; rounded alone, these "
        r"layers change a probability most: (conv2d\w*|dense\w*) by 0.\d{3}, (conv2d\w*|dense\w*) by 0.\d{3}\n"
        r"  leave the worst in float, as with keep_float: \[(conv2d\w*|dense\w*)\]\n",
        done.err,
    )
    assert not (folder / "model_int8.onnx").exists()


def test_pictures_come_in_batches_of_the_type_of_the_input() -> None:
    reader = _onnx_round._Pictures(images(70))
    sizes = []
    while batch := reader.get_next():
        sizes.append(len(batch["image"]))
    assert sizes == [32, 32, 6]


def telling(model: keras.Model, pixels: np.ndarray) -> keras.Model:
    """The network, changed so that its probabilities depend on the picture.

    Logits get a mean of 0 and a deviation of 1 over the pictures. A beta of 1 keeps most ReLUs open:
    random deep networks of ReLUs enlarge every rounding, Keras's own by as much as ONNX's.
    """
    norms = [each for each in model.layers if isinstance(each, L.BatchNormalization)]
    for each in norms:
        each.beta.assign(1 + 0 * each.beta)
    for weight in model.weights:
        if "layer_scale" in weight.path:
            weight.assign(0.1 + 0 * weight)  # instead of 1e-6, which hides the blocks of ConvNeXt
    test_backbone.settled(model, pixels)
    head = model.layers[-1]
    features = np.asarray(keras.Model(model.input, head.input)(pixels))
    head.kernel.assign(head.kernel / (features @ head.kernel).std(axis=0))
    head.bias.assign(-(features @ head.kernel).mean(axis=0))
    return model


@pytest.mark.parametrize("name", test_backbone.every())
def test_all_networks_of_keras(name: str, tmp_path: Path) -> None:
    height, width = (max(64, each) for each in test_backbone.FAMILIES[name])
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (12, 4, 4, 3), np.uint8)
    pictures = np.stack([cv2.resize(each, (width, height)) for each in coarse])
    keras.utils.set_random_seed(1)
    spec = test_backbone.notation(name)
    model = network_of.build(spec, (height, width, 3), test_backbone.CLASSES)
    telling(model, pictures.astype(np.float32))
    labels = test_backbone.CLASSES
    about = About(name="x", task="single_label", labels=labels, image_size=(height, width))
    exporter.write(
        Material(model, about, lambda _: pictures), Onnx(kind="onnx"), tmp_path / "m.onnx"
    )
    expected = np.asarray(model(pictures.astype(np.float32)))
    received = opened.open(tmp_path / "m.onnx").scores(pictures)
    assert np.ptp(expected, axis=0).max() > 0.2
    assert np.abs(received - expected).max() <= 1e-5
