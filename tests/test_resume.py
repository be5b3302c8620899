"""A training that is stopped, killed or finds its files damaged goes on as if nothing had been."""

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from tests.conftest import Outcome, draw_pictures
from trainer import files
from trainer.cli import app

Trainer = Callable[..., Outcome]

# 3 epochs of 3 steps; 2 batches of validation after each. Checkpoints after 2 steps and each epoch.
CONFIG = """\
name: small
data:
  source: {kind: folder, path: pictures}
  image_size: [12, 12]
  split: {validation: 0.25, test: 0.25}
  batch_size: 4
  workers: threads
  augment:
    - HorizontalFlip
    - RandomBrightnessContrast: {p: 1}
    - CoarseDropout: {p: 0.5}
model:
  kind: layers
  layers:
    - Rescaling: {scale: 0.00392156862745098}
    - Conv2D: {filters: 4, kernel_size: 3, use_bias: false}
    - BatchNormalization
    - ReLU
    - Flatten
    - Dropout: {rate: 0.4}
    - Dense: {units: $classes, activation: softmax}
training:
  epochs: 3
  optimizer: {AdamW: {learning_rate: 0.01}}
  callbacks:
    - planned_ends.End
    - EarlyStopping: {patience: 9, restore_best_weights: true}
    - ReduceLROnPlateau: {patience: 1, min_delta: 9}
    - ModelCheckpoint: {filepath: own.keras, save_best_only: true}
  checkpoint: {steps: 2}
"""

# Does what the lines of the file `plan` say, each once, such as `SIGTERM train 4`: that signal after
# the fourth step.
ENDS = """\
import errno, os, resource, signal, zipfile
from pathlib import Path
import keras

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

class End(keras.callbacks.Callback):
    def act(self, *here):
        plan = Path("plan")
        lines = plan.read_text().splitlines() if plan.exists() else []
        when = " ".join(map(str, here))
        found = [line for line in lines if line.endswith(f" {when}")]
        plan.write_text("\\n".join(line for line in lines if line not in found))
        for line in found:
            self.do(line.removesuffix(f" {when}"))

    def do(self, what):
        match what:
            case "kill-in-write":
                zipfile.ZipFile.writestr = kill
            case "full":
                zipfile.ZipFile.writestr = full
            case "limit":
                hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
                resource.setrlimit(resource.RLIMIT_FSIZE, (8000, hard))
            case "stop":
                self.model.stop_training = True
            case _:
                os.kill(os.getpid(), getattr(signal, what))

    def steps(self):
        return int(self.model.optimizer.iterations)

    def on_epoch_begin(self, epoch, logs=None):  # once per epoch, however often it is resumed
        self.model.optimizer.learning_rate = 0.9 * float(self.model.optimizer.learning_rate)

    def on_train_begin(self, logs=None): self.act("begin")
    def on_train_batch_end(self, batch, logs=None): self.act("train", self.steps())
    def on_test_batch_end(self, batch, logs=None): self.act("test", self.steps(), batch)
    def on_epoch_end(self, epoch, logs=None): self.act("epoch", epoch + 1)
    def on_train_end(self, logs=None): self.act("end")

class EndAt(End):  # counts all batches, and leaves the learning rate alone
    seen = 0
    def on_epoch_begin(self, epoch, logs=None): pass
    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1
        self.act("batch", self.seen)
    def on_test_batch_end(self, batch, logs=None): self.act("test", self.seen, batch)
"""

# At most 2 epochs of the first phase, then 2 of the second. Updates of 2 batches each.
PHASES = """\
training:
  epochs: null
  phases:
    - {epochs: 4, frozen: [conv*], warmup: {steps: 2}}
    - epochs: 2
      batch_norm: frozen
      layer_rates: {"conv*": 0.5}
      learning_rate: {CosineDecay: {initial_learning_rate: 0.02, decay_steps: $total_steps}}
  optimizer:
    AdamW: {learning_rate: 0.01, global_clipnorm: 0.5, gradient_accumulation_steps: 2, use_ema: true,
            ema_momentum: 0.8}
  no_weight_decay: [bias, gamma, beta]
  callbacks:
    - planned_ends.EndAt
    - EarlyStopping: {patience: 1, min_delta: 99, restore_best_weights: true}
    - ModelCheckpoint: {filepath: own.keras, save_best_only: true}
    - CSVLogger: {filename: log.csv}
"""


def prepare() -> None:
    """Config and pictures in the working directory."""
    draw_pictures(Path("pictures"), {"blue": 8, "green": 8, "red": 8})
    Path("small.yaml").write_text(CONFIG)
    Path("planned_ends.py").write_text(ENDS)


@pytest.fixture(autouse=True, scope="module")
def heeded() -> Iterator[None]:
    """Ctrl-C, which a script ignores in what it runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def elsewhere(folder: Path) -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / ".cache"))
        yield patch


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a training came to its end."""
    folder = tmp_path_factory.mktemp("whole")
    with elsewhere(folder):
        prepare()
        done = CliRunner().invoke(app, ["fit", "small.yaml"])
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture(scope="module")
def halfway(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One in which it was stopped in the second epoch: `last` after step 1, `previous` before it,
    `best` after the first epoch."""
    folder = tmp_path_factory.mktemp("halfway")
    with elsewhere(folder):
        prepare()
        Path("plan").write_text("SIGTERM train 4")
        done = CliRunner().invoke(app, ["fit", "small.yaml"])
    assert done.exit_code == 143, done.output
    return folder


@pytest.fixture
def stopped(halfway: Path, workplace: Path) -> Path:
    """The run of `halfway`, here."""
    shutil.copytree(halfway, workplace, symlinks=True, dirs_exist_ok=True)
    return run()


@pytest.fixture
def planned(workplace: Path) -> Callable[[str], None]:
    """Config and pictures, with a plan for the first fit."""
    prepare()

    def plan(text: str) -> None:
        Path("plan").write_text(text)

    return plan


def run() -> Path:
    """The run's folder, as messages name it."""
    link = Path("runs/small/latest")
    return link.parent / link.readlink()


def contents(folder: Path = Path()) -> dict[str, Any]:
    """What two equal trainings have in common: bytes of files, arrays and JSON of checkpoints."""
    latest = folder / "runs/small/latest"
    names = ("classes.txt", "data.json", "split.csv", "history.csv", "metrics.json")
    found: dict[str, Any] = {name: (latest / name).read_bytes() for name in names}
    for path in (*(latest / "checkpoints").glob("[!.]*"), folder / "own.keras"):
        with zipfile.ZipFile(path) as archive:
            found |= {f"{path.name}/{name}": value for name, value in members(archive)}
    return found


def members(archive: zipfile.ZipFile) -> Iterator[tuple[str, Any]]:
    """Of a checkpoint, without what tells the time; arrays as bytes."""
    arrays: dict[str, bytes] = {}
    with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        file.visititems(
            lambda name, item: arrays.update(
                {name: item[()].tobytes()} if isinstance(item, h5py.Dataset) else {}
            )
        )
    assert len(arrays) > 6
    yield from arrays.items()
    if "state.json" in archive.namelist():  # own.keras is Keras's alone
        yield "state.json", json.loads(archive.read("state.json")) | {"timing": None}
        with np.load(io.BytesIO(archive.read("state.npz"))) as block:
            yield from ((f"state/{name}", block[name].tobytes()) for name in block.files)


def assert_same(whole: Path) -> None:
    """The run here holds what that one holds, and nothing is left over."""
    expected, received = contents(whole), contents()
    assert expected.keys() == received.keys()
    assert [name for name in expected if expected[name] != received[name]] == []
    assert [str(path) for path in Path("runs").rglob(".*") if path.name != ".lock"] == []


def how_to_go_on(where: str) -> str:
    return (
        f"error: stopped {where}; {run()}/checkpoints/last.keras is kept. "
        "Go on with the same command and --resume\n"
    )


# --- killed -------------------------------------------------------------------------------------


def test_killed_three_times(whole: Path, planned: Any, trainer: Trainer) -> None:
    command = [sys.executable, "-m", "trainer", "fit", "small.yaml"]
    resumed = []
    for plan in ("SIGKILL train 5", "kill-in-write train 5", "SIGKILL test 6 1"):
        planned(plan)
        life = subprocess.run(command, capture_output=True, text=True, check=False)
        assert life.returncode == -signal.SIGKILL, life.stderr
        resumed += [line for line in life.stdout.splitlines() if line.startswith("resumed")]
        command = [*command[:5], "--resume"]
    done = trainer("fit", "small.yaml", "--resume")
    assert done.code == 0, done.err
    resumed += [line for line in done.out.splitlines() if line.startswith("resumed")]
    assert resumed == [
        "resumed  after epoch 1",
        "resumed  after epoch 1",
        "resumed  in epoch 2 after step 2",
    ]
    assert_same(whole)


@pytest.mark.parametrize(
    ("plan", "where"),
    [
        ("SIGTERM begin", "in epoch 1 after step 1"),
        ("SIGTERM train 5", "in epoch 2 after step 2"),
        ("SIGINT train 6", "in epoch 2 after step 3"),
        ("SIGTERM test 6 0", "in epoch 2 after step 3"),
        ("SIGINT epoch 2", "after epoch 2"),
        ("SIGTERM epoch 3", "after epoch 3"),
    ],
)
def test_stopped_by_a_signal(
    plan: str, where: str, whole: Path, planned: Any, trainer: Trainer
) -> None:
    planned(plan)
    done = trainer("fit", "small.yaml")
    name = plan.split()[0]
    code = {"SIGTERM": 143, "SIGINT": 130}[name]
    assert (done.code, done.err) == (code, how_to_go_on(where))
    hint = "; Ctrl-C once more stops at once" if name == "SIGINT" else ""
    assert f"stopping after this step{hint}\n" in done.out
    assert not (run() / "metrics.json").exists()
    resumed = trainer("fit", "small.yaml", "--resume")
    assert resumed.code == 0, resumed.err
    assert f"resumed  {where}\n" in resumed.out or where == "after epoch 3"
    assert_same(whole)


def test_a_signal_after_the_last_step_is_heeded_too(planned: Any, trainer: Trainer) -> None:
    planned("SIGTERM end")
    done = trainer("fit", "small.yaml")
    assert (done.code, done.err) == (143, how_to_go_on("after epoch 3"))
    assert not (run() / "metrics.json").exists()


def test_ctrl_c_twice_says_what_is_kept(planned: Any, trainer: Trainer) -> None:
    """The second one comes in the validation, before anything is written."""
    planned("SIGINT test 6 0\nSIGINT test 6 0")
    done = trainer("fit", "small.yaml")
    assert (done.code, done.err) == (130, how_to_go_on("in epoch 2 after step 2"))


def test_a_reader_that_has_gone_does_not_matter(planned: Any) -> None:
    """Ctrl-C ends `tee` of `trainer fit | tee log` as well, and it is faster."""
    planned("SIGINT train 5")
    command = [sys.executable, "-m", "trainer", "fit", "small.yaml"]
    reading, writing = os.pipe()
    os.close(reading)
    life = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (life.returncode, life.stderr) == (130, how_to_go_on("in epoch 2 after step 2"))


# --- the seed alone -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        ["workers=2"],
        ["workers=auto"],
        ["cache=memory"],
        ["cache=disk"],
        ["cache=disk", "workers=2"],
    ],
    ids=" ".join,
)
def test_the_seed_alone_decides(
    options: list[str], whole: Path, planned: Any, trainer: Trainer
) -> None:
    done = trainer("fit", "small.yaml", *settings(options))
    assert done.code == 0, done.err
    assert_same(whole)


def test_go_on_with_other_workers_and_another_cache(
    whole: Path, planned: Any, trainer: Trainer
) -> None:
    planned("SIGTERM train 5")
    assert trainer("fit", "small.yaml", *settings(["workers=2"])).code == 143
    planned("SIGTERM train 8")
    assert trainer("fit", "small.yaml", "--resume", *settings(["cache=disk"])).code == 143
    options = settings(["workers=1", "cache=memory"])
    assert trainer("fit", "small.yaml", "--resume", *options).code == 0
    assert_same(whole)


def settings(options: list[str]) -> list[str]:
    return [part for option in options for part in ("--set", f"data.{option}")]


# --- phases, averages, accumulation -------------------------------------------------------------


def prepare_phases() -> None:
    prepare()
    Path("phases.yaml").write_text("extends: small.yaml\n" + PHASES)


@pytest.fixture(scope="module")
def whole_phases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a training in phases came to its end."""
    folder = tmp_path_factory.mktemp("phases")
    with elsewhere(folder):
        prepare_phases()
        done = CliRunner().invoke(app, ["fit", "phases.yaml"])
    assert done.exit_code == 0, done.output
    said = [line for line in done.output.splitlines() if line.startswith(("phase", "stopped"))]
    assert said == [
        "phase    1 of 2: 2 of 3 layers train, 1,211 parameters",
        "phase    2 of 2: 2 of 3 layers train, 1,311 parameters",
    ]
    assert logged(folder) == ["0", "1", "2", "3"]
    return folder


def logged(folder: Path = Path()) -> list[str]:
    """The epochs in the log of CSVLogger."""
    head, *rows = (folder / "log.csv").read_text().splitlines()
    assert head.startswith("epoch,")
    return [row.partition(",")[0] for row in rows]


def test_a_training_in_phases_stopped_again_and_again(
    whole_phases: Path, workplace: Path, trainer: Trainer
) -> None:
    """Within an accumulation, in validation, between the phases and in the second one."""
    prepare_phases()
    ends = ("batch 2", "test 6 0", "epoch 2", "batch 7", "batch 11")
    Path("plan").write_text("\n".join(f"SIGTERM {end}" for end in ends))
    wheres = ["in epoch 1 after step 2", "in epoch 2 after step 3", "after epoch 2"]
    wheres += ["in epoch 3 after step 1", "in epoch 4 after step 2"]
    for where in wheres:
        done = trainer("fit", "phases.yaml", "--resume")
        assert (done.code, done.err) == (143, how_to_go_on(where))
    done = trainer("fit", "phases.yaml", "--resume")
    assert done.code == 0, done.err
    assert_same(whole_phases)
    assert logged() == logged(whole_phases)


def test_the_last_phase_may_become_longer(
    whole_phases: Path, workplace: Path, trainer: Trainer
) -> None:
    shutil.copytree(whole_phases, Path(), symlinks=True, dirs_exist_ok=True)
    finished = trainer("fit", "phases.yaml", "--resume")
    assert finished.out == (
        f"finished {run()} after 4 epochs, then a callback stopped it; nothing is left to do\n"
        "train longer: --set training.phases[1].epochs=7 --resume\n"
    )
    longer = trainer("fit", "phases.yaml", "--set", "training.phases[1].epochs=3", "--resume")
    assert longer.code == 0, longer.err
    assert "epoch 5/5" in longer.out
    first = trainer("fit", "phases.yaml", "--set", "training.phases[0].epochs=3", "--resume")
    assert first.code == 2
    assert "training.phases: differs from the run to resume" in first.err


def test_a_stop_within_an_epoch_ends_all_phases(workplace: Path, trainer: Trainer) -> None:
    prepare_phases()
    Path("plan").write_text("stop batch 2")
    done = trainer("fit", "phases.yaml")
    assert done.code == 0, done.err
    assert "stopped  by a callback after epoch 1 of 6\n" in done.out
    again = trainer("fit", "phases.yaml", "--resume")
    assert again.out.startswith(f"finished {run()} after 1 epochs, then a callback stopped it")


# --- damaged ------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def of_another_config(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    state = json.loads(members["state.json"]) | {"recipe": "another"}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (members | {"state.json": json.dumps(state)}).items():
            archive.writestr(name, content)


HARMS = pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (cut, "File is not a zip file"),
        (flipped, "model.weights.h5 in it is damaged"),
        (of_another_config, "it was written by a training with another config"),
    ],
    ids=["cut", "flipped", "another config"],
)
KEPT = ("last", "previous", "best")


@HARMS
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    harm: Any, reason: str, whole: Path, stopped: Path, trainer: Trainer
) -> None:
    last = stopped / "checkpoints" / "last.keras"
    harm(last)
    done = trainer("fit", "small.yaml", "--resume")
    assert (done.code, done.err) == (
        0,
        f"warning: {last} is no usable checkpoint: {reason}; previous.keras is used instead\n",
    )
    assert "resumed  after epoch 1\n" in done.out
    assert_same(whole)


def test_two_damaged_checkpoints_give_way_to_the_best(
    whole: Path, stopped: Path, trainer: Trainer
) -> None:
    for name in ("last", "previous"):
        cut(stopped / "checkpoints" / f"{name}.keras")
    done = trainer("fit", "small.yaml", "--resume")
    assert done.code == 0
    assert done.err == "".join(
        f"warning: {stopped}/checkpoints/{name}.keras is no usable checkpoint: "
        "File is not a zip file; best.keras is used instead\n"
        for name in ("last", "previous")
    )
    assert_same(whole)


@HARMS
def test_nothing_begins_anew_when_all_are_damaged(
    harm: Any, reason: str, stopped: Path, trainer: Trainer
) -> None:
    before = (stopped / "history.csv").read_text()
    for name in KEPT:
        harm(stopped / "checkpoints" / f"{name}.keras")
    done = trainer("fit", "small.yaml", "--resume")
    assert (done.code, done.out) == (2, "")
    assert done.err == "".join(
        f"error: {stopped}/checkpoints/{name}.keras: is no usable checkpoint: {reason}\n"
        for name in KEPT
    )
    assert (stopped / "history.csv").read_text() == before


def test_killed_between_two_renames(whole: Path, stopped: Path, trainer: Trainer) -> None:
    shutil.copytree(stopped, stopped.parent / "2000-01-01_00-00-00")  # an earlier run is not meant
    (stopped / "checkpoints" / "last.keras").replace(stopped / "checkpoints" / "previous.keras")
    done = trainer("fit", "small.yaml", "--resume")
    assert done.code == 0, done.err
    assert f"run      {stopped}\n" in done.out
    assert_same(whole)


@pytest.mark.parametrize(
    ("way", "problem"), [("full", "No space left on device"), ("limit", "File too large")]
)
def test_a_full_disk(
    way: str,
    problem: str,
    whole: Path,
    planned: Any,
    trainer: Trainer,
) -> None:
    """`limit` is real: the kernel refuses to write more."""
    planned(f"{way} train 5")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "writestr", zipfile.ZipFile.writestr)  # is set back
        done = trainer("fit", "small.yaml")
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert done.code == 2
    last = run() / "checkpoints" / "last.keras"
    assert done.err.startswith(f"error: {last} cannot be written: {problem}\n")
    resumed = trainer("fit", "small.yaml", "--resume")
    assert resumed.code == 0, resumed.err
    assert "resumed  after epoch 1\n" in resumed.out
    assert_same(whole)


# --- which run ----------------------------------------------------------------------------------


def test_two_at_once(stopped: Path, trainer: Trainer) -> None:
    before = contents_of(stopped)
    with files.locked(stopped / ".lock"):
        done = trainer("fit", "small.yaml", "--resume")
    assert (done.code, done.out, done.err) == (
        2,
        "",
        f"error: --resume: another trainer fit is at work in {stopped}\n"
        "  wait for its end, or stop it\n",
    )
    assert contents_of(stopped) == before


def contents_of(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_that_was_never_whole_is_passed_over(
    whole: Path, stopped: Path, trainer: Trainer
) -> None:
    cut_off = Path("runs/small/2999-01-01_00-00-00")
    cut_off.mkdir()
    (cut_off / "classes.txt").write_text("blue\n")
    done = trainer("fit", "small.yaml", "--resume")
    assert done.code == 0, done.err
    assert f"run      {stopped}\n" in done.out
    assert_same(whole)


def test_where_no_run_is_whole_the_first_one_begins(planned: Any, trainer: Trainer) -> None:
    cut_off = Path("runs/small/2000-01-01_00-00-00")
    cut_off.mkdir(parents=True)
    (cut_off / "classes.txt").write_text("blue\n")
    done = trainer("fit", "small.yaml", "--resume")
    assert done.code == 0, done.err
    assert done.out.startswith("resume   there is no run of small yet, so this is the first\n")


# --- finished -----------------------------------------------------------------------------------


def test_killed_before_the_evaluation(whole: Path, planned: Any, trainer: Trainer) -> None:
    shutil.copytree(whole, Path(), symlinks=True, dirs_exist_ok=True)
    (run() / "metrics.json").unlink()
    done = trainer("fit", "small.yaml", "--resume")
    assert done.code == 0, done.err
    assert "epoch 3/3" not in done.out
    assert "test split: accuracy" in done.out
    assert_same(whole)


def test_the_evaluation_of_an_earlier_end_does_not_count(
    whole: Path, planned: Any, trainer: Trainer
) -> None:
    """Trained longer, and killed before the evaluation."""
    shutil.copytree(whole, Path(), symlinks=True, dirs_exist_ok=True)
    planned("SIGTERM epoch 5")
    longer = ("--set", "training.epochs=5", "--resume")
    assert trainer("fit", "small.yaml", *longer).code == 143
    done = trainer("fit", "small.yaml", *longer)
    assert done.code == 0, done.err
    assert "test split: accuracy" in done.out


def test_stopped_by_a_callback(planned: Any, trainer: Trainer) -> None:
    stop = ["--set", "training.callbacks=[{EarlyStopping: {min_delta: 99, patience: 1}}]"]
    done = trainer("fit", "small.yaml", *stop, "--set", "training.epochs=9")
    assert "stopped  by a callback after epoch 2 of 9\n" in done.out
    again = trainer("fit", "small.yaml", *stop, "--set", "training.epochs=9", "--resume")
    assert (again.code, again.err) == (0, "")
    assert again.out == (
        f"finished {run()} after 2 epochs, then a callback stopped it; nothing is left to do\n"
        "train longer: --set training.epochs=14 --resume\n"
    )


def test_a_callback_stops_within_an_epoch_and_a_signal_after_it(
    planned: Any, trainer: Trainer
) -> None:
    """What has been stopped does not go on for a step."""
    planned("stop train 5")
    assert trainer("fit", "small.yaml", "--set", "name=other").code == 0
    planned("stop train 5\nSIGTERM test 5 0")
    assert trainer("fit", "small.yaml").code == 143
    done = trainer("fit", "small.yaml", "--resume")
    assert done.code == 0, done.err
    assert "stopped  by a callback after epoch 2 of 3\n" in done.out
    one, other = (Path(f"runs/{name}/latest/history.csv") for name in ("small", "other"))
    assert one.read_text() == other.read_text()


def test_a_table_of_epochs_goes_on(planned: Any, trainer: Trainer) -> None:
    options = ["--set", "training.callbacks=[planned_ends.End, {CSVLogger: {filename: log.csv}}]"]
    planned("SIGTERM train 4\nSIGTERM train 8")
    for _ in range(3):
        trainer("fit", "small.yaml", *options, "--resume")
    column = [line.split(",")[0] for line in Path("log.csv").read_text().splitlines()]
    assert column == ["epoch", "0", "1", "2"]
