"""`.keras`, by Keras."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer import layers
from trainer.config import about
from trainer.errors import UserError
from trainer.runtimes.opened import Opened

# Where Keras keeps what networks are made of. Its safe mode refuses marshalled code; but a file
# names classes and functions, and more than once there was one among them that did more than
# compute (CVE-2025-1550, CVE-2025-8747, CVE-2025-9906). The second line is Keras's own way of
# writing functional networks, operations on tensors and the layers of its applications.
_PUBLIC = {"keras.activations", "keras.constraints", "keras.initializers", "keras.layers"}
_PUBLIC |= {"keras.dtype_policies", "keras.models", "keras.regularizers"}
_OWN = layers.__name__  # those of ours, which are no code of the file's
_WITHIN = ("keras.src.applications.", "keras.src.layers.", "keras.src.models.", "keras.src.ops.")
_VALUES = {
    f"__{name}__" for name in ("bytes", "ellipsis", "keras_tensor", "numpy", "slice", "tensor")
}
_AT_TOP = {"DTypePolicy", "Functional", "Model", "Sequential", "Variable"}  # of module `keras`
# They run code or read files that the network names.
_REFUSED = {"FlaxLayer", "IntegerLookup", "JaxLayer", "Lambda", "StringLookup", "TFSMLayer"}
_REFUSED |= {"TextVectorization", "TorchModuleWrapper"}


def open(path: Path) -> Opened:
    """The network of `model.keras`, in Keras's safe mode: layers of Keras and ours alone.

    Raises: UserError if it is another file, such as a checkpoint, takes code from elsewhere or
        cannot be loaded.
    """
    where = str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            known = {about.FILE, "config.json"} & set(archive.namelist())
            members = {name: archive.read(name) for name in known}
        foreign = sorted(set(_foreign(json.loads(members["config.json"]))))
    except (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        raise UserError(where, f"is no .keras file of Keras 3: {error}") from None
    if about.FILE not in members:
        raise UserError(
            where,
            f"has no {about.FILE}: a checkpoint, or a file that trainer export did not write",
            "give the folder of the run",
        )
    told = about.parse(members[about.FILE], where)
    if foreign:
        raise UserError(
            where,
            f"takes code that is no layer of Keras: {', '.join(foreign)}",
            "opening a file runs no code: give the folder of the run, or export another kind",
        )
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever a broken file makes it stumble over
        said = str(error).splitlines()[0]
        raise UserError(where, f"Keras cannot load it: {said}") from None

    @tf.function(input_signature=[tf.TensorSpec((None, *told.input_shape), tf.uint8)])
    def forward(images: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(images, tf.float32), training=False)

    def scores(images: np.ndarray) -> np.ndarray:
        return forward(images).numpy()

    return Opened(told, scores)


def _foreign(value: Any) -> Iterator[str]:
    """What a config names that is not known to only compute."""
    if isinstance(value, dict):
        name, module = value.get("class_name"), value.get("module")
        if isinstance(name, str) and not _known(name, module, value.get("config")):
            yield f"{module}.{name}"
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _foreign(each)


def _known(name: str, module: Any, config: Any) -> bool:
    if name == "function":  # of Keras, by name: an activation
        return module in ("builtins", "keras.activations") and isinstance(config, str)
    if module is None:
        return name in _VALUES
    if module == "keras":
        return name in _AT_TOP
    within = isinstance(module, str) and module.startswith(_WITHIN)
    of_keras = module in (*_PUBLIC, _OWN) or within
    return of_keras and name[:1].isupper() and name not in _REFUSED  # upper: a class
