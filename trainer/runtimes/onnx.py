"""ONNX, by onnxruntime."""

from pathlib import Path

import numpy as np
import onnxruntime

from trainer.config import about
from trainer.errors import UserError
from trainer.runtimes.opened import Opened


def open(path: Path) -> Opened:
    """Input: the only one, uint8 or float32 [N, H, W, C], 0 to 255; output `probabilities`.

    Raises: UserError if onnxruntime cannot use the file or it does not describe itself.
    """
    options = onnxruntime.SessionOptions()
    # Threads that wait by spinning take the time of those that decode: 1,000 requests to a server
    # on two busy cores cost 6 to 8 s of CPU time, and 4 to 5 s without.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class of its own for every cause
        said = str(error).splitlines()[0]
        raise UserError(str(path), f"onnxruntime cannot open it: {said}") from None
    told = about.read(session.get_modelmeta().custom_metadata_map, str(path))
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise UserError(str(path), f"has {len(inputs)} inputs: expected one, for the pictures")
    [image] = inputs
    kind = np.uint8 if "uint8" in image.type else np.float32

    def scores(images: np.ndarray) -> np.ndarray:
        return session.run(["probabilities"], {image.name: images.astype(kind)})[0]

    return Opened(told, scores)
