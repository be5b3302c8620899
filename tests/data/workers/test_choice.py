"""`data.workers: auto`: what is chosen, why, and that no batch is lost."""

import re
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.data.workers import makers
from tests.data.workers.makers import SHAPES
from trainer.data.batch import Batch, Fill, Made, empty
from trainer.data.workers import choice
from trainer.errors import UserError


def waiting(
    together: int = 99,
    cost: float = 0.01,
    calls: list[int] | None = None,
    seconds: float = 0.05,
) -> Fill:
    """Takes its time, in so many threads at once; the others wait, as they do for Python."""
    free = threading.Semaphore(together)

    def fill(step: int, batch: Batch) -> Made:
        if calls is not None:
            calls.append(step)
        with free:
            time.sleep(seconds)
        makers.draw(step, batch)
        return Made(cost * SHAPES.size / 2, cost * SHAPES.size / 2, SHAPES.size, {})

    return fill


def test_processes_where_threads_wait_for_each_other() -> None:
    calls: list[int] = []
    found, early = choice.choose(waiting(1, calls=calls), SHAPES, 7, limit=4)
    assert found.processes == 4
    said = r"4 processes: 4 threads made [01]\.\d times the pictures of one, at 10 ms each"
    assert re.fullmatch(said, found.reason)
    assert sorted(calls) == sorted(early) == list(range(7, 14))
    for step, (batch, made) in early.items():
        expected = empty(SHAPES)
        makers.draw(step, expected)
        for one, other in zip(batch, expected, strict=True):
            np.testing.assert_array_equal(one, other)
        assert made.pictures == 3


def test_threads_where_they_scale() -> None:
    found, early = choice.choose(waiting(seconds=0.25), SHAPES, limit=2)
    assert found.processes == 0
    assert found.reason.startswith("threads: 2 threads made ")
    assert sorted(early) == list(range(5))


def test_threads_for_cheap_pictures() -> None:
    found, early = choice.choose(waiting(1, cost=0.0004), SHAPES, limit=2)
    assert found == (0, "threads: a picture takes 0.4 ms of one core")
    assert sorted(early) == [0, 1, 2]


def test_slow_batches_are_measured_by_as_few_as_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "ALONE_SECONDS", 0.0)
    monkeypatch.setattr(choice, "TOGETHER_SECONDS", 0.0)
    found, early = choice.choose(waiting(), SHAPES, limit=8)
    assert ": 2 threads made " in found.reason
    assert sorted(early) == [0, 1, 2]


def test_one_core_has_nothing_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "cores", lambda: 1)
    assert choice.choose(waiting(), SHAPES) == ((0, "threads: there is one core"), {})


def test_as_many_as_cores_but_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "cores", lambda: 64)
    found, early = choice.choose(waiting(1), SHAPES)
    assert found.processes == 8
    assert len(early) == 3 + 8


def test_windows_has_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    found, _ = choice.choose(waiting(1), SHAPES, limit=2)
    assert found == (0, "threads: worker processes need Linux or macOS")


@pytest.mark.parametrize("at", [0, 4])
def test_an_error_of_the_fill_is_raised(at: int) -> None:
    def fill(step: int, batch: Batch) -> Made:
        if step == at:
            raise UserError("data.source", "no picture")
        return waiting()(step, batch)

    with pytest.raises(UserError, match=r"^data\.source: no picture$"):
        choice.choose(fill, SHAPES, limit=2)


def test_the_reasons() -> None:
    assert choice.judged(1.07, 2, 2, 0.0314) == (
        2,
        "2 processes: 2 threads made 1.1 times the pictures of one, at 31 ms each",
    )
    assert choice.judged(1.87, 2, 2, 0.0314) == (
        0,
        "threads: 2 threads made 1.9 times the pictures of one",
    )
    assert choice.judged(1, 8, 8, 1.234).reason.endswith(", at 1234 ms each")
    assert choice.judged(1.2, 2, 2, 0.1).processes == 0
    assert choice.judged(1.19, 2, 2, 0.1).processes == 2
    assert choice.judged(4.7, 8, 8, 0.1).processes == 8


def bound(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(count)), raising=False)


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 64),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "200000 100000"}, 2),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}, 2),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "50000 100000"}, 1),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, 64),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "9900000 100000"}, 64),
        (
            {
                "proc/self/cgroup": "0::/user.slice/job.scope",
                "sys/fs/cgroup/user.slice/job.scope/cpu.max": "max 100000",
                "sys/fs/cgroup/user.slice/cpu.max": "300000 100000",
                "sys/fs/cgroup/cpu.stat": "usage_usec 1",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": "9:name=systemd:/\n4:memory:/docker/ab\n2:cpu,cpuacct:/docker/ab\n0::/",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "400000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            4,
        ),
        (
            {
                "proc/self/cgroup": "2:cpuacct,cpu:/a/b",
                "sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us": "500000",
                "sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us": "100000",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            5,
        ),
    ],
)
def test_cores_are_what_the_quota_leaves(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound(monkeypatch, 64)
    assert choice.cores(put(tmp_path, files)) == expected


def test_cores_are_those_the_process_is_bound_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bound(monkeypatch, 3)
    assert choice.cores(tmp_path) == 3


def test_there_is_a_core_here() -> None:
    assert choice.cores() >= 1
