"""The verbs from end to end, in this process, on small pictures."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests.conftest import Outcome, draw_pictures
from trainer.config.load import load
from trainer.data.decode import decode, present

Trainer = Callable[..., Outcome]


def history(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "history.csv").open()))


EXACT = (
    "{AdamW: {learning_rate: 0.01, global_clipnorm: 0.5, gradient_accumulation_steps: 2, "
    "use_ema: true, ema_momentum: 0.8}}"
)


def test_fit_evaluate_export_predict(small: Path, trainer: Trainer) -> None:
    fitted = trainer("fit", small, "--set", "training.epochs=3")
    assert fitted.code == 0, fitted.err
    run = Path("runs/small/latest")
    assert "data     12 train, 6 validation, 6 test; 3 classes: blue, green, red\n" in fitted.out
    assert "epoch 3/3  loss " in fitted.out
    assert re.search(r"^best     epoch \d, val_loss \d", fitted.out, flags=re.MULTILINE)
    assert "test split: accuracy " in fitted.out
    assert (run / "classes.txt").read_text() == "blue\ngreen\nred\n"
    assert len(history(run)) == 3
    assert list(history(run)[0]) == [
        "epoch", "loss", "categorical_accuracy", "val_loss", "val_categorical_accuracy",
        "learning_rate",
    ]  # fmt: skip
    assert load(run / "config.yaml").training.epochs == 3
    environment = json.loads((run / "environment.json").read_text())
    assert {"trainer", "python", "packages", "platform", "data"} <= set(environment)
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["examples"] == 6
    assert list((run / "tensorboard" / "train").glob("events.*"))

    (run / "metrics.json").unlink()
    assert trainer("evaluate").code == 0
    assert json.loads((run / "metrics.json").read_text()) == metrics

    exported = trainer("export", small)
    assert exported.code == 0, exported.err
    parity = json.loads((run / "export" / "parity.json").read_text())
    assert [(row["kind"], row["agrees"], row["images"]) for row in parity] == [
        ("saved_model", True, 6), ("onnx", True, 6),
    ]  # fmt: skip

    predicted = trainer("predict", run, "pictures", "--out", "out/labels.csv")
    assert predicted.code == 0, predicted.err
    rows = list(csv.DictReader(Path("out/labels.csv").open()))
    assert list(rows[0]) == ["path", "label", "probability", "blue", "green", "red"]
    assert len(rows) == 24
    session = onnxruntime.InferenceSession(run / "export" / "model.onnx")
    data = load(run / "config.yaml").data
    images = np.stack([present(decode(Path(row["path"]).read_bytes()), data) for row in rows])
    scores_NK, index_N = session.run(None, {"image": images})
    assert [row["label"] for row in rows] == [["blue", "green", "red"][i] for i in index_N]
    received = [[float(row[name]) for name in ("blue", "green", "red")] for row in rows]
    assert np.abs(np.array(received) - scores_NK).max() < 2e-6  # six digits in the CSV


def test_fitting_the_run_s_config_again_repeats_it(small: Path, trainer: Trainer) -> None:
    trainer("fit", small)
    first = Path("runs/small/latest").resolve()
    trainer("fit", first / "config.yaml")
    second = Path("runs/small/latest").resolve()
    assert first != second
    assert history(first) == history(second)
    assert (first / "split.csv").read_text() == (second / "split.csv").read_text()
    assert (first / "config.yaml").read_text() == (second / "config.yaml").read_text()


def test_an_interrupted_fit_says_how_to_go_on_and_resumes_exactly(
    small: Path, trainer: Trainer
) -> None:
    options = ["--set", "training.epochs=4", "--set", "name=whole"]
    assert trainer("fit", small, *options).code == 0
    Path("stop.py").write_text(
        "import keras\n"
        "class Stop(keras.callbacks.Callback):\n"
        "    def on_train_batch_end(self, batch, logs=None):\n"
        "        if self.model.optimizer.iterations == 8: raise KeyboardInterrupt\n"
    )
    options = ["--set", "training.epochs=4"]
    stopped = trainer("fit", small, *options, "--set", "training.callbacks=[stop.Stop]")
    run = Path("runs/small/latest")
    assert stopped.code == 130
    assert stopped.err == (
        f"error: stopped after epoch 2; {run.parent / run.readlink()}/checkpoints/last.keras is kept. "
        "Go on with the same command and --resume\n"
    )
    assert len(history(run)) == 2
    resumed = trainer("fit", small, *options, "--resume")
    assert resumed.code == 0, resumed.err
    assert "resumed  after epoch 2\n" in resumed.out
    assert history(run) == history(Path("runs/whole/latest"))
    assert len(list(Path("runs/small").iterdir())) == 2  # one run and latest


def test_resume_wants_a_run_of_the_same_config(small: Path, trainer: Trainer) -> None:
    first = trainer("fit", small, "--resume")
    assert first.code == 0, first.err
    assert first.out.startswith("resume   there is no run of small yet, so this is the first\n")
    latest = Path("runs/small") / Path("runs/small/latest").readlink()
    other = trainer("fit", small, "--resume", "--set", "seed=2", "--set", "data.batch_size=4")
    assert (other.code, other.err) == (
        2,
        f"error: --set seed=2: seed: differs from the run to resume, {latest}\n"
        "  start a new run without --resume\n"
        f"error: --set data.batch_size=4: data.batch_size: differs from the run to resume, {latest}\n"
        "  start a new run without --resume\n",
    )
    done = trainer("fit", small, "--resume")
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        f"finished {latest} after 2 epochs; nothing is left to do\n"
        "train longer: --set training.epochs=7 --resume\n"
    )


def test_resume_refuses_pictures_that_have_changed(small: Path, trainer: Trainer) -> None:
    """A new split over the same weights would test on what was trained on."""
    trainer("fit", small)
    split = Path("runs/small/latest/split.csv").read_text()
    Path("pictures/red/00.png").rename("pictures/red/new.png")
    done = trainer("fit", small, "--resume", "--set", "training.epochs=3")
    latest = Path("runs/small") / Path("runs/small/latest").readlink()
    assert (done.code, done.err) == (
        2,
        f"error: small.yaml:3: data.source: 1 pictures of the run to resume, {latest}, are gone, "
        "such as red/00.png\n  bring them back, or start a new run without --resume\n",
    )
    assert Path("runs/small/latest/split.csv").read_text() == split


def test_resume_takes_new_callbacks_and_keeps_their_settings(small: Path, trainer: Trainer) -> None:
    stop = "training.callbacks=[{{EarlyStopping: {{monitor: loss, min_delta: 99, patience: {}}}}}, {{CSVLogger: {{filename: log.csv}}}}]"
    stopped = trainer("fit", small, "--set", stop.format(1), "--set", "training.epochs=9")
    assert "stopped  by a callback after epoch 2 of 9\n" in stopped.out
    assert len(history(Path("runs/small/latest"))) == 2
    more = ["--resume", "--set", "training.epochs=5", "--set", stop.format(50)]
    assert trainer("fit", small, *more).code == 0
    assert len(history(Path("runs/small/latest"))) == 5
    assert len(Path("log.csv").read_text().splitlines()) == 6  # the header and five epochs
    assert load(Path("runs/small/latest/config.yaml")).training.epochs == 5


def test_resume_goes_on_with_the_run_that_has_a_checkpoint(small: Path, trainer: Trainer) -> None:
    trainer("fit", small)
    first = Path("runs/small/latest").resolve()
    Path("stop_at_once.py").write_text(
        "import keras\n"
        "class Stop(keras.callbacks.Callback):\n"
        "    def on_train_begin(self, logs=None): raise KeyboardInterrupt\n"
    )
    trainer("fit", small, "--set", "training.callbacks=[stop_at_once.Stop]")
    done = trainer("fit", small, "--resume", "--set", "training.epochs=3")
    assert done.code == 0, done.err
    assert len(history(first)) == 3
    for name in ("last", "previous", "best"):
        (first / "checkpoints" / f"{name}.keras").unlink()
    shutil.rmtree(Path("runs/small/latest").resolve())
    lost = trainer("fit", small, "--resume", "--set", "training.epochs=4")
    assert lost.code == 2
    assert "checkpoints/last.keras: is missing, so the run cannot go on\n" in lost.err
    assert len(history(first)) == 3


def test_best_goes_up_for_a_metric_and_down_for_a_loss(small: Path, trainer: Trainer) -> None:
    monitor = "training.best.monitor=val_categorical_accuracy"
    options = ["--set", monitor, "--set", "training.epochs=8", "--set", "seed=3"]
    trainer("fit", small, *options)
    values = [float(row["val_categorical_accuracy"]) for row in history(Path("runs/small/latest"))]
    with zipfile.ZipFile("runs/small/latest/checkpoints/best.keras") as archive:
        state = json.loads(archive.read("state.json"))
    assert state["best"] == max(values) > min(values)
    assert state["epoch"] == values.index(max(values)) + 1


def test_ctrl_c_ends_a_real_process_cleanly(small: Path) -> None:
    options = ["--set", "training.epochs=100000"]
    command = [sys.executable, "-X", "faulthandler", "-m", "trainer", "fit", str(small), *options]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        last = Path("runs/small/latest/checkpoints/last.keras")
        deadline = time.monotonic() + 120
        while not last.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # the stacks of all threads go to standard error
            pytest.fail(process.communicate()[1])
    assert process.returncode == 130, err
    assert re.match("error: stopped (in|after) epoch ", err)
    assert err.endswith("Go on with the same command and --resume\n")
    assert "Traceback" not in out + err
    assert not list(Path("runs").rglob("*.partial*"))


def test_unreadable_pictures_are_named_counted_and_left_out(small: Path, trainer: Trainer) -> None:
    for name in ("red", "green"):
        for number in range(0, 8, 3):
            Path(f"pictures/{name}/{number:02d}.png").write_bytes(b"no picture")
    fitted = trainer("fit", small)
    assert fitted.code == 0, fitted.err
    bad = ["pictures/green/00.png", "pictures/red/03.png"]
    for path in bad:
        assert f"warning: {path} is left out: no picture of a known format\n" in fitted.err
    assert "data     7 train, 5 validation, 6 test" in fitted.out
    data = json.loads(Path("runs/small/latest/data.json").read_text())
    assert data == {
        "task": "single_label",
        "pictures": {"train": 7, "validation": 5, "test": 6},
        "left_out": {
            f"{name}/{number:02d}.png": "no picture of a known format"
            for name in ("green", "red")
            for number in (0, 3, 6)
        },
    }


def test_pictures_that_break_after_the_split_are_named_counted_and_left_out(
    small: Path, trainer: Trainer
) -> None:
    trainer("fit", small)
    rows = list(csv.DictReader(Path("runs/small/latest/split.csv").open()))
    first, second, *rest = [row["path"] for row in rows if row["split"] == "test"]
    Path("pictures", first).write_bytes(b"no picture")
    Path("pictures", second).unlink()
    done = trainer("evaluate")
    assert done.code == 0, done.err
    split = Path("runs/small") / Path("runs/small/latest").readlink() / "split.csv"
    assert done.err == (
        f"warning: 1 pictures of {split} are gone, such as {second}\n"
        f"warning: pictures/{first} is left out: no picture of a known format\n"
    )
    metrics = json.loads(Path("runs/small/latest/metrics.json").read_text())
    assert metrics["unreadable"] == [f"pictures/{first}"]
    assert metrics["examples"] == len(rest)


def test_predict_reports_and_skips_what_is_no_picture(small: Path, trainer: Trainer) -> None:
    trainer("fit", small)
    Path("bad.jpg").write_bytes(b"")
    done = trainer("predict", "pictures/red/00.png", "bad.jpg", "--out", "labels.csv")
    assert done.code == 1
    assert done.err == (
        "warning: bad.jpg is left out: empty file\nerror: 1 of 2 pictures could not be read\n"
    )
    assert [row["path"] for row in csv.DictReader(Path("labels.csv").open())] == [
        "pictures/red/00.png"
    ]


def test_an_export_that_disagrees_fails_and_leaves_no_file(small: Path, trainer: Trainer) -> None:
    exports = "export=[{kind: saved_model}, {kind: onnx, tolerance: 1e-30}]"
    trainer("fit", small, "--set", exports)
    folder = Path("runs/small") / Path("runs/small/latest").readlink() / "export"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"of an older export")
    done = trainer("export")
    assert done.code == 1
    assert done.err == (
        f"error: not written, because it disagrees with Keras: {folder}/model.onnx\n"
    )
    assert sorted(path.name for path in folder.iterdir()) == ["parity.json", "saved_model"]
    parity = json.loads((folder / "parity.json").read_text())
    assert [row["agrees"] for row in parity] == [True, False]


def test_no_figures_and_no_files_without_pictures(small: Path, trainer: Trainer) -> None:
    """Of nothing, everything agrees and is right."""
    trainer("fit", small)
    latest = Path("runs/small") / Path("runs/small/latest").readlink()
    metrics = (latest / "metrics.json").read_text()
    Path("pictures").rename("moved")
    for verb in ("evaluate", "export"):
        done = trainer(verb)
        assert done.code == 2
        assert done.err.startswith("error: data.source.path: no such folder: pictures\n")
    draw_pictures(Path("pictures"), {"other": 2, "names": 2})
    for verb in ("evaluate", "export"):
        done = trainer(verb)
        assert (done.code, done.err) == (
            2,
            f"error: {latest}/split.csv: none of its 24 pictures is there\n"
            "  is data.source.path the folder that it was trained on?\n",
        )
    assert (latest / "metrics.json").read_text() == metrics
    assert not (latest / "export").exists()


def test_a_run_without_a_test_split(small: Path, trainer: Trainer) -> None:
    fitted = trainer("fit", small, "--set", "data.split.test=0")
    assert fitted.code == 0, fitted.err
    assert "no test split, so nothing to evaluate\n" in fitted.out
    assert trainer("export").code == 0
    assert "has no test split\n" in trainer("evaluate").err


def test_classes_of_any_name(workplace: Path, small: Path, trainer: Trainer) -> None:
    names = ["[red]a", 'b, "c"', "label", "ü \u2603"]
    draw_pictures(workplace / "odd", dict.fromkeys(names, 6))
    (workplace / "odd" / "label" / "00.png").rename(workplace / os.fsdecode(b"odd/label/\xff.png"))
    fitted = trainer("fit", small, "--set", "data.source.path=odd")
    assert fitted.code == 0, fitted.err
    assert "│ [red]a │" in fitted.out
    done = trainer("predict", "odd", "--out", "labels.csv")
    assert done.code == 0, done.err
    with Path("labels.csv").open(errors="surrogateescape") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[3:] == ["[red]a", 'b, "c"', "class label", "ü \u2603"]
    assert {row["label"] for row in rows} <= set(names)
    assert len(rows) == 24


def test_predict_writes_through_a_link_and_over_no_picture(small: Path, trainer: Trainer) -> None:
    trainer("fit", small, "--set", "training.epochs=1")
    Path("real.csv").write_text("old")
    Path("link.csv").symlink_to("real.csv")
    assert trainer("predict", "pictures", "--out", "link.csv").code == 0
    assert Path("link.csv").is_symlink()
    assert Path("real.csv").read_text().startswith("path,label,probability,blue")
    assert trainer("predict", "pictures", "--out", "pictures/red/00.png").err == (
        "error: --out: expected a name that ends in .csv or .jsonl, received pictures/red/00.png\n"
        "  as in --out labels.csv\n"
    )


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_resumes_and_exports_float32(
    small: Path, trainer: Trainer, precision: str
) -> None:
    """With averaged weights, clipping, and batches accumulated over the end of an epoch."""
    options = ["--set", f"training.precision={precision}", "--set", f"training.optimizer={EXACT}"]
    assert trainer("fit", small, *options, "--set", "name=whole").code == 0
    fitted = trainer("fit", small, *options, "--set", "training.epochs=1")
    assert fitted.code == 0, fitted.err
    assert f"one replica (training.strategy auto: no GPU), {precision}" in fitted.out
    assert trainer("fit", small, *options, "--resume").code == 0
    assert history(Path("runs/small/latest")) == history(Path("runs/whole/latest"))
    assert trainer("export", "runs/small/latest").code == 0


def test_mirrored_is_forced_by_the_config(small: Path, trainer: Trainer) -> None:
    fitted = trainer("fit", small, "--set", "training.strategy=mirrored")
    assert fitted.code == 0, fitted.err
    line = "CPU, mirrored over 1 replica (training.strategy mirrored), float32"
    assert f"devices  {line}\n" in fitted.out


@pytest.mark.parametrize(
    "length",
    [
        ["training.epochs=3"],
        pytest.param(
            [
                "training.epochs=null",
                "training.phases=[{epochs: 1, frozen: [conv*]}, {epochs: 2, learning_rate: 0.02}]",
                f"training.optimizer={EXACT}",
            ],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["plain", "phases"],
)
def test_two_replicas_fit_resume_and_export_as_one_device(
    length: list[str], small: Path, trainer: Trainer
) -> None:
    """The whole command on two logical devices: 12 training pictures, batches of 5 (3 + 2)."""
    options = [
        "--set",
        "model.layers[3]=ReLU",
        *(part for each in length for part in ("--set", each)),
    ]
    assert trainer("fit", small, *options, "--set", "name=one").code == 0
    code = (
        "import sys, tensorflow as tf\n"
        "[cpu] = tf.config.list_physical_devices('CPU')\n"
        "two = [tf.config.LogicalDeviceConfiguration()] * 2\n"
        "tf.config.set_logical_device_configuration(cpu, two)\n"
        "from trainer.cli import app\n"
        "app(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", code, "fit", str(small), *options]
    command += ["--set", "training.strategy=mirrored"]
    Path("stop.py").write_text(
        "import keras\n"
        "class Stop(keras.callbacks.Callback):\n"
        "    def on_train_batch_end(self, batch, logs=None):\n"
        "        if self.params['epochs'] == 3 and self.seen > 4: raise KeyboardInterrupt\n"
        "        self.seen += 1\n"
        "    seen = 0\n"
    )
    stopped = subprocess.run(
        [*command, "--set", "training.callbacks=[stop.Stop]"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert stopped.returncode == 130, stopped.stderr
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "mirrored over 2 replicas (training.strategy mirrored), float32\n" in done.stdout
    one, two = history(Path("runs/one/latest")), history(Path("runs/small/latest"))
    assert len(two) == 3
    for expected, received in zip(one, two, strict=True):
        for name, value in expected.items():
            assert abs(float(received[name]) - float(value)) <= 1e-5, name
    assert trainer("export", small).code == 0


def test_logits_are_exported_as_probabilities(small: Path, trainer: Trainer) -> None:
    options = [
        "--set", "model.layers[4]={Dense: {units: $classes, activation: linear}}",
        "--set", "training.loss={CategoricalCrossentropy: {from_logits: true}}",
    ]  # fmt: skip
    assert trainer("fit", small, *options).code == 0
    assert trainer("export").code == 0
    trainer("predict", "pictures", "--out", "labels.csv")
    for row in csv.DictReader(Path("labels.csv").open()):
        assert abs(sum(float(row[name]) for name in ("blue", "green", "red")) - 1) < 1e-5


def test_split_roots_stay_apart(workplace: Path, small: Path, trainer: Trainer) -> None:
    for side, count in (("train", 6), ("validation", 2), ("test", 3)):
        draw_pictures(workplace / "rooted" / side, {"a": count, "b": count}, seed=count)
    fitted = trainer("fit", small, "--set", "data.source.path=rooted")
    assert "data     12 train, 4 validation, 6 test; 2 classes: a, b\n" in fitted.out


def test_a_run_can_be_named_in_three_ways(small: Path, trainer: Trainer) -> None:
    trainer("fit", small)
    folder = Path("runs/small") / Path("runs/small/latest").readlink()
    outputs = [
        trainer("evaluate", *how).out for how in ([], [folder], [small], ["runs/small/latest"])
    ]
    assert len(set(outputs)) == 1
    assert f"written  {folder}/metrics.json\n" in outputs[0]


def test_help_does_not_load_tensorflow() -> None:
    code = (
        "import sys\n"
        "from trainer.cli import main\n"
        "sys.argv = ['trainer', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'albumentations', 'cv2', 'onnx', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    environment = {**os.environ, "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stderr == "[]\n"
    assert "Train image classifiers" in done.stdout
