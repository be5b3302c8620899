"""`data.workers: auto`: threads or processes, by what the first batches show."""

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from trainer.data.batch import Batch, Fill, Made, Shapes, empty

# Below this one core feeds 1,000 pictures a second. A CPU trains on fewer; a GPU may want more of
# such small pictures, and then the number can be written. A process takes a second and 0.1 GB.
CHEAP = 0.001  # CPU seconds per picture

SCALES = 0.6  # of the cores that threads must make use of; bound by Python they stay near one core
MOST = 8  # who has memory and cores for more processes writes the number

# What the measuring may take where the pictures allow it; its batches are used.
ALONE = 3  # batches in one thread; the fastest counts, the first one still fills caches
ALONE_SECONDS = 4.0
TOGETHER_SECONDS = 16.0  # if the threads keep waiting for each other

Early = dict[int, tuple[Batch, Made]]  # by step


class Choice(NamedTuple):
    """Who makes the batches, and why, in one line."""

    processes: int  # 0: threads
    reason: str


def choose(fill: Fill, shapes: Shapes, start: int = 0, limit: int = 0) -> tuple[Choice, Early]:
    """Makes batches from step `start` on, one after another and then in threads at once, until it
    knows. That takes 20 seconds at most, or as long as three batches where they are slower.

    Args:
        limit: how many threads or processes there may be; 0: as many as cores, at most 8.

    Returns: the choice and these batches, each made once, 3 + `limit` of them at most.

    Raises: what the fill raises.
    """
    limit = limit or min(cores(), MOST)
    if limit == 1:
        return Choice(0, "threads: there is one core"), {}
    if sys.platform == "win32":
        return Choice(0, "threads: worker processes need Linux or macOS"), {}
    early: Early = {}

    def make(step: int) -> float:
        batch, before = empty(shapes), time.perf_counter()
        early[step] = batch, fill(step, batch)
        return time.perf_counter() - before

    alone = min(_alone(make, start))
    cost = min(
        (made.decoding + made.augmenting) / max(made.pictures, 1) for _, made in early.values()
    )
    if cost < CHEAP:
        return Choice(0, f"threads: a picture takes {_milliseconds(cost)} of one core"), early
    threads = max(2, min(limit, int(TOGETHER_SECONDS / alone)))
    first, before = start + len(early), time.perf_counter()
    with ThreadPoolExecutor(threads) as together:
        list(together.map(make, range(first, first + threads)))
    return judged(alone * threads / (time.perf_counter() - before), threads, limit, cost), early


def judged(gain: float, threads: int, limit: int, cost: float) -> Choice:
    """The choice where so many threads made `gain` times as much as one, at `cost` CPU seconds per
    picture."""
    found = f"{threads} threads made {gain:.1f} times the pictures of one"
    if gain >= SCALES * threads:
        return Choice(0, f"threads: {found}")
    return Choice(limit, f"{limit} processes: {found}, at {_milliseconds(cost)} each")


def cores(root: Path = Path("/")) -> int:
    """The cores that this process may use, at least 1: those it is bound to, and of these what the
    quota of its container or control group leaves, 1.5 as 2.

    Args:
        root: where /proc and /sys stand.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:  # macOS
        count = os.cpu_count() or 1
    return max(1, min([count, *(math.ceil(quota) for quota in _quotas(root))]))


def _milliseconds(seconds: float) -> str:
    number = seconds * 1000
    return f"{number:.0f} ms" if number >= 10 else f"{number:.2g} ms"


def _alone(make: Callable[[int], float], start: int) -> Iterator[float]:
    spent = 0.0
    for step in range(start, start + ALONE):
        seconds = make(step)
        yield seconds
        spent += seconds
        if spent + seconds > ALONE_SECONDS:
            return


def _quotas(root: Path) -> Iterator[float]:
    """Cores that each control group from ours upwards may use, where it is limited. In a container
    the name of ours may be that of the host, and only the top be there."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("cpu" if controllers else "")  # version 2 names none
        group = top / name.strip("/")
        for folder in [group, *group.parents]:
            with suppress(OSError, ValueError):
                yield _quota(folder, bool(controllers))
            if folder == top:
                break


def _quota(folder: Path, first: bool) -> float:
    """CPU time per time. Raises: OSError, ValueError where there is no limit."""
    if first:
        quota, period = (
            (folder / f"cpu.cfs_{each}_us").read_text() for each in ("quota", "period")
        )
    else:
        quota, period = (folder / "cpu.max").read_text().split()  # "max 100000": no limit
    if float(quota) <= 0:  # -1: no limit
        raise ValueError
    return float(quota) / float(period)
