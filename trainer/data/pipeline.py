"""Batches of arrays -> tf.data.

Whether threads make them or processes, the graph is the same: one call per step.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainer import terminal
from trainer.data.batch import Batch, Buffers, Fill, Made, Shapes

PARALLEL_BATCHES = min(4, os.cpu_count() or 1)  # OpenCV lets go of the interpreter while it decodes
PREFETCHED_BATCHES = 2

Make = Callable[[int], tuple[Batch, Made]]  # step -> its batch


class Faults(NamedTuple):
    """What went wrong inside the pipeline's threads, where exceptions lose their type."""

    unreadable: dict[str, str]  # place -> why it was left out
    errors: list[Exception]


def in_threads(fill: Fill, shapes: Shapes) -> Make:
    """Makes a batch in the thread that asks for it."""

    buffer = Buffers(shapes)

    def make(step: int) -> tuple[Batch, Made]:
        batch = buffer()
        return batch, fill(step, batch)

    return make


def dataset(
    make: Make,
    shapes: Shapes,
    steps: range,
    faults: Faults,
    made: Callable[[Made], object] | None = None,
    parallel: int = PARALLEL_BATCHES,
) -> tf.data.Dataset:
    """The batches of these steps, in order.

    Args:
        made: is told what each batch took, from several threads.
        parallel: so many are made at once.
    """

    telling = threading.Lock()  # several batches may have met the same picture

    def batch(step: np.ndarray) -> Batch:
        try:
            found, about = make(int(step))
        except Exception as error:
            faults.errors.append(error)
            raise
        with telling:
            new = {k: v for k, v in about.unreadable.items() if k not in faults.unreadable}
            faults.unreadable.update(new)
        for place, reason in new.items():
            terminal.warn(f"{place} is left out: {reason}")
        if made:
            made(about)
        return found

    def load(step: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # One call per batch, not per picture: a quarter cheaper. stateful=False keeps the calls
        # parallel under op determinism; the step is the only input, so nothing is lost.
        tensors = tf.numpy_function(
            batch, [step], (tf.uint8, tf.float32, tf.float32), stateful=False
        )
        return tuple(tf.ensure_shape(*pair) for pair in zip(tensors, sizes, strict=True))

    sizes = ((shapes.size, *shapes.picture), (shapes.size, shapes.classes), (shapes.size,))
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return (
        tf.data.Dataset.range(steps.start, steps.stop)
        .map(load, num_parallel_calls=parallel, deterministic=True)
        .prefetch(PREFETCHED_BATCHES)
        .with_options(options)
    )


def endless(start: int = 0) -> range:
    """The steps of a training, from one of them on."""
    return range(start, 2**62)


def once(examples: int, size: int) -> range:
    """The steps of one pass in batches of `size`."""
    return range(-(-examples // size))


@contextmanager
def reported(faults: Faults) -> Iterator[None]:
    """Around whatever reads the batches: the first error of a thread comes out as itself."""
    try:
        yield
    except tf.errors.OpError:
        if faults.errors:
            raise faults.errors[0] from None
        raise
