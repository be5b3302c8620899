"""What happens to the data, from end to end: several labels, added pictures, duplicates, folds."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from tests.conftest import Outcome, draw_pictures

Trainer = Callable[..., Outcome]

SEVERAL = """\
name: several
data:
  source: {kind: csv, path: labels.csv, folder: pictures}
  image_size: [16, 16]
  channels: 1
  fit: crop
  split: {validation: 0.25, test: 0.25}
  sampling: balanced
  batch_size: 8
model:
  kind: layers
  layers:
    - Rescaling: {scale: 0.00392156862745098}
    - Flatten
    - Dense: {units: $classes, activation: sigmoid}
training:
  epochs: 2
  optimizer: {Adam: {learning_rate: 0.01}}
  loss: BinaryCrossentropy
  metrics: [BinaryAccuracy, {AUC: {multi_label: true, num_labels: $classes}}]
"""


def rows(path: Path = Path("runs/small/latest/split.csv")) -> dict[str, str]:
    """name -> side"""
    return {row["path"]: row["split"] for row in csv.DictReader(path.open())}


@pytest.fixture
def several(workplace: Path) -> Path:
    """40 pictures with the labels dark, left, right in every combination."""
    Path("pictures").mkdir()
    lines = ["file,dark,left,right"]
    for number in range(40):
        dark, left, right = number % 2, number // 2 % 2, number // 4 % 2
        pixels = np.random.default_rng(number).integers(0, 60, (20, 24)) + 120 - 80 * dark
        pixels[:, :8] += 60 * left
        pixels[:, 16:] += 60 * right
        cv2.imwrite(f"pictures/{number}.png", pixels.astype(np.uint8))
        lines.append(f"{number}.png,{dark},{left},{right}")
    Path("labels.csv").write_text("\n".join(lines))
    Path("several.yaml").write_text(SEVERAL)
    return Path("several.yaml")


def test_several_labels_from_the_table_to_the_export(several: Path, trainer: Trainer) -> None:
    monitored = ["--set", "training.best.monitor=val_auc"]
    assert trainer("check", several, *monitored).code == 0
    fitted = trainer("fit", several, *monitored)  # auc again, in the same process
    assert fitted.code == 0, fitted.err
    run = Path("runs/several/latest")
    assert "test split: exact match " in fitted.out
    labels = {row["path"]: row["label"] for row in csv.DictReader((run / "split.csv").open())}
    assert labels["7.png"] == "dark|left|right"
    assert labels["0.png"] == ""
    assert json.loads((run / "data.json").read_text())["task"] == "multi_label"
    found = json.loads((run / "metrics.json").read_text())
    assert set(found["classes"]) == {"dark", "left", "right"}
    assert {"exact_match", "macro_f1", "micro_f1", "mean_average_precision"} <= set(found)

    assert trainer("export").code == 0
    session = onnxruntime.InferenceSession(run / "export" / "model.onnx")
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["task"]) == "multi_label"
    assert (json.loads(facts["channels"]), json.loads(facts["fit"])) == (1, "crop")
    assert session.get_inputs()[0].shape == ["batch", 16, 16, 1]

    predicted = trainer("predict", "pictures", "--out", "labels_out.csv")
    assert predicted.code == 0, predicted.err
    thresholds = json.loads((run / "confidence.json").read_text())["thresholds"]
    assert json.loads(facts["thresholds"]) == thresholds
    least = dict(zip(("dark", "left", "right"), thresholds, strict=True))
    for row in csv.DictReader(Path("labels_out.csv").open()):
        holds = [name for name in least if float(row[name]) >= least[name]]
        assert row["label"] == "|".join(holds)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("BinaryCrossentropy", "CategoricalCrossentropy", "error: several.yaml:19: training.loss.CategoricalCrossentropy: CategoricalCrossentropy wants one label per picture, but these may have several\n  write BinaryCrossentropy\n"),
        ("[BinaryAccuracy,", "[CategoricalAccuracy,", "error: several.yaml:20: training.metrics[0].CategoricalAccuracy: CategoricalAccuracy wants one label per picture, but these may have several\n  write BinaryAccuracy, or AUC: {multi_label: true}\n"),
        ("sampling: balanced", "class_weights: balanced", "error: several.yaml:8: data.class_weights: a picture has one weight, but may have several labels\n  write sampling: balanced instead\n"),
    ],
)  # fmt: skip
def test_what_is_not_for_several_labels(
    old: str, new: str, message: str, several: Path, trainer: Trainer
) -> None:
    several.write_text(SEVERAL.replace(old, new))
    done = trainer("check", several)
    assert (done.code, done.err) == (2, message)


def test_pictures_that_are_added_move_no_other(small: Path, trainer: Trainer) -> None:
    """Not even a copy that would connect two sides."""
    trainer("fit", small, "--set", "training.epochs=1")
    before = rows()
    draw_pictures(Path("new"), {"blue": 3, "green": 3, "red": 3}, seed=9)
    for path in Path("new").rglob("*.png"):
        shutil.copy(path, Path("pictures", path.parent.name, f"new{path.name}"))
    known = {side: name for name, side in before.items()}
    for number, name in enumerate(known.values()):
        shutil.copy(Path("pictures", name), Path("pictures", name).with_name(f"copy{number}.png"))
    done = trainer("fit", small, "--set", "training.epochs=1")
    assert done.code == 0, done.err
    after = rows()
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 9 + 3
    for number, (side, name) in enumerate(known.items()):
        assert after[str(Path(name).with_name(f"copy{number}.png"))] == side


def test_near_duplicates_are_never_on_two_sides(workplace: Path, trainer: Trainer) -> None:
    """Drawn hands with copies: smaller, of lower quality, brighter, mirrored."""
    config = Path(__file__).parent.parent / "configs" / "rps.yaml"
    drawing = ["data.source.images_per_class=20", "data.source.size=96"]
    options = ["name=small", "training.epochs=1", "data.image_size=[32, 32]"]
    set_ = lambda texts: [part for text in texts for part in ("--set", text)]  # noqa: E731
    trainer("check", config, *set_(drawing + options))
    [drawn] = Path("datasets/rendered_hands").iterdir()
    source = {"paper": "paper", "rock": "rock", "scissors": "scissors"}
    for label in source:
        (Path("hands") / label).mkdir(parents=True)
        for number, path in enumerate(sorted((drawn / label).glob("*.jpg"))):
            pixels = cv2.imread(str(path))
            changed = [
                cv2.resize(pixels, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA),
                pixels,
                cv2.convertScaleAbs(pixels, alpha=1.1),
                pixels[:, ::-1],
            ][number % 4]
            shutil.copy(path, Path("hands", label, path.name))
            quality = [cv2.IMWRITE_JPEG_QUALITY, 60]
            cv2.imwrite(str(Path("hands", label, f"copy_{path.name}")), changed, quality)
    options += ["data.source.kind=folder", "data.source.path=hands"]
    done = trainer("fit", config, *set_(options))
    assert done.code == 0, done.err
    sides = rows()
    assert len(sides) == 120
    for name, side in sides.items():
        if "copy_" not in name:
            label, file = name.split("/")
            assert sides[f"{label}/copy_{file}"] == side, name
    assert set(sides.values()) == {"train", "validation", "test"}


def test_duplicates_across_given_sides_are_left_out(
    workplace: Path, small: Path, trainer: Trainer
) -> None:
    for side, count in (("train", 6), ("validation", 2), ("test", 3)):
        draw_pictures(workplace / "rooted" / side, {"a": count, "b": count}, seed=count)
    shutil.copy("rooted/test/a/00.png", "rooted/train/a/copy.png")
    fitted = trainer("fit", small, "--set", "data.source.path=rooted")
    assert fitted.code == 0, fitted.err
    assert (
        "warning: 1 pictures are left out, because a duplicate is on another side, such as "
        "rooted/train/a/copy.png\n" in fitted.err
    )
    assert "train/a/copy.png" not in rows()
    left_out = json.loads(Path("runs/small/latest/data.json").read_text())["left_out"]
    assert left_out == {"train/a/copy.png": "a duplicate is on another side"}
    ignored = trainer(
        "fit", small, "--set", "data.source.path=rooted", "--set", "data.split.duplicates=ignore"
    )
    assert "left out" not in ignored.err
    assert rows()["train/a/copy.png"] == "train"


def test_the_quarantine_list_is_used(small: Path, trainer: Trainer) -> None:
    Path("runs/small").mkdir(parents=True)
    Path("runs/small/quarantine.csv").write_text("path,reason\nred/00.png,blurred\ngone.png,\n")
    fitted = trainer("fit", small, "--set", "training.epochs=1")
    assert "left out 1 by the quarantine list runs/small/quarantine.csv\n" in fitted.out
    assert (
        "warning: 1 of 2 rows of runs/small/quarantine.csv name no picture of the source, such as "
        "gone.png; paths are relative to the source\n" in fitted.err
    )
    assert "red/00.png" not in rows()
    left_out = json.loads(Path("runs/small/latest/data.json").read_text())["left_out"]
    assert left_out == {"red/00.png": "quarantine: blurred"}
    trainer("fit", small, "--set", "training.epochs=1", "--set", "data.quarantine=none")
    assert "red/00.png" in rows()
    Path("mine.csv").write_text("name\nred/00.png\n")
    done = trainer("check", small, "--set", "data.quarantine=mine.csv")
    assert (done.code, done.err) == (
        2,
        "error: --set data.quarantine=mine.csv: data.quarantine: mine.csv is no list of pictures "
        "with a column path: its columns are name\n",
    )


def test_folds_of_one_test_side(small: Path, trainer: Trainer) -> None:
    validated: list[str] = []
    for fold in range(3):
        options = ["--set", "data.split.folds=3", "--set", f"data.split.fold={fold}"]
        done = trainer("fit", small, "--set", "training.epochs=1", *options)
        assert done.code == 0, done.err
        validated += [name for name, side in rows().items() if side == "validation"]
        tested = [name for name, side in rows().items() if side == "test"]
    assert sorted(validated + tested) == sorted(rows())
    done = trainer("check", small, "--set", "data.split.fold=1")
    assert done.err == ("error: small.yaml:5: data.split: fold 1 needs folds, the number of them\n")


def test_a_class_that_validation_lacks_is_said(
    workplace: Path, small: Path, trainer: Trainer
) -> None:
    draw_pictures(workplace / "rooted" / "train", {"a": 6, "b": 6, "c": 6}, seed=1)
    draw_pictures(workplace / "rooted" / "validation", {"a": 3, "c": 3}, seed=2)
    draw_pictures(workplace / "rooted" / "test", {"a": 3, "b": 3, "c": 3}, seed=3)
    checked = trainer("check", small, "--set", "data.source.path=rooted")
    assert checked.code == 0, checked.err
    assert checked.err == (
        "warning: no validation picture of class 'b', so its validation figures say nothing\n"
    )
    shutil.rmtree("rooted/train/c")
    checked = trainer("check", small, "--set", "data.source.path=rooted")
    assert (checked.code, checked.err) == (
        2,
        "error: small.yaml:3: data.source: class 'c' has no training picture\n"
        "  add pictures of the class or remove it from the other sides\n",
    )


def test_an_earlier_split_can_be_given(small: Path, trainer: Trainer) -> None:
    trainer("fit", small, "--set", "training.epochs=1")
    given = rows()
    flipped = {"train": "test", "test": "train", "validation": "validation"}
    lines = [f"{name},,{flipped[side]}" for name, side in given.items()]
    Path("mine.csv").write_text("\n".join(["path,label,split", *lines]))
    trainer("fit", small, "--set", "training.epochs=1", "--set", "data.split.keep=mine.csv")
    assert rows() == {name: flipped[side] for name, side in given.items()}


def test_a_split_of_other_pictures_is_refused(small: Path, trainer: Trainer) -> None:
    Path("other.csv").write_text("path,label,split\nx/1.png,x,train\n")
    done = trainer("check", small, "--set", "data.split.keep=other.csv")
    assert (done.code, done.err) == (
        2,
        "error: --set data.split.keep=other.csv: data.split.keep: other.csv has 1 pictures, and "
        "none of them is in the source\n  paths are relative to the source\n",
    )
    done = trainer("check", small, "--set", "data.split.keep=none.csv")
    assert done.err == (
        "error: --set data.split.keep=none.csv: data.split.keep: no such file: none.csv\n"
        "  as in runs/rps/latest/split.csv\n"
    )
    done = trainer("check", small, "--set", "data.split={folds: 3, keep: other.csv}")
    assert "keep names one split, but folds make several: leave one of them out\n" in done.err


def test_equal_pictures_with_different_labels_are_said(small: Path, trainer: Trainer) -> None:
    shutil.copy("pictures/blue/00.png", "pictures/red/blue.png")
    done = trainer("check", small)
    assert done.err == (
        "warning: 1 pictures equal another one but for the label, such as blue/00.png and "
        "red/blue.png; trainer data inspect puts them into quarantine\n"
    )


def test_pictures_that_have_moved(small: Path, trainer: Trainer) -> None:
    trainer("fit", small, "--set", "training.epochs=1")
    metrics = Path("runs/small/latest/metrics.json").read_text()
    Path("pictures").rename("moved")
    done = trainer("evaluate", small)
    assert done.code == 2
    assert "data.source.path: no such folder: pictures\n" in done.err
    assert "  if the pictures have moved: --set data.source.path=…\n" in done.err
    there = ("--set", "data.source.path=moved")
    assert trainer("evaluate", "runs/small/latest", *there).code == 0
    assert Path("runs/small/latest/metrics.json").read_text() == metrics
    assert trainer("export", "runs/small/latest", *there).code == 0
    assert trainer("fit", small, *there, "--resume", "--set", "training.epochs=2").code == 0
    for path in Path("moved").rglob("*.png"):
        if rows()[str(path.relative_to("moved"))] == "test":
            path.unlink()
    done = trainer("evaluate", "runs/small/latest", *there)
    assert done.code == 2
    assert "split.csv: none of its test pictures is there\n" in done.err


def test_a_fit_that_was_stopped_at_once_hides_no_other(small: Path, trainer: Trainer) -> None:
    trainer("fit", small, "--set", "training.epochs=1")
    finished = Path("runs/small/latest").resolve()
    Path("stop_at_once.py").write_text(
        "import keras\n"
        "class Stop(keras.callbacks.Callback):\n"
        "    def on_train_begin(self, logs=None): raise KeyboardInterrupt\n"
    )
    trainer("fit", small, "--set", "training.callbacks=[stop_at_once.Stop]")
    stopped = Path("runs/small/latest").resolve()
    assert stopped != finished
    for target in ((), (small,)):
        (finished / "metrics.json").unlink()
        assert trainer("evaluate", *target).code == 0
        assert (finished / "metrics.json").exists()
    shutil.rmtree(stopped)
    assert trainer("evaluate", small).code == 0


def test_several_labels_with_the_separator_in_their_names(several: Path, trainer: Trainer) -> None:
    Path("labels.csv").write_text(Path("labels.csv").read_text().replace("left", "le|ft"))
    done = trainer("check", several)
    assert (done.code, done.err) == (
        2,
        "error: several.yaml:3: data.source: the label 'le|ft' has a | in its name\n"
        "  call it otherwise: | stands between several labels\n",
    )
