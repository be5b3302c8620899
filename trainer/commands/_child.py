"""Work in a process of its own, whose memory is given back and whose end is not ours.

The request goes there as one line of JSON through its standard input, which stays open: when it is
closed, because we have ended in whatever way, the child stops too. The answer comes back in a file.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from trainer import files, terminal
from trainer.errors import Interrupted, UserError, leaves
from trainer.parts import part

PAUSE = 0.05  # seconds between two looks at a child

# The parent's own path, as for the workers of data: the user's modules are found.
COMMAND = "import sys; sys.path[:] = {path}; from trainer.commands._child import main; main()"


class Ended(NamedTuple):
    """How a child came to its end."""

    answer: Any  # of its story; None if it did not come so far
    code: int  # its exit code, or minus the signal that killed it
    stopped: bool  # by `watch`
    said: str  # what it wrote, if it was quiet


def ask(
    module: str,
    story: str,
    request: dict[str, Any],
    *,
    quiet: bool = False,
    tensorflow: bool = True,
    watch: Callable[[int], bool] = lambda _: True,
    locks: tuple[int, ...] = (),
) -> Ended:
    """Calls a function of a module of this package in a new process, and waits for it.

    Signals that come meanwhile are handed on: the child heeds them.

    Args:
        module: `_fresh` or `tune._trial`.
        story: the function; it takes the request and returns what JSON can hold.
        quiet: keep what the child writes instead of showing it.
        tensorflow: import it first, without the lines that it writes; 8 s.
        watch: gets the child's process id again and again; False kills it.
        locks: of `files.locked`; held until the child has ended too, which takes a step longer.

    Raises: the UserErrors and the Interrupted of the child.
    """
    with tempfile.TemporaryDirectory() as folder:
        reply, said = Path(folder) / "reply.json", Path(folder) / "said"
        path = [os.path.abspath(each) for each in sys.path]  # noqa: PTH100 ('' is where we are)
        with said.open("wb") as sink:
            child = subprocess.Popen(
                [sys.executable, "-P", "-c", COMMAND.format(path=path)],
                stdin=subprocess.PIPE,
                stdout=sink if quiet else None,
                stderr=sink if quiet else None,
                pass_fds=locks,
                start_new_session=True,  # Ctrl-C comes from us alone, once
            )
            with ended(child), _handed_on(child) as heard:
                asked = {"module": module, "story": story, "tensorflow": tensorflow}
                whole = {**request, **asked, "reply": str(reply)}
                _send(child, whole)
                stopped = _waited(child, watch)
        text = said.read_text(errors="replace").strip()
        found = json.loads(reply.read_text()) if reply.is_file() else {}
    _raise(found)
    if heard:  # too early or too late to be heeded
        raise Interrupted("stopped", 128 + heard[0])
    return Ended(found.get("answer"), child.returncode, stopped, text)


def main() -> None:
    """The child's side: does what standard input asks for."""
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_follow, daemon=True).start()
    answer: dict[str, Any] = {}
    try:
        if request["tensorflow"]:
            with terminal.silenced():
                import tensorflow as tf

                tf.config.list_physical_devices()
        story = getattr(part("commands", request["module"]), request["story"])
        answer["answer"] = story(request)
    except KeyboardInterrupt:
        answer["interrupted"] = ["stopped", 130]
    except Interrupted as end:
        answer["interrupted"] = [str(end), end.code]
    except UserError as error:
        answer["mistakes"] = [error.args]
    except ExceptionGroup as group:
        if group.split(UserError)[1]:
            raise
        answer["mistakes"] = [error.args for error in leaves(group)]
    files.write_json(Path(request["reply"]), answer)


def _follow() -> None:
    """Ends this process, as a batch system would, when the parent's end of the pipe is closed."""
    while os.read(sys.stdin.fileno(), 1):  # a thread in sys.stdin.read() would abort the exit
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _send(child: subprocess.Popen, request: dict[str, Any]) -> None:
    with suppress(BrokenPipeError):  # its end says more
        assert child.stdin
        child.stdin.write(f"{json.dumps(request)}\n".encode())
        child.stdin.flush()


def _waited(child: subprocess.Popen, watch: Callable[[int], bool]) -> bool:
    """Until it ends; whether it was killed by `watch`."""
    while True:
        with suppress(subprocess.TimeoutExpired):
            child.wait(PAUSE)
            return False
        if not watch(child.pid):
            child.kill()
            child.wait()
            return True


def _raise(found: dict[str, Any]) -> None:
    if "interrupted" in found:
        raise Interrupted(*found["interrupted"])
    if "mistakes" in found:
        raise ExceptionGroup("in a child", [UserError(*each) for each in found["mistakes"]])


@contextmanager
def ended(child: subprocess.Popen) -> Iterator[None]:
    """It does not outlive the block."""
    try:
        yield
    finally:
        if child.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        if child.stdin:
            with suppress(BrokenPipeError):
                child.stdin.close()


@contextmanager
def _handed_on(child: subprocess.Popen) -> Iterator[list[int]]:
    """SIGINT and SIGTERM go to the child inside the block; yields those that came."""
    heard: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield heard
        return

    def hand_on(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        child.send_signal(number)

    before = {
        number: signal.signal(number, hand_on)
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
