"""`kind: onnx`: one file that any ONNX runtime opens; above 2 GB its weights lie beside it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from trainer import files
from trainer.config.export import Onnx
from trainer.errors import UserError
from trainer.export import _onnx_round, _onnx_trace
from trainer.export.material import Material

LARGEST = 2**31 - 2**26  # bytes of weights: protobuf ends at 2 GiB, and the graph needs room too
CALIBRATION = 256  # training pictures that show int8 which values occur
BLAME = 64  # of them, where every layer is tried alone


def write(material: Material, spec: Onnx, path: Path) -> None:
    """Input `image` [batch, H, W, C], 0 to 255; outputs `probabilities` [batch, K] float32 and
    `label_index` [batch] int64, the most probable. What the file says of itself is its metadata.

    Above 2 GB the weights go into a file beside it, whose name has `.data` in addition.

    Raises: UserError at a key of the section: a layer that ONNX cannot say, or that is not there.
    """
    with _plain(material, spec, path.parent) as plain:
        if spec.precision == "float16":
            proto = _onnx_round.float16(plain)
        elif spec.precision == "int8":
            chosen = _onnx_round.chosen(plain, _known(material), spec.keep_float)
            proto = _onnx_round.int8(plain, material.calibration(CALIBRATION), chosen)
        else:
            proto = onnx.load(plain)
    _describe(proto, material, spec)
    _save(proto, path)


def blame(material: Material, spec: Onnx, path: Path, images: np.ndarray) -> dict[str, float]:
    """The layers that int8 rounds, the worst first: by how much the probabilities of the images
    change at most if it alone is rounded.

    Args:
        path: beside it is room for files that are gone afterwards.
        images: uint8 [N, H, W, C].
    """
    with _plain(material, spec, path.parent) as plain:
        chosen = _onnx_round.chosen(plain, _known(material), spec.keep_float)
        found = _onnx_round.alone(plain, material.calibration(BLAME), chosen, images[:BLAME])
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def _known(material: Material) -> set[str]:
    return {layer.name for layer in _onnx_trace.layers(material.model)}


@contextmanager
def _plain(material: Material, spec: Onnx, beside: Path) -> Iterator[Path]:
    """The network in float32, folded: constants are computed, BatchNormalization is part of the
    convolution before it. Weights lie outside of the file, so that none of the readers meets
    protobuf's limit, and onnxruntime maps them instead of copying."""
    with tempfile.TemporaryDirectory(dir=beside, prefix=".onnx-") as name:
        traced, folded = Path(name, "traced.onnx"), Path(name, "folded.onnx")
        proto = _onnx_trace.graph(material.model, spec.input, spec.opset)
        onnx.save(proto, traced, save_as_external_data=True, location="traced.data")
        del proto
        options: Any = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folded)
        outside = "session.optimized_model_external_initializers"
        options.add_session_config_entry(f"{outside}_file_name", "folded.data")
        options.add_session_config_entry(f"{outside}_min_size_in_bytes", "1024")
        _run(traced, options, np.zeros((1, *material.model.input_shape[1:]), spec.input))
        yield folded


def _run(path: Path, options: Any, image: np.ndarray) -> None:
    """Opens a file and tries it on one picture: what onnxruntime lacks shows in either.

    Raises: UserError, with the name of the node, which begins with that of the layer.
    """
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        session.run(None, {"image": image})
    except Exception as error:  # onnxruntime has a class of its own for every cause
        said = str(error).splitlines()[0]
        hint = "use another layer, or kind: saved_model, which holds every layer"
        raise UserError("kind", f"onnxruntime cannot run this network: {said}", hint) from None


def _describe(proto: onnx.ModelProto, material: Material, spec: Onnx) -> None:
    """What the file says of itself; and of the operators only those that everybody knows."""
    used = {node.domain for node in proto.graph.node}
    opsets = [each for each in proto.opset_import if each.domain in used]
    del proto.opset_import[:]  # onnxruntime lists every domain it knows
    proto.opset_import.extend(opsets)
    for node in proto.graph.node:
        if node.domain:
            layer = _onnx_trace.layer_of(node.name, _known(material))
            raise _onnx_trace.refused(f"{node.domain}.{node.op_type}", layer)
    proto.graph.name = material.about.name
    proto.producer_name, proto.producer_version = "trainer", material.about.trainer
    del proto.metadata_props[:]
    for key, value in material.about.written().items():
        proto.metadata_props.add(key=key, value=value)


def _save(proto: onnx.ModelProto, path: Path) -> None:
    """Checked, with its shapes."""
    weights = sum(len(tensor.raw_data) for tensor in proto.graph.initializer)
    if weights > LARGEST:
        location = path.name + files.DATA
        onnx.save(proto, path, save_as_external_data=True, location=location)
    else:
        onnx.save(proto, path)
    onnx.checker.check_model(path, full_check=True)
