"""What the network takes for one picture, and whether the machine was calm meanwhile."""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from trainer.evaluation import predict

WARMUP = 5  # pictures that do not count
ROUNDS, SECONDS, LEAST = 5, 0.2, 3  # rounds, how long each is, and how many pictures at least
_TIMES = Path("/proc/stat")


class Latency(NamedTuple):
    """A time, and how far it can be trusted."""

    ms: float
    others: float | None  # the share of all cores that others used meanwhile; None if not known


def latency(model: keras.Model) -> Latency:
    """The time that the network takes for one picture [1, H, W, C], on the device that it runs on;
    decoding is no part. Of five rounds of a fifth of a second the lowest median: what else runs
    only ever lengthens times, and seldom in all of them."""
    network = predict.forward(model)
    image = np.random.default_rng(0).integers(0, 256, (1, *model.input_shape[1:]), np.uint8)
    for _ in range(WARMUP):
        network(image).numpy()
    before = _spent()
    medians = [_median(lambda: network(image).numpy()) for _ in range(ROUNDS)]
    return Latency(1000 * min(medians), others(before, _spent()))


def _median(call: Callable[[], object]) -> float:
    """Of one round, in seconds."""
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < LEAST or time.perf_counter() - begun < SECONDS:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


class Spent(NamedTuple):
    """CPU time in seconds: of all cores since they were started, and of this process."""

    busy: float
    idle: float
    own: float


def _spent() -> Spent | None:
    """None where the system does not tell (it is Linux's to tell)."""
    try:
        first = _TIMES.read_text(encoding="ascii").splitlines()[0].split()
        user, nice, system, idle, waiting, *rest = (int(each) for each in first[1:9])
    except (OSError, ValueError, IndexError):
        return None
    tick = os.sysconf("SC_CLK_TCK")
    return Spent(
        (user + nice + system + sum(rest)) / tick, (idle + waiting) / tick, time.process_time()
    )


def others(before: Spent | None, after: Spent | None) -> float | None:
    """The share of all cores, 0 to 1, that other processes used between two moments."""
    if before is None or after is None:
        return None
    busy, idle, own = (late - early for early, late in zip(before, after, strict=True))
    return min(max((busy - own) / (busy + idle), 0.0), 1.0) if busy + idle > 0 else None
