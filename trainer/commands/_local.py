"""`trainer fit --workers N`: so many workers on this machine, to try what several machines do.

Each is a process of its own that runs the same command, told of the others by TF_CONFIG as on a
cluster. What the first one says is shown; the others write to files of the run.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from trainer.commands import _child
from trainer.config import Config
from trainer.config.load import load, located
from trainer.errors import Lost, UserError, WorkerEnded
from trainer.training import cluster

PAUSE = 0.1  # seconds between two looks at the workers
# Seconds: once one has failed the others notice by themselves, in 10 at most; then they are told to
# end, and then they are killed.
NOTICE, GRACE = 14.0, 14.0
# After a signal they all end by themselves, the first one once its checkpoint is written.
STOPPED, SAVING = (128 + signal.SIGINT, 128 + signal.SIGTERM), 600.0
TAIL = 20  # lines of a worker that failed

# The parent's own path, as for the workers of data: the user's modules are found.
COMMAND = (
    "import sys; sys.path[:] = {path}; from trainer.commands._local import follow; follow(); "
    "from trainer.cli import main; main()"
)


class Worker(NamedTuple):
    """A process, and the file with what it writes before the run has a place for that."""

    process: subprocess.Popen
    said: Path | None  # nothing: it is shown


def run(config: Path, overrides: Sequence[str], resume: bool, count: int) -> int:
    """Runs `trainer fit` in so many processes; returns the exit code.

    When one fails the others are told to stop, and killed if they do not.

    Raises: UserErrors for what the config says without TensorFlow's knowledge; WorkerEnded if one
        ends otherwise than the first has said.
    """
    settings = load(config, overrides)
    with located(settings):
        _demand(settings, count)
    sets = [part for each in overrides for part in ("--set", each)]
    arguments = ["fit", str(config), *sets, *["--resume"] * resume]
    ports = cluster.free_ports(count)
    addresses = [f"localhost:{port}" for port in ports]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workers = [
            stack.enter_context(_started(arguments, addresses, index, folder))
            for index in range(count)
        ]
        stack.enter_context(_handed_on(workers))
        if not _ended_well(workers):
            stopped = any(worker.process.poll() in STOPPED for worker in workers)
            _wait(workers, SAVING if stopped else NOTICE)
        codes = [worker.process.poll() for worker in workers]  # None: has to be stopped
        _stop(workers)
        cause = _cause(codes)
        code = codes[cause] or 0
        if code < 0 or code != codes[0]:  # else the first has said it
            raise WorkerEnded(_why(workers[cause], cause), code if code >= 0 else 128 - code)
    return code


def _demand(settings: Config, count: int) -> None:
    """Raises UserError for what so many workers cannot do."""
    strategy, batch = settings.training.strategy, settings.data.batch_size
    if strategy not in ("auto", "multi_worker"):
        hint = "write auto or multi_worker, or leave --workers out"
        problem = f"{strategy} is for one worker, but --workers says {count}"
        raise UserError("training.strategy", problem, hint)
    if batch < count:
        hint = f"write at least {count}, or fewer --workers"
        raise UserError("data.batch_size", f"{batch} pictures cannot feed {count} workers", hint)


def follow() -> None:
    """In a worker: ends this process once the launcher has ended, in whatever way."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):  # until the launcher's end of the pipe is closed
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def _started(
    arguments: Sequence[str], addresses: Sequence[str], index: int, folder: Path
) -> Iterator[Worker]:
    """One of the workers; it does not outlive the block."""
    path = [os.path.abspath(each) for each in sys.path]  # noqa: PTH100 ('' is where we are)
    said = folder / str(index) if index else None
    told = {cluster.CONFIG: cluster.config(addresses, index), "TF_CPP_MIN_LOG_LEVEL": "3"}
    with ExitStack() as stack:
        sink = stack.enter_context(said.open("wb")) if said else None
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", COMMAND.format(path=path), *arguments],
            env={**os.environ, **told},
            stdin=subprocess.PIPE,
            stdout=sink,
            stderr=sink,
            start_new_session=True,  # Ctrl-C comes from us alone, once
        )
    with _child.ended(process):
        yield Worker(process, said)


def _ended_well(workers: Sequence[Worker]) -> bool:
    """Waits until all have, or one has not."""
    while True:
        codes = [worker.process.poll() for worker in workers]
        if any(codes):
            return False
        if all(code == 0 for code in codes):
            return True
        time.sleep(PAUSE)


def _cause(codes: Sequence[int | None]) -> int:
    """Whose end made the others end: one that was killed, else one that lost nobody else; never one
    that did not end by itself."""

    def rank(index: int) -> int:
        code = codes[index]
        return 0 if code and code < 0 else {Lost.code: 2, 0: 3, None: 4}.get(code, 1)

    return min(range(len(codes)), key=rank)


def _stop(workers: Sequence[Worker]) -> None:
    """TERM, then KILL, for those that are still there."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for worker in workers:
            if worker.process.poll() is None:
                worker.process.send_signal(number)
        _wait(workers, GRACE)


def _wait(workers: Sequence[Worker], seconds: float) -> None:
    """Until all have ended, but no longer."""
    until = time.monotonic() + seconds
    for worker in workers:
        with suppress(subprocess.TimeoutExpired):
            worker.process.wait(max(0.0, until - time.monotonic()))


def _why(worker: Worker, index: int) -> str:
    """How a worker ended, and what it said that is not shown."""
    code = worker.process.wait()
    if code < 0:
        return f"worker {index} was killed by signal {-code}"
    lines = worker.said.read_text(errors="replace").strip().splitlines() if worker.said else []
    said = "".join(f"\n  {line}" for line in lines[-TAIL:])
    return f"worker {index} ended with code {code}{said}"


@contextmanager
def _handed_on(workers: Sequence[Worker]) -> Iterator[None]:
    """SIGINT and SIGTERM go to all workers inside the block."""

    def hand_on(number: int, frame: FrameType | None) -> None:
        for worker in workers:
            if worker.process.poll() is None:
                worker.process.send_signal(number)

    before: dict[int, Callable | int | None] = {
        number: signal.signal(number, hand_on)
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
