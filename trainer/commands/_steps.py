"""Training steps on one batch, by the clock: what the devices do, without the input."""

import time
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from trainer.commands._assemble import Job
from trainer.config import Config
from trainer.data import feed
from trainer.data.pipeline import Faults, reported
from trainer.training import loop

READ = 32  # pictures of a batch that are different: reading thousands would take longer than steps
SECONDS = 1.0  # to measure, after the first step, which traces
STEPS = 2  # at least


class Taken(NamedTuple):
    """By the fastest step."""

    seconds: float  # by the clock
    cpu_seconds: float  # of all cores


def timed(config: Config, job: Job, size: int) -> Taken:
    """Trains on one batch of `size` pictures for a few steps.

    Raises: what TensorFlow raises where memory is out.
    """
    rows = _batch(config, job, size)
    batches = iter(job.strategy.experimental_distribute_dataset(rows))
    step = loop.train_step(job.model, job.objective, job.strategy)
    _wait(step(next(batches)))
    taken: list[tuple[float, float]] = []
    while len(taken) < STEPS or sum(seconds for seconds, _ in taken) < SECONDS:
        data = next(batches)
        start, cpu = time.perf_counter(), time.process_time()
        _wait(step(data))
        taken.append((time.perf_counter() - start, time.process_time() - cpu))
    # Whatever else the machine does only adds, so the least is the truest.
    return Taken(*(min(column) for column in zip(*taken, strict=True)))


def _batch(config: Config, job: Job, size: int) -> tf.data.Dataset:
    """The same batch for ever: the first READ pictures of the training, as often as it takes."""
    few = config.data.model_copy(update={"batch_size": min(size, READ)})
    faults = Faults({}, [])
    with reported(faults):
        first = next(iter(feed.training(job.sides.train, few, config.seed, faults)))
    rows = np.arange(size) % few.batch_size
    whole = [np.take(part.numpy(), rows, axis=0) for part in first]
    dataset = tf.data.Dataset.from_tensors(tuple(map(tf.constant, whole)))
    return dataset.repeat()


def _wait(logs: loop.Logs) -> None:
    """Until the device is done."""
    for value in logs.values():
        float(value)
