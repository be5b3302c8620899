"""`trainer data pack`, and trainings from what it wrote."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import SMALL, Outcome, draw_pictures
from trainer import files
from trainer.commands._gather import gather
from trainer.config.data import Tfrecord
from trainer.config.load import load
from trainer.data import batches, pack, stream
from trainer.data.batch import empty
from trainer.data.decode import decode
from trainer.data.examples import Examples, Files, names
from trainer.data.sources import tfrecord
from trainer.data.split import Sides

Trainer = Callable[..., Outcome]

SHARDS = [
    "test-00000-of-00002.tfrecord",
    "test-00001-of-00002.tfrecord",
    "train-00000-of-00003.tfrecord",
    "train-00001-of-00003.tfrecord",
    "train-00002-of-00003.tfrecord",
    "validation-00000-of-00002.tfrecord",
    "validation-00001-of-00002.tfrecord",
]
SIZE = 0.005  # MB: four pictures


def packed(trainer: Trainer, out: str = "packed", config: str = "small.yaml") -> Outcome:
    done = trainer("data", "pack", config, "--out", out, "--shard-size", SIZE)
    assert done.code == 0, done.err
    return done


def sides(config: str) -> Sides:
    return gather(load(Path(config))).sides


def equal(one: Examples, other: Examples) -> None:
    """The same pictures in the same order."""
    assert one.classes == other.classes
    assert np.array_equal(one.labels, other.labels)
    assert one.labels.dtype == other.labels.dtype
    assert list(names(one.pictures)) == list(names(other.pictures))
    for index in range(len(one)):
        content = one.pictures.content(index)
        if isinstance(content, bytes):
            assert content == other.pictures.content(index)
        else:
            assert np.array_equal(decode(content), decode(other.pictures.content(index)))


def bytes_of(folder: str) -> dict[str, bytes]:
    """Every file but the config, which names the folder."""
    found = (path for path in Path(folder).rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in found
        if path.name != "config.yaml"
    }


opened: list[str] = []
watched = False


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if watched and event == "open" and str(arguments[0]).endswith(".tfrecord"):
        opened.append(Path(arguments[0]).name)


sys.addaudithook(_audit)  # there is no way to take it back


@contextmanager
def watching() -> Iterator[list[str]]:
    """The shards that are opened in the block, one by one."""
    global watched
    opened.clear()
    watched = True
    try:
        yield opened
    finally:
        watched = False


def test_what_is_packed_is_what_was_there(small: Path, trainer: Trainer) -> None:
    done = packed(trainer)
    shards = sorted(path.name for path in Path("packed").glob("*.tfrecord"))
    assert shards == SHARDS
    size = sum(Path("packed", shard).stat().st_size for shard in SHARDS)
    index = sum(path.stat().st_size for path in Path("packed/index").iterdir())
    assert done.out.splitlines()[-4:] == [
        f"written  packed (7 shards, {files.size(size)})",
        f"index    packed/index ({files.size(index)})",
        "source: {kind: tfrecord, path: packed, name: image/filename}",
        "next: trainer fit packed/config.yaml",
    ]
    assert not Path("packed/left_out.csv").exists()
    before, after = sides("small.yaml"), sides("packed/config.yaml")
    for one, other in zip(before, after, strict=True):
        assert len(one)
        equal(one, other)
    place = after.train.pictures.place(0)
    assert place == f"packed/train-00000-of-00003.tfrecord#0: {before.train.pictures.name(0)}"


def test_others_read_the_records_as_their_own(small: Path, trainer: Trainer) -> None:
    packed(trainer)
    train = sides("small.yaml").train
    features = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/class/label": tf.io.FixedLenFeature([], tf.int64),
        "image/class/text": tf.io.FixedLenFeature([], tf.string),
        "image/filename": tf.io.FixedLenFeature([], tf.string),
    }
    shards = [f"packed/{shard}" for shard in SHARDS if shard.startswith("train")]
    found = [tf.io.parse_single_example(each, features) for each in tf.data.TFRecordDataset(shards)]
    assert len(found) == len(train)
    for index, each in enumerate(found):
        assert each["image/encoded"].numpy() == train.pictures.content(index)
        assert each["image/class/label"].numpy() == train.labels[index]
        assert [each["image/class/text"].numpy().decode()] == train.names_of(index)
        assert each["image/filename"].numpy().decode() == train.pictures.name(index)


def test_training_draws_the_same_batches(small: Path, trainer: Trainer) -> None:
    packed(trainer)
    config = load(small)
    made = []
    for examples in (sides("small.yaml").train, sides("packed/config.yaml").train):
        fill = batches.training(examples, config.data, config.seed)
        made.append([])
        for step in range(7):  # more than two passes
            batch = empty(batches.shapes(config.data, 3))
            fill(step, batch)
            made[-1].append(batch)
    for one, other in zip(*made, strict=True):
        assert all(np.array_equal(*pair) for pair in zip(one, other, strict=True))


def test_several_labels_or_none(workplace: Path, trainer: Trainer) -> None:
    draw_pictures(workplace / "pictures", {"a": 24})
    tags = ["sea", "sea|sun", "", "sun"]
    rows = [f"a/{number:02d}.png,{tags[number % 4]}\n" for number in range(24)]
    Path("pictures/table.csv").write_text("path,tags\n" + "".join(rows))
    source = "{kind: csv, path: pictures/table.csv, separator: '|'}"
    text = SMALL.replace("{kind: folder, path: pictures}", source).replace("softmax", "sigmoid")
    Path("small.yaml").write_text(text)
    packed(trainer)
    for one, other in zip(sides("small.yaml"), sides("packed/config.yaml"), strict=True):
        assert one.multi_label
        equal(one, other)
    Path("pictures/table.csv").write_text("path,tags\n" + "".join(rows).replace("|sun", ""))
    done = trainer("data", "pack", "small.yaml", "--out", "other")
    assert done.code == 2
    assert done.err == (
        "error: small.yaml:3: data.source: no picture has several labels, so shards could not say "
        "that it may\n  give the table one label per picture\n"
    )
    assert not Path("other").exists()


def test_arrays_become_pngs(workplace: Path, trainer: Trainer) -> None:
    labels = np.arange(24) % 3
    generator = np.random.default_rng(0)
    for name, shape in (("grey", (24, 9, 8)), ("colour", (24, 9, 8, 3))):
        images = generator.integers(0, 256, shape, np.uint8)
        np.savez(f"{name}.npz", images=images, labels=labels)
        text = SMALL.replace("{kind: folder, path: pictures}", f"{{kind: npz, path: {name}.npz}}")
        Path("small.yaml").write_text(text.replace("[16, 20]", "[9, 8]"))
        packed(trainer, name)
        for one, other in zip(sides("small.yaml"), sides(f"{name}/config.yaml"), strict=True):
            equal(one, other)


def test_the_same_bytes_twice_and_after_a_stop(
    small: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed(trainer)
    whole = bytes_of("packed")
    packed(trainer, "again")
    assert bytes_of("again") == whole
    lines = packed(trainer).out.splitlines()
    assert lines[0] == "there    7 of 7 shards"
    assert bytes_of("packed") == whole

    plain, seen = pack.example, []

    def stopped(examples: Examples, index: int) -> bytes:
        seen.append(index)
        if len(seen) == 9:
            raise KeyboardInterrupt
        return plain(examples, index)

    with monkeypatch.context() as patch:
        patch.setattr(pack, "example", stopped)
        patch.setattr(pack, "cores", lambda: 1)
        done = trainer("data", "pack", "small.yaml", "--out", "halves", "--shard-size", SIZE)
    assert done.code == 130
    assert done.err == (
        "error: stopped; 2 of 7 shards are kept in halves\n  the same command goes on there\n"
    )
    there = sorted(path.name for path in Path("halves").iterdir())
    assert there == [".lock", "pack.json", "pictures.csv", *SHARDS[2:4]]
    Path("halves/.train-00002-of-00003.tfrecord.1234abcd.partial.tfrecord").write_text("half")
    assert packed(trainer, "halves").out.splitlines()[0] == "there    2 of 7 shards"
    assert bytes_of("halves") == whole


def test_pictures_that_cannot_be_read_are_listed(
    small: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("small.yaml").write_text(SMALL.replace("test: 0.25", "test: 0.25, duplicates: ignore"))
    Path("pictures/red/03.png").write_bytes(b"")  # can be read, but not be decoded: is packed
    plain = Files.content

    def content(self: Files, index: int) -> bytes:
        if self.names[index] == "red/05.png":
            raise OSError(5, "Input/output error")
        return plain(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(Files, "content", content)
        done = packed(trainer)
    assert done.err == (
        "warning: 1 pictures are in no shard, such as red/05.png: Input/output error; "
        "packed/left_out.csv lists them all\n"
    )
    rows = list(csv.reader(Path("packed/left_out.csv").open()))
    assert rows == [["path", "reason"], ["red/05.png", "Input/output error"]]
    everything = [name for side in sides("packed/config.yaml") for name in names(side.pictures)]
    assert len(everything) == 23
    assert "red/03.png" in everything
    whole = bytes_of("packed")
    again = packed(trainer)  # nothing is written anew
    assert "red/05.png: could not be read when its shard was written" in again.err
    assert {k: v for k, v in bytes_of("packed").items() if k != "left_out.csv"} == {
        k: v for k, v in whole.items() if k != "left_out.csv"
    }


def test_folders_that_hold_something_else(small: Path, trainer: Trainer) -> None:
    def error(out: str) -> str:
        done = trainer("data", "pack", "small.yaml", "--out", out, "--shard-size", SIZE)
        assert done.code == 2
        return done.err

    Path("letters").mkdir()
    Path("letters/dear.txt").touch()
    assert error("letters") == (
        "error: --out: letters holds something else, such as dear.txt\n"
        "  choose an empty folder, or one that is not there\n"
    )
    assert error("small.yaml") == (
        "error: --out: small.yaml is a file, not a folder\n  choose another place\n"
    )
    packed(trainer)
    Path("packed/pack.json").write_text("{")
    assert error("packed") == (
        "error: --out: packed holds shards that may be of other pictures: pack.json and "
        "pictures.csv do not say of which\n  choose another folder, or remove it to pack anew\n"
    )
    shutil.rmtree("packed")
    packed(trainer)
    shutil.copy(f"packed/{SHARDS[0]}", f"packed/{SHARDS[1]}")
    again = "\n  remove it; the same command writes it again\n"
    assert error("packed") == (
        "error: --out: the feature 'image/filename' calls two pictures 'blue/00.png'" + again
    )
    whole = Path(f"packed/{SHARDS[0]}").read_bytes()
    Path(f"packed/{SHARDS[0]}").write_bytes(whole[:-1])
    found = error("packed")
    assert found.startswith(f"error: --out: packed/{SHARDS[0]} breaks off in the record at byte ")
    assert found.endswith(again)
    shutil.rmtree("packed")
    packed(trainer)
    shutil.move(f"packed/{SHARDS[0]}", "first")
    shutil.move(f"packed/{SHARDS[1]}", f"packed/{SHARDS[0]}")
    shutil.move("first", f"packed/{SHARDS[1]}")
    assert error("packed") == (
        f"error: --out: packed/{SHARDS[0]} holds other pictures than it should" + again
    )


def test_other_times_of_change_alone_are_gone_on_with(small: Path, trainer: Trainer) -> None:
    packed(trainer)
    shard = Path("packed", SHARDS[3])
    content = shard.read_bytes()
    shard.unlink()
    os.utime("pictures/red/02.png", ns=(1, 1))
    assert packed(trainer).out.splitlines()[:2] == [
        "times of change differ, nothing else: contents are taken to be the same",
        "there    6 of 7 shards",
    ]
    assert shard.read_bytes() == content


def test_what_differs_is_named(small: Path, trainer: Trainer) -> None:
    def error(config: str = SMALL, size: float = SIZE) -> str:
        small.write_text(config)
        done = trainer("data", "pack", "small.yaml", "--out", "packed", "--shard-size", size)
        assert done.code == 2
        lines = done.err.splitlines()
        assert lines[1:] == ["  choose another folder, or remove it to pack anew"]
        return lines[0].removeprefix("error: --out: packed holds shards ")

    packed(trainer)
    assert error(size=1) == "otherwise cut: 7 shards, not 3 (--shard-size)"
    assert error(SMALL.replace("test: 0.25", "test: 0")).startswith("otherwise split: ")
    about = json.loads(Path("packed/pack.json").read_text())
    other = about | {"fingerprint": "", "features": {}}
    Path("packed/pack.json").write_text(json.dumps(other))
    assert error() == "with other features, of another version of this program"
    other = about | {"fingerprint": "", "classes": ["red"]}
    Path("packed/pack.json").write_text(json.dumps(other))
    assert error() == "with other labels: the classes have changed"
    shutil.move("pictures/red/02.png", "pictures/red/002.png")
    assert error() == "of other pictures: red/002.png is new"
    Path("pictures/red/002.png").unlink()
    assert error() == "of other pictures: red/02.png is gone"
    Path("packed/pictures.csv").unlink()
    assert error().startswith("that may be of other pictures: ")


def test_differences_by_hand() -> None:
    one, two = pack.Row("a", "x", "train", "5", "1"), pack.Row("b", "y", "test", "6", "1")

    def difference(**other: str) -> str:
        return pack.difference([one, two], [one, two._replace(**other)])

    assert difference(changed="2") == ""
    assert difference(bytes="7") == "of other pictures: b had 6 bytes and has 7"
    assert difference(label="x", split="train") == "with other labels: b was 'y' and is 'x'"
    assert difference(split="train") == "otherwise split: b was in test and is in train"
    assert difference(path="c") == "of other pictures: c is new"
    assert pack.difference([one, two], [one]) == "of other pictures: b is gone"
    assert pack.difference([one, two], [two, one]) == "of the same pictures in another order"


def test_a_full_disk(small: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "packed/…; No space left on device")

    monkeypatch.setattr(tf.io.TFRecordWriter, "write", full)
    monkeypatch.setattr(pack, "cores", lambda: 1)
    done = trainer("data", "pack", "small.yaml", "--out", "packed", "--shard-size", SIZE)
    assert done.code == 2
    assert done.err == (
        f"error: packed/{SHARDS[2]} cannot be written: No space left on device\n  make room there\n"
    )
    assert sorted(path.name for path in Path("packed").iterdir()) == [
        ".lock",
        "pack.json",
        "pictures.csv",
    ]


def test_groups_are_named_as_lost(small: Path, trainer: Trainer) -> None:
    rows = [
        f"{name}/{number:02d}.png,{name},{name}{number // 2}\n"
        for name in ("blue", "green", "red")
        for number in range(8)
    ]
    Path("pictures/table.csv").write_text("path,label,group\n" + "".join(rows))
    source = "{kind: csv, path: pictures/table.csv}"
    small.write_text(SMALL.replace("{kind: folder, path: pictures}", source))
    assert packed(trainer).err == (
        "warning: groups are not packed: they stay together on the sides as they are now, but "
        "data.split.folds would part them\n"
    )
    assert [len(side) for side in sides("packed/config.yaml")] == [
        len(side) for side in sides("small.yaml")
    ]


def test_only_the_shards_that_are_needed_are_opened(small: Path, trainer: Trainer) -> None:
    packed(trainer)
    source = Tfrecord(kind="tfrecord", path="packed", name="image/filename")
    with watching() as shards:
        train = sides("packed/config.yaml").train
        tfrecord.read(source)
        assert shards == []
    config = load(small)
    order = batches.sampled(train, config.data, config.seed)
    # Those of the second of two workers, in a batch of four.
    wanted = [order(position) for position in stream.positions(0, 4, stream.Shard(1, 2))]
    holders = {train.pictures.place(index).partition("#")[0] for index in wanted}
    with watching() as shards:
        for index in wanted:
            train.pictures.content(index)
        assert {f"packed/{shard}" for shard in shards} == holders
        assert len(shards) == 2
    shutil.rmtree("packed/index")
    with watching() as shards:
        tfrecord.read(source)
        assert sorted(set(shards)) == SHARDS  # so the watching works


def test_the_config_of_another_stays(small: Path, trainer: Trainer) -> None:
    packed(trainer)
    there = Path("packed/config.yaml").read_bytes()
    Path("other.yaml").write_text(SMALL.replace("name: small", "name: other"))
    done = packed(trainer, config="other.yaml")
    assert done.err == (
        "warning: packed/config.yaml is of another config and stays as it is: choose another "
        "--out, or remove it and run the same command again\n"
    )
    assert done.out.splitlines()[-1].startswith("source: ")
    assert Path("packed/config.yaml").read_bytes() == there
    Path("packed/config.yaml").unlink()
    done = packed(trainer, config="other.yaml")
    assert done.err == ""
    assert done.out.splitlines()[-1] == "next: trainer fit packed/config.yaml"
    assert load(Path("packed/config.yaml")).name == "other"


def test_a_config_without_test_side_stays_without(small: Path, trainer: Trainer) -> None:
    small.write_text(SMALL.replace("test: 0.25", "test: 0"))
    packed(trainer)
    assert load(Path("packed/config.yaml")).data.split.test == 0
    assert len(sides("packed/config.yaml").test) == 0


@pytest.mark.slow
def test_a_killed_pack_leaves_no_half_shard(small: Path, trainer: Trainer) -> None:
    shutil.rmtree("pictures")
    draw_pictures(small.parent.absolute() / "pictures", {"blue": 300, "red": 300}, (200, 200))
    small.write_text(SMALL.replace("test: 0.25", "test: 0.25, duplicates: ignore"))
    command = [sys.executable, "-m", "trainer", "data", "pack", "small.yaml", "--shard-size", "4"]
    subprocess.run([*command, "--out", "whole"], check=True)
    process = subprocess.Popen([*command, "--out", "packed"], start_new_session=True)
    while not list(Path("packed").glob("[!.]*.tfrecord")):
        time.sleep(0.001)
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    whole = bytes_of("whole")
    kept = list(Path("packed").glob("[!.]*.tfrecord"))
    assert 0 < len(kept) < json.loads(Path("packed/pack.json").read_text())["shards"]
    assert all(path.read_bytes() == whole[path.name] for path in kept)
    subprocess.run([*command, "--out", "packed"], check=True)
    assert bytes_of("packed") == whole


@pytest.mark.slow
def test_training_from_shards_is_the_same_training(small: Path, trainer: Trainer) -> None:
    packed(trainer)
    for config in ("small.yaml", "packed/config.yaml"):
        assert trainer("fit", config, "--set", f"name={Path(config).stem}").code == 0
    one, other = (Path(f"runs/{name}/latest/history.csv") for name in ("small", "config"))
    assert one.read_text() == other.read_text()
