"""Examples -> tf.data batches.

A batch is (images uint8 [N, H, W, C], labels float32 [N, K], weights float32 [N]): weight 0 marks a
row that counts for nothing. N is the global batch size, always; K classes.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainer import terminal
from trainer.config.data import Data
from trainer.data import stream
from trainer.data.augment import Augment
from trainer.data.decode import decode, present
from trainer.data.examples import Examples
from trainer.errors import UserError, suggestion

PARALLEL_BATCHES = min(4, os.cpu_count() or 1)  # OpenCV lets go of the interpreter while it decodes
PREFETCHED_BATCHES = 2

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


class Faults(NamedTuple):
    """What went wrong inside the pipeline's threads, where exceptions lose their type."""

    unreadable: dict[str, str]  # place -> why it was left out
    errors: list[UserError]


def training(
    examples: Examples, augment: Augment, spec: Data, seed: int, faults: Faults, start: int = 0
) -> tf.data.Dataset:
    """Endless batches of the stream, from step `start`, with the weights of `class_weights`.

    The place of a picture that cannot be decoded is taken by the next one of `examples`.
    """
    size, order = spec.batch_size, sampled(examples, spec, seed)
    weights_K = class_weights(examples, spec)

    def batch(step: int) -> Batch:
        images, labels, weights = _empty(spec, len(examples.classes))
        indices = np.zeros(size, np.int64)
        for row in range(size):
            position = int(step) * size + row
            indices[row], pixels = _readable(examples, order(position), spec, faults)
            images[row] = augment(pixels, *stream.generators(seed, position))
        labels[:] = examples.targets(indices)
        weights[:] = 1 if weights_K is None else weights_K[examples.labels[indices]]
        return images, labels, weights

    return _dataset(batch, range(start, 2**62), spec, len(examples.classes), faults)


def evaluation(examples: Examples, spec: Data, faults: Faults) -> tf.data.Dataset:
    """One pass in order. The last batch is filled with black rows of weight 0, and so is the row of
    a picture that cannot be decoded: every batch feeds every replica."""
    size, count = spec.batch_size, len(examples)

    def batch(step: int) -> Batch:
        images, labels, weights = _empty(spec, len(examples.classes))
        indices = np.arange(int(step) * size, min((int(step) + 1) * size, count))
        targets = examples.targets(indices)
        for row, index in enumerate(indices):
            pixels = _pixels(examples, int(index), spec, faults)
            if pixels is not None:
                images[row], labels[row], weights[row] = pixels, targets[row], 1
        return images, labels, weights

    return _dataset(batch, range(-(-count // size)), spec, len(examples.classes), faults)


def sampled(examples: Examples, spec: Data, seed: int) -> stream.Order:
    """The order of `data.sampling`. Of multi-label pictures, those with no label count as one more
    class."""
    if spec.sampling == "shuffled":
        return stream.shuffled(seed, len(examples))
    labels = examples.labels
    if examples.multi_label:
        members = [np.flatnonzero(column) for column in labels.T]
        members.append(np.flatnonzero(labels.sum(axis=1) == 0))
    else:
        ordered = np.argsort(labels, kind="stable")
        members = np.split(ordered, np.cumsum(examples.counts())[:-1])
    return stream.balanced(seed, [each for each in members if len(each)])


def class_weights(examples: Examples, spec: Data) -> np.ndarray | None:
    """float32 [K], or None where all count the same. `balanced` is N / (K n_k), as scikit-learn has
    it: every class weighs the same in all, and pictures weigh 1 on average.

    Raises: UserError for multi-label examples and for names that are no classes.
    """
    where = "data.class_weights"
    if spec.class_weights is None:
        return None
    if examples.multi_label:
        problem = "a picture has one weight, but may have several labels"
        raise UserError(where, problem, "write sampling: balanced instead")
    if spec.class_weights == "balanced":
        counts_K = np.maximum(examples.counts(), 1)
        return (len(examples) / (len(counts_K) * counts_K)).astype(np.float32)
    for name, weight in spec.class_weights.items():
        if name not in examples.classes:
            raise UserError(
                f"{where}.{name}", f"no class is called '{name}'",
                suggestion(name, examples.classes),
            )  # fmt: skip
        if not 0 < weight < float("inf"):
            raise UserError(f"{where}.{name}", f"expected a number above 0, received {weight}")
    found = [spec.class_weights.get(name, 1.0) for name in examples.classes]
    return np.array(found, np.float32)


@contextmanager
def reported(faults: Faults) -> Iterator[None]:
    """Around whatever reads the batches: the first error of a thread comes out as itself."""
    try:
        yield
    except tf.errors.OpError:
        if faults.errors:
            raise faults.errors[0] from None
        raise


def _readable(examples: Examples, index: int, spec: Data, faults: Faults) -> tuple[int, np.ndarray]:
    """The example, or the next one that can be decoded."""
    count = len(examples)
    for other in range(index, index + count):
        pixels = _pixels(examples, other % count, spec, faults)
        if pixels is not None:
            return other % count, pixels
    path = examples.pictures.place(index)
    problem = (
        f"not one of {count} training pictures can be read, as {path}: {faults.unreadable[path]}"
    )
    raise UserError("data.source", problem, "look at the files: is this a folder of pictures?")


def _pixels(examples: Examples, index: int, spec: Data, faults: Faults) -> np.ndarray | None:
    """The picture, or None if it cannot be decoded: tried and warned of once, kept in `faults`."""
    path = examples.pictures.place(index)
    if path in faults.unreadable:
        return None
    try:
        return present(decode(examples.pictures.content(index)), spec)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if faults.unreadable.setdefault(path, reason) is reason:  # of several threads, the first
            terminal.warn(f"{path} is left out: {reason}")
        return None


def _empty(spec: Data, classes: int) -> Batch:
    return (
        np.zeros((spec.batch_size, *spec.input_shape), np.uint8),
        np.zeros((spec.batch_size, classes), np.float32),
        np.zeros((spec.batch_size,), np.float32),
    )


def _dataset(
    batch: Callable[[int], Batch], steps: range, spec: Data, classes: int, faults: Faults
) -> tf.data.Dataset:
    shapes = [array.shape for array in _empty(spec, classes)]

    def guarded(step: int) -> Batch:
        try:
            return batch(step)
        except UserError as error:
            faults.errors.append(error)
            raise

    def load(step: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # One call per batch, not per picture: a quarter cheaper. stateful=False keeps the calls
        # parallel under op determinism; the step is the only input, so nothing is lost.
        tensors = tf.numpy_function(
            guarded, [step], (tf.uint8, tf.float32, tf.float32), stateful=False
        )
        return tuple(tf.ensure_shape(*pair) for pair in zip(tensors, shapes, strict=True))

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return (
        tf.data.Dataset.range(steps.start, steps.stop)
        .map(load, num_parallel_calls=PARALLEL_BATCHES, deterministic=True)
        .prefetch(PREFETCHED_BATCHES)
        .with_options(options)
    )
