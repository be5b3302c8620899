"""`trainer init`: whatever lies in a folder, the config that it writes works as it stands."""

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.conftest import Outcome, draw_pictures
from trainer.config.draft import Facts, draft, planned, trained_on
from trainer.config.load import load
from trainer.data.examples import Arrays, Examples
from trainer.data.facts import look, spread

Trainer = Callable[..., Outcome]
COLOURS = {"blue": 8, "green": 8, "red": 8}


def noise(index: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, shape, dtype=np.uint8)


def table(path: str, header: str, *rows: str) -> None:
    Path(path).write_text("\n".join([header, *rows]) + "\n")


# --- every kind of source -----------------------------------------------------------------------


def folder(root: Path) -> str:
    draw_pictures(root, COLOURS)
    return "{kind: folder, path: pictures}"


def split_roots(root: Path) -> str:
    draw_pictures(root / "train", COLOURS)
    draw_pictures(root / "test", {"blue": 2, "red": 2}, (19, 23))
    return "{kind: folder, path: pictures}"


def csv_labels(root: Path) -> str:
    draw_pictures(root, {"a": 24})
    rows = [f"a/{n:02d}.png,{'no' if n % 2 else 'yes'},g{n // 2}" for n in range(24)]
    table("pictures/all.csv", "file,label,group", *rows)
    return "{kind: csv, path: pictures/all.csv, column: file, label: label, group: group}"


def csv_columns_of_other_names(root: Path) -> str:
    draw_pictures(root / "deep", {"images": 24})
    rows = [f",{n},,{n:02d}.png,{'left eye' if n % 2 else '#right'}" for n in range(24)]
    table("pictures/all.csv", ",number,,which,what it is", *rows)
    return (
        "{kind: csv, path: pictures/all.csv, folder: deep/images, column: which, label: what it is}"
    )


def csv_with_paths_of_elsewhere(root: Path) -> str:
    draw_pictures(root, {"images": 24})
    rows = [f"/elsewhere/{n}.png,{n:02d}.png,{'ab'[n % 2]}" for n in range(24)]
    table("pictures/all.csv", "path,file,label", *rows)
    return "{kind: csv, path: pictures/all.csv, folder: images, column: file, label: label}"


def csv_of_ones(root: Path) -> str:
    draw_pictures(root, {"images": 24})
    rows = [f"{n:02d}.png,{n % 2},{n % 3 // 2}" for n in range(24)]
    table("pictures/all.csv", "Filenames,odd,third", *rows)
    return (
        "{kind: csv, path: pictures/all.csv, folder: images, column: Filenames, "
        "labels: [odd, third]}"
    )


def csv_of_tags(root: Path) -> str:
    draw_pictures(root, {"images": 24})
    tags = ["sun|sea", "sea", "sun", "sun|sand|sea"]
    table(
        "pictures/all.csv", "path,tags", *(f"images/{n:02d}.png,{tags[n % 4]}" for n in range(24))
    )
    return "{kind: csv, path: pictures/all.csv, column: path, label: tags, separator: '|'}"


def csv_of_names_with_commas(root: Path) -> str:
    draw_pictures(root, {"images": 24})
    names = ["dog, black", "dog, white", "cat"]
    rows = [f'images/{n:02d}.png,"{names[n % 3]}"' for n in range(24)]
    table("pictures/all.csv", "path,label", *rows)
    return "{kind: csv, path: pictures/all.csv, column: path, label: label}"


def csv_of_tags_with_commas(root: Path) -> str:
    draw_pictures(root, {"images": 24})
    tags = ["sea, sun", "sun", "sea, sand"]
    rows = [f'images/{n:02d}.png ,"{tags[n % 3]}"' for n in range(24)]
    table("pictures/all.csv", "path,tags", *rows)
    return "{kind: csv, path: pictures/all.csv, column: path, label: tags, separator: ','}"


def idx(root: Path) -> str:
    root.mkdir()
    for name, array in (("images-idx3", noise(0, 30, 9, 8)), ("labels-idx1", np.arange(30) % 3)):
        head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
        content = gzip.compress(head + array.astype(np.uint8).tobytes())
        (root / f"train-{name}-ubyte.gz").write_bytes(content)
    return "{kind: idx, path: pictures}"


def npz(root: Path) -> str:
    root.mkdir()
    for side, count in (("train", 24), ("test", 6)):
        labels = np.arange(count) % 3
        np.savez(root / f"{side}.npz", images=noise(count, count, 12, 12, 3), labels=labels)
    return "{kind: npz, path: pictures}"


def video(root: Path) -> str:
    for name in ("run", "walk"):
        for number in range(3):
            (root / name).mkdir(parents=True, exist_ok=True)
            code = cv2.VideoWriter_fourcc(*"MJPG")  # type: ignore[attr-defined]
            writer = cv2.VideoWriter(str(root / name / f"{number}.avi"), code, 10, (32, 24))
            for frame in range(21):
                writer.write(noise(hash((name, number, frame)) % 2**32, 24, 32, 3))
            writer.release()
    return "{kind: video, path: pictures}"


def tfrecord(root: Path) -> str:
    import tensorflow as tf

    root.mkdir()
    with tf.io.TFRecordWriter(str(root / "all.tfrecord")) as writer:
        for number in range(24):
            image = cv2.imencode(".png", noise(number, 18, 22, 3))[1].tobytes()
            feature = {
                "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
                "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[number % 2])),
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())
    return "{kind: tfrecord, path: pictures, image: image, label: label}"


KINDS = (
    *(
        folder,
        split_roots,
        csv_labels,
        csv_columns_of_other_names,
        csv_of_ones,
        csv_with_paths_of_elsewhere,
        csv_of_tags,
        csv_of_names_with_commas,
        csv_of_tags_with_commas,
    ),
    *(idx, npz, video, tfrecord),
)


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_what_is_written_loads_and_checks(
    workplace: Path, trainer: Trainer, make: Callable[[Path], str]
) -> None:
    source = make(workplace / "pictures")
    done = trainer("init", "pictures")
    assert (done.code, done.err) == (0, ""), done.err
    lines = done.out.splitlines()
    assert f"source   {source}" in lines
    assert lines[-4:] == [
        "written  pictures.yaml",
        "next: trainer data inspect pictures.yaml",
        "next: trainer data preview pictures.yaml",
        "next: trainer fit pictures.yaml",
    ]
    assert max(map(len, Path("pictures.yaml").read_text().splitlines())) <= 100
    checked = trainer("check", "pictures.yaml")
    assert checked.code == 0, checked.err


def test_fit_trains_what_is_written(workplace: Path, trainer: Trainer) -> None:
    folder(workplace / "pictures")
    trainer("init", "pictures")
    done = trainer("fit", "pictures.yaml", "--set", "training.epochs=1")
    assert done.code == 0, done.err
    assert Path("runs/pictures/latest/metrics.json").is_file()


def test_the_text_of_a_small_one(workplace: Path, trainer: Trainer) -> None:
    draw_pictures(workplace / "my pictures", {"cat": 40, "dog": 10, "fox": 10})
    assert trainer("init", "my pictures").code == 0
    assert Path("my_pictures.yaml").read_text() == SMALL


SMALL = """\
# trainer fit my_pictures.yaml       about 1 min on 2 CPU cores
#
# For 60 pictures of 3 classes, from 10 of dog to 40 of cat. A small network, trained from scratch.
# 42 pictures to learn from are few, which limits what to expect: more pictures help more than any
# change here.
name: my_pictures
seed: 1
data:
  source: {kind: folder, path: my pictures}
  image_size: [18, 22]  # height, width; 60 pictures looked at have 18 x 22
  fit: stretch  # all have the same shape; crop or pad where one has another
  channels: 3  # 1: grey
  split: {validation: 0.15, test: 0.15}  # shares of each class
  batch_size: 32  # pictures per step
  class_weights: balanced  # classes have 10 to 40 pictures: each counts the same in all
  augment:  # in training only; trainer data preview draws it
    - HorizontalFlip  # if a mirrored picture keeps its class
    - Affine:
        rotate: [-10, 10]  # degrees
        scale: [0.9, 1.1]
        translate_percent: [-0.08, 0.08]  # shares of the side
        border_mode: 1  # edges repeat
        p: 0.8
    - RandomBrightnessContrast
    - HueSaturationValue: {hue_shift_limit: 8, val_shift_limit: 10}
model:
  kind: layers
  layers:
    - Rescaling: {scale: 0.00392156862745098}  # 1/255
    - Conv2D: {filters: 32, kernel_size: 3, padding: same, use_bias: false}
    - BatchNormalization: {momentum: 0.9, synchronized: true}
    - ReLU
    - MaxPooling2D
    - Conv2D: {filters: 64, kernel_size: 3, padding: same, use_bias: false}
    - BatchNormalization: {momentum: 0.9, synchronized: true}
    - ReLU
    - Conv2D: {filters: 64, kernel_size: 3, padding: same, use_bias: false}
    - BatchNormalization: {momentum: 0.9, synchronized: true}
    - ReLU
    - GlobalAveragePooling2D
    - Dropout: {rate: 0.3}
    - Dense: {units: $classes, activation: softmax}
training:
  epochs: 80  # about 1 min
  optimizer:
    AdamW:
      learning_rate:
        CosineDecay:
          initial_learning_rate: 0.0
          warmup_target: 0.003
          warmup_steps: $steps_per_epoch
          decay_steps: $total_steps
      weight_decay: 0.02
  loss: {CategoricalCrossentropy: {label_smoothing: 0.1}}
  metrics: [CategoricalAccuracy]
"""


# --- what is in the way -------------------------------------------------------------------------


def nothing(root: Path) -> None:
    root.mkdir()


def loose(root: Path) -> None:
    draw_pictures(root.parent, {root.name: 3})


def one_class(root: Path) -> None:
    draw_pictures(root, {"cat": 3})


def loose_sides(root: Path) -> None:
    draw_pictures(root, {"train": 3, "test": 3})


def a_single_picture(root: Path) -> None:
    draw_pictures(root, {"cat": 3, "dog": 1})


def both_sides_and_classes(root: Path) -> None:
    draw_pictures(root / "train", {"cat": 3, "dog": 3})
    draw_pictures(root, {"extra": 1})


def undecodable(root: Path) -> None:
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        (root / name / "a.jpg").write_bytes(b"")
        (root / name / "b.jpg").write_bytes(b"none")


def no_paths(root: Path) -> None:
    root.mkdir()
    table("pictures/a.csv", "x,y", "1,2")


def no_labels(root: Path) -> None:
    draw_pictures(root, {"images": 4})
    table("pictures/a.csv", "path,note", *(f"images/{n:02d}.png,{n}" for n in range(4)))


def several_labels(root: Path) -> None:
    draw_pictures(root, {"images": 4})
    table(
        "pictures/a.csv",
        "path,sex,side",
        *(f"images/{n:02d}.png,m{n % 2},l{n % 2}" for n in range(4)),
    )


def no_files(root: Path) -> None:
    root.mkdir()
    table("pictures/a.csv", "path,label", "one.png,a", "two.png,b")


def utf_16(root: Path) -> None:
    root.mkdir()
    Path("pictures/a.csv").write_text("path,label\na.png,x\n", encoding="utf-16")


def no_table(root: Path) -> None:
    root.mkdir()
    Path("pictures/a.csv").write_bytes(b"\x89PNG\r\n\x1a\n")


def two_tables(root: Path) -> None:
    csv_of_tags(root)
    Path("pictures/b.csv").write_bytes(Path("pictures/all.csv").read_bytes())


def table_and_classes(root: Path) -> None:
    draw_pictures(root, {"part_1": 4, "part_2": 4})
    rows = [f"part_{1 + n // 4}/{n % 4:02d}.png,{n % 2}" for n in range(8)]
    table("pictures/a.csv", "path,label", *rows)


LAYOUT = "put one sub-folder per class in it, with the pictures inside"


@pytest.mark.parametrize(
    ("make", "problem", "hint"),
    [
        (nothing, "no pictures (jpg, png, bmp, webp, gif, tif, avif, heic) in the sub-folders of pictures", LAYOUT),
        (loose, "pictures has 3 pictures but no class folders", LAYOUT),
        (one_class, "pictures has one class only, 'cat': pictures/cat/00.png", LAYOUT),
        (loose_sides, "pictures has pictures in test, train, but no class folders there", "put one sub-folder per class in each of them"),
        (a_single_picture, "class 'dog' has one picture only", "two are the least, to train and to validate: add pictures or remove the class"),
        (both_sides_and_classes, "pictures has train/ with sub-folders and also extra/", "put either split roots or classes in it"),
        (undecodable, "not one of 4 pictures can be read, as pictures/dog/b.jpg: no picture of a known format", "look at the files: are these pictures?"),
        (no_paths, "pictures/a.csv has no column that must be the paths of pictures; it has x, y", "call the columns path and label"),
        (no_labels, "pictures/a.csv has no column that must be the labels; it has path, note", "call the columns path and label"),
        (several_labels, "pictures/a.csv has several columns that could be the labels: sex, side", "call the columns path and label"),
(no_files, "pictures/a.csv names pictures that are not there, such as one.png", "looked for in its folder, in those below and in the one above"),
        (utf_16, "pictures/a.csv is no CSV table in UTF-8", "save it as one"),
        (no_table, "the header of pictures/a.csv is not UTF-8", "save it as CSV in UTF-8"),
        (two_tables, "pictures has several tables, all.csv and b.csv", "give one of them"),
        (table_and_classes, "pictures has the class folders part_1, part_2 and also the table a.csv", "give the table, pictures/a.csv, or put it elsewhere"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_what_cannot_be_understood_is_said(
    workplace: Path, trainer: Trainer, make: Callable[[Path], None], problem: str, hint: str
) -> None:
    make(workplace / "pictures")
    done = trainer("init", "pictures")
    assert done.code == 2
    assert done.err == f"error: FOLDER: {problem}\n  {hint}\n"
    assert not list(workplace.glob("*.yaml"))


def test_a_place_where_nothing_known_is(workplace: Path, trainer: Trainer) -> None:
    Path("notes.txt").write_text("")
    Path("train-images-idx3-ubyte").write_bytes(b"")
    known = "class folders with pictures or videos, a CSV table, idx, npz or tfrecord files"
    for path, message in (
        ("gone", f"no such folder or file: gone\n  the path is relative to the working directory, {workplace}"),
        ("notes.txt", f"notes.txt is no dataset that is known\n  known are {known}"),
        ("train-images-idx3-ubyte", "train-images-idx3-ubyte is one idx file of several\n  give ."),
        (b"\xff".decode("utf-8", "surrogateescape"), "\\udcff is not UTF-8\n  rename it"),
    ):  # fmt: skip
        done = trainer("init", path)
        assert (done.code, done.err) == (2, f"error: FOLDER: {message}\n")


def test_a_file_that_is_there_is_never_overwritten(small: Path, trainer: Trainer) -> None:
    Path("pictures.yaml").write_text("mine")
    done = trainer("init", "pictures")
    assert (done.code, Path("pictures.yaml").read_text()) == (2, "mine")
    assert done.err == (
        "error: pictures.yaml is there already\n  remove it, or choose another place with --out\n"
    )
    done = trainer("init", "pictures", "--out", small)
    assert done.err.startswith("error: --out: small.yaml is there already\n")
    assert trainer("init", "pictures", "--out", "new/other name.yaml").code == 0
    assert "# trainer fit 'new/other name.yaml' " in Path("new/other name.yaml").read_text()


@pytest.mark.parametrize("name", ["a b", "#1", "100%: it's", "x - y", "größer", "no", "1e3", "{a}"])
def test_odd_names_are_quoted(workplace: Path, trainer: Trainer, name: str) -> None:
    draw_pictures(workplace / name, {"#1": 3, "yes: no": 3, "- ": 3})
    (workplace / name / "#1/00.png").rename(workplace / name / "#1/b\udcff.png")  # not UTF-8
    done = trainer("init", name, "--out", "it.yaml")
    assert done.code == 0, done.err
    assert load(Path("it.yaml")).data.source.path == name
    if name == "größer":
        assert "{kind: folder, path: größer}" in Path("it.yaml").read_text()


def test_it_is_fast_because_it_imports_neither_tensorflow_nor_keras(small: Path) -> None:
    code = (
        "import sys; from trainer.commands import init; from pathlib import Path; "
        "init.run('pictures', None); print(sorted({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# --- the rules ----------------------------------------------------------------------------------


def facts(**changes: Any) -> Facts:
    """Of 500 photos of 5 classes, all 240 x 320."""
    plain: dict[str, Any] = {
        "name": "x", "source": {"kind": "folder", "path": "x"}, "classes": ("ab", "cd"),
        "counts": (250, 250), "pictures": 500, "multi_label": False, "sides": {}, "looked_at": 200,
        "height": 240, "width": 320, "ratios": (4 / 3, 4 / 3, 4 / 3), "grey": False,
    }  # fmt: skip
    return Facts(**{**plain, **changes})


def square(side: int, **changes: Any) -> Facts:
    return facts(height=side, width=side, ratios=(1.0, 1.0, 1.0), **changes)


@pytest.mark.parametrize(
    ("known", "size", "fit"),
    [
        (square(28), (28, 28), "stretch"),
        (square(64), (64, 64), "stretch"),
        (square(100), (96, 96), "stretch"),
        (square(300), (128, 128), "stretch"),
        (facts(), (112, 144), "stretch"),
        (facts(ratios=(0.7, 1.3, 1.5)), (128, 128), "stretch"),
        (facts(ratios=(0.3, 1.3, 1.5)), (128, 128), "pad"),
        (facts(height=32, width=48, ratios=(0.7, 1.3, 1.5)), (39, 39), "stretch"),
    ],
)
def test_the_size_follows_the_pictures(known: Facts, size: tuple[int, int], fit: str) -> None:
    assert (planned(known).image_size, planned(known).fit) == (size, fit)


@pytest.mark.parametrize(
    ("known", "flips"),
    [
        (facts(), True),
        (square(32), True),
        (square(28, grey=True), False),
        (square(32, classes=("0", "1")), False),
        (facts(classes=("A", "B")), False),
        (facts(classes=("left eye", "right eye")), False),
    ],
)
def test_pictures_are_mirrored_only_where_nothing_speaks_against_it(
    known: Facts, flips: bool
) -> None:
    text = draft(known, "x.yaml")
    assert ("\n    - HorizontalFlip" in text) == flips
    assert ("# no HorizontalFlip: " in text) != flips


@pytest.mark.parametrize(
    ("known", "line"),
    [
        (facts(counts=(100, 299)), ""),
        (
            facts(counts=(100, 300)),
            "  class_weights: balanced  # classes have 100 to 300 pictures: ",
        ),
        (facts(counts=(10, 200)), "  sampling: balanced  # classes have 10 to 200 pictures: "),
        (facts(counts=(100, 300), multi_label=True), "  sampling: balanced  # classes have "),
    ],
)
def test_uneven_classes_are_balanced(known: Facts, line: str) -> None:
    text = draft(known, "x.yaml")
    assert line in text
    assert ("balanced" in text) == bool(line)


@pytest.mark.parametrize(
    ("known", "lines"),
    [
        (facts(), ["  split: {validation: 0.15, test: 0.15}  # shares of each class"]),
        (
            facts(sides={"train": 400, "test": 100}),
            [
                "  # the source gives the sides: 400 train, 100 test; validation split off train",
                "  split: {validation: 0.15}  # shares of each class",
            ],
        ),
        (
            facts(counts=(2, 50)),
            [
                "  # no test side: the smallest class has 2 pictures",
                "  split: {validation: 0.15, test: 0}  # shares of each class",
            ],
        ),
        (
            facts(sides={"train": 300, "validation": 100, "test": 100}),
            ["  # the source gives the sides: 300 train, 100 validation, 100 test"],
        ),
    ],
)
def test_the_split_is_what_the_source_leaves_open(known: Facts, lines: list[str]) -> None:
    text = draft(known, "x.yaml").splitlines()
    at = text.index(lines[0])
    assert text[at : at + len(lines)] == lines
    assert sum("split: " in line for line in text) == (len(known.sides) < 3)


@pytest.mark.parametrize(
    ("sides", "count"),
    [
        ({}, 350),
        ({"train": 400, "test": 100}, 340),
        ({"train": 400, "validation": 50, "test": 50}, 400),
    ],
)
def test_what_is_trained_on_is_what_the_split_leaves(sides: dict[str, int], count: int) -> None:
    assert trained_on(facts(sides=sides)) == count


def test_several_labels_want_sigmoid_and_their_own_loss() -> None:
    text = draft(facts(multi_label=True), "x.yaml")
    assert "    - Dense: {units: $classes, activation: sigmoid}" in text
    assert "  best: {monitor: val_auc}  # " in text
    assert (
        "  loss: BinaryCrossentropy\n  metrics: [BinaryAccuracy, {AUC: {multi_label: true, name: auc}}]"
        in text
    )


def test_epochs_fill_some_minutes_within_bounds() -> None:
    few, some, many = (planned(facts(pictures=n)) for n in (100, 5_000, 1_000_000))
    assert (few.epochs, many.epochs) == (80, 10)
    assert 10 < some.epochs < 80 and 5 < some.minutes < 9
    assert "about 10 hours on 2 CPU cores" in draft(facts(pictures=1_000_000), "x.yaml")


def test_grey_pictures_have_one_channel(workplace: Path) -> None:
    greys = np.repeat(noise(0, 8, 9, 9, 1), 3, axis=3)
    colours = greys.copy()
    colours[3, 0, 0] = 200, 190, 190
    for pixels, grey in ((greys, True), (colours, False)):
        examples = Examples(Arrays("x", {"a": pixels}), np.arange(8) % 2, ("a", "b"))
        found = look("x", {}, examples)
        assert (found.grey, found.looked_at, found.height, found.width) == (grey, 8, 9, 9)
        assert ("  channels: 1  # all of 8 pictures are grey" in draft(found, "x")) == grey


def test_the_sample_is_spread_over_the_classes() -> None:
    labels = np.array([0] * 90 + [1] * 8 + [2] * 2)
    examples = Examples(Arrays("x", {"a": noise(0, 100, 2, 2)}), labels, ("a", "b", "c"))
    sample = spread(examples, 12)
    assert labels[sample].tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 0, 1, 0, 1]
    assert sample[:6] == [0, 90, 98, 22, 91, 99]
    assert len(spread(examples, 1000)) == len(set(spread(examples, 1000))) == 100
