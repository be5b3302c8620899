"""Files that would do more than compute are refused before their runtime sees them.

The marker is what each of them would leave behind.
"""

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import TensorProto, helper
from tensorflow.core.protobuf import saved_model_pb2

from trainer.config import about
from trainer.config.about import About
from trainer.config.export import Keras, OpenVino, SavedModel
from trainer.errors import UserError
from trainer.export.material import Material
from trainer.parts import part
from trainer.runtimes import opened

ABOUT = About(name="a", task="single_label", labels=("x", "y"), image_size=(4, 4))


@pytest.fixture(scope="module")
def network() -> keras.Model:
    image = keras.Input((4, 4, 3))
    flat = keras.layers.Flatten()(keras.layers.Activation("relu", name="act")(image))
    return keras.Model(image, keras.layers.Dense(2, activation="softmax", name="last")(flat))


@pytest.fixture(scope="module")
def good(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of each kind that can be opened."""
    folder = tmp_path_factory.mktemp("good")
    material = Material(network, ABOUT, lambda count: np.zeros((0, 4, 4, 3), np.uint8))
    for spec in (SavedModel(kind="saved_model"), Keras(kind="keras"), OpenVino(kind="openvino")):
        part("export", spec.kind).write(material, spec, folder / spec.file)
        assert opened.open(folder / spec.file).about == ABOUT
    return folder


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        opened.open(path)
    assert caught.value.where == str(path)
    return caught.value.problem


# --- SavedModel


class Starter(tf.saved_model.experimental.TrackableResource):
    """Runs when the model is loaded."""

    def __init__(self, run: Callable[[], None]) -> None:
        super().__init__()
        self.run = run

    def _create_resource(self) -> tf.Tensor:
        return tf.raw_ops.MutableHashTableV2(key_dtype=tf.int64, value_dtype=tf.string)

    @tf.function(input_signature=[])
    def _initialize(self) -> None:
        self.run()


def saved(path: Path, body: Callable[[], None], start: bool = False) -> None:
    """A SavedModel that calls something: in a function within its signature, or when loaded."""
    module = tf.Module()

    @tf.function
    def inner() -> tf.Tensor:
        body()
        return tf.constant(0)

    @tf.function(input_signature=[tf.TensorSpec((None, 4, 4, 3), tf.uint8, name="image")])
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        if not start:
            inner()
        return {"probabilities": tf.cast(image[:, 0, 0, :2], tf.float32)}

    module.serve = serve
    if start:
        module.starter = Starter(body)
        module.starter.resource_handle  # noqa: B018 (makes it)
    tf.saved_model.save(module, str(path), signatures={"serving_default": serve})
    (path / "assets").mkdir(exist_ok=True)
    (path / "assets" / "about.json").write_text(ABOUT.model_dump_json())


def test_a_saved_model_that_writes_when_it_is_loaded(tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "model"
    saved(path, lambda: tf.io.write_file(str(marker), "here"), start=True)
    problem = refused(path)
    assert "its graph has operators that may do more than compute" in problem
    assert "WriteFile" in problem
    assert not marker.exists()
    tf.saved_model.load(str(path))
    assert marker.exists()  # so it would have worked


@pytest.mark.parametrize(
    ("operator", "body"),
    [
        ("WriteFile", lambda: tf.io.write_file("marker", "here")),
        ("ReadFile", lambda: tf.print(tf.io.read_file("/etc/passwd"))),
        ("PrintV2", lambda: tf.print("here", output_stream="file://marker")),
        ("EagerPyFunc", lambda: tf.py_function(lambda: 1, [], tf.int32)),
        ("MatchingFiles", lambda: tf.io.matching_files("/*")),
        ("ImmutableConst", lambda: tf.raw_ops.ImmutableConst(dtype=tf.uint8, shape=[1], memory_region_name="/etc/passwd")),
        ("SaveV2", lambda: tf.raw_ops.SaveV2(prefix="marker", tensor_names=["a"], shape_and_slices=[""], tensors=[tf.ones(1)])),
        ("RestoreV2", lambda: tf.raw_ops.RestoreV2(prefix="marker", tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32])),
        ("TextLineDataset", lambda: tf.data.TextLineDataset("/etc/passwd").reduce(0, lambda n, _: n + 1)),
    ],
)  # fmt: skip
def test_a_saved_model_with_operators_within_functions(
    operator: str, body: Callable[[], None], workplace: Path
) -> None:
    saved(workplace / "model", body)
    assert operator in refused(workplace / "model").split(": ")[1].split(", ")
    assert not list(workplace.glob("marker*"))


def edited(good: Path, folder: Path, edit: Callable[[Any], None]) -> Path:
    path = folder / "edited"
    shutil.copytree(good / "saved_model", path)
    proto = saved_model_pb2.SavedModel()
    proto.ParseFromString((path / "saved_model.pb").read_bytes())
    edit(proto)
    (path / "saved_model.pb").write_bytes(proto.SerializeToString())
    return path


def test_a_saved_model_whose_initial_operation_writes(good: Path, tmp_path: Path) -> None:
    def edit(proto: Any) -> None:
        graph = proto.meta_graphs[0]
        with tf.Graph().as_default() as drawn:
            tf.io.write_file(str(tmp_path / "marker"), "here", name="write")
        graph.graph_def.node.extend(drawn.as_graph_def().node)
        graph.signature_def["__saved_model_init_op"].outputs["__saved_model_init_op"].name = "write"

    assert refused(edited(good, tmp_path, edit)).endswith(": WriteFile")


def test_a_saved_model_whose_signature_calls_its_saver(good: Path, tmp_path: Path) -> None:
    def edit(proto: Any) -> None:
        functions = proto.meta_graphs[0].graph_def.library.function
        [saver] = [each.signature.name for each in functions if "_save" in each.signature.name]
        [wrapper] = [each for each in functions if "wrapper_serving_default" in each.signature.name]
        [call] = [node for node in wrapper.node_def if "f" in node.attr]
        call.attr["f"].func.name = saver

    assert "SaveV2" in refused(edited(good, tmp_path, edit))


def test_a_function_cannot_hide_behind_the_name_of_an_operator(good: Path, tmp_path: Path) -> None:
    def edit(proto: Any) -> None:
        library = proto.meta_graphs[0].graph_def.library
        [body] = [each for each in library.function if "wrapper_serving" in each.signature.name]
        body.node_def.add(name="write", op="WriteFile")
        library.function.add().signature.name = "WriteFile"

    assert refused(edited(good, tmp_path, edit)).endswith(": WriteFile")


def test_a_saved_model_of_tensorflow_1_or_nonsense(good: Path, tmp_path: Path) -> None:
    path = edited(good, tmp_path, lambda proto: proto.meta_graphs[0].ClearField("object_graph_def"))
    assert refused(path) == "is a SavedModel of TensorFlow 1, or of several graphs"
    (path / "saved_model.pb").write_bytes(b"\xff\xff")
    assert refused(path).startswith("is no SavedModel: ")


# --- Keras


def rewritten(good: Path, path: Path, edit: Callable[[Any], None]) -> Path:
    """The good file with another config."""
    with zipfile.ZipFile(good / "model.keras") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                edit(config)
                content = json.dumps(config).encode()
            new.writestr(name, content)
    return path


def layer(config: Any, name: str) -> Any:
    return next(each for each in config["config"]["layers"] if each["config"]["name"] == name)


def test_a_keras_file_with_a_marshalled_function(tmp_path: Path, good: Path) -> None:
    marker = tmp_path / "marker"
    image = keras.Input((4, 4, 3))
    evil = eval(f"lambda x: (open({str(marker)!r}, 'w'), x)[1]")
    model = keras.Model(image, keras.layers.Lambda(evil)(image))
    marker.unlink()
    material = Material(model, ABOUT, lambda count: np.zeros((0, 4, 4, 3), np.uint8))
    path = tmp_path / "evil.keras"
    part("export", "keras").write(material, Keras(kind="keras"), path)
    problem = refused(path)
    assert problem == "takes code that is no layer of Keras: None.__lambda__, keras.layers.Lambda"
    assert not marker.exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"module": "evil", "class_name": "Evil", "registered_name": "evil>Evil"}, "evil.Evil"),
        ({"module": "keras.src.saving", "class_name": "saving_api"}, "keras.src.saving.saving_api"),
        ({"module": "keras.models", "class_name": "load_model"}, "keras.models.load_model"),
        ({"module": "keras", "class_name": "config.enable_unsafe_deserialization"}, "keras.config.enable_unsafe_deserialization"),
        ({"module": "keras.layers", "class_name": "TFSMLayer"}, "keras.layers.TFSMLayer"),
        ({"module": "keras.layers", "class_name": "StringLookup"}, "keras.layers.StringLookup"),
        ({"module": "keras.src.layers.core.lambda_layer", "class_name": "Lambda"}, "keras.src.layers.core.lambda_layer.Lambda"),
    ],
)  # fmt: skip
def test_a_keras_file_that_names_other_code(
    change: dict[str, str], named: str, good: Path, workplace: Path, monkeypatch: Any
) -> None:
    (workplace / "evil.py").write_text("open('marker', 'w')\n")
    monkeypatch.syspath_prepend(workplace)
    path = rewritten(good, workplace / "evil.keras", lambda all_: layer(all_, "act").update(change))
    assert refused(path) == f"takes code that is no layer of Keras: {named}"
    assert not (workplace / "marker").exists()
    assert "evil" not in sys.modules


def test_a_keras_file_with_another_function_for_an_activation(good: Path, tmp_path: Path) -> None:
    gadget = {"module": "keras.utils", "class_name": "function", "config": "get_file"}

    def edit(config: Any) -> None:
        layer(config, "last")["config"]["activation"] = gadget

    problem = refused(rewritten(good, tmp_path / "evil.keras", edit))
    assert problem == "takes code that is no layer of Keras: keras.utils.function"


def test_a_keras_file_whose_weights_lie_in_another_file(good: Path, tmp_path: Path) -> None:
    secret, path = tmp_path / "secret", tmp_path / "evil.keras"
    secret.write_bytes(np.full(96, 7, np.float32).tobytes())
    weights = tmp_path / "weights.h5"
    with zipfile.ZipFile(good / "model.keras") as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith(".h5"):
                weights.write_bytes(content)
                with h5py.File(weights, "a") as file:
                    del file["layers/dense/vars/0"]
                    outside = [(str(secret), 0, 48 * 2 * 4)]
                    file.create_dataset("layers/dense/vars/0", (48, 2), "f4", external=outside)
                content = weights.read_bytes()
            new.writestr(name, content)
    assert "Keras cannot load it: " in refused(path)


def test_a_checkpoint_is_no_export(network: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "best.keras"
    network.save(path)
    with pytest.raises(UserError) as caught:
        opened.open(path)
    assert str(caught.value) == (
        f"{path}: has no about.json: a checkpoint, or a file that trainer export did not write\n"
        "  give the folder of the run"
    )
    path.write_bytes(b"nonsense")
    assert refused(path) == "is no .keras file of Keras 3: File is not a zip file"


# --- TensorFlow Lite


def test_a_tflite_file_with_operators_of_tensorflow(workplace: Path) -> None:
    @tf.function(input_signature=[tf.TensorSpec((1, 4, 4, 3), tf.float32)])
    def serve(image: tf.Tensor) -> tf.Tensor:
        tf.io.write_file("marker", "here")
        return tf.reduce_mean(image, axis=[1, 2])

    converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()])
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS,
        tf.lite.OpsSet.SELECT_TF_OPS,
    ]
    path = workplace / "evil.tflite"
    path.write_bytes(converter.convert())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("about.json", ABOUT.model_dump_json())
    problem = refused(path)
    assert problem == "has operators that are not TensorFlow Lite's own: FlexWriteFile"
    assert not (workplace / "marker").exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x1c\0\0\0TFL3" + b"\xff" * 64])
def test_a_broken_tflite_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    assert "TensorFlow Lite" in refused(path)


def test_a_tflite_file_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.tflite"
    path.touch()

    def read(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", read)
    assert refused(path) == "is no TensorFlow Lite model: [Errno 13] Permission denied"


# --- ONNX


def onnx_file(path: Path, node: onnx.NodeProto, *weights: onnx.TensorProto) -> Path:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 2])
    scores = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 2])
    graph = helper.make_graph([node], "evil", [image], [scores], list(weights))
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("evil", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    for key, value in ABOUT.written().items():
        model.metadata_props.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path


def test_an_onnx_file_with_operators_of_its_own(tmp_path: Path) -> None:
    node = helper.make_node("Evil", ["image"], ["probabilities"], domain="evil")
    assert "onnxruntime cannot open it: " in refused(onnx_file(tmp_path / "evil.onnx", node))


@pytest.mark.parametrize("location", ["../secret", "{absolute}"])
def test_an_onnx_file_whose_weights_lie_elsewhere(location: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(np.ones((2, 2), np.float32).tobytes())
    (tmp_path / "inside").mkdir()
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 2])
    weight.data_location = TensorProto.EXTERNAL
    where = location.format(absolute=tmp_path / "secret")
    weight.external_data.add(key="location", value=where)
    node = helper.make_node("MatMul", ["image", "w"], ["probabilities"])
    path = onnx_file(tmp_path / "inside" / "evil.onnx", node, weight)
    assert "onnxruntime cannot open it: " in refused(path)


def test_an_onnx_file_with_two_inputs(tmp_path: Path) -> None:
    path = onnx_file(tmp_path / "it.onnx", helper.make_node("Relu", ["image"], ["probabilities"]))
    proto = onnx.load(path)
    del proto.opset_import[1:]
    proto.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    onnx.save(proto, path)
    assert refused(path) == "has 2 inputs: expected one, for the pictures"


# --- OpenVINO


def test_an_openvino_file_with_operators_of_its_own(good: Path, tmp_path: Path) -> None:
    path = shutil.copytree(good / "openvino", tmp_path / "evil")
    text = (path / "model.xml").read_text()
    (path / "model.xml").write_text(text.replace('type="MatMul"', 'type="Evil"'))
    assert text.count('type="MatMul"')
    assert "OpenVINO cannot load it: " in refused(path)


def test_openvino_without_its_extra(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UserError) as caught:
        opened.open(good / "openvino")
    text = 'openvino: needs an extra: pip install "keras-image-trainer[openvino]"'
    assert str(caught.value) == text


# --- what files say of themselves


def test_what_is_nested_deeper_than_python_goes() -> None:
    deep = "[" * 100_000
    for read in (lambda: about.parse(deep, "it"), lambda: about.read({"labels": deep}, "it")):
        with pytest.raises(UserError) as caught:
            read()
        assert caught.value.problem.startswith("does not say image_size, ")


# --- and what the runtimes themselves bring in


@pytest.mark.parametrize(
    ("kind", "absent"), [("openvino", ("tensorflow", "keras")), ("onnx", ("tensorflow", "keras"))]
)
def test_a_runtime_imports_itself_alone(kind: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, trainer.runtimes.{kind}; print([n for n in {absent} if n in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"
