"""One worker process as its parent sees it: start, ask, end."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import Any

from trainer.data.workers.slots import Job

STARTING = 300.0  # seconds: imports from a network disk under load
GRACE = 5.0  # seconds: one that hangs ends itself, this is for one that is stopped

# Each worker is one thread among many.
SINGLE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

# With the parent's own path the user's modules are found; -P keeps the working directory out of
# it, whose files could hide others. Not by PYTHONPATH: whatever a transform starts would inherit
# it, and a folder with a colon cannot stand there.
COMMAND = "import sys; sys.path[:] = {path}; from trainer.data.workers.worker import main; main{to}"


class Lost(Exception):
    """The worker `died` or `hung`; `rest` tells when and how."""

    def __init__(self, verb: str, rest: str) -> None:
        super().__init__(verb, rest)
        self.verb, self.rest = verb, rest


@dataclass
class Process:
    """A running worker. One thread at a time may ask it."""

    popen: subprocess.Popen
    connection: Connection
    lifeline: int  # descriptor of the end of a pipe: when it is closed, the worker ends
    ready: bool = False
    tickets: int = 0


def start(block: int, slot: int, job: Job, inherited: tuple[int, ...]) -> Process:
    """Starts one that works in that slot of the block, and does not wait for it.

    multiprocessing would import the parent's main module there, and start a resource tracker. Its
    own session keeps Ctrl-C from it. Raises: OSError.
    """
    path = [os.path.abspath(each) for each in sys.path]  # noqa: PTH100 ('' is where we are)
    ours, theirs = Pipe()
    reading, writing = os.pipe()
    to = (theirs.fileno(), reading, block, slot)
    try:
        popen = subprocess.Popen(
            [sys.executable, "-P", "-c", COMMAND.format(path=path, to=to)],
            env=os.environ | SINGLE,
            stdin=subprocess.DEVNULL,
            pass_fds=(*to[:3], *inherited),
            start_new_session=True,
        )
    except BaseException:
        ours.close()
        os.close(writing)
        raise
    finally:
        theirs.close()
        os.close(reading)
    with suppress(OSError):  # whoever asks it will notice
        ours.send(job)
    return Process(popen, ours, writing)


def ask(process: Process, step: int, patience: float) -> Any:
    """What the worker answers to the step. Raises: Lost."""
    when, why = "at its start", f"not ready in {STARTING:g} s"
    try:
        if not process.ready:
            _hear(process, 0, STARTING)
            process.ready = True
        when, why = f"at step {step}", f"no batch in {patience:g} s"
        process.tickets += 1
        process.connection.send((process.tickets, step))
        return _hear(process, process.tickets, patience + GRACE)
    except TimeoutError:
        raise Lost("hung", f"{when}: {why}") from None
    except (EOFError, OSError):
        end(process)
        code = process.popen.returncode  # its own: what has begun to exit keeps it
        if code == -signal.SIGALRM:  # it noticed before us
            raise Lost("hung", f"{when}: {why}") from None
        raise Lost("died", f"{when}: {_ending(code)}") from None


def kill(process: Process) -> None:
    """Ends it and what it started, and does not wait."""
    if process.popen.returncode is None:  # not waited for, so the number is still its own
        with suppress(ProcessLookupError, PermissionError):  # macOS: for one that ended
            os.killpg(process.popen.pid, signal.SIGKILL)


def end(process: Process) -> None:
    """Ends it and waits for that."""
    kill(process)
    with suppress(subprocess.TimeoutExpired):  # not even that ends one that waits for a dead disk
        process.popen.wait(10)


def release(process: Process) -> None:
    """Closes what belongs to one that has ended."""
    process.connection.close()
    os.close(process.lifeline)


def _hear(process: Process, ticket: int, seconds: float) -> Any:
    """The answer to that ticket; number 0 is the word that it is ready. An answer to an earlier one
    is passed over: whoever asked was interrupted. Raises: TimeoutError, EOFError, OSError."""
    until = time.monotonic() + seconds
    while process.connection.poll(max(0.0, until - time.monotonic())):
        number, answer = process.connection.recv()
        if number == ticket:
            return answer
    raise TimeoutError


def _ending(code: int | None) -> str:
    if code is None:
        return "it cannot be ended"
    if code >= 0:
        return f"exit code {code}"
    return f"killed by signal {-code}" + (", out of memory?" if code == -signal.SIGKILL else "")
