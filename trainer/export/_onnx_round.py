"""ONNX in fewer bits, by onnxruntime: float16 throughout, or 8-bit integers where it pays."""

import fnmatch
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.transformers import float16 as halves

from trainer.errors import UserError, suggestion
from trainer.export._onnx_trace import layer_of

BATCH = 32  # images at a time

WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}  # where nearly all the work is
# What stands between them and does not change the scale much. All else stays in float, what scales
# the pixels and what makes probabilities above all: with it rounded too, the probabilities of the
# network of configs/rps.yaml were off by 0.0020 on average instead of 0.0009.
BETWEEN = {"Add", "AveragePool", "Clip", "Concat", "MaxPool", "Relu"}


class _Pictures(CalibrationDataReader):
    """Images in batches, as the library wants to be given them."""

    def __init__(self, images: np.ndarray) -> None:
        self._batches = iter(_batches(images))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next batch, None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {"image": batch}


def float16(plain: Path) -> onnx.ModelProto:
    """Half the bytes. Inputs and outputs keep their types."""
    proto = halves.convert_float_to_float16(str(plain), keep_io_types=True)
    model = ONNXModel(proto)
    model.topological_sort()  # it puts the casts of inputs after what takes them
    return model.model


def chosen(plain: Path, known: Set[str], keep_float: Sequence[str]) -> dict[str, list[str]]:
    """Layer -> its nodes that int8 rounds, in the order of the network.

    Args:
        known: the names of all layers.
        keep_float: layers to be left out; `*` stands for any text, an outer layer for all in it.

    Raises: UserError if one of them names none.
    """
    graph = onnx.load(plain, load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer}
    after: set[str] = set()  # what depends on a layer with weights: not the scaling of the pixels
    nodes: dict[str, list[str]] = {}
    for node in graph.node:
        weighted = node.op_type in WEIGHTED and node.input[1] in constants
        if weighted or (after.intersection(node.input) and node.op_type != "Shape"):
            after.update(node.output)
            if weighted or node.op_type in BETWEEN:
                nodes.setdefault(layer_of(node.name, known) or node.name, []).append(node.name)
    left = dict(nodes)
    for index, pattern in enumerate(keep_float):
        named = [each for each in nodes if _meant(each, pattern)]
        if not named:
            problem = f"int8 rounds no layer called '{pattern}'"
            raise UserError(f"keep_float[{index}]", problem, suggestion(pattern, nodes))
        for each in named:
            left.pop(each, None)
    return left


def int8(plain: Path, pictures: np.ndarray, layers: Mapping[str, Sequence[str]]) -> onnx.ModelProto:
    """Weights int8 with a scale per output channel, activations uint8 with one per tensor, as
    QuantizeLinear and DequantizeLinear around operators of float (QDQ), by onnxruntime's
    `quantize_static`. An activation's range is from its least to its largest value.

    Args:
        plain: ranges are kept beside it, and taken from there the next time.
        pictures: uint8 [N, H, W, C], such as the network will see.
        layers: the nodes to round, by layer.
    """
    return onnx.load(_quantized(plain, pictures, layers))


def alone(
    plain: Path, pictures: np.ndarray, layers: Mapping[str, Sequence[str]], images: np.ndarray
) -> dict[str, float]:
    """Layer -> the largest change of a probability of the images when only this layer is rounded.

    Args:
        plain, pictures, layers: as of `int8`.
        images: uint8 [N, H, W, C].
    """
    expected_NK, found = _scores(plain, images), {}
    for layer, nodes in layers.items():
        rounded = _quantized(plain, pictures, {layer: nodes})
        found[layer] = float(np.abs(_scores(rounded, images) - expected_NK).max())
    return found


def _quantized(plain: Path, pictures: np.ndarray, layers: Mapping[str, Sequence[str]]) -> Path:
    rounded = plain.with_name("rounded.onnx")
    rounded.with_name(f"{rounded.name}.data").unlink(missing_ok=True)  # it would be appended to
    if not layers:  # an empty list of nodes means all of them
        return plain
    quantize_static(
        plain,
        rounded,
        _Pictures(_as_input(plain, pictures)),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_quantize=[name for nodes in layers.values() for name in nodes],
        calibration_cache_path=plain.with_name("ranges.json"),
        use_external_data_format=True,  # a copy on the way may be above protobuf's 2 GB
    )
    return rounded


def _meant(layer: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(layer, pattern) or fnmatch.fnmatchcase(layer, f"{pattern}/*")


def _scores(path: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    batches = _batches(_as_input(path, images))
    return np.concatenate([session.run(["probabilities"], {"image": each})[0] for each in batches])


def _as_input(path: Path, images: np.ndarray) -> np.ndarray:
    [image] = onnx.load(path, load_external_data=False).graph.input
    return images.astype(onnx.helper.tensor_dtype_to_np_dtype(image.type.tensor_type.elem_type))


def _batches(images: np.ndarray) -> list[np.ndarray]:
    return np.split(images, range(BATCH, len(images), BATCH))
