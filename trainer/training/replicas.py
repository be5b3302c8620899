"""What goes to the replicas, and what comes back from them.

N batch, K classes.
"""

import functools
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.training.peers import Peers

Read = Callable[[], dict[str, Any]]


def distributed(batches: tf.data.Dataset, strategy: tf.distribute.Strategy) -> Any:
    """Each batch shared out to the replicas of this worker."""
    peers = Peers.of(strategy)
    if peers.workers == 1:
        return strategy.experimental_distribute_dataset(batches)

    fewest, more = divmod(batches.element_spec[2].shape[0], peers.replicas)
    ends = [number * fewest + min(number, more) for number in range(peers.replicas + 1)]

    def shared(*batch: tf.Tensor) -> tf.data.Dataset:
        """One element for each replica."""
        parts = [
            tf.data.Dataset.from_tensors(tuple(each[start:end] for each in batch))
            for start, end in pairwise(ends)
        ]
        return functools.reduce(tf.data.Dataset.concatenate, parts)

    found = batches if peers.replicas == 1 else batches.flat_map(shared)
    return strategy.distribute_datasets_from_function(lambda _: found)


def held(value: Any, parts: int | None = None) -> np.ndarray:
    """What the replicas of this worker hold, one after the other, as the batch was before they
    shared it; or what the first of them hold."""
    held = getattr(value, "values", (value,))[:parts]
    return np.concatenate([each.numpy() for each in held])


def reader(metrics: Sequence[keras.Metric], strategy: tf.distribute.Strategy) -> Read:
    """What metrics have found so far, on all replicas.

    With several workers reading a variable is a collective: all are read in one.
    """
    if Peers.of(strategy).workers == 1:
        return lambda: {metric.name: metric.result() for metric in metrics}
    variables = [[each.value for each in metric.variables] for metric in metrics]

    def on_replica() -> tf.Tensor:
        held = [tf.convert_to_tensor(each) for own in variables for each in own]
        return tf.concat([tf.reshape(tf.cast(each, tf.float64), [-1]) for each in held], 0)

    @tf.function
    def read() -> dict[str, Any]:
        sums = strategy.reduce("SUM", strategy.run(on_replica), axis=None)
        parts = iter(
            tf.split(sums, [each.shape.num_elements() for own in variables for each in own])
        )
        found = {}
        for metric, own in zip(metrics, variables, strict=True):
            whole = [tf.cast(tf.reshape(next(parts), each.shape), each.dtype) for each in own]
            found[metric.name] = metric.stateless_result(whole)
        return found

    return read
