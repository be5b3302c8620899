"""`trainer evaluate`: figures, predictions, confidence, gates."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.conftest import SMALL, Outcome, draw_pictures
from trainer.cli import app
from trainer.commands import _evaluation
from trainer.config.data import Csv
from trainer.errors import UserError
from trainer.evaluation import calibration, latency

Trainer = Callable[..., Outcome]
RUN = Path("runs/small/latest")

SEVERAL = """\
name: small
data:
  source: {kind: csv, path: table.csv, separator: ";"}
  image_size: [16, 20]
  batch_size: 5
model:
  kind: layers
  layers:
    - Rescaling: {scale: 0.00392156862745098}
    - GlobalAveragePooling2D
    - Dense: {units: $classes, activation: sigmoid}
training:
  epochs: 1
  loss: BinaryCrossentropy
  metrics: [BinaryAccuracy]
evaluation: {bootstrap: 20}
"""


def trained(folder: Path, config: str) -> Path:
    """A folder with pictures and a run on them."""
    here = Path.cwd()
    draw_pictures(folder / "pictures", {"blue": 8, "green": 8, "red": 8})
    (folder / "small.yaml").write_text(config)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob("pictures/*/*.png"))
    words = {"blue": "cold", "green": "cold;calm", "red": ""}
    rows = [f"{name},{words[Path(name).parent.name]},{int(name[-6:-4]) % 2}" for name in names]
    (folder / "table.csv").write_text("\n".join(["path,label,night", *rows, ""]))
    os.chdir(folder)
    try:
        done = CliRunner().invoke(app, ["fit", "small.yaml"])
        assert done.exit_code == 0, done.stderr
    finally:
        os.chdir(here)
    return folder


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(
        tmp_path_factory.mktemp("one"), SMALL + "evaluation: {bootstrap: 20, top_k: [2]}\n"
    )


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("several"), SEVERAL)


@pytest.fixture
def single(one: Path, workplace: Path) -> Path:
    """A place with a trained run of three classes."""
    shutil.copytree(one, workplace, dirs_exist_ok=True, symlinks=True)
    return workplace


@pytest.fixture
def multi(several: Path, workplace: Path) -> Path:
    """The same with the labels `calm` and `cold`, of which a picture has none, one or both."""
    shutil.copytree(several, workplace, dirs_exist_ok=True, symlinks=True)
    return workplace


def read(name: str) -> Any:
    return json.loads((RUN / name).read_text())


def table(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def set_(*values: str) -> list[str]:
    return [part for value in values for part in ("--set", f"evaluation.{value}")]


def test_evaluating_twice_gives_identical_files(single: Path, trainer: Trainer) -> None:
    names = ("metrics.json", "predictions.csv", "confidence.json")
    first = [(RUN / name).read_bytes() for name in names]
    done = trainer("evaluate")
    assert done.code == 0, done.err
    assert [(RUN / name).read_bytes() for name in names] == first
    found = read("metrics.json")
    assert (found["split"], found["examples"], found["unreadable"]) == ("test", 6, [])
    flat = {name for name, value in found.items() if isinstance(value, float)}
    # What is all right or all wrong has no interval, unless it is a share.
    assert {"accuracy", "top_2_accuracy"} <= set(found["intervals"]) <= flat - {"size_mb"}
    between = {name for name in flat - {"size_mb"} if found[name] not in (0, 1)}
    assert between <= set(found["intervals"])
    assert found["interval"] == {"level": 0.95, "resamples": 20}
    assert {"top_2_accuracy", "roc_auc", "log_loss", "brier", "cohen_kappa"} < flat
    assert found["size_mb"] == pytest.approx(4 * (4 * 28 + 3 * 4 * 14 * 18 + 3) / 1e6)
    assert "test split: accuracy " in done.out
    assert not (RUN / "gates.json").exists()


def test_predictions_are_what_the_figures_were_made_of(single: Path) -> None:
    rows, found = table(RUN / "predictions.csv"), read("metrics.json")
    assert list(rows[0]) == ["path", "truth", "label", "probability", "blue", "green", "red"]
    wanted = [row["path"] for row in table(RUN / "split.csv") if row["split"] == "test"]
    assert [row["path"] for row in rows] == wanted
    assert all(row["truth"] == row["path"].split("/")[0] for row in rows)
    assert np.mean([row["truth"] == row["label"] for row in rows]) == found["accuracy"]
    loss = np.mean([-np.log(float(row[row["truth"]])) for row in rows])
    assert found["log_loss"] == pytest.approx(loss, abs=1e-5)


def test_other_splits_lie_apart(single: Path, trainer: Trainer) -> None:
    before = (RUN / "metrics.json").read_bytes()
    done = trainer("evaluate", "--split", "train")
    assert done.code == 0, done.err
    assert "train split: accuracy " in done.out
    assert (RUN / "metrics.json").read_bytes() == before
    found = read("evaluation/train/metrics.json")
    assert (found["split"], found["examples"]) == ("train", 12)
    assert len(table(RUN / "evaluation/train/predictions.csv")) == 12
    assert trainer("evaluate", "--split", "validation").code == 0
    assert read("evaluation/validation/metrics.json")["examples"] == 6


def test_other_pictures_with_the_classes_of_the_run(single: Path, trainer: Trainer) -> None:
    draw_pictures(single / "more", {"red": 2, "green": 3}, seed=7)
    done = trainer("evaluate", "--data", "more")
    assert done.code == 0, done.err
    assert "more: accuracy " in done.out
    found = read("evaluation/data_more/metrics.json")
    assert (found["split"], found["data"], found["examples"]) == ("data", "more", 5)
    assert [row["support"] for row in found["classes"].values()] == [0, 3, 2]
    assert found["absent"] == ["blue"]
    assert "\nabsent   no picture of 'blue': means over classes are over the other 2\n" in done.out
    recalls = [found["classes"][name]["recall"] for name in ("green", "red")]
    assert found["macro_recall"] == found["balanced_accuracy"] == np.mean(recalls)
    assert found["worst_recall"] == min(recalls)
    rows = table(RUN / "evaluation/data_more/predictions.csv")
    assert [row["truth"] for row in rows] == ["green"] * 3 + ["red"] * 2


def test_pictures_that_do_not_fit_are_refused(single: Path, trainer: Trainer) -> None:
    draw_pictures(single / "other", {"red": 1, "gren": 1})

    def err(*arguments: str) -> str:
        done = trainer("evaluate", *arguments)
        assert done.code == 2
        return done.err

    assert err("--data", "other") == (
        "error: --data: has the class 'gren', which the run does not know\n"
        "  did you mean 'green'?\n"
    )
    draw_pictures(single / "others", {"Red": 1, "rose": 1, "x": 1, "y": 1, "z": 1, "q": 1, "w": 1})
    assert err("--data", "others") == (
        "error: --data: has the class 'Red', which the run does not know\n  did you mean 'red'?\n"
        + "".join(
            f"error: --data: has the class '{name}', which the run does not know\n"
            "  expected one of: blue, green, red\n"
            for name in ("q", "rose", "w", "x")
        )
        + "error: --data: and 2 more, such as 'y'\n"
    )
    assert err("--data", "nowhere").startswith("error: --data: no such folder or file: nowhere\n")
    assert err("--split", "tets") == (
        "error: --split: expected train, validation, test, received 'tets'\n"
    )
    assert err("--split", "test", "--data", "other") == (
        "error: --data: are other pictures than those of --split\n  leave one out\n"
    )
    for name in ("red", "green"):
        Path("broken", name).mkdir(parents=True)
        Path("broken", name, "00.png").write_text("no picture")
    assert err("--data", "broken").endswith("error: --data: none of its pictures can be read\n")
    Path("table.csv").write_text("path,label\nother/red/00.png,red|green\nother/gren/00.png,red\n")
    assert err("--data", "table.csv") == (
        "error: --data: its pictures have several labels each, those of the run one label\n"
    )


def test_what_is_asked_for_is_known_without_tensorflow() -> None:
    line = "import sys, trainer.commands._asked; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", line], check=True)


def test_what_pictures_cannot_have_is_said_before_the_training(
    single: Path, trainer: Trainer
) -> None:
    wanted = set_("gates.exact_match=0.5", "slices=[night]")
    done = trainer("check", "small.yaml", *wanted)
    assert done.code == 2
    assert done.err == (
        "error: --set evaluation.gates.exact_match=0.5: evaluation.gates.exact_match: is no figure "
        "of pictures with one label each\n  write accuracy\n"
        "error: --set evaluation.slices=[night]: evaluation.slices: slices are columns of a table, "
        "but the pictures come from a folder\n  remove them, or list the pictures in a CSV\n"
    )
    untested = ["--set", "data.split.test=0", *set_("gates.accuracy=0.5")]
    assert trainer("fit", "small.yaml", *untested).err == (
        "error: --set evaluation.gates.accuracy=0.5: evaluation.gates: there is no test split to "
        "find them on\n  set data.split.test, or remove the gates\n"
    )


def test_a_slice_is_no_list(tmp_path: Path) -> None:
    """Said of the whole table, so before the training."""
    lines = [f"{number}.png,{number % 2},{number}" for number in range(51)]
    (tmp_path / "it.csv").write_text("\n".join(["path,label,number", *lines]))
    source = Csv(kind="csv", path=str(tmp_path / "it.csv"))
    assert len(_evaluation._columns(source, ["label"])["label"]) == 51
    with pytest.raises(UserError) as caught:
        _evaluation._columns(source, ["number"])
    assert caught.value.where == "evaluation.slices"
    assert caught.value.problem == "column 'number' has 51 different values"


def test_a_missed_gate_ends_with_3_and_a_table(single: Path, trainer: Trainer) -> None:
    gates = set_("gates={accuracy: 0.0, log_loss: 1e-9, size_mb: 1, latency_ms: 60000}")
    done = trainer("fit", "small.yaml", "--resume", *gates)
    assert done.code == 3
    assert done.err == "error: 1 of 4 gates missed: log_loss\n"
    assert "MISSED" in done.out
    rows = read("gates.json")
    assert [(row["name"], row["bound"], row["wanted"], row["passed"]) for row in rows] == [
        ("accuracy", "at least", 0.0, True),
        ("log_loss", "at most", 1e-9, False),
        ("latency_ms", "at most", 60000, True),
        ("size_mb", "at most", 1, True),
    ]
    assert 0 < rows[2]["found"] < 60000
    assert "latency_ms" not in read("metrics.json")  # no two evaluations have it in common
    assert trainer("fit", "small.yaml", "--resume").code == 0
    done = trainer("evaluate")
    assert done.code == 0
    assert "gates    the evaluation before had some, this one has none\n" in done.out
    assert not (RUN / "gates.json").exists()


def test_gates_of_set_are_asked_once_and_the_run_keeps_its_own(
    single: Path, trainer: Trainer
) -> None:
    config = RUN.parent / RUN.readlink() / "config.yaml"
    said = f"gates    of --set, asked this once: gates.json and the report go by {config}\n"
    done = trainer("evaluate", *set_("gates.log_loss=1e-9"))
    assert (done.code, done.err) == (3, "error: 1 of 1 gates missed: log_loss\n")
    assert said in done.out
    assert not (RUN / "gates.json").exists()
    assert trainer("fit", "small.yaml", "--resume", *set_("gates.log_loss=1e-9")).code == 3
    done = trainer("evaluate", *set_("gates.log_loss=100"))
    assert done.code == 0
    assert said in done.out
    assert [(row["wanted"], row["passed"]) for row in read("gates.json")] == [(1e-9, False)]
    assert "problem  1 of 1 gates missed: " in trainer("report").out
    assert said not in trainer("evaluate", *set_("bootstrap=0")).out


def test_a_time_missed_on_a_busy_machine_says_so(
    single: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "latency", lambda model: latency.Latency(7.25, 0.625))
    done = trainer("fit", "small.yaml", "--resume", *set_("gates={accuracy: 0.0, latency_ms: 5}"))
    assert (done.code, done.err) == (
        3,
        "error: 1 of 2 gates missed: latency_ms (on a busy machine)\n",
    )
    assert done.out.endswith(
        "busy     others used 62% of the CPU while latency_ms was measured, so it may be lower: "
        "evaluate again when the machine is calm\n"
    )
    assert read("gates.json")[1] == {
        "name": "latency_ms",
        "bound": "at most",
        "wanted": 5,
        "found": 7.25,
        "others": 0.625,
        "passed": False,
        "disturbed": True,
    }
    done = trainer("evaluate", *set_("gates.latency_ms=8"))
    assert done.code == 0
    assert "busy" not in done.out


def test_a_temperature_that_is_taken_out_is_named(single: Path, trainer: Trainer) -> None:
    trainer("evaluate", *set_("confidence.temperature=true"))
    kept = read("confidence.json")
    (RUN / "confidence.json").write_text(json.dumps(kept | {"temperature": 2.5}))
    line = (
        "trust    the temperature 2.5 that an evaluation before had built in is taken out; "
        "--set evaluation.confidence.temperature=true keeps it\n"
    )
    assert line in trainer("evaluate").out
    assert line not in trainer("evaluate").out
    (RUN / "confidence.json").write_text("{")  # it is written anew, so it does not matter
    assert trainer("evaluate").code == 0


def test_a_temperature_at_an_end_of_the_search_is_named(
    single: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for temperature, end in ((20.0, "most"), (0.05, "least")):
        monkeypatch.setattr(calibration, "fit_temperature", lambda *_, t=temperature: t)
        done = trainer("evaluate")
        assert read("confidence.json")["end"] == end
        assert (
            done.err
            == f"warning: temperature {temperature:g} is the {end} that is tried: "
            + {
                "most": "on the validation pictures the probabilities say next to nothing about the "
                "labels; look at the accuracy there, and whether the labels are right\n",
                "least": "the network is right far more often than its probabilities say, which hardly "
                "differ; look at its last layer and at the loss\n",
            }[end]
        )


def test_fit_looks_at_the_gates_even_if_nothing_is_left_to_train(
    single: Path, trainer: Trainer
) -> None:
    wanted = ["small.yaml", *set_("gates.log_loss=1e-9"), "--resume"]
    done = trainer("fit", *wanted)
    assert (done.code, done.err) == (3, "error: 1 of 1 gates missed: log_loss\n")
    assert "epoch" not in done.out.replace("best     epoch", "")
    assert trainer("fit", *wanted).code == 3
    assert trainer("fit", "small.yaml", "--resume").code == 0


def test_training_on_forgets_what_was_said_of_the_weights(single: Path, trainer: Trainer) -> None:
    trainer("evaluate", "--split", "train")
    longer = [
        "--set",
        "training.epochs=3",
        "--set",
        "training.callbacks=[stop_while_training.Stop]",
    ]
    Path("stop_while_training.py").write_text(
        "import keras\n"
        "class Stop(keras.callbacks.Callback):\n"
        "    def on_train_batch_end(self, batch, logs=None): raise KeyboardInterrupt\n"
    )
    assert trainer("fit", "small.yaml", *longer, "--resume").code == 130
    gone = ("metrics.json", "predictions.csv", "confidence.json", "evaluation")
    assert not any((RUN / name).exists() for name in gone)


def test_a_temperature_is_built_into_prediction_and_export(single: Path, trainer: Trainer) -> None:
    before = read("confidence.json")
    assert (before["applied"], before["fitted_on"]) == (False, "validation")
    wanted = set_("confidence.temperature=true")
    refused = trainer("export", *wanted)
    assert refused.code == 2
    assert refused.err.endswith(
        f"was not evaluated with it\n  trainer evaluate {RUN.parent / RUN.readlink()} "
        "--set evaluation.confidence.temperature=true\n"
    )
    # One that cannot be right by chance; the table has six digits, which a power spreads.
    (RUN / "confidence.json").write_text(json.dumps(before | {"temperature": 2.5, "applied": True}))
    rows, names = table(RUN / "predictions.csv"), ("blue", "green", "red")
    plain = np.array([[float(row[name]) for name in names] for row in rows])
    cooled = plain**0.4 / (plain**0.4).sum(axis=1, keepdims=True)
    paths = [f"pictures/{row['path']}" for row in rows]
    assert trainer("predict", RUN, *paths, "--out", "labels.csv").code == 0
    found = [[float(row[name]) for name in names] for row in table(Path("labels.csv"))]
    np.testing.assert_allclose(found, cooled, atol=2e-5)
    done = trainer("export", RUN, "--set", "export=[{kind: keras}]")
    assert done.code == 0, done.err
    trainer("predict", RUN / "export/model.keras", *paths, "--out", "labels.csv")
    found = [[float(row[name]) for name in names] for row in table(Path("labels.csv"))]
    np.testing.assert_allclose(found, cooled, atol=2e-5)

    done = trainer("evaluate", *wanted)
    assert done.code == 0, done.err
    assert read("confidence.json") == before | {"applied": True}
    said = read("metrics.json")["confidence"]
    assert said["temperature"] == before["temperature"]
    errors, found = said["calibration_error"], read("metrics.json")["calibration_error"]
    assert found == errors["with"] != errors["without"]


def test_predict_says_what_is_unsure(single: Path, trainer: Trainer) -> None:
    done = trainer("evaluate", *set_("confidence.precision=0.5"))
    assert done.code == 0, done.err
    kept = read("confidence.json")["reject"]
    assert kept["precision"] == 0.5
    assert 0 < kept["kept"] <= 1
    here = read("metrics.json")["confidence"]["reject"]
    assert here.keys() == {"precision", "probability", "kept", "found"}
    assert "\nunsure   below " in done.out
    unlikely = json.loads((RUN / "confidence.json").read_text())
    unlikely["reject"]["probability"] = 1.0
    (RUN / "confidence.json").write_text(json.dumps(unlikely))
    assert trainer("predict", RUN, "pictures/red/00.png").out.endswith("  unsure\n")
    trainer("predict", RUN, "pictures/red/00.png", "--out", "it.jsonl")
    assert json.loads(Path("it.jsonl").read_text())["sure"] is False


def test_thresholds_of_several_labels_come_from_validation(multi: Path, trainer: Trainer) -> None:
    found, kept = read("metrics.json"), read("confidence.json")
    assert len(kept["thresholds"]) == 2
    assert [row["threshold"] for row in found["classes"].values()] == kept["thresholds"]
    rows = table(RUN / "predictions.csv")
    assert list(rows[0]) == ["path", "truth", "label", "probability", "calm", "cold"]
    truth = {"blue": "cold", "green": "calm|cold", "red": ""}
    assert all(row["truth"] == truth[row["path"].split("/")[1]] for row in rows)
    assert np.mean([row["truth"] == row["label"] for row in rows]) == found["exact_match"]
    assert "confusion" not in found
    fixed = trainer("evaluate", *set_("thresholds=0.25", "slices=[night]"))
    assert fixed.code == 0, fixed.err
    assert read("confidence.json")["thresholds"] == [0.25, 0.25]
    slices = read("metrics.json")["slices"]["night"]
    assert sum(row["examples"] for row in slices.values()) == found["examples"]
    assert set(slices) == {(row["path"][-5] in "13579" and "1") or "0" for row in rows}
    assert "\nby night\n" in fixed.out
    wrong = trainer("evaluate", *set_("slices=[nigth]", "confidence.precision=0.9"))
    assert wrong.code == 2
    assert wrong.err == (
        "error: --set evaluation.confidence.precision=0.9: evaluation.confidence.precision: "
        "pictures with several labels each are not rejected\n"
        "  remove it: thresholds say which label holds\n"
        "error: --set evaluation.slices=[nigth]: evaluation.slices: table.csv has no column "
        "'nigth'\n  did you mean 'night'?\n"
    )


def test_a_run_without_a_test_split_knows_its_confidence(small: Path, trainer: Trainer) -> None:
    done = trainer("fit", small, "--set", "data.split.test=0")
    assert done.code == 0, done.err
    assert read("confidence.json")["fitted_on"] == "validation"
    assert not (RUN / "metrics.json").exists()
    (RUN / "confidence.json").unlink()  # as if it was killed before
    assert trainer("fit", small, "--set", "data.split.test=0", "--resume").code == 0
    assert read("confidence.json")["fitted_on"] == "validation"
    way = f"trainer evaluate {RUN.parent / RUN.readlink()} --split validation"
    done = trainer("evaluate")
    assert done.err.endswith(f"data.split.test: the run has no test split\n  {way}\n")
    done = trainer("predict", RUN, "pictures/red/00.png")
    assert done.code == 0, done.err
    wanted = set_("confidence.temperature=true")
    done = trainer("export", *wanted)
    assert done.err.endswith(f"  {way} {' '.join(wanted)}\n")
    assert trainer(*done.err.splitlines()[-1].split()[1:]).code == 0
    assert read("confidence.json")["applied"]


def test_figures_are_the_same_on_two_replicas(single: Path) -> None:
    """Evaluation goes picture by picture, whatever the strategy of the training."""
    before = read("metrics.json")
    script = (
        "import tensorflow as tf\n"
        "[cpu] = tf.config.list_physical_devices('CPU')\n"
        "two = [tf.config.LogicalDeviceConfiguration()] * 2\n"
        "tf.config.set_logical_device_configuration(cpu, two)\n"
        "from trainer.cli import app\n"
        "app(['evaluate', '--set', 'training.strategy=mirrored', '--set', 'data.batch_size=4'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    after = read("metrics.json")
    flat = [name for name, value in before.items() if isinstance(value, float)]
    for name in flat:
        assert after[name] == pytest.approx(before[name], abs=1e-9), name
    assert after["confusion"] == before["confusion"]
