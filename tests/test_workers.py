"""Several workers train what one trains, end when one of them is gone, and go on in any number.

Workers are processes: TensorFlow takes 5 s to start in each.
"""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import Outcome, draw_pictures
from trainer.commands import _local, _resume, _workers, fit
from trainer.config.load import load
from trainer.data.pipeline import Faults
from trainer.errors import WorkerEnded, leaves
from trainer.run import Run
from trainer.training.checkpoint import State
from trainer.training.cluster import Cluster
from trainer.training.peers import Peers

Trainer = Callable[..., Outcome]

# 65 training pictures in batches of 9: divisible by nothing. 8 steps are 4 updates.
CONFIG = """\
name: one
data:
  source: {kind: folder, path: pictures}
  image_size: [12, 12]
  split: {validation: 0.2, test: 0.15}
  batch_size: 9
  workers: threads
  class_weights: balanced
  mix: {mixup: 0.4, p: 0.5}
  augment:
    - HorizontalFlip
    - RandomBrightnessContrast: {p: 1}
model:
  kind: layers
  layers:
    - Rescaling: {scale: 0.00392156862745098}
    - Conv2D: {filters: 4, kernel_size: 3, use_bias: false, kernel_regularizer: l2}
    - BatchNormalization: {synchronized: true}
    - ReLU
    - Flatten
    - Dense: {units: $classes, activation: softmax}
training:
  epochs: 2
  optimizer:
    AdamW: {learning_rate: 0.003, global_clipnorm: 0.5, gradient_accumulation_steps: 2, use_ema: true,
            ema_momentum: 0.9}
  metrics: [CategoricalAccuracy, {F1Score: {average: macro}}, AUC]
  callbacks:
    - planned_kill.At
    - EarlyStopping: {patience: 9, restore_best_weights: true}
    - CSVLogger: {filename: log.csv}
"""

# Ends this process after a step, if it is that worker's turn: `plan` says `SIGKILL 1 11`.
KILL = """\
import json, os, signal
from pathlib import Path
import keras

class At(keras.callbacks.Callback):
    seen = 0
    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1
        plan = Path("plan")
        if plan.exists():
            name, worker, step = plan.read_text().split()
            me = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
            if (int(worker), int(step)) == (me, self.seen):
                plan.unlink()
                os.kill(os.getpid(), getattr(signal, name))
"""

MIRRORED = """\
import sys
import tensorflow as tf
[cpu] = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from trainer.cli import main
main()
"""


@pytest.fixture
def config(workplace: Path) -> str:
    draw_pictures(workplace / "pictures", {"blue": 40, "green": 35, "red": 25})
    Path("planned_kill.py").write_text(KILL)
    Path("some.yaml").write_text(CONFIG)
    return "some.yaml"


def started(*arguments: str, code: str | None = None, **options: Any) -> subprocess.Popen:
    """The command in a process of its own, with this folder's modules."""
    begin = ["-c", code] if code else ["-m", "trainer"]
    paths = [str(Path.cwd()), *sys.path]
    return subprocess.Popen(
        [sys.executable, *begin, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def ran(*arguments: str, code: str | None = None) -> Outcome:
    process = started(*arguments, code=code)
    out, err = process.communicate(timeout=300)
    return Outcome(process.returncode, out, err)


def latest(name: str) -> Path:
    return Path("runs", name, "latest").resolve()


def numbers(name: str) -> dict[str, np.ndarray]:
    """Weights and optimizer of the last epoch, logs of all, scores of the test pictures."""
    run, found = latest(name), dict[str, np.ndarray]()
    with zipfile.ZipFile(run / "checkpoints" / "last.keras") as archive:
        weights = io.BytesIO(archive.read("model.weights.h5"))
        history = json.loads(archive.read("state.json"))["history"]
    with h5py.File(weights) as file:
        file.visititems(
            lambda name, item: found.update({name: item[()]} if hasattr(item, "dtype") else {})
        )
    # Of the tuple that JSON does not know.
    logs = history["__tuple__"] if isinstance(history, dict) else history
    found["norms"] = np.array([each["gradient_norm"] for each in logs])
    with (run / "history.csv").open() as file:
        found["history"] = np.array([list(map(float, row)) for row in list(csv.reader(file))[1:]])
    with (run / "predictions.csv").open() as file:
        found["scores"] = np.array(
            [list(map(float, row[3:])) for row in list(csv.reader(file))[1:]]
        )
    figures = json.loads((run / "metrics.json").read_text())
    names = ("accuracy", "log_loss", "macro_f1", "roc_auc")
    found["figures"] = np.array([figures[each] for each in names])
    return found


def assert_equal(one: str, other: str) -> None:
    expected, received = numbers(one), numbers(other)
    assert received.keys() == expected.keys()
    for name, value in expected.items():
        assert received[name] == pytest.approx(value, rel=1e-5, abs=1e-5), name
    for name in ("split.csv", "classes.txt", "data.json"):
        assert (latest(one) / name).read_text() == (latest(other) / name).read_text()


def told(monkeypatch: pytest.MonkeyPatch, worker: int) -> None:
    """Of a second worker, which is not there."""
    cluster = {"worker": ["localhost:29311", "localhost:29312"]}
    task = {"type": "worker", "index": worker}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))


def test_two_workers_and_two_replicas_train_what_one_trains(
    config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AdamW, clipping, accumulation, averages, class weights, mixed pictures, regularizer,
    synchronized statistics; sets divisible by nothing."""
    alone = ran("fit", config)
    assert alone.code == 0, alone.err
    several = ran("fit", config, "--workers", "2", "--set", "name=two")
    assert several.code == 0, several.err
    assert (
        "devices  CPU, mirrored over 2 replicas of 2 workers (training.strategy auto: the "
        "environment tells of others), float32\n"
    ) in several.out
    assert len(Path("log.csv").read_text().splitlines()) == 3  # one writer
    mirrored = ran(
        "fit", config, "--set", "name=both", "--set", "training.strategy=mirrored", code=MIRRORED
    )
    assert mirrored.code == 0, mirrored.err
    assert "2 replicas" in mirrored.out
    assert_equal("one", "two")
    assert_equal("one", "both")
    log = (latest("two") / "workers" / "1.log").read_text()
    assert "epoch 2/2" in log
    assert not [path for path in Path("runs").rglob(".*") if path.name != ".lock"]
    told(monkeypatch, 1)  # nobody is waited for where nothing is left to do
    again = ran("fit", config, "--set", "name=two", "--resume")
    assert again.code == 0, again.err
    assert again.out.startswith(f"finished runs/two/{latest('two').name} after 2 epochs; ")


def test_a_worker_that_dies_ends_the_others_and_any_number_goes_on(config: str) -> None:
    assert ran("fit", config, "--workers", "2").code == 0
    Path("plan").write_text("SIGKILL 1 12")  # in the second epoch
    begun = time.monotonic()
    died = ran("fit", config, "--workers", "2", "--set", "name=died", "--set",
               "training.checkpoint.steps=3")  # fmt: skip
    assert died.code == 128 + signal.SIGKILL, died.err
    assert time.monotonic() - begun < 120
    assert "has ended or cannot be reached, so worker 0 ends too\n" in died.err
    assert died.err.endswith("error: worker 1 was killed by signal 9\n")
    assert "Traceback" not in died.err
    whole = [path.name for path in latest("died").joinpath("checkpoints").iterdir()]
    assert sorted(whole) == ["best.keras", "last.keras", "previous.keras"]
    again = ran("fit", config, "--set", "name=died", "--resume")  # alone, from inside the epoch
    assert again.code == 0, again.err
    assert "resumed  in epoch 2 after step 3" in again.out
    assert_equal("one", "died")


def test_a_signal_to_any_worker_stops_all_after_the_same_step(config: str) -> None:
    assert ran("fit", config).code == 0
    assert ran("fit", config, "--set", "name=stopped", "--set", "training.epochs=1").code == 0
    Path("plan").write_text("SIGTERM 1 13")  # the eighth ended the first epoch
    end = ran("fit", config, "--workers", "2", "--set", "name=stopped", "--resume")
    assert end.code == 128 + signal.SIGTERM, end.err
    [last] = end.err.splitlines()
    assert last.startswith("error: stopped in epoch 2 after step 6; ")  # heard after the next one
    again = ran("fit", config, "--workers", "3", "--set", "name=stopped", "--resume")
    assert again.code == 0, again.err
    assert_equal("one", "stopped")


def test_no_worker_outlives_the_launcher(config: str) -> None:
    process = started("fit", config, "--workers", "2", "--set", "training.epochs=500")
    try:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("epoch"):
                break
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 2
    finally:
        process.kill()
        process.communicate(timeout=60)
    until = time.monotonic() + 60
    while any(Path("/proc", child).exists() for child in children) and time.monotonic() < until:
        time.sleep(0.1)
    assert not [child for child in children if Path("/proc", child).exists()]


def test_a_worker_that_never_comes_is_named(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told(monkeypatch, 0)
    end = ran("fit", config, "--set", "training.worker_timeout=1")
    assert end.code == 75
    assert end.err == (
        "error: worker 1 (localhost:29312: connection refused) did not appear within 1 s\n"
        "  are they started, and can this machine reach them? training.worker_timeout is how long "
        "to wait\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--set", "training.strategy=multi_worker"),
            "error: --set training.strategy=multi_worker: training.strategy: multi_worker, but "
            "nothing tells of other workers\n"
            "  on this machine: trainer fit CONFIG --workers 2; on several: TF_CONFIG, srun or "
            "Kubernetes, as docs/cluster.md shows\n",
        ),
        (
            ("--set", "training.strategy=mirrored", "--workers", "2"),
            "error: --set training.strategy=mirrored: training.strategy: mirrored is for one "
            "worker, but --workers says 2\n"
            "  write auto or multi_worker, or leave --workers out\n",
        ),
        (
            ("--workers", "10"),
            "error: some.yaml:6: data.batch_size: 9 pictures cannot feed 10 workers\n"
            "  write at least 10, or fewer --workers\n",
        ),
    ],
)
def test_what_workers_cannot_do_is_said(
    config: str, trainer: Trainer, arguments: tuple[str, ...], message: str
) -> None:
    end = trainer("fit", config, *arguments)
    assert (end.code, end.err) == (2, message)


def test_who_had_to_be_stopped_is_not_the_cause(
    config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first worker does not notice that the second has ended."""
    code = (
        "import json, os, sys, time; {path}; "
        "me = json.loads(os.environ['TF_CONFIG'])['task']['index']; "
        "time.sleep(60 * (1 - me)); sys.exit('why it ended')"
    )
    monkeypatch.setattr(_local, "COMMAND", code)
    monkeypatch.setattr(_local, "NOTICE", 0.5)
    with pytest.raises(WorkerEnded) as raised:
        _local.run(Path(config), [], False, 2)
    assert (raised.value.code, str(raised.value)) == (
        1,
        "worker 1 ended with code 1\n  why it ended",
    )


@pytest.mark.parametrize(
    ("change", "alike"),
    [
        ("training.epochs=3", False),
        ("training.checkpoint.steps=2", False),
        ("training.callbacks=[]", False),
        ("tensorboard.enabled=false", False),
        ("data.source.path=elsewhere", True),
        ("training.strategy=multi_worker", True),
        ("data.cache=memory", True),
    ],
)
def test_workers_agree_on_what_they_do_together(config: str, change: str, alike: bool) -> None:
    one, other = load(Path(config)), load(Path(config), [change])
    assert (_resume.shared(one) == _resume.shared(other)) == alike


def test_what_could_not_be_decoded_is_counted_on_all_workers(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Peers, "exchange", lambda self, message: [message, b'["b", "c"]'])
    job: Any = SimpleNamespace(peers=Peers(tf.distribute.get_strategy(), 0, 2))
    faults = Faults({"a": "damaged", "b": "damaged"}, [])
    fit._conclude(load(Path(config)), job, Run(latest("one")), State(epoch=2), faults)
    said = "warning: 3 pictures could not be decoded and were left out\n"
    assert capsys.readouterr().err == said


def test_worker_1_is_not_taken_for_worker_10() -> None:
    error = tf.errors.UnavailableError(None, None, "/job:worker/replica:0/task:10 is gone")
    cluster = Cluster(tuple(f"w{index}:1" for index in range(12)), 0, "test")
    assert _workers._lost(error, cluster).startswith("worker 10 (w10:1) has ended ")


def test_what_workers_are_told_differently_is_named(
    config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = ["training.optimizer.AdamW.learning_rate=0.01", "training.epochs=3"]
    other = json.dumps({**_resume.shared(load(Path(config), changed)), "--resume": True})
    monkeypatch.setattr(Peers, "exchange", lambda self, message: [message, other.encode()])
    with pytest.raises(ExceptionGroup) as raised:
        _workers._demand_same(load(Path(config)), False, Peers(tf.distribute.get_strategy(), 0, 2))
    assert {str(error).partition("\n")[0] for error in leaves(raised.value)} == {
        "training.optimizer.AdamW.learning_rate: worker 1 is told 0.01, worker 0 0.003",
        "training.epochs: worker 1 is told 3, worker 0 2",
        "--resume: worker 1 is told true, worker 0 false",
    }
