"""What comes of the workers when their parent is killed, interrupted, forked; and where they find
modules. Each parent is a script of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.data.workers import makers
from tests.data.workers.watch import alive, wait_for

ROOT = Path(__file__).parents[3]
linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel must tell")

PARENT = """\
import os, sys, threading, time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from tests.data.workers import makers
from trainer.data.workers import pool

how, folder = sys.argv[1], Path(sys.argv[2])
with pool.started(partial(makers.stuck, folder, how), makers.SHAPES, 2) as make:
    if how == "forked" and os.fork() == 0:
        time.sleep(150)
        os._exit(0)
    for step in (0, 1):
        threading.Thread(target=make, args=(step,), daemon=True).start()
    time.sleep(600)
"""


@contextmanager
def parent(
    text: str, *arguments: object, cwd: Path, top: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """Runs the script <cwd>/<top>/parent.py in a session of its own."""
    (cwd / top).mkdir(exist_ok=True)
    script = cwd / top / "parent.py"
    script.write_text(text)
    with subprocess.Popen(
        [sys.executable, str(script), *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            yield running
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("how", "count"),
    [("sleep", 2), ("busy", 2), pytest.param("native", 2, marks=linux), ("offspring", 4)],
)
def test_no_worker_outlives_its_parent(
    number: signal.Signals, how: str, count: int, tmp_path: Path
) -> None:
    noted = tmp_path / "noted"
    noted.mkdir()
    with parent(PARENT, how, noted, cwd=tmp_path) as running:
        wait_for(lambda: running.poll() is not None or len(list(noted.iterdir())) == count)
        assert all(map(alive, makers.processes(noted)))
        running.send_signal(number)
        running.wait(60)
        wait_for(lambda: not any(map(alive, makers.processes(noted))))


def test_no_worker_outlives_its_parent_because_of_a_fork(tmp_path: Path) -> None:
    noted = tmp_path / "noted"
    noted.mkdir()
    with parent(PARENT, "forked", noted, cwd=tmp_path) as running:
        wait_for(lambda: running.poll() is not None or len(list(noted.iterdir())) == 2)
        running.kill()
        running.wait(60)
        wait_for(lambda: not any(map(alive, makers.processes(noted))))


EARLY = """\
import time
from tests.data.workers import makers
from trainer.data.workers import pool

with pool.started(makers.noise, makers.SHAPES, 2) as make:
    print(*[each.popen.pid for each in make._workers], flush=True)
    time.sleep(600)
"""


def test_no_worker_that_still_starts_outlives_its_parent(tmp_path: Path) -> None:
    with parent(EARLY, cwd=tmp_path) as running:
        assert running.stdout
        workers = list(map(int, running.stdout.readline().split()))
        assert len(workers) == 2
        running.kill()
        running.wait(60)
        wait_for(lambda: not any(map(alive, workers)))


INTERRUPTED = """\
import time
from tests.data.workers import makers
from trainer.data.workers import pool

with pool.started(makers.noise, makers.SHAPES, 1) as make:
    before = make(0)[1].unreadable["process"]
    try:
        print("ready", flush=True)
        time.sleep(600)
    except KeyboardInterrupt:
        print(before == make(1)[1].unreadable["process"], flush=True)
"""


def test_after_ctrl_c_there_are_still_batches(tmp_path: Path) -> None:
    with parent(INTERRUPTED, cwd=tmp_path) as running:
        assert running.stdout
        assert running.stdout.readline() == "ready\n"
        os.killpg(running.pid, signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert (out, err, running.returncode) == ("True\n", "", 0)


FORKED = """\
import os
from tests.data.workers import makers
from trainer.data.workers import pool

with pool.started(makers.noise, makers.SHAPES, 1) as make:
    before = make(0)[1].unreadable["process"]
    fork = os.fork()
    if fork == 0:
        try:
            make(1)
        except pool.Closed:
            print("closed", flush=True)
    else:
        os.waitpid(fork, 0)
        print(before == make(1)[1].unreadable["process"], flush=True)
"""


def test_a_fork_does_not_end_the_workers_of_its_parent(tmp_path: Path) -> None:
    with parent(FORKED, cwd=tmp_path) as running:
        out, err = running.communicate(timeout=60)
    assert (out, err, running.returncode) == ("closed\nTrue\n", "", 0)


OWN = """\
import sys
from contextlib import contextmanager, suppress
from functools import partial
sys.path[:] = [""] + sys.path if "empty" in sys.argv else sys.path
from mine import prepare
from trainer.data.batch import Shapes
from trainer.data.workers import pool

with pool.started(prepare, Shapes(1, (2, 2, 1), 1), 1) as make:
    print(make(0)[0][0].tolist())
"""

MINE = """\
from trainer.data.batch import Made

def prepare():
    def fill(step, batch):
        batch[0][:] = 42
        return Made(0, 0, 0, {})
    return fill
"""


def test_modules_beside_the_users_script_are_found(tmp_path: Path) -> None:
    """And none is taken from the working directory, where the parent does not look."""
    (tmp_path / "a:b").mkdir()
    (tmp_path / "a:b" / "mine.py").write_text(MINE)
    (tmp_path / "mine.py").write_text("1 / 0")
    (tmp_path / "pickle.py").write_text("1 / 0")
    with parent(OWN, cwd=tmp_path, top="a:b") as running:
        out, err = running.communicate(timeout=60)
    assert (out, err) == ("[[[[42], [42]], [[42], [42]]]]\n", "")


def test_modules_in_the_working_directory_are_found_where_the_parent_looks_there(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    with parent(OWN, "empty", cwd=tmp_path, top="scripts") as running:
        out, err = running.communicate(timeout=60)
    assert (out, err) == ("[[[[42], [42]], [[42], [42]]]]\n", "")


WITHOUT = """\
import fcntl, os, sys, time
from trainer.data.workers import worker

if hasattr(fcntl, "F_SETSIG"):
    del fcntl.F_SETSIG
reading, writing = os.pipe()
fork = os.fork()
if fork == 0:
    os.setsid()
    os.close(writing)
    worker._end_with(reading)
    print("ready", flush=True)
    until = time.monotonic() + 30
    while time.monotonic() < until:
        pass
    os._exit(3)
sys.stdin.readline()
os.close(writing)
print(os.waitpid(fork, 0)[1])
"""


def test_where_the_kernel_sends_no_signal_a_thread_does(tmp_path: Path) -> None:
    with parent(WITHOUT, cwd=tmp_path) as running:
        assert running.stdout
        assert running.stdout.readline() == "ready\n"
        out, err = running.communicate("\n", timeout=60)
    assert (out, err) == ("9\n", "")
