"""A pool of worker processes that make batches and hand them over in shared memory.

Pixels are not pickled: the pipe of a worker carries step numbers and what they cost. The memory has
no name and the workers end with their parent, so nothing is left behind, however it ends.
"""

import os
import queue
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import numpy as np

from trainer import terminal
from trainer.data import shared
from trainer.data.batch import Batch, Buffers, Fill, Made, Shapes
from trainer.data.workers import process, slots
from trainer.errors import UserError

TRIES = 3
WHERE = "data.workers"
WAYS_OUT = "take fewer workers, or data.workers: threads"


class Closed(Exception):
    """The pool was closed before the batch was made."""


@contextmanager
def started(
    prepare: Callable[[], Fill],
    shapes: Shapes,
    count: int,
    patience: float = 300.0,
    inherited: tuple[int, ...] = (),
) -> Iterator["Pool"]:
    """So many workers, which are gone when the block is left. They start at once; the first batches
    wait for them.

    Args:
        prepare: makes the fill, once in each worker. It is pickled, so what it refers to by name
            must not stand in the main module.
        patience: seconds that a batch may take; then its worker is replaced.
        inherited: descriptors that the workers get, with the same numbers, those started later too.

    Raises: UserError on Windows, or if the system gives no processes or no memory.
    """
    if sys.platform == "win32":
        problem = "worker processes need Linux or macOS"
        raise UserError(WHERE, problem, "write data.workers: threads")
    with _explained():
        pool = Pool(prepare, shapes, count, patience, inherited)
    try:
        pool.open()
        yield pool
    finally:
        pool.close()


class Pool:
    """`pool(step)` is the batch of that step, from an idle worker. Threads call it at once."""

    def __init__(
        self,
        prepare: Callable[[], Fill],
        shapes: Shapes,
        count: int,
        patience: float,
        inherited: tuple[int, ...],
    ) -> None:
        parts, spans = slots.pack(prepare, count * slots.size(shapes))
        self._block = shared.create(spans[-1][1] + 1)  # the last part may be empty
        for part, (start, stop) in zip(parts, spans, strict=True):
            content = shared.array(self._block, (stop - start,), np.uint8, start)
            content[:] = np.frombuffer(part, np.uint8)
        self._buffer = Buffers(shapes)
        self._job = slots.Job(shapes, patience, spans)
        self._inherited = inherited
        self._slots = [slots.batch(self._block, shapes, number) for number in range(count)]
        self._workers: list[process.Process] = []  # by slot
        self._idle: queue.SimpleQueue[int] = queue.SimpleQueue()  # who takes a slot has its worker
        self._starting = threading.Lock()  # so that none starts once the pool is closed
        self._closed = False

    def open(self) -> None:
        """Starts the workers."""
        _pools.add(self)
        for slot in range(len(self._slots)):
            self._workers.append(self._start(slot))
            self._idle.put(slot)

    def __call__(self, step: int) -> tuple[Batch, Made]:
        """The batch, in memory of its own, and what it cost.

        Raises: UserError of the fill as it is; UserError with the name, the text and, as a note,
        the traceback of anything else that is raised in a worker; UserError when three workers in
        turn died or hung; Closed.
        """
        if self._closed:  # in a fork nobody gives slots back
            raise Closed
        slot = self._idle.get()
        try:
            answer = self._ask(slot, step)
            if isinstance(answer, Exception):
                raise answer
            batch = self._buffer()
            for array, source in zip(batch, self._slots[slot], strict=True):
                array[:] = source
            return batch, answer
        finally:
            self._idle.put(slot)

    def _ask(self, slot: int, step: int) -> Made | Exception:
        for _ in range(TRIES):
            if self._closed:
                raise Closed
            try:
                return process.ask(self._workers[slot], step, self._job.patience)
            except process.Lost as error:
                lost = error
                self._replace(slot, lost)
        problem = f"a worker {lost.verb} {TRIES} times {lost.rest}"
        raise UserError(WHERE, problem, f"what it wrote stands above; {WAYS_OUT}")

    def close(self) -> None:
        """Ends the workers and waits for them. Threads that wait for a batch get Closed."""
        if self._closed:
            return
        with self._starting:
            self._closed = True
            for worker in self._workers:
                process.kill(worker)
        # The threads find their workers dead and give the slots back, so no descriptor is closed
        # under a thread that waits for it.
        given = []
        for worker in self._workers:
            process.end(worker)
            with suppress(queue.Empty):
                given.append(self._idle.get(timeout=10))
        for slot in given:
            process.release(self._workers[slot])
        os.close(self._block)
        self._slots.clear()
        for slot in given:
            self._idle.put(slot)  # for those who still stand in line

    def _start(self, slot: int) -> process.Process:
        with _explained():
            return process.start(self._block, slot, self._job, self._inherited)

    def _replace(self, slot: int, lost: process.Lost) -> None:
        with self._starting:
            if self._closed:
                raise Closed
            former = self._workers[slot]
            process.end(former)
            self._workers[slot] = self._start(slot)
            process.release(former)
        terminal.warn(f"a worker {lost.verb} {lost.rest}; another takes its place")

    def forget(self) -> None:
        """In a fork of this process: the workers are not its own, and must not outlive the parent
        because the fork holds their lifelines too."""
        if not self._closed:
            self._closed = True
            for worker in self._workers:
                with suppress(OSError):
                    os.close(worker.lifeline)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        problem = f"a worker cannot be started: {error.strerror or error}"
        raise UserError(WHERE, problem, WAYS_OUT) from None


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _forked() -> None:
    for pool in list(_pools):
        pool.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
