"""`trainer crossval`: every fold a run, each picture judged by the network without it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.conftest import SMALL, Outcome, draw_pictures
from trainer import places, records
from trainer import run as runs
from trainer.commands import _child, _predictions, crossval
from trainer.commands._restore import restore
from trainer.config.about import About
from trainer.config.load import load
from trainer.data.examples import Examples, Files
from trainer.errors import Interrupted
from trainer.evaluation import metrics
from trainer.model import network
from trainer.parts import part

Trainer = Callable[..., Outcome]

ONE_EPOCH = SMALL.replace("epochs: 2", "epochs: 1") + "export: [{kind: keras}]\n"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Work of children is done in this process, which has TensorFlow; what was asked for."""
    requests: list[dict[str, Any]] = []

    def ask(module: str, story: str, request: dict[str, Any], **_: Any) -> _child.Ended:
        request = json.loads(json.dumps(request))
        if module == "_folds":  # not an export that is opened again
            requests.append({"story": story, **request})
        answer = getattr(part("commands", module), story)(request)
        return _child.Ended(json.loads(json.dumps(answer)), 0, False, "")

    monkeypatch.setattr(_child, "ask", ask)
    return requests


@pytest.fixture
def config(workplace: Path) -> Path:
    draw_pictures(workplace / "pictures", {"blue": 9, "green": 9, "red": 9})
    path = Path("small.yaml")
    path.write_text(ONE_EPOCH)
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def folder() -> places.CrossvalFolder:
    found = places.latest_crossval(load(Path("small.yaml")))
    assert found
    return found


# --- a whole one ------------------------------------------------------------------------------------


def test_folds_an_interruption_and_an_ensemble(
    config: Path,
    trainer: Trainer,
    asked: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask = _child.ask

    def stopping(module: str, story: str, request: dict[str, Any], **more: Any) -> _child.Ended:
        if request["fold"] == 1:
            raise Interrupted("stopped in epoch 1", 143)
        return ask(module, story, request, **more)

    with monkeypatch.context() as context:
        context.setattr(_child, "ask", stopping)
        done = trainer("crossval", config, "--folds", 2)
    place = folder()
    assert done.code == 143
    assert done.err.endswith(
        f"error: stopped after 1 of 2 folds; {place.folder} is kept. "
        "Go on with the same command and --resume\n"
    )
    first = place.trained(0)
    assert first and place.trained(1) is None and not place.predictions.exists()

    done = trainer("crossval", config, "--folds", 2, "--resume", "--ensemble")
    assert done.code == 0, done.err
    assert [each["story"] for each in asked] == ["train", "train", "ensemble"]  # none twice
    assert [each.get("fold") for each in asked] == [0, 1, None]
    assert place.trained(0) == first and place.trained(1) == runs.latest(
        load(Path("small.yaml"), ["name=fold_1", f"runs={place.folder}"])
    )
    assert "2 folds: accuracy" in done.out and "± standard deviation" in done.out
    check_what_is_said(place, done.out)

    check_predictions(place)
    check_metrics(place)
    check_ensemble(place, trainer)
    report = place.report.read_text()
    assert report.startswith("# small: cross-validation of 2 folds\n")
    assert "| class | precision | recall | F1 | average precision | pictures |" in report
    assert place.curves.stat().st_size and place.confusion.stat().st_size


def check_what_is_said(place: places.CrossvalFolder, out: str) -> None:
    """Of the second fold, and then of both."""
    begin, end = out.index("fold 1 (2 of 2)\n"), out.index("2 folds: accuracy")
    heads = [line.split()[0] for line in out[begin:end].splitlines() if line]
    assert [each for each in heads if each != "hint"] == [
        "fold", "run", "devices", "network", "epoch", "best", "result",
    ]  # fmt: skip
    told = [row for row in rows(place.predictions) if row["fold"] == "1"]
    right = np.mean([row["truth"] == row["label"] for row in told])
    this = place.trained(1)
    assert this
    tested = (records.read_metrics(this) or {})["accuracy"]
    said = (
        f"result   accuracy {right:.4f} on {len(told)} pictures, {tested:.4f} on the test split\n"
    )
    assert said in out
    assert out.count("watch ") == 1 and "next" not in out


def check_predictions(place: places.CrossvalFolder) -> None:
    """Every picture outside the test side once, judged by the run that did not train on it."""
    told, sides = rows(place.predictions), rows(place.folds)
    assert list(told[0]) == [
        "path",
        "truth",
        "label",
        "probability",
        "fold",
        "blue",
        "green",
        "red",
    ]
    assert len(sides) == 27
    assert {row["path"]: row["fold"] for row in told} == {
        row["path"]: row["fold"] for row in sides if row["fold"]
    }
    assert len(told) == len({row["path"] for row in told})
    for number in range(2):
        this = place.trained(number)
        assert this
        own = {row["path"]: row["split"] for row in rows(this.split)}
        assert {own[row["path"]] for row in told if row["fold"] == str(number)} == {"validation"}
        assert {own[row["path"]] for row in sides if not row["fold"]} == {"test"}
        assert this.metrics.is_file() and this.evaluated("test").predictions.is_file()


def check_metrics(place: places.CrossvalFolder) -> None:
    found, told = json.loads(place.metrics.read_text()), rows(place.predictions)
    shares = [
        np.mean([row["truth"] == row["label"] for row in told if row["fold"] == fold])
        for fold in "01"
    ]
    assert [each["accuracy"] for each in found["folds"]] == pytest.approx(shares)
    assert found["spread"]["accuracy"] == pytest.approx(
        {"mean": np.mean(shares), "deviation": np.std(shares, ddof=1)}
    )
    right = sum(row["truth"] == row["label"] for row in told)
    assert found["accuracy"] == pytest.approx(right / len(told))
    assert np.trace(found["confusion"]) == right
    assert found["folds"][0]["test"].keys() == found["test_spread"].keys()


def check_ensemble(place: places.CrossvalFolder, trainer: Trainer) -> None:
    """A run as any other; its probabilities are the mean."""
    this, members = place.ensemble, [place.trained(number) for number in range(2)]
    assert this and this.metrics.is_file()
    assert [(this.folder / each).resolve() for each in records.read_members(this)] == [
        each.folder.resolve() for each in members if each
    ]
    pixels = np.random.default_rng(0).uniform(0, 255, (5, 16, 20, 3)).astype(np.float32)
    each = [np.asarray(restore(one, raw=True).model(pixels)) for one in members if one]
    mean = np.asarray(restore(this).model(pixels))
    assert mean == pytest.approx(np.mean(each, axis=0), abs=1e-6)
    assert not np.allclose(each[0], each[1], atol=1e-3)
    (row,) = json.loads((this.export / "parity.json").read_text())
    assert row["agrees"] and row["largest_difference"] < 1e-5
    for model in (this.folder, this.export / "model.keras"):
        done = trainer("predict", model, "pictures/red/00.png", "--out", "out.csv")
        assert done.code == 0, done.err
        told = [float(rows(Path("out.csv"))[0][name]) for name in ("blue", "green", "red")]
        assert sum(told) == pytest.approx(1, abs=1e-5)


def test_going_on_demands_the_same_config_and_pictures(
    config: Path, trainer: Trainer, asked: list[dict[str, Any]]
) -> None:
    gates = ("--set", "evaluation.gates.accuracy=1", "--set", "tensorboard.enabled=false")
    first = trainer("crossval", config, "--folds", 2, *gates)
    assert first.code == 0, first.err
    assert first.out.count("gates    1 of 1 gates missed: accuracy\n") == 2
    assert "watch" not in first.out
    last = (
        "next: trainer crossval small.yaml --folds 2 --set evaluation.gates.accuracy=1 "
        "--set tensorboard.enabled=false --resume --ensemble makes one network of all\n"
    )
    assert first.out.endswith(last) and first.out.count("next") == 1
    place = folder()
    done = trainer(
        "crossval", config, "--folds", 3, "--resume", *gates, "--set", "training.epochs=2"
    )
    assert done.code == 2
    there = f"the cross-validation to resume is {place.folder}"
    anew = ", or begin anew without --resume\n"
    assert done.err == (
        f"error: --folds 3: was 2, is 3; {there}\n  pass --folds 2{anew}"
        f"error: --set training.epochs=2: training.epochs: was 1, is 2; {there}\n"
        f"  pass --set training.epochs=1{anew}"
    )
    free = ("--set", "data.cache=memory", "--set", "tensorboard.images=3")
    done = trainer("crossval", config, "--folds", 2, "--resume", *gates, *free)
    assert done.code == 0 and len(asked) == 2  # nothing was left to train
    assert f"crossval {place.folder}, 2 of 2 folds are finished\n" in done.out

    nothing = ("--ensemble", "--set", "export=[]")
    done = trainer("crossval", config, "--folds", 2, "--resume", *gates, *nothing)
    assert (done.code, done.err) == (3, "error: 1 of 1 gates missed: accuracy\n")
    assert "export   nothing: the list in the config is empty\n" in done.out

    Path("pictures/red/00.png").unlink()
    done = trainer("crossval", config, "--folds", 2, "--resume", *gates)
    assert done.err == (
        "error: small.yaml:3: data.source: 1 picture came, went or changed, such as "
        f"red/00.png, since {place.folder} began\n"
        "  bring them back, or begin anew without --resume\n"
    )


# --- mistakes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "folds", "message"),
    [
        ("{test: 0}", ["--folds", 30],
         "error: --folds 30: class 'blue' has 3 pictures, too few for 30 folds: 1 in each\n"
         "  add pictures of the class or remove it, or make fewer folds\n"),
        ("{test: 0, folds: 2}", ["--folds", 30],
         "error: --folds 30: class 'blue' has 3 pictures, too few for 30 folds: 1 in each\n"
         "  add pictures of the class or remove it, or make fewer folds\n"),
        ("{test: 0.25}", [],
         "error: --folds 5, as nothing else is said: class 'blue' has 3 pictures, too few for 5 folds: 1 in "
         "each and 1 for test\n  add pictures of the class or remove it, or make fewer folds\n"),
    ],
)  # fmt: skip
def test_the_number_of_folds_is_called_as_it_was_typed(
    config: Path, trainer: Trainer, split: str, folds: list[Any], message: str
) -> None:
    config.write_text(ONE_EPOCH.replace("{validation: 0.25, test: 0.25}", split))
    for path in sorted(Path("pictures/blue").iterdir())[3:]:
        path.unlink()
    done = trainer("crossval", config, *folds)
    assert (done.code, done.err) == (2, message)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("{folds: 3, fold: 1}",
         "error: small.yaml:5: data.split.fold: every fold is trained, but this names one, 1\n  remove it\n"),
        ("{folds: 9, test: 0.25}",
         "error: small.yaml:5: data.split.folds: class 'blue' has 9 pictures, too few for 9 folds: 1 in each and 1 for "
         "test\n  add pictures of the class or remove it, or make fewer folds\n"),
        ("{keep: some.csv}",
         "error: small.yaml:5: data.split: keep names one split, but folds make several: leave one of them out\n"),
    ],
)  # fmt: skip
def test_a_config_of_which_no_folds_can_be_made(
    config: Path, trainer: Trainer, split: str, message: str
) -> None:
    config.write_text(ONE_EPOCH.replace("{validation: 0.25, test: 0.25}", split))
    done = trainer("crossval", config)
    assert (done.code, done.err) == (2, message)
    assert not Path("runs").exists()


def test_a_mistake_in_the_network_leaves_nothing_behind(
    config: Path, trainer: Trainer, asked: list[dict[str, Any]]
) -> None:
    config.write_text(ONE_EPOCH.replace("Flatten", "Flaten"))
    done = trainer("crossval", config, "--folds", 2)
    assert done.code == 2
    assert "small.yaml:15: model.layers[2].Flaten: keras.layers has no 'Flaten'" in done.err
    assert list(Path("runs/small/crossval").iterdir()) == []
    done = trainer("crossval", config, "--folds", 2, "--resume")
    assert "resume   there is no cross-validation of small yet, so this is the first\n" in done.out


def test_a_fold_that_was_killed(
    config: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_child, "ask", lambda *_, **__: _child.Ended(None, -9, False, ""))
    done = trainer("crossval", config, "--folds", 2)
    assert (done.code, done.err) == (
        1,
        "error: fold 0 was not finished: killed by signal 9\n"
        "  the same command with --resume goes on with it\n",
    )


# --- parts ------------------------------------------------------------------------------------------


def test_labels_of_several_hold_from_one_threshold() -> None:
    """Those that were chosen on the same pictures would flatter."""
    told = _predictions.Predictions(
        ["1", "2"], ["a|b", ""], ["a", "b"], np.array([[0.7, 0.3], [0.1, 0.5]])
    )
    found = crossval._scored(told, ("a", "b"), 0.4)
    assert found.truth.tolist() == [[1, 1], [0, 0]]
    assert metrics.whole(found)["hamming_loss"] == 0.5
    one = crossval._scored(told._replace(truth=["b", "a"]), ("a", "b"), None)
    assert one.truth.tolist() == [1, 0] and one.thresholds_K is None


def test_a_class_may_be_called_fold(tmp_path: Path) -> None:
    path = tmp_path / "it.csv"
    path.write_text("path,truth,label,probability,fold,class fold\nx.png,fold,fold,0.9,1,0.9\n")
    assert _predictions.read(path, fold=True).scores_NK.tolist() == [[0.9]]
    path.write_text("path,truth,label,probability,fold\nx.png,fold,other,0.9,0.9\n")
    found = _predictions.read(path)
    assert found.scores_NK.tolist() == [[0.9]] and found.right.tolist() == [False]


def test_figures_of_what_was_written_are_those_of_the_network(tmp_path: Path) -> None:
    """Tiny probabilities and near ties are not rounded away."""
    scores_NK = np.array([[1 - 1e-7, 1e-7], [0.49999997, 0.5]], np.float32)
    says = About(name="", task="single_label", labels=("a", "b"), image_size=(4, 4))
    examples = Examples(Files("", ["x.png", "y.png"]), np.array([1, 1], np.int32), ("a", "b"))
    _predictions.write(tmp_path / "it.csv", says, examples, scores_NK, fold=0)
    told = _predictions.read(tmp_path / "it.csv", fold=True)
    assert told.scores_NK.astype(np.float32).tolist() == scores_NK.tolist()


def test_an_ensemble_is_the_mean_of_networks_of_one_name() -> None:
    def built(bias: float) -> keras.Model:
        pixels = keras.Input((2, 2, 1))
        start = keras.initializers.Constant([bias, 0.0])
        flat = keras.layers.Flatten(name="flat")(pixels)
        dense = keras.layers.Dense(2, "softmax", kernel_initializer="zeros", bias_initializer=start)
        return keras.Model(pixels, dense(flat), name="same")

    found = network.averaged([built(0.0), built(float(np.log(3)))])
    assert np.asarray(found(np.zeros((1, 2, 2, 1)))).tolist() == [pytest.approx([0.625, 0.375])]


# --- in processes of their own ----------------------------------------------------------------------


@pytest.mark.slow
def test_stopped_in_the_middle_of_a_fold_it_goes_on(config: Path, trainer: Trainer) -> None:
    config.write_text(ONE_EPOCH.replace("epochs: 1", "epochs: 100"))
    command = [sys.executable, "-m", "trainer", "crossval", str(config), "--folds", "2"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until = time.monotonic() + 300
    first = "*/*/*/*/*/checkpoints/best.keras"
    while time.monotonic() < until and child.poll() is None and not [*Path("runs").glob(first)]:
        time.sleep(0.2)
    os.kill(child.pid, signal.SIGINT)
    said, _ = child.communicate(timeout=120)
    assert child.returncode == 130, said
    assert "error: stopped after 0 of 2 folds; " in said
    this = folder().trained(0)
    assert this
    before = len(records.read_history(this.history)["loss"])
    assert 0 < before < 100
    config.write_text(ONE_EPOCH.replace("epochs: 1", "epochs: 100"))
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "fold 0 (1 of 2), which was interrupted\n" in done.stdout
    assert folder().trained(0) == this
    assert len(records.read_history(this.history)["loss"]) == 100
    assert len(rows(folder().predictions)) == sum(bool(row["fold"]) for row in rows(folder().folds))
