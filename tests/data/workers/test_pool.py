"""Worker processes: the same batches, errors as themselves, nothing left behind."""

import gc
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.data.workers import makers
from tests.data.workers.makers import SHAPES
from tests.data.workers.watch import alive, wait_for
from trainer.data import shared
from trainer.data.batch import Batch, empty
from trainer.data.workers import pool, process
from trainer.errors import UserError

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(pool.terminal, "warn", found.append)
    return found


def drawn(step: int) -> Batch:
    batch = empty(SHAPES)
    makers.draw(step, batch)
    return batch


def assert_equal(one: Batch, other: Batch) -> None:
    for left, right in zip(one, other, strict=True):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)


def test_many_threads_get_the_batches_of_their_steps() -> None:
    with (
        pool.started(makers.noise, SHAPES, 2) as make,
        ThreadPoolExecutor(5) as threads,
    ):
        answers = list(threads.map(make, range(40)))
    for step, (batch, made) in enumerate(answers):
        assert_equal(batch, drawn(step))
        assert (made.decoding, made.augmenting, made.pictures) == (step, 0.5, 3)
    workers = {made.unreadable["process"] for _, made in answers}
    assert len(workers) == 2
    assert str(os.getpid()) not in workers


def test_a_worker_imports_neither_tensorflow_nor_keras_nor_the_main_module() -> None:
    with pool.started(makers.noise, SHAPES, 1) as make:
        _, made = make(0)
    modules = set(made.unreadable["modules"].split())
    assert "numpy" in modules
    assert not {"tensorflow", "keras", "pytest"} & modules
    assert made.unreadable["main"] == "None"


def test_a_worker_that_dies_is_replaced(tmp_path: Path, warnings: list[str]) -> None:
    with pool.started(partial(makers.dying, tmp_path, 2), SHAPES, 1) as make:
        batch, _ = make(17)
    assert_equal(batch, drawn(17))
    told = "a worker died at step 17: killed by signal 9, out of memory?; another takes its place"
    assert warnings == [told] * 2
    assert not any(map(alive, makers.processes(tmp_path)))


@pytest.mark.parametrize(
    ("how", "ending"), [("kill", "killed by signal 9, out of memory?"), ("exit", "exit code 7")]
)
def test_three_deaths_end_the_run(
    how: str, ending: str, tmp_path: Path, warnings: list[str]
) -> None:
    with pool.started(partial(makers.dying, tmp_path, 3, how), SHAPES, 1) as make:
        with pytest.raises(UserError) as caught:
            make(17)
        batch, _ = make(18)  # for whoever goes on all the same
    assert str(caught.value) == (
        f"data.workers: a worker died 3 times at step 17: {ending}\n"
        "  what it wrote stands above; take fewer workers, or data.workers: threads"
    )
    assert len(warnings) == 3
    assert_equal(batch, drawn(18))


@pytest.mark.parametrize("how", ["busy", "native"])
def test_a_worker_that_hangs_is_replaced_and_says_where(
    how: str,
    tmp_path: Path,
    warnings: list[str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes, end = set(), process.end

    def ended(worker: process.Process) -> None:
        end(worker)
        codes.add(worker.popen.returncode)

    monkeypatch.setattr(process, "end", ended)
    with pool.started(partial(makers.stuck, tmp_path, how), SHAPES, 1, patience=0.2) as make:
        with pytest.raises(UserError) as caught:
            make(17)
        assert caught.value.problem == "a worker hung 3 times at step 17: no batch in 0.2 s"
    told = "a worker hung at step 17: no batch in 0.2 s; another takes its place"
    assert warnings == [told] * 3
    assert "makers.py" in capfd.readouterr().err
    # By itself, as it must where the kernel tells it nothing of its parent's end.
    assert codes == {-signal.SIGALRM, -signal.SIGKILL}
    assert not any(map(alive, makers.processes(tmp_path)))


@linux
def test_a_crash_in_native_code_says_where(
    tmp_path: Path, warnings: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    with pool.started(partial(makers.dying, tmp_path, 1, "fault"), SHAPES, 1) as make:
        batch, _ = make(17)
    assert_equal(batch, drawn(17))
    assert warnings == ["a worker died at step 17: killed by signal 11; another takes its place"]
    assert "makers.py" in capfd.readouterr().err


def test_workers_that_the_system_refuses_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    with pytest.raises(UserError) as caught, monkeypatch.context() as patch:
        patch.setattr(process, "start", refused)
        with pool.started(makers.noise, SHAPES, 2):
            pass
    assert str(caught.value) == (
        "data.workers: a worker cannot be started: Resource temporarily unavailable\n"
        "  take fewer workers, or data.workers: threads"
    )


@linux
def test_a_worker_that_is_stopped_is_replaced(
    warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE", 0.0)
    with pool.started(makers.noise, SHAPES, 1, patience=3) as make:
        os.kill(int(make(0)[1].unreadable["process"]), signal.SIGSTOP)
        batch, _ = make(1)
    assert_equal(batch, drawn(1))
    assert warnings == ["a worker hung at step 1: no batch in 3 s; another takes its place"]


def test_a_worker_that_cannot_start_says_why(
    monkeypatch: pytest.MonkeyPatch, warnings: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(process, "COMMAND", "import nothing_at_all")
    with pool.started(makers.noise, SHAPES, 1) as make, pytest.raises(UserError) as caught:
        make(5)
    assert caught.value.problem == "a worker died 3 times at its start: exit code 1"
    assert "No module named 'nothing_at_all'" in capfd.readouterr().err


def test_a_worker_that_is_never_ready_is_given_up(
    monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    monkeypatch.setattr(process, "COMMAND", "import time; time.sleep(600)")
    monkeypatch.setattr(process, "STARTING", 0.2)
    with pool.started(makers.noise, SHAPES, 1) as make, pytest.raises(UserError) as caught:
        make(5)
    assert caught.value.problem == "a worker hung 3 times at its start: not ready in 0.2 s"


def test_a_user_error_of_a_batch_arrives_as_itself(warnings: list[str]) -> None:
    error = UserError("data.source", "no picture", "look there", "small.yaml:3")
    with pool.started(partial(makers.failing, error), SHAPES, 1) as make:
        _, before = make(0)
        with pytest.raises(UserError) as caught:
            make(1)
        _, after = make(2)
    assert str(caught.value) == "small.yaml:3: data.source: no picture\n  look there"
    assert before.unreadable["process"] == after.unreadable["process"]
    assert not warnings


def test_several_user_errors_arrive_as_themselves() -> None:
    errors = [UserError("data.source", "one"), UserError("data.source", "two")]
    group = ExceptionGroup("mistakes", errors)
    with (
        pool.started(partial(makers.failing, group), SHAPES, 1) as make,
        pytest.raises(ExceptionGroup) as caught,
    ):
        make(1)
    assert [str(each) for each in caught.value.exceptions] == [str(each) for each in errors]


def test_any_other_error_arrives_with_its_name_its_place_and_its_traceback(
    warnings: list[str],
) -> None:
    with (
        pool.started(makers.odd, SHAPES, 1) as make,
        pytest.raises(UserError) as caught,
    ):
        make(4)
    lines = Path(makers.__file__).read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "raise Odd" in text)
    assert str(caught.value) == f"data.workers: Odd: 3 and 4 (makers.py, line {line})"
    assert "raise Odd(3, 4)" in caught.value.__notes__[0]
    assert not warnings


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("user", "small.yaml:9: data.augment[0]: no such transform\n  look it up"),
        ("too early", "data.workers: ValueError: too early (makers.py, line "),
    ],
)
def test_an_error_before_the_first_batch_arrives_every_time(
    what: str, text: str, warnings: list[str]
) -> None:
    with pool.started(partial(makers.wrong, what), SHAPES, 1) as make:
        for step in range(3):
            with pytest.raises(UserError) as caught:
                make(step)
            assert str(caught.value).startswith(text)
    assert not warnings


def test_what_the_workers_cannot_import_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    here = type(sys)("only_here")
    exec("def prepare(): ...", here.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", here)
    with pool.started(here.prepare, SHAPES, 1) as make, pytest.raises(UserError) as caught:
        make(0)
    assert caught.value.problem.startswith("ModuleNotFoundError: No module named 'only_here' (")


def test_workers_get_inherited_descriptors_later_ones_too(warnings: list[str]) -> None:
    descriptor = shared.create(1000)
    content = shared.array(descriptor, SHAPES.picture, np.uint8)
    content[:] = np.arange(content.size).reshape(content.shape)
    prepare = partial(makers.borrowing, descriptor)
    with pool.started(prepare, SHAPES, 1, inherited=(descriptor,)) as make:
        before, _ = make(0)
        make._workers[0].popen.kill()
        after, _ = make(0)
    os.close(descriptor)
    assert len(warnings) == 1
    for batch in (before, after):
        np.testing.assert_array_equal(batch[0], [content] * 3)


def test_an_answer_that_nobody_waited_for_is_not_taken_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pool.started(makers.noise, SHAPES, 1) as make:
        make(0)
        with monkeypatch.context() as patch:

            def pressed(*arguments: object) -> None:
                raise KeyboardInterrupt

            patch.setattr(process, "_hear", pressed)
            with pytest.raises(KeyboardInterrupt):
                make(1)
        batch, made = make(2)
    assert made.decoding == 2
    assert_equal(batch, drawn(2))


def test_signals_that_go_to_all_processes_do_not_end_a_worker(warnings: list[str]) -> None:
    with pool.started(makers.noise, SHAPES, 1) as make:
        worker = int(make(0)[1].unreadable["process"])
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(worker, number)
        assert make(1)[1].unreadable["process"] == str(worker)
        assert os.getpgid(worker) == worker != os.getpgid(0)
    assert not warnings


def test_closing_wakes_those_who_wait_and_starts_nothing(
    tmp_path: Path, warnings: list[str]
) -> None:
    errors: list[BaseException] = []

    def ask(make: pool.Pool) -> None:
        try:
            make(3)
        except BaseException as error:
            errors.append(error)

    with pool.started(partial(makers.stuck, tmp_path, "sleep"), SHAPES, 1) as make:
        # One waits for its batch, two stand in line.
        threads = [threading.Thread(target=ask, args=(make,), daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        wait_for(lambda: list(tmp_path.iterdir()))
    for thread in threads:
        thread.join(60)
    assert [type(error) for error in errors] == [pool.Closed] * 3
    with pytest.raises(pool.Closed):
        make(4)
    assert not warnings
    assert not any(map(alive, makers.processes(tmp_path)))


@linux
def test_nothing_stays_open_or_mapped_and_nothing_has_a_name(warnings: list[str]) -> None:
    def held() -> tuple[int, bool]:
        gc.collect()
        maps = Path("/proc/self/maps").read_text()
        assert "/dev/shm/" not in maps
        return len(list(Path("/proc/self/fd").iterdir())), "memfd:trainer" in maps

    before = held()
    with pytest.raises(ZeroDivisionError), pool.started(makers.noise, SHAPES, 2) as make:
        for each in make._workers:
            each.popen.kill()
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(make, range(8)))
        batch, made = make(0)
        worker = int(made.unreadable["process"])
        assert "/dev/shm/" not in Path(f"/proc/{worker}/maps").read_text()
        assert held()[0] > before[0] and held()[1]
        raise ZeroDivisionError
    assert held() == before  # an earlier test may have left its cache to be collected
    assert not alive(worker)
    assert_equal(batch, drawn(0))


def test_there_are_no_processes_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UserError) as caught, pool.started(makers.noise, SHAPES, 1):
        pass
    assert str(caught.value) == (
        "data.workers: worker processes need Linux or macOS\n  write data.workers: threads"
    )
