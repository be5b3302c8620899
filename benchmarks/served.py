"""What the benchmarks of the input path share: makers of batches, each in a process of its own.

CPU time, user and system, of all processes of a candidate and the clock are read before and after
so many batches, each time when its buffers are full and it rests: so exactly as many were made, and
start-up is not in it. Rounds ask each candidate in turn, so that noise of the machine hits all
alike. Linux.
"""

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

REST = 0.3  # seconds without work: all buffers are full


def serve(batches: Callable[[], Iterator[Any]]) -> None:
    """Answers each line of the input, a number of batches, with CPU and wall seconds per batch."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries print
    try:
        made = batches()
        next(made)
    except ImportError as error:
        answers.write(f"not installed: {error.name}\n")
        return
    answers.write("ready\n")
    for line in sys.stdin:
        count, (before, _) = int(line), rested()
        start = time.perf_counter()
        for _ in itertools.islice(made, count):
            pass
        watching = time.thread_time()
        after, end = rested()
        cpu = after - before - (time.thread_time() - watching)
        answers.write(f"{cpu / count} {(end - start) / count}\n")


def rested() -> tuple[float, float]:
    """Waits until nothing works any more: CPU seconds by then, and when that was."""
    workers = children()
    spent, at = cpu_seconds(workers), time.perf_counter()
    while time.perf_counter() < at + REST:
        time.sleep(0.01)
        before, spent = spent, cpu_seconds(workers)
        if spent - before > 0.001:
            at = time.perf_counter()
    return spent, at


def children() -> list[Path]:
    """Where the system tells about the processes that this one started."""
    numbers: list[str] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # the thread has ended
            numbers += (task / "children").read_text().split()
    return [Path("/proc", number, "stat") for number in numbers]


def cpu_seconds(workers: list[Path]) -> float:
    """User and system time of this process and of these, as their `stat` has it, in ticks."""
    ticks = sum(sum(map(int, each.read_text().rsplit(")")[-1].split()[11:13])) for each in workers)
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


class Candidate:
    """A child process that serves; `state` is `ready`, or what is missing."""

    def __init__(self, command: list[str]) -> None:
        self._notes = tempfile.TemporaryFile()  # noqa: SIM115 (TensorFlow's, and a traceback)
        pipe = subprocess.PIPE
        self._process: Any = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=self._notes, text=True
        )
        self.state = self._line()
        self._rounds: list[tuple[float, float]] = []

    def ask(self, batches: int, pictures: int) -> None:
        """One round, of batches of so many pictures."""
        self._process.stdin.write(f"{batches}\n")
        self._process.stdin.flush()
        cpu, wall = map(float, self._line().split())
        self._rounds.append((cpu / pictures, wall / pictures))

    def end(self) -> None:
        """Hangs up."""
        self._process.stdin.close()
        self._process.wait()

    @property
    def cpu(self) -> list[float]:
        """Seconds per picture, by round; the first one was for warming up."""
        return [cpu for cpu, _ in self._rounds[1:]]

    @property
    def wall(self) -> list[float]:
        """The same by the clock."""
        return [wall for _, wall in self._rounds[1:]]

    @property
    def rate(self) -> float:
        """Pictures per second, the median of the rounds."""
        return 1 / statistics.median(self.wall)

    def _line(self) -> str:
        line = self._process.stdout.readline().strip()
        if not line:
            self._process.wait()
            self._notes.seek(0)
            raise SystemExit(self._notes.read().decode())
        return line


def ratio(those: list[float], these: list[float]) -> float:
    """The median over the rounds."""
    return statistics.median(a / b for a, b in zip(those, these, strict=True))
