"""The shared block of a pool: a slot for the batch of each worker, then what all of them read."""

import mmap
from typing import NamedTuple

import numpy as np

from trainer.data import shared
from trainer.data.batch import Batch, Shapes, empty

ALIGNED = 64  # bytes: a cache line


class Job(NamedTuple):
    """What all workers of a pool are given."""

    shapes: Shapes
    patience: float  # seconds that a batch may take
    prepare: tuple[int, int]  # from where to where in the block it stands pickled


def size(shapes: Shapes) -> int:
    """Bytes of one slot, whole pages."""
    end = _starts(shapes)[-1]
    return -(-end // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY


def batch(block: int, shapes: Shapes, number: int) -> Batch:
    """The arrays that lie in slot `number` of the block with that descriptor."""
    space = size(shapes)
    content = shared.array(block, (space,), np.uint8, number * space)
    images, labels, weights = (
        content[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
        for start, array in zip(_starts(shapes), empty(shapes), strict=False)
    )
    return images, labels, weights


def _starts(shapes: Shapes) -> list[int]:
    """Where each array begins in the slot, and where the last one ends."""
    starts = [0]
    for array in empty(shapes):
        starts.append(-(-(starts[-1] + array.nbytes) // ALIGNED) * ALIGNED)
    return starts
