"""How long a model takes, by the clock: calls one after another, in batches of one and of many."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainer.commands import _fresh
from trainer.runtimes import opened
from trainer.runtimes.opened import Scores

SIZES = (1, 32)  # of batches
WARM = 0.1  # share of the time that is not counted: threads start, memory is taken, clocks rise


class Timed(NamedTuple):
    """What was measured of one model."""

    scores_NK: np.ndarray  # float32, its probabilities of all images
    seconds: dict[int, list[float]]  # size of the batch -> what each call took


def timed(scores: Scores, images: np.ndarray, seconds: float) -> Timed:
    """Calls `scores` for so long, half of it with each size, and once on all images.

    Args:
        images: uint8 [N, H, W, C]; repeated where a batch is larger.
    """
    most = max(SIZES)
    parts = [images[start : start + most] for start in range(0, len(images), most)]
    scores_NK = np.concatenate([scores(part) for part in parts])
    return Timed(scores_NK, {size: _calls(scores, images, size, seconds) for size in SIZES})


def _calls(scores: Scores, images: np.ndarray, size: int, seconds: float) -> list[float]:
    batch = images[np.arange(size) % len(images)]
    found: list[float] = []
    share = seconds / len(SIZES)
    start = time.perf_counter()
    while not found or time.perf_counter() - start < share:
        begun = time.perf_counter()
        scores(batch)
        end = time.perf_counter()
        if begun - start >= WARM * share:
            found.append(end - begun)
    return found


def in_a_child(path: Path, images: np.ndarray, seconds: float) -> Timed | str:
    """The same of a model file, in a fresh process of its own; or why it could not be measured."""
    found = _fresh.ask("benchmark._timed", "measure", path, images, seconds=seconds)
    if isinstance(found, str):
        return found
    taken = {int(size): each for size, each in found.said.items()}
    return Timed(found.scores["scores"], taken)


def measure(request: Mapping[str, Any]) -> dict[int, list[float]]:
    """The child's side."""
    images = np.load(request["images"])
    model = opened.open(Path(request["path"]))
    found = timed(model.scores, images, request["seconds"])
    np.savez(request["scores"], scores=found.scores_NK)
    return found.seconds
