"""The exponential moving average of the weights, as Keras's `use_ema` has it, on any strategy.

Keras's own keeps no track of overflown steps and leaves the statistics of BatchNormalization
behind, which then belong to other weights than those they are used with. Here all floating-point
weights are averaged, statistics too, as timm's ModelEmaV2 does.
"""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from trainer.training.variables import count_of, parts


class Average(NamedTuple):
    """The averages beside the weights; for validation the two change places.

    Averages are of each replica, as the statistics of BatchNormalization are.
    """

    momentum: float  # what stays of the average, per update
    overwrite: (
        int  # updates after which the weights become their average, again and again; 0: never
    )
    weights: tuple[Any, ...]  # of the network
    averages: tuple[Any, ...]
    updates: Any  # how many were averaged
    inside: Any  # 1 while the network holds the averages

    @classmethod
    def of(cls, model: keras.Model, momentum: float, overwrite: int) -> "Average":
        """Averages that equal the weights. To be called under the strategy's scope."""
        weights = tuple(each for each in model.weights if "float" in each.dtype)
        averages = tuple(
            keras.Variable(each, dtype=each.dtype, trainable=False, name="average")
            for each in weights
        )
        updates, inside = (keras.Variable(0, dtype="int64", trainable=False) for _ in range(2))
        return cls(momentum, overwrite, weights, averages, updates, inside)

    @property
    def variables(self) -> tuple[Any, ...]:
        """All that a checkpoint has to keep."""
        return (*self.averages, self.updates, self.inside)

    def follow(self, moved: tf.Tensor) -> None:
        """Called on each replica after an update; `moved` says whether there was one.

        a += (1 - momentum) (w - a), and a = w at the first update. In this form a weight that does
        not move, as in a frozen layer, equals its average to the bit.
        """
        share = tf.where(tf.equal(self.updates, 0), 1.0, 1 - self.momentum)
        share *= tf.cast(moved, "float32")
        self.updates.assign_add(tf.cast(moved, "int64"))
        for weight, average in zip(self.weights, self.averages, strict=True):
            away = tf.convert_to_tensor(weight) - average
            average.assign_add(tf.cast(share, away.dtype) * away)
            if self.overwrite:
                due = moved & tf.equal(self.updates % self.overwrite, 0)
                weight.assign(tf.where(due, average, weight))

    def put_in(self) -> None:
        """The network holds the averages, if it does not yet."""
        if not count_of(self.inside):
            self._exchange()

    def take_out(self) -> None:
        """The network holds the weights that are trained."""
        if count_of(self.inside):
            self._exchange()

    def _exchange(self) -> None:
        for weight, average in zip(self.weights, self.averages, strict=True):
            for one, other in zip(parts(weight), parts(average), strict=True):
                kept = tf.identity(one)
                one.assign(other)
                other.assign(kept)
        self.inside.assign(1 - count_of(self.inside))
