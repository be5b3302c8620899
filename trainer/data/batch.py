"""What a batch is, and what makes one; known to threads and to worker processes, so numpy only.

N is the global batch size, [H, W, C] a picture, K the number of classes.
"""

import math
import sys
import threading
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# Images uint8 [N, H, W, C], labels float32 [N, K], weights float32 [N]: weight 0 marks a row that
# counts for nothing.
Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


class Shapes(NamedTuple):
    """How large a batch is: `size` N, `picture` (H, W, C), `classes` K."""

    size: int
    picture: tuple[int, int, int]
    classes: int


class Made(NamedTuple):
    """What making one batch cost, and what was found on the way.

    `decoding` and `augmenting` are CPU seconds, for `pictures` pictures; `unreadable` has the
    pictures newly found to be broken, place -> reason.
    """

    decoding: float
    augmenting: float
    pictures: int
    unreadable: dict[str, str]


# fill(step, batch) writes all of the batch of that step; the arrays may hold an earlier one.
# Several threads call it at once. Raises: UserError.
Fill = Callable[[int, Batch], Made]


FREE = 3  # references to a block that nobody holds: the list's, the name's, the argument's
ALIGNED = 64  # bytes: TensorFlow takes such arrays as they are, and copies others


class Buffers:
    """Batches in memory that is used again once nobody holds them any more, so that it need not be
    mapped and zeroed again: for 224 px that takes as long as copying. Threads share it."""

    def __init__(self, shapes: Shapes) -> None:
        self._shapes, self._lock = shapes, threading.Lock()
        self._blocks: list[np.ndarray] = []

    def __call__(self) -> Batch:
        """Arrays with whatever stands in memory."""
        size, picture, classes = self._shapes
        count = size * math.prod(picture)
        with self._lock:
            # Whoever holds a batch, or a view of a part of it, holds its block.
            block = next((each for each in self._blocks if sys.getrefcount(each) <= FREE), None)
            if block is None:
                block = np.empty(count + ALIGNED, np.uint8)
                self._blocks.append(block)
            start = -block.ctypes.data % ALIGNED
            images = block[start : start + count].reshape(size, *picture)
        return images, np.empty((size, classes), np.float32), np.empty((size,), np.float32)


def empty(shapes: Shapes) -> Batch:
    """A batch of zeros: black pictures that count for nothing."""
    return (
        np.zeros((shapes.size, *shapes.picture), np.uint8),
        np.zeros((shapes.size, shapes.classes), np.float32),
        np.zeros(shapes.size, np.float32),
    )
