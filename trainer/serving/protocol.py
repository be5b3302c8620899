"""The tensors of the Open Inference Protocol, version 2 (KServe, Triton, OpenVINO Model Server).

Field names are those of github.com/kserve/open-inference-protocol. N pictures, K labels; H, W, C
the shape that the network takes.
"""

from typing import Any, NoReturn

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


def images(request: dict[str, Any], about: About, most: int) -> np.ndarray:
    """uint8 [N, H, W, C] of an inference request, 1 to `most` of them.

    Raises: HTTPException 400, which is what the protocol has for all mistakes.
    """
    match request.get("inputs"):
        case [{"name": "image", "datatype": "UINT8", "shape": list(shape), "data": list(data)}]:
            pass
        case _:
            _refuse('expected one input: {"name": "image", "datatype": "UINT8", "shape", "data"}')
    wanted = [*about.image_size, about.channels]
    if shape[1:] != wanted or type(shape[0]) is not int or not 1 <= shape[0] <= most:
        _refuse(f"expected shape [1 to {most}, {str(wanted)[1:]}, received {shape}")
    try:
        values = np.asarray(data)
    except ValueError:
        _refuse("the rows of data differ in length")
    if values.size != np.prod(shape):
        _refuse(f"{values.size} values in data, but shape {shape} has {np.prod(shape)}")
    if values.dtype.kind != "i" or values.min() < 0 or values.max() > 255:
        _refuse("expected whole numbers from 0 to 255 in data")
    return values.astype(np.uint8).reshape(shape)


def wanted(request: dict[str, Any]) -> tuple[str, ...]:
    """The outputs that a request asks for; all if it does not say. Raises: HTTPException 400."""
    asked = request.get("outputs")
    if asked is None:
        return OUTPUTS
    rows = asked if isinstance(asked, list) else []
    names = [each.get("name") if isinstance(each, dict) else None for each in rows]
    if not names or any(name not in OUTPUTS for name in names):
        _refuse('expected outputs of [{"name": "probabilities"}, {"name": "label_index"}]')
    return tuple(map(str, names))


def answer(
    request: dict[str, Any], about: About, scores_NK: np.ndarray, names: tuple[str, ...]
) -> dict[str, Any]:
    """The inference response, with the outputs that are called `names`, in row-major order."""
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
        for name in names
    ]
    same = {"id": request["id"]} if "id" in request else {}
    return {
        "model_name": about.name,
        **same,
        "parameters": {"config_sha256": about.config_sha256},
        "outputs": outputs,
    }


def _refuse(text: str) -> NoReturn:
    raise HTTPException(400, text)
