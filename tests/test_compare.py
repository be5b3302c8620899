"""`trainer compare`: figures, chance, and what differs."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SMALL, Outcome
from trainer import records
from trainer import run as runs
from trainer.config import tree
from trainer.config.load import load

Trainer = Callable[..., Outcome]

CLASSES = ("cat", "dog")


def made(
    name: str,
    right: str,
    *,
    first: int = 0,
    overrides: tuple[str, ...] = (),
    classes: tuple[str, ...] = CLASSES,
    task: str = "single_label",
) -> runs.Run:
    """A run as if it were evaluated on pictures of which these (1: right) are right.

    Args:
        first: the number of the first picture.
    """
    Path("small.yaml").write_text(SMALL)

    def write(run: runs.Run) -> None:
        records.write_classes(run, classes)
        run.data.write_text(json.dumps({"task": task}))
        row = {"f1": 0.5 + len(right) / 1000}
        found = {"split": "test", "examples": len(right), "accuracy": right.count("1") / len(right)}
        run.metrics.write_text(json.dumps({**found, "classes": dict.fromkeys(classes, row)}))
        with run.evaluated("test").predictions.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("path", "truth", "label", "probability", *classes))
            for number, each in enumerate(right, first):
                rows.writerow((f"{number:03}.png", "cat", "cat" if each == "1" else "dog", 1, 1, 0))
        history = [{"loss": 2.0, "val_loss": 2.0}, {"loss": 1.0, "val_loss": 1.5}]
        records.write_history(run.history, history, ("loss", "val_loss"))
        timing = [{"images_per_second": 9.0, "input_wait": 0.5, "step_ms": 7.0}] * 2
        records.write_history(run.timing, timing, ("images_per_second", "input_wait", "step_ms"))
        run.environment.write_text(json.dumps({"packages": {"keras": name}, "cpu_count": 2}))

    return runs.create(load(Path("small.yaml"), [f"name={name}", *overrides]), write)


def told(trainer: Trainer, *arguments: object) -> dict[str, Any]:
    done = trainer("compare", *arguments, "--json", "out.json")
    assert done.code == 0, done.err
    return {"said": done, **json.loads(Path("out.json").read_text())}


def test_on_the_same_pictures(workplace: Path, trainer: Trainer) -> None:
    """5 pictures only the first is right about, 20 only the second: 0.00511 by hand."""
    one = made("one", "1" * 60 + "1" * 5 + "0" * 20 + "0" * 15)
    two = made("two", "1" * 60 + "0" * 5 + "1" * 20 + "0" * 15)
    found = told(trainer, one.folder, two.folder)
    (test,) = found["tests"]
    assert test["p"] == pytest.approx(0.005110, abs=1e-6)
    assert (test["first"], test["second"], test["exact"]) == ("A", "B", False)
    assert [test[key] for key in ("both", "only_first", "only_second", "neither")] == [
        60,
        5,
        20,
        15,
    ]
    assert test["right"] == [0.65, 0.8]
    said = found["said"]
    assert said.err == ""
    assert f"A  {one.folder}\nB  {two.folder}\n" in said.out
    assert "│ accuracy │ 0.6500 │ 0.8000 │" in said.out
    assert "0.005110 │ chi-square │" in said.out
    assert "│ packages.keras │ one │ two │" in said.out and "cpu_count" not in said.out
    assert "what differs in the configs: nothing\n" in said.out
    assert f"written  {one.folder.parent / 'compare.png'}\n" in said.out
    assert (one.folder.parent / "compare.png").stat().st_size > 1000


def test_on_the_common_ones_where_pictures_differ(workplace: Path, trainer: Trainer) -> None:
    one, two = made("one", "1100"), made("two", "0011", first=2)
    found = told(trainer, one.folder, two.folder, "--out", "it.png")
    (test,) = found["tests"]
    assert (test["common"], test["neither"], test["p"]) == (2, 2, 1.0)
    assert found["said"].err == (
        "warning: A and B were not evaluated on the same pictures: 2 are common to 4 and 4; the "
        "test is on these, the figures above are not\n"
    )
    assert Path("it.png").is_file()
    three = made("three", "11", first=100, overrides=("data.source.path=other",))
    found = told(trainer, one.folder, three.folder)
    assert "p" not in found["tests"][0]
    assert "warning: A and B are not tested: they were evaluated on no picture in common\n" in (
        found["said"].err
    )


def test_a_temperature_that_is_built_into_one_of_them(workplace: Path, trainer: Trainer) -> None:
    one, two = made("one", "11"), made("two", "11")
    assert "temperature" not in told(trainer, one.folder, two.folder)["said"].out
    metrics = json.loads(two.metrics.read_text())
    confidence = {"temperature": 0.596, "applied": True}
    two.metrics.write_text(json.dumps({**metrics, "confidence": confidence}))
    found = told(trainer, one.folder, two.folder)
    assert re.search(r"temperature built in │ +- │ 0\.5960", found["said"].out)
    assert [each["temperature"] for each in found["runs"]] == [None, 0.596]


def test_pictures_with_another_label_now_are_left_out(workplace: Path, trainer: Trainer) -> None:
    one, two = made("one", "111"), made("two", "101")
    place = two.evaluated("test").predictions
    place.write_text(place.read_text().replace("002.png,cat", "002.png,dog"))
    found = told(trainer, one.folder, two.folder)
    assert (found["tests"][0]["both"], found["tests"][0]["only_first"]) == (1, 1)
    assert found["said"].err == (
        "warning: A and B: 1 picture has another label now: not tested on\n"
    )


def test_what_differs_in_the_configs(workplace: Path, trainer: Trainer) -> None:
    one = made("one", "11")
    two = made("two", "11", overrides=(
        "training.optimizer={SGD: {learning_rate: 0.1}}",
        "model.layers[1].Conv2D.filters=8",
        "data.augment=[HorizontalFlip]",
    ))  # fmt: skip
    found = told(trainer, one.folder, two.folder)
    assert found["config"] == {
        "data.augment": [
            ["HorizontalFlip", {"RandomBrightnessContrast": {"p": 1}}], ["HorizontalFlip"]
        ],
        "model.layers[1].Conv2D.filters": [4, 8],
        "training.optimizer": [{"Adam": {"learning_rate": 0.01}}, {"SGD": {"learning_rate": 0.1}}],
    }  # fmt: skip
    said = found["said"].out
    assert "│ 2 items, with {RandomBrightnessContrast: {p: 1}} │ 1 item " in said
    assert (
        "│ {Adam: {learning_rate: 0.01}}                    │ {SGD: {learning_rate: 0.1}} │" in said
    )


def test_what_is_apart() -> None:
    values = [{"a": 1, "b": [1, {"c": 2}], "d": [1]}, {"a": 1, "b": [1, {"c": 3}], "d": [1, 2]}]
    assert dict(tree.apart(values)) == {"b[1].c": [2, 3], "d": [[1], [1, 2]]}
    assert dict(tree.apart([{"x": None}, {}])) == {}
    assert dict(tree.apart([{"x": 1}, {}, {"x": 2}])) == {"x": [1, None, 2]}
    calls = [{"Adam": {"epsilon": 1}}, {"SGD": {"momentum": 1}}]
    assert dict(tree.apart(calls, "optimizer")) == {"optimizer": calls}
    assert dict(tree.apart([{"Adam": {"a": 1}}, {"Adam": {"a": 2}}])) == {"Adam.a": [1, 2]}


def test_runs_that_cannot_be_compared(workplace: Path, trainer: Trainer) -> None:
    one, two = made("one", "11"), made("two", "11")
    fish = made("fish", "11", classes=("cat", "fish"))
    several = made("several", "11", task="multi_label")

    def err(*targets: object) -> str:
        done = trainer("compare", *targets)
        assert done.code == 2
        return done.err

    assert err(one.folder) == (
        "error: RUN: expected 2 to 26 runs, received 1\n"
        "  as in trainer compare runs/one/latest runs/two/latest\n"
    )
    assert err(one.folder, "runs/one/latest") == (
        f"error: runs/one/latest: is {one.folder}, which was named before\n  name each run once\n"
    )
    assert err(one.folder, fish.folder, several.folder) == (
        f"error: {fish.folder}: has other classes than {one.folder}: it has fish and lacks dog\n"
        "  compare runs of the same classes\n"
        f"error: {several.folder}: its task is multi label, that of {one.folder} is single label\n"
        "  compare runs of one task\n"
    )
    two.metrics.unlink()
    assert err(one.folder, two.folder) == (
        f"error: {two.folder}: was not evaluated on a test split\n  trainer evaluate {two.folder}\n"
    )
    assert "no such run" in err(one.folder, "nowhere")


def test_a_folder_of_several_runs_names_them(workplace: Path, trainer: Trainer) -> None:
    whole = Path("runs/small/crossval/then")
    for name in ("fold_0", "fold_1"):
        (whole / name / "later").mkdir(parents=True)
        (whole / name / "later/config.yaml").touch()
        (whole / name / "latest").symlink_to("later")
    (whole.parent / "latest").symlink_to("then")
    for target in (whole.parent / "latest", whole.parent, whole.parent.parent):
        done = trainer("compare", target, "runs/other")
        inside = "runs/small/crossval/latest"
        assert (done.code, done.err) == (
            2,
            f"error: {target}: is no run: it has no config.yaml\n"
            f"  the runs in it are {inside}/fold_0/latest, {inside}/fold_1/latest\n",
        )


def test_a_run_without_predictions_is_named_once(workplace: Path, trainer: Trainer) -> None:
    runs = [made(name, "11") for name in ("one", "two", "three")]
    runs[0].evaluated("test").predictions.unlink()
    found = told(trainer, *(each.folder for each in runs))
    assert found["said"].err == (
        f"warning: A and B, A and C are not tested: {runs[0].folder} has no predictions.csv; "
        f"trainer evaluate {runs[0].folder} writes them\n"
    )


def test_other_sides_of_the_same_pictures(workplace: Path, trainer: Trainer) -> None:
    one, two = made("one", "11"), made("two", "11")
    for this, data, sides in ((one, "9b6d", "train test"), (two, "8e53", "test train")):
        this.environment.write_text(json.dumps({"data": data}))
        first, second = sides.split()
        this.split.write_text(f"path,label,split\na.png,cat,{first}\nb.png,dog,{second}\n")
    done = told(trainer, one.folder, two.folder)["said"]
    assert "\ndata: other sides of the same pictures\n" in done.out
    two.split.write_text("path,label,split\na.png,cat,train\n")
    done = told(trainer, one.folder, two.folder)["said"]
    assert "\ndata: other pictures or labels\n" in done.out


def test_without_predictions_there_is_no_test(workplace: Path, trainer: Trainer) -> None:
    one, two = made("one", "11"), made("two", "11")
    two.evaluated("test").predictions.unlink()
    shutil.rmtree(two.folder / "checkpoints", ignore_errors=True)
    found = told(trainer, one.folder, two.folder)
    assert found["tests"] == [{"first": "A", "second": "B", "missing": [str(two.folder)]}]
    assert found["said"].err == (
        f"warning: A and B are not tested: {two.folder} has no predictions.csv; "
        f"trainer evaluate {two.folder} writes them\n"
    )
