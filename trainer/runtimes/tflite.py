"""TensorFlow Lite, by the interpreter that TensorFlow brings along.

`ai-edge-litert`, which is to replace it, is one more package with the same interpreter inside;
TensorFlow is pinned to a version that has it, as it has the converter.
"""

import warnings
import zipfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from trainer.config import about
from trainer.errors import UserError
from trainer.runtimes.opened import Opened, Scores


def open(path: Path) -> Opened:
    """The only input, uint8 or float32 [N, H, W, C], 0 to 255; the only output.

    Raises: UserError if TensorFlow Lite cannot use the file, it has operators beyond TensorFlow
        Lite's own, or it does not describe itself.
    """
    where = str(path)
    try:
        content = path.read_bytes()
        foreign = _foreign(content)
    except Exception as error:  # whatever a broken file makes the reader stumble over
        raise UserError(where, f"is no TensorFlow Lite model: {error}") from None
    if foreign:
        # Interpreters within TensorFlow run its operators under names such as FlexWriteFile.
        raise UserError(
            where,
            f"has operators that are not TensorFlow Lite's own: {', '.join(foreign)}",
            "use it only if you know who wrote it, with the interpreter that it was made for",
        )
    try:
        with zipfile.ZipFile(path) as archive:
            told = about.parse(archive.read(about.FILE), where)
    except (KeyError, RuntimeError, zipfile.BadZipFile):
        told = about.parse(b"", where)
    try:
        return Opened(told, _scores(content))
    except (RuntimeError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise UserError(where, f"TensorFlow Lite cannot load it: {said}") from None


def _scores(content: bytes) -> Scores:
    """Of a model that is known to be harmless. Raises: ValueError, RuntimeError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that the interpreter is to be replaced
        interpreter = tf.lite.Interpreter(model_content=content)
    [image], [probabilities] = interpreter.get_input_details(), interpreter.get_output_details()
    shape: tuple[int, ...] = ()

    def scores(images: np.ndarray) -> np.ndarray:
        nonlocal shape
        if images.shape != shape:
            interpreter.resize_tensor_input(image["index"], images.shape)
            interpreter.allocate_tensors()
            shape = images.shape
        interpreter.set_tensor(image["index"], images.astype(image["dtype"]))
        interpreter.invoke()
        return interpreter.get_tensor(probabilities["index"])

    return scores


def _foreign(content: bytes) -> list[str]:
    """The names of all operators that are none of TensorFlow Lite's own."""
    if content[4:8] != b"TFL3":
        raise ValueError("it does not begin as one")
    model = schema.Model.GetRootAs(content, 0)
    codes = [model.OperatorCodes(index) for index in range(model.OperatorCodesLength())]
    own = (schema.BuiltinOperator.CUSTOM, schema.BuiltinOperator.DELEGATE)
    return sorted(
        (code.CustomCode() or b"without a name").decode(errors="replace")
        for code in codes
        if code.CustomCode() or code.BuiltinCode() in own
    )
