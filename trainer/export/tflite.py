"""`kind: tflite`: one file for phones and small machines, written by TensorFlow's own converter."""

import csv
import io
import itertools
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.config import about
from trainer.config.export import TfLite
from trainer.errors import UserError, suggestion
from trainer.export.material import Material

CALIBRATION = 256  # training pictures that show int8 which values occur
BLAME = 64  # pictures on which every layer is tried alone
LABELS = "labels.txt"  # as TensorFlow Lite calls the file of names inside a model

_Debugger, _Options = (
    tf.lite.experimental.QuantizationDebugger,
    tf.lite.experimental.QuantizationDebugOptions,
)


def write(material: Material, spec: TfLite, path: Path) -> None:
    """Input `image` [N, H, W, C], 0 to 255: float32; for int8 uint8, unless `keep_float` leaves
    layers in float. Output `probabilities` float32 [N, K].

    What the file says of itself is `about.json` in an archive at its end, with `labels.txt` beside
    it: so TensorFlow Lite has associated files, and `unzip` reads them.

    Raises: UserError at `keep_float` if a name is none.
    """
    with _converter(material, spec) as converter:
        if spec.keep_float:
            debugger = _debugger(converter)
            nodes = _nodes(debugger, material.model)
            kept = [node for layer in _kept(spec, nodes) for node in nodes[layer]]
            debugger.options = _options(kept)
            content = debugger.get_nondebug_quantized_model()
        else:
            content = converter.convert()
    path.write_bytes(content)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(about.FILE, material.about.model_dump_json(indent=2))
        archive.writestr(LABELS, "".join(f"{name}\n" for name in material.about.labels))


def blame(material: Material, spec: TfLite, path: Path, images: np.ndarray) -> dict[str, float]:
    """The layers that int8 rounds, the worst first: by how much the probabilities of the images
    change at most if it alone is rounded.

    Args:
        images: uint8 [N, H, W, C].
    """
    some = images[:BLAME]
    with _converter(material, spec) as converter:
        debugger = _debugger(converter)
        nodes = _nodes(debugger, material.model)
        every = {node for each in nodes.values() for node in each}
        plain = material.model(some.astype(np.float32), training=False).numpy()
        left, found = {"", *_kept(spec, nodes)}, {}
        for layer in (each for each in nodes if each not in left):
            debugger.options = _options(every - set(nodes[layer]))
            alone = _scores(debugger.get_nondebug_quantized_model(), some)
            found[layer] = float(np.abs(alone - plain).max())
    return dict(sorted(found.items(), key=lambda each: -each[1]))


@contextmanager
def _converter(material: Material, spec: TfLite) -> Iterator[Any]:
    """Of a SavedModel: other ways leave the variables without values, or the signature without
    names."""
    with tempfile.TemporaryDirectory() as folder:
        _save(material.model, folder)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=["serving_default"]
        )
        if spec.precision != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if spec.precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if spec.precision == "int8":
            images = material.calibration(CALIBRATION)
            converter.representative_dataset = lambda: (
                [image[None].astype(np.float32)] for image in images
            )
            # What has no form in 8 bits stays in float.
            converter.target_spec.supported_ops = [
                tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
                tf.lite.OpsSet.TFLITE_BUILTINS,
            ]
            converter.inference_input_type = tf.uint8
        yield converter


def _save(model: keras.Model, folder: str) -> None:
    """The network with its input `image` and its output `probabilities`, as a SavedModel."""
    module = tf.Module()
    module.variables_ = [variable.value for variable in model.variables]
    image = tf.TensorSpec(model.input_shape, tf.float32, name="image")

    @tf.function(input_signature=[image], autograph=False)
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": model(image, training=False)}

    # Functions within become part of this one: Keras has grouped convolutions in one that only XLA
    # may run.
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        traced = serve.get_concrete_function()
    finally:
        tf.config.run_functions_eagerly(before)
    module.serve = serve
    tf.saved_model.save(module, folder, signatures={"serving_default": traced})


def _debugger(converter: Any) -> Any:
    """Calibrated; its `options` may be set again and again."""
    one = list(itertools.islice(converter.representative_dataset(), 1))
    return _Debugger(
        converter=converter,
        debug_dataset=lambda: one,  # enough to learn the names of nodes
        debug_options=_options(()),
    )


def _scores(content: bytes, images: np.ndarray) -> np.ndarray:
    """float32 [N, K] of a model whose input is float32."""
    interpreter = tf.lite.Interpreter(model_content=content)
    [image], [probabilities] = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(image["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(image["index"], images.astype(np.float32))
    interpreter.invoke()
    return interpreter.get_tensor(probabilities["index"])


def _options(kept: Any) -> Any:
    """Everything is rounded but these nodes."""
    return _Options(denylisted_nodes=sorted(kept), fully_quantize=False)


def _nodes(debugger: Any, model: keras.Model) -> dict[str, list[str]]:
    """Layer -> the nodes of it that int8 rounds; those of none at the empty name."""
    debugger.run()
    table = io.StringIO()
    debugger.layer_statistics_dump(table)
    # A network inside the network has the weights of its layers, and is not what is meant.
    known = {
        layer.name: not isinstance(layer, keras.Model)
        and any(len(weight.shape) > 1 for weight in layer.weights)
        for layer in model._flatten_layers(include_self=False)
    }
    nodes: dict[str, list[str]] = {}
    for row in csv.DictReader(io.StringIO(table.getvalue())):
        nodes.setdefault(_layer(row["tensor_name"], known), []).append(row["tensor_name"])
    return nodes


def _layer(node: str, known: Mapping[str, bool]) -> str:
    """`net_1/relu_1/Relu;net_1/conv_1/convolution` -> `conv`: of layers that became one node, the
    one with a kernel. Keras enters the scope of a layer twice, so TensorFlow numbers it. Empty if
    no layer is meant.

    Args:
        known: the layers, and whether they have a kernel.
    """
    found = [
        name
        for part in node.split(";")
        for scope in reversed(part.split("/")[:-1])
        for name in (re.sub(r"_\d+$", "", scope), scope)
        if name in known
    ]
    return next((name for name in found if known[name]), next(iter(found), ""))


def _kept(spec: TfLite, nodes: Mapping[str, Sequence[str]]) -> list[str]:
    """The layers that `keep_float` means; `*` stands for any text."""
    kept: list[str] = []
    for index, pattern in enumerate(spec.keep_float):
        meant = [layer for layer in nodes if layer and fnmatchcase(layer, pattern)]
        if not meant:
            problem = f"int8 rounds no layer called '{pattern}'"
            raise UserError(f"keep_float[{index}]", problem, suggestion(pattern, set(nodes) - {""}))
        kept += meant
    return kept
