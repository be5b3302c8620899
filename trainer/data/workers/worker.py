"""A worker process: makes the batches that it is asked for, and ends when its parent does.

It imports neither TensorFlow nor Keras: so it is ready within a second and takes no GPU.
"""

import faulthandler
import os
import signal
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

from trainer.data.batch import Batch, Fill, Made
from trainer.data.workers import slots
from trainer.errors import UserError

# Service managers and batch systems (systemd, Slurm) send these to every process of a run. What to
# do then is the parent's to decide; it still needs the batches of its last step.
SPARED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

STDERR = 2


def main(connection: int, lifeline: int, block: int, slot: int) -> None:
    """Makes batches in that slot until the parent hangs up. The others are descriptors."""
    _end_with(lifeline)
    for number in SPARED:
        signal.signal(number, _spared)
    faulthandler.enable(STDERR)
    pipe: Connection = Connection(connection)
    with suppress(EOFError, ConnectionError):
        job: slots.Job = pipe.recv()
        batch = slots.batch(block, job.shapes, slot)
        fill = _prepared(block, job)
        pipe.send((0, None))
        while True:
            ticket, step = pipe.recv()
            _alarm(job.patience)
            answer = _answer(fill, step, batch)
            _alarm(None)
            pipe.send((ticket, answer))


def _prepared(block: int, job: slots.Job) -> Fill:
    """The fill; if it cannot be had, one that raises why."""
    try:
        prepare = cast(Callable[[], Fill], slots.unpack(block, job.prepare))
        return prepare()
    except BaseException as error:
        told = _told(error)

    def failing(step: int, batch: Batch) -> Made:
        raise told

    return failing


def _answer(fill: Fill, step: int, batch: Batch) -> Made | Exception:
    try:
        return fill(step, batch)
    except BaseException as error:
        return _told(error)


def _told(error: BaseException) -> Exception:
    """The error as the parent raises it. A class of the user's may not load there, so its name and
    text travel; the traceback goes along as a note."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, ExceptionGroup) and error.split(UserError)[1] is None:
        return error
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}, line {last.lineno}"
    told = UserError("data.workers", f"{type(error).__name__}: {error} ({place})")
    told.add_note("".join(traceback.format_exception(error)))
    return told


def _alarm(seconds: float | None) -> None:
    """Has the kernel end this process then, after it wrote to standard error where each thread
    stands. Neither needs the interpreter, which what hangs may hold. None calls it off."""
    if seconds is None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
    else:
        faulthandler.dump_traceback_later(seconds, file=STDERR)
        signal.setitimer(signal.ITIMER_REAL, seconds + 0.5)


def _end_with(lifeline: int) -> None:
    """Ends this process and what it started when the pipe ends, whose other end the parent alone
    holds: the kernel closes it, however the parent ends.

    A transform may hang in native code that holds the interpreter, and then no thread of ours
    runs; so on Linux the kernel is asked to send the signal itself. Not by PR_SET_PDEATHSIG, which
    is about the thread that started us: tf.data's come and go.
    """
    group = os.getpid()  # the parent gave us a session

    def watch() -> None:
        os.read(lifeline, 1)
        os.killpg(group, signal.SIGKILL)

    with suppress(ImportError, OSError):
        from fcntl import F_GETFL, F_SETFL, F_SETOWN, F_SETSIG, fcntl  # F_SETSIG: Linux alone

        fcntl(lifeline, F_SETOWN, -group)
        fcntl(lifeline, F_SETSIG, signal.SIGKILL)
        fcntl(lifeline, F_SETFL, fcntl(lifeline, F_GETFL) | os.O_ASYNC)
    threading.Thread(target=watch, daemon=True).start()


def _spared(number: int, frame: object) -> None:
    """Does nothing, as SIG_IGN; but what a transform starts does not inherit it."""
