"""The clients beside an ONNX file, and the proof that they see and say the same."""

import subprocess
import sys
from pathlib import Path

import numpy as np

from trainer import files, terminal
from trainer.config.export import Export
from trainer.data.decode import decode, present, resize
from trainer.data.examples import Examples
from trainer.errors import Failed
from trainer.export import client
from trainer.export.client import Golden
from trainer.export.material import Material

PICTURES = 6  # golden ones
LONGEST = 320  # pixels of their longer side: they are PNG


def follow(spec: Export, agrees: bool, material: Material, examples: Examples, file: Path) -> None:
    """Writes `client/` beside a `model.onnx` that takes bytes, or removes the one for an earlier
    file from beside any other `model.onnx`; nothing for what has another name.

    The Python client is run on the golden pictures, which come from the examples, before the folder
    gets its name. Raises: Failed if they are not met.
    """
    if not (spec.kind == "onnx" and spec.precision == "float32"):
        return
    folder = file.with_name("client")
    if not agrees or spec.input != "uint8":
        files.remove(folder)
        return
    golden = _golden(material, examples)
    with files.replacing(folder) as partial:
        client.write(material.about, golden, partial)
        command = [sys.executable, str(partial / "client.py"), "--check"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            files.remove(folder)  # an older one knows another network
            raise Failed(f"the client in Python differs from Keras:\n{done.stdout}{done.stderr}")
    terminal.say(f"written  {folder}, proven on {len(golden)} golden pictures")


def _golden(material: Material, examples: Examples) -> list[Golden]:
    """Pictures from the whole range of the examples, so of all classes where these are sorted."""
    golden = []
    for index in np.linspace(0, len(examples) - 1, min(PICTURES, len(examples))).astype(int):
        try:
            picture = decode(examples.pictures.content(int(index)))
        except (OSError, ValueError):
            continue  # a damaged file is no example
        picture = _small(picture)
        pixels = present(picture, material.about)
        scores_NK = material.model(pixels[None].astype(np.float32), training=False)
        golden.append(Golden(picture, pixels, np.asarray(scores_NK)[0]))
    return golden


def _small(picture: np.ndarray) -> np.ndarray:
    h, w = picture.shape[:2]
    scale = LONGEST / max(h, w)
    return (
        picture
        if scale >= 1
        else resize(picture, (max(1, round(h * scale)), max(1, round(w * scale))))
    )
