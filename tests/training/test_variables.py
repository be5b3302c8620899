"""What replicas hold, on more or fewer of them."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.training.peers import Peers
from trainer.training.variables import SUM, assign, values


class Held:
    """A variable of a worker that has two replicas."""

    def __init__(self, name: str = "mean", dtype: Any = np.float32) -> None:
        self.name = name
        self.value = self
        self.values = [tf.Variable(np.zeros(2, dtype)) for _ in range(2)]

    @property
    def found(self) -> list[list[float]]:
        return [part.numpy().tolist() for part in self.values]


def given(variable: Held, worker: int, *held: list[float]) -> list[list[float]]:
    """What each of the two replicas of a worker gets, of two workers."""
    dtype = variable.values[0].dtype.as_numpy_dtype
    peers = Peers(tf.distribute.get_strategy(), worker, 2)
    assign([variable], [[np.array(each, dtype) for each in held]], peers)
    return variable.found


FOUR = ([1, 1], [2, 2], [3, 3], [5, 5])


def test_as_many_replicas_get_what_they_had() -> None:
    assert given(Held(), 0, *FOUR) == [[1, 1], [2, 2]]
    assert given(Held(), 1, *FOUR) == [[3, 3], [5, 5]]


def test_of_a_sum_the_first_replica_gets_the_whole() -> None:
    assert given(Held(SUM), 0, [1, 2], [3, 4], [5, 6]) == [[9, 12], [0, 0]]
    assert given(Held(SUM), 1, [1, 2], [3, 4], [5, 6]) == [[0, 0], [0, 0]]


def test_running_metrics_are_sums() -> None:
    metric = keras.metrics.Mean()
    metric.update_state([1.0, 5.0])
    held = values(metric.variables)
    assert [len(each) for each in held] == [1, 1]
    other = keras.metrics.Mean()
    assign(other.variables, [[*each, *each] for each in held])  # of two replicas
    assert other.result() == 3
    assert other.count == 4


def test_statistics_get_the_mean_and_counters_what_the_first_had() -> None:
    assert given(Held(), 1, [1, 2], [2, 4], [6, 6]) == [[3, 4], [3, 4]]
    assert given(Held(dtype=np.int64), 1, [7, 1], [8, 2], [9, 3]) == [[7, 1], [7, 1]]
