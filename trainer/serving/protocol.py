"""The tensors of the Open Inference Protocol, version 2 (KServe, Triton, OpenVINO Model Server).

Field names are those of github.com/kserve/open-inference-protocol. N pictures, K labels; H, W, C
the shape that the network takes.
"""

import math
import reprlib
from typing import Any, NamedTuple, NoReturn

import numpy as np
from starlette.exceptions import HTTPException

from trainer import __version__
from trainer.config.about import About

INPUT, OUTPUTS = "image", ("probabilities", "label_index")
# Of a kind of export; the protocol wants <project>_<format>.
PLATFORMS = {
    "keras": "keras_v3",
    "onnx": "onnxruntime_onnx",
    "openvino": "openvino_ir",
    "saved_model": "tensorflow_savedmodel",
    "tflite": "tensorflow_tflite",
    "web": "onnxruntime_onnx",
}


def server() -> dict[str, Any]:
    """Of `/v2`."""
    return {"name": "trainer", "version": __version__, "extensions": []}


def model(about: About, kind: str) -> dict[str, Any]:
    """Of `/v2/models/NAME`, for a kind of export.

    The protocol has no place for labels: they stand in `/health`.
    """
    shape = [-1, *about.image_size, about.channels]
    return {
        "name": about.name,
        "platform": PLATFORMS[kind],
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": shape}],
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, len(about.labels)]},
            {"name": "label_index", "datatype": "INT64", "shape": [-1]},
        ],
    }


class Asked(NamedTuple):
    """An inference request."""

    images: np.ndarray  # uint8 [N, H, W, C]
    outputs: tuple[str, ...]  # their names
    id: str | None  # to be said again in the answer


def asked(request: dict[str, Any], about: About, most: int) -> Asked:
    """What is asked for: 1 to `most` images, and all outputs if it does not say.

    Raises: HTTPException 400, which is what the protocol has for all mistakes.
    """
    same = request.get("id")
    if not isinstance(same, str | None):
        _refuse("expected a text as id")
    return Asked(_images(request, about, most), _outputs(request), same)


def _images(request: dict[str, Any], about: About, most: int) -> np.ndarray:
    match request.get("inputs"):
        case [{"name": "image", "datatype": "UINT8", "shape": list(shape), "data": list(data)}]:
            pass
        case _:
            _refuse('expected one input: {"name": "image", "datatype": "UINT8", "shape", "data"}')
    wanted = about.input_shape
    if shape[1:] != [*wanted] or type(shape[0]) is not int or not 1 <= shape[0] <= most:
        received = reprlib.repr(shape)  # cut off: it may be as long as the body
        _refuse(f"expected shape [1 to {most}, {str([*wanted])[1:]}, received {received}")
    # As objects: in an array of texts each would take as much room as the longest.
    values, count = np.asarray(data, object), shape[0] * math.prod(wanted)
    if values.size != count:
        if any(isinstance(each, list) for each in values.flat):
            _refuse("the rows of data differ in length")
        _refuse(f"{values.size} values in data, but shape {shape} has {count}")
    try:
        pixels = bytes(values.ravel().tolist())
    except (TypeError, ValueError):
        _refuse("expected whole numbers from 0 to 255 in data")
    return np.frombuffer(pixels, np.uint8).reshape(shape[0], *wanted)


def _outputs(request: dict[str, Any]) -> tuple[str, ...]:
    given = request.get("outputs")
    if given is None:
        return OUTPUTS
    rows = given if isinstance(given, list) else []
    names = [each.get("name") if isinstance(each, dict) else None for each in rows]
    known = [name for name in OUTPUTS if name in names]
    if not names or len(known) < len(names):  # an unknown one, or one more than once
        _refuse('expected outputs of [{"name": "probabilities"}, {"name": "label_index"}]')
    return tuple(map(str, names))


def answer(asked: Asked, about: About, scores_NK: np.ndarray) -> dict[str, Any]:
    """The inference response, with the outputs that were asked for, in row-major order."""
    tensors = {
        "probabilities": ("FP32", scores_NK),
        "label_index": ("INT64", scores_NK.argmax(axis=1)),
    }
    outputs = [
        {
            "name": name,
            "datatype": tensors[name][0],
            "shape": list(tensors[name][1].shape),
            "data": tensors[name][1].ravel().tolist(),
        }
        for name in asked.outputs
    ]
    same = {} if asked.id is None else {"id": asked.id}
    return {
        "model_name": about.name,
        **same,
        "parameters": {"config_sha256": about.config_sha256},
        "outputs": outputs,
    }


def _refuse(text: str) -> NoReturn:
    raise HTTPException(400, text)
