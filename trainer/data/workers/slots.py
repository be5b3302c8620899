"""The shared block of a pool: a slot for the batch of each worker, then what all of them read."""

import mmap
import pickle
from typing import NamedTuple

import numpy as np

from trainer.data import shared
from trainer.data.batch import Batch, Shapes, empty

ALIGNED = 64  # bytes: a cache line


class Job(NamedTuple):
    """What all workers of a pool are given."""

    shapes: Shapes
    patience: float  # seconds that a batch may take
    # From where to where in the block it stands pickled, and then each large array of it by itself:
    # workers look at these where they are, instead of having a copy each.
    prepare: tuple[tuple[int, int], ...]


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


def pack(thing: object, start: int) -> tuple[list[memoryview], tuple[tuple[int, int], ...]]:
    """The thing pickled, its large arrays apart, and from where to where each part belongs in a
    block, from `start` on."""
    arrays: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(thing, protocol=5, buffer_callback=arrays.append)
    parts = [memoryview(pickled), *(each.raw() for each in arrays)]
    spans = []
    for part in parts:
        spans.append((start, start + part.nbytes))
        start = -(-spans[-1][1] // ALIGNED) * ALIGNED
    return parts, tuple(spans)


def unpack(block: int, spans: tuple[tuple[int, int], ...]) -> object:
    """What was packed; its arrays cannot be written to. Raises: whatever unpickling raises."""
    parts = [shared.array(block, (stop - start,), np.uint8, start) for start, stop in spans]
    for part in parts:
        part.flags.writeable = False
    return pickle.loads(parts[0].data, buffers=parts[1:])


def _starts(shapes: Shapes) -> list[int]:
    """Where each array begins in the slot, and where the last one ends."""
    starts = [0]
    for array in empty(shapes):
        starts.append(-(-(starts[-1] + array.nbytes) // ALIGNED) * ALIGNED)
    return starts
