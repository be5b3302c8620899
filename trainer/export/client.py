"""`client/` beside an ONNX file: how to use it in Python, JavaScript and C#, with golden pictures.

What lies in `client_files/` is given away as it is; a network shows only in the data beside it.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from trainer import files
from trainer.config import about
from trainer.config.about import About

TEMPLATES = Path(__file__).with_name("client_files")
TOLERANCE = 1e-3  # of a probability: other processors and WebAssembly add in another order


class Golden(NamedTuple):
    """A picture, what the network sees of it, and what it says."""

    picture: np.ndarray  # uint8 RGB [h, w, 3]
    pixels: np.ndarray  # uint8 [H, W, C]
    probabilities: np.ndarray  # float32 [K]


def write(told: About, golden: Sequence[Golden], path: Path) -> None:
    """A folder with the clients, `about.json`, and `golden.json` with its pictures in `golden/`."""
    (path / "golden").mkdir(parents=True)
    for template in sorted(TEMPLATES.glob("*.*")):
        shutil.copyfile(template, path / template.name)
    files.write_json(path / about.FILE, told.model_dump(mode="json"))
    rows = []
    for number, each in enumerate(golden):
        picture, pixels = f"golden/{number}.png", f"golden/{number}_pixels.png"
        Image.fromarray(each.picture).save(path / picture)
        Image.fromarray(each.pixels.squeeze(axis=2) if told.channels == 1 else each.pixels).save(
            path / pixels
        )
        probabilities = each.probabilities.tolist()
        rows.append({"picture": picture, "pixels": pixels, "probabilities": probabilities})
    files.write_json(path / "golden.json", {"tolerance": TOLERANCE, "pictures": rows})
