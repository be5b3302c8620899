"""A model file, opened by its own runtime. TensorFlow is imported only for what needs it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainer.config.about import About
from trainer.errors import UserError
from trainer.parts import part

# uint8 images [N, H, W, C] -> probabilities float32 [N, K], for any N > 0
Scores = Callable[[np.ndarray], np.ndarray]

SUFFIXES = {".onnx": "onnx", ".tflite": "tflite", ".keras": "keras"}
# A file in it -> what the folder is.
FOLDERS = {"saved_model.pb": "saved_model", "model.xml": "openvino", "index.html": "web"}

# What others write their networks to: a model is meant, though not one of ours.
FOREIGN = {".bin", ".engine", ".h5", ".mlmodel", ".pb", ".pt", ".pth", ".safetensors", ".xml"}


class Opened(NamedTuple):
    """What a file says of itself, and what it computes."""

    about: About
    scores: Scores


def kind_of(path: Path) -> str | None:
    """The kind of export that lies there, by its name; None if it is none. The file that makes a
    folder a model stands for it."""
    if path.is_dir():
        return next((kind for file, kind in FOLDERS.items() if (path / file).is_file()), None)
    return FOLDERS.get(path.name) or SUFFIXES.get(path.suffix.lower())


def open(path: Path) -> Opened:
    """The model behind a path. Raises: UserError if there is none, or not one that can be used."""
    kind = kind_of(path)
    if not path.exists() or kind is None:
        known = ", ".join((*SUFFIXES, "the folder of a SavedModel or of OpenVINO"))
        problem = "is no model that can be opened" if path.exists() else "no such file or folder"
        raise UserError(str(path), problem, f"expected {known}, or the folder of a run")
    return part("runtimes", kind).open(path.parent if path.name in FOLDERS else path)
