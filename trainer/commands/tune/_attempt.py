"""What `tune batch` does in a process of its own: a few training steps at one batch size."""

import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.commands._assemble import Job, assemble
from trainer.config import Config
from trainer.config.load import load, located
from trainer.data import feed
from trainer.data.pipeline import Faults, reported
from trainer.objects import mistakes
from trainer.training import hardware, loop

READ = 32  # pictures of a batch that are different: reading thousands would take longer than steps
SECONDS = 1.0  # to measure, after the first step, which traces
STEPS = 2  # at least


def measure(request: Mapping[str, Any]) -> dict[str, Any]:
    """Trains on one batch of a size for a few steps.

    Returns `batch`, which is larger than asked for if there are more replicas; `pictures` to train
    on; `seconds` and `cpu_seconds` of the fastest step; peak `memory` in bytes, of all GPUs if
    there are any, else of this process. `fits` is False, and the rest missing, where TensorFlow ran
    out of memory.
    """
    overrides = request["overrides"]
    config = load(Path(request["config"]), overrides, mistakes)
    with located(config):
        replicas = hardware.prepare(config.training, config.seed).num_replicas_in_sync
        batch = max(request["batch"], replicas)
        sized = load(Path(request["config"]), [*overrides, f"data.batch_size={batch}"])
        job = assemble(sized)
        found = {"batch": batch, "pictures": len(job.sides.train)}
        try:
            return found | {"fits": True, **_measured(sized, job, batch)}
        except (tf.errors.ResourceExhaustedError, MemoryError):
            return found | {"fits": False}


def _measured(config: Config, job: Job, batch: int) -> dict[str, Any]:
    rows = _batch(config, job, batch)
    batches = iter(job.strategy.experimental_distribute_dataset(rows))
    step = loop.train_step(job.model, job.objective, job.strategy)
    _wait(step(next(batches)))
    taken: list[tuple[float, float]] = []  # the clock and all cores
    while len(taken) < STEPS or sum(seconds for seconds, _ in taken) < SECONDS:
        data = next(batches)
        start, cpu = time.perf_counter(), time.process_time()
        _wait(step(data))
        taken.append((time.perf_counter() - start, time.process_time() - cpu))
    # Whatever else the machine does only adds, so the least is the truest.
    seconds, cpu_seconds = (min(column) for column in zip(*taken, strict=True))
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "memory": _peak()}


def _batch(config: Config, job: Job, batch: int) -> tf.data.Dataset:
    """The same batch for ever: the first READ pictures of the training, as often as it takes."""
    few = config.data.model_copy(update={"batch_size": min(batch, READ)})
    faults = Faults({}, [])
    with reported(faults):
        first = next(iter(feed.training(job.sides.train, few, config.seed, faults)))
    rows = np.arange(batch) % few.batch_size
    whole = [np.take(part.numpy(), rows, axis=0) for part in first]
    dataset = tf.data.Dataset.from_tensors(tuple(map(tf.constant, whole)))
    return dataset.repeat()


def _peak() -> int:
    """Bytes at the most so far."""
    gpus = tf.config.list_logical_devices("GPU")
    if gpus:
        infos = (tf.config.experimental.get_memory_info(gpu.name[-5:]) for gpu in gpus)
        return sum(info["peak"] for info in infos)
    status = Path("/proc/self/status")
    if status.exists():  # getrusage begins with what the parent had when it started this process
        [line] = [each for each in status.read_text().split("\n") if each.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS


def _wait(logs: loop.Logs) -> None:
    """Until the device is done."""
    for value in logs.values():
        float(value)
