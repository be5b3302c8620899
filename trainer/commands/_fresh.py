"""A model file opened in a process of its own, as whoever gets it will open it."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainer.commands import _child
from trainer.errors import leaves
from trainer.runtimes import opened


def scores(path: Path, images: np.ndarray, sizes: Sequence[int]) -> dict[int, np.ndarray] | str:
    """What the file says of images uint8 [N, H, W, C], in batches of each of the sizes.

    Returns: batch size -> probabilities float32 [N, K]; or why there are none.
    """
    with tempfile.TemporaryDirectory() as name:
        pictures, found = Path(name, "images.npy"), Path(name, "scores.npz")
        np.save(pictures, images)
        request = {
            "path": str(path.absolute()),
            "images": str(pictures),
            "sizes": sizes,
            "scores": str(found),
        }
        try:
            ended = _child.ask("_fresh", "compute", request, quiet=True, tensorflow=False)
        except ExceptionGroup as group:
            return "; ".join(f"{each.problem}" for each in leaves(group))
        if ended.answer is None:
            last = ended.said.splitlines()[-1:]
            return last[0] if last else f"its process ended with {ended.code}"
        with np.load(found) as parts:
            return {size: parts[str(size)] for size in sizes}


def compute(request: Mapping[str, Any]) -> bool:
    """The child's side."""
    model, images = opened.open(Path(request["path"])), np.load(request["images"])
    found = {
        str(size): np.concatenate(
            [model.scores(images[start : start + size]) for start in range(0, len(images), size)]
        )
        for size in request["sizes"]
    }
    np.savez(request["scores"], **found)  # type: ignore[arg-type]
    return True
