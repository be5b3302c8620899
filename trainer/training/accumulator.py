"""Gradients of several batches, summed until they make one update."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from trainer.training.variables import SUM

Gradients = list[tf.Tensor | None]


class Accumulator(NamedTuple):
    """Sums of each replica; they are added up over the replicas once, before the update.

    A batch counts by the sum of its weights, so that k batches of b pictures give the gradient of
    one batch of k·b, padded and weighted rows included. Keras's mean of means does not.
    """

    batches: int  # that make an update
    sums: tuple[Any, ...]  # per variable that is trained
    weight: Any  # of all pictures so far, on all replicas
    done: Any  # batches so far

    @classmethod
    def of(cls, variables: Sequence[Any], batches: int) -> "Accumulator":
        """Empty sums for these variables. To be called under the strategy's scope."""
        sums = tuple(
            keras.Variable(tf.zeros(each.shape, each.dtype), trainable=False, name=SUM)
            for each in variables
        )
        weight = keras.Variable(0.0, trainable=False, name="weight")
        done = keras.Variable(0, dtype="int64", trainable=False, name="done")
        return cls(batches, sums, weight, done)

    @property
    def variables(self) -> tuple[Any, ...]:
        """All that a checkpoint has to keep."""
        return (*self.sums, self.weight, self.done)

    def add(self, gradients: Gradients, weight: tf.Tensor) -> None:
        """The gradients of a batch's mean loss, and the weight of its pictures."""
        for total, gradient in zip(self.sums, gradients, strict=True):
            if gradient is not None:
                total.assign_add(gradient * weight)
        self.weight.assign_add(weight)
        self.done.assign_add(1)

    def mean(self, gradients: Gradients, weight: tf.Tensor) -> Gradients:
        """That of all batches, this last one included; the sums begin anew."""
        everything = self.weight + weight
        found = [
            gradient
            if gradient is None
            else tf.math.divide_no_nan(total + gradient * weight, everything)
            for total, gradient in zip(self.sums, gradients, strict=True)
        ]
        for variable in self.variables:
            variable.assign(tf.zeros_like(variable))
        return found
