"""A model file opened in a process of its own, as whoever gets it will open it."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainer.commands import _child
from trainer.errors import leaves
from trainer.runtimes import opened


class Answer(NamedTuple):
    """What a child says of a file."""

    said: Any  # what its story returned
    scores: dict[str, np.ndarray]  # what it saved


def ask(module: str, story: str, path: Path, images: np.ndarray, **more: Any) -> Answer | str:
    """Has a story of a module (see `_child.ask`) look at a model file in a fresh process.

    Args:
        images: uint8 [N, H, W, C]; the request names the file they are in, as `images`, and the
            .npz that the story saves scores to, as `scores`.

    Returns: its answer; or why there is none.
    """
    with tempfile.TemporaryDirectory() as name:
        pictures, found = Path(name, "images.npy"), Path(name, "scores.npz")
        np.save(pictures, images)
        files = {"path": str(path.absolute()), "images": str(pictures), "scores": str(found)}
        try:
            ended = _child.ask(module, story, {**more, **files}, quiet=True, tensorflow=False)
        except ExceptionGroup as group:
            return "; ".join(each.problem for each in leaves(group))
        if ended.answer is None:
            last = ended.said.splitlines()[-1:]
            return last[0] if last else f"its process ended with {ended.code}"
        with np.load(found) as parts:
            return Answer(ended.answer, dict(parts))


def scores(path: Path, images: np.ndarray, sizes: Sequence[int]) -> dict[int, np.ndarray] | str:
    """What the file says of images uint8 [N, H, W, C], in batches of each of the sizes.

    Returns: batch size -> probabilities float32 [N, K]; or why there are none.
    """
    found = ask("_fresh", "compute", path, images, sizes=sizes)
    return found if isinstance(found, str) else {size: found.scores[str(size)] for size in sizes}


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
