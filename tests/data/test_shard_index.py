"""The index beside shards: the same as a pass over them, or named as of no use."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tests import families
from trainer.config.data import Tfrecord
from trainer.data import pack, shard_index, shard_pass, storage
from trainer.data.examples import Examples, Files, Texts, names
from trainer.data.sources import tfrecord
from trainer.errors import UserError

COUNT = 12


@pytest.fixture
def shards(workplace: Path) -> Path:
    """A folder of three shards of four pictures, and their index."""
    root = Path("pictures")
    root.mkdir()
    called = [f"{number:02d}é.png" for number in range(COUNT)]
    for number, name in enumerate(called):
        cv2.imwrite(str(root / name), np.full((4, 5, 3), number, np.uint8))
    labels = (np.arange(COUNT) % 3).astype(np.int32)
    examples = Examples(Files(str(root), Texts(called)), labels, ("a", "b", "c"))
    none = examples.take(np.arange(0))
    folder = Path("shards")
    folder.mkdir()
    plan = [pack.Shard(f"{at}.tfrecord", 0, range(4 * at, 4 * at + 4)) for at in range(3)]
    pack.write(pack.Sides(examples, none, none), plan, folder, lambda _: None)
    found = shard_pass.passed(spec(), "shards", [shard.name for shard in plan])
    sizes = {shard.name: (folder / shard.name).stat().st_size for shard in plan}
    shard_index.write(folder, sizes, pack.FEATURES, found)
    return folder


def spec(path: str = "shards", **options: Any) -> Tfrecord:
    return Tfrecord(**{"kind": "tfrecord", "path": path, "name": "image/filename"} | options)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The roots of all passes over shards."""
    plain, found = shard_pass.passed, []

    def passed(source: Tfrecord, root: str, shards: Any) -> shard_index.Index:
        found.append(root)
        return plain(source, root, shards)

    monkeypatch.setattr(tfrecord, "passed", passed)
    return found


def same(one: Examples, other: Examples) -> None:
    assert one.classes == other.classes
    assert one.labels.tolist() == other.labels.tolist()
    assert list(names(one.pictures)) == list(names(other.pictures))
    assert [one.pictures.content(at) for at in range(len(one))] == [
        other.pictures.content(at) for at in range(len(other))
    ]


def test_the_index_says_what_a_pass_finds(shards: Path, passes: list[str]) -> None:
    with_index = families.source(lambda: tfrecord.read(spec()))
    assert not passes
    shutil.rmtree(shards / "index")
    without = families.source(lambda: tfrecord.read(spec()))
    assert passes
    same(with_index, without)
    assert with_index.pictures.name(5) == "05é.png"


def test_without_a_feature_for_names_the_shards_give_them(shards: Path, passes: list[str]) -> None:
    examples = tfrecord.read(spec(name=None))
    assert examples.pictures.name(5) == "1.tfrecord#1"
    assert not passes


def test_other_features_or_some_shards_are_passed_over_in_silence(
    shards: Path, passes: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert tfrecord.read(spec(label="image/class/text")).classes == ("a", "b", "c")
    assert len(tfrecord.read(spec("shards/[01].tfrecord"))) == 8
    assert len(passes) == 2
    assert capsys.readouterr().err == ""


def _flip(path: Path, at: int) -> None:
    """One bit of a byte of a file."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.unlink()  # so that what has been mapped stays
    path.write_bytes(content)


@pytest.mark.parametrize("array", ["ends", "starts", "sizes", "counts", "labels", "called_ends"])
def test_a_bit_is_noticed_in_every_array_that_is_read(
    shards: Path, passes: list[str], array: str
) -> None:
    without = tfrecord.read(spec())
    _flip(shards / "index" / f"{array}.npy", -8)
    assert len(tfrecord.read(spec(name=None))) == COUNT
    assert len(passes) == (array != "called_ends")  # which is not read without names
    same(tfrecord.read(spec()), without)
    assert passes[-1:] == ["shards"]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        ("longer", "is of another 1.tfrecord: of {size} bytes, not {more}"),
        ("new", "does not know 3.tfrecord"),
        ("version", "is of version 0, not 2"),
        ("text", "is damaged (Expecting value: line 1 column 1 (char 0))"),
        ("keys", "is damaged ('version')"),
        ("cut", "is damaged (starts.npy: mmap length is greater than file size)"),
        ("header", "is damaged (starts.npy: "),
        ("array", "is damaged ([Errno 2] No such file or directory: 'shards/index/sizes.npy')"),
        ("fewer", "is damaged (sizes.npy is not what was written)"),
        ("bit", "is damaged (labels.npy is not what was written)"),
        ("kind", "is damaged (labels.npy is not what was written)"),
        ("checks", "is damaged ('ends')"),
    ],
)
def test_an_index_that_does_not_fit_is_named(
    shards: Path, passes: list[str], capsys: pytest.CaptureFixture[str], spoil: str, why: str
) -> None:
    index, second = shards / "index", shards / "1.tfrecord"
    size = second.stat().st_size
    whole = (index / "starts.npy").read_bytes()
    records = {"new": 16, "longer": 16}.get(spoil, 12)
    match spoil:
        case "longer":
            second.write_bytes(second.read_bytes() * 2)
        case "new":
            shutil.copy(second, shards / "3.tfrecord")
        case "version":
            about = json.loads((index / "about.json").read_text())
            (index / "about.json").write_text(json.dumps(about | {"version": 0}))
        case "text":
            (index / "about.json").write_text("")
        case "keys":
            (index / "about.json").write_text("{}")
        case "cut":
            (index / "starts.npy").write_bytes(whole[:-8])
        case "header":
            (index / "starts.npy").write_bytes(b"nothing" * 30)
        case "array":
            (index / "sizes.npy").unlink()
        case "fewer":
            np.save(index / "sizes.npy", np.load(index / "sizes.npy")[:-1])
        case "bit":
            _flip(index / "labels.npy", -1)
        case "kind":
            np.save(index / "labels.npy", np.load(index / "labels.npy").view(np.int8))
        case "checks":
            about = json.loads((index / "about.json").read_text())
            (index / "about.json").write_text(json.dumps(about | {"checks": {}}))
    assert len(tfrecord.read(spec(name=None))) == records
    assert passes
    said = why.format(size=size, more=2 * size)
    end = ": the shards are passed over instead, which takes longer\n"
    err = capsys.readouterr().err
    assert err.startswith(f"warning: the index shards/index {said}")
    assert err.endswith(end)
    assert spoil == "header" or err == f"warning: the index shards/index {said}{end}"


def test_lost_shards_are_an_error(shards: Path, passes: list[str]) -> None:
    def problem(**options: Any) -> str:
        with pytest.raises(UserError) as error:
            tfrecord.read(spec(**options))
        return str(error.value)

    hint = (
        "\n  fetch them again or run `trainer data pack` again; to train on the rest, remove "
        "shards/index"
    )
    (shards / "1.tfrecord").unlink()
    one = "4 pictures are missing, of shards that shards/index knows: 1.tfrecord"
    assert problem() == f"data.source.path: {one}{hint}"
    assert problem(label="image/class/text") == f"data.source.path: {one}{hint}"
    shutil.copy(shards / "0.tfrecord", shards / "3.tfrecord")
    (shards / "0.tfrecord").unlink()
    assert problem() == (
        "data.source.path: 8 pictures are missing, of shards that shards/index knows: 0.tfrecord, "
        f"1.tfrecord{hint}"
    )
    assert not passes
    assert len(tfrecord.read(spec("shards/[012].tfrecord"))) == 4  # asked for as some
    shutil.rmtree(shards / "index")
    assert len(tfrecord.read(spec())) == 8


def test_names_that_are_missing_or_the_same(shards: Path) -> None:
    def problem(**options: Any) -> str:
        with pytest.raises(UserError) as error:
            tfrecord.read(spec(**options))
        return str(error.value)

    assert problem(name="title") == (
        "data.source.name: the first record of shards/0.tfrecord has no feature 'title'\n"
        "  it has image/class/label, image/class/text, image/encoded, image/filename; name one: "
        "name: …"
    )
    assert problem(name="image/class/text") == (
        "data.source.name: the feature 'image/class/text' calls two pictures 'a'\n"
        "  leave name out: then they are called by shard and record"
    )


def copied(shards: Path, address: str) -> str:
    for path in shards.rglob("*"):
        if path.is_file():
            far = storage.joined(address, path.relative_to(shards).as_posix())
            tf.io.gfile.makedirs(far.rpartition("/")[0])
            tf.io.gfile.copy(str(path), far, overwrite=True)
    return address


@pytest.mark.parametrize("scheme", ["ram://", "file://"])
def test_addresses(
    shards: Path,
    passes: list[str],
    capsys: pytest.CaptureFixture[str],
    scheme: str,
    tmp_path: Path,
) -> None:
    address = copied(shards, f"{scheme}{tmp_path}/far/shards".replace("ram:///", "ram://"))
    near, far = tfrecord.read(spec()), tfrecord.read(spec(address))
    assert not passes
    same(near, far)
    same(near, pickle.loads(pickle.dumps(far)))
    assert far.pictures.place(5) == f"{address}/1.tfrecord#1: 05é.png"
    size, changed = far.pictures.stamp(5)
    assert size == near.pictures.stamp(5)[0]
    assert (changed > 0) == (scheme == "file://")  # what is in memory only has no time
    some = tfrecord.read(spec(f"{address}/[01].tfrecord"))
    same(some, near.take(np.arange(8)))
    same(tfrecord.read(spec(f"{address}/0.tfrecord")), near.take(np.arange(4)))
    tf.io.gfile.rmtree(f"{address}/index")
    same(near, tfrecord.read(spec(address)))
    assert len(passes) == 3
    assert capsys.readouterr().err == ""
    tf.io.gfile.remove(f"{address}/1.tfrecord")
    with pytest.raises(OSError, match="No such file or directory"):
        far.pictures.content(5)


def test_addresses_that_lead_nowhere(workplace: Path) -> None:
    def problem(path: str) -> str:
        with pytest.raises(UserError) as error:
            tfrecord.read(spec(path))
        return str(error.value)

    assert problem("s3://bucket/shards") == (
        "data.source.path: TensorFlow knows no s3:// here, only file://, gs://, ram://\n"
        "  copy the shards, or mount them as a folder"
    )
    assert problem("ram://nowhere/shards") == "data.source.path: no such file: ram://nowhere/shards"
    tf.io.gfile.makedirs("ram://empty/shards")
    assert problem("ram://empty/shards") == (
        "data.source.path: no files called *.tfrecord in ram://empty/shards"
    )


def test_texts_go_to_other_processes_apart() -> None:
    texts = Texts(["a/é.png", "", "b\udcff.png"])
    buffers: list[pickle.PickleBuffer] = []
    small = pickle.dumps(texts, protocol=5, buffer_callback=buffers.append)
    assert len(buffers) == 2
    again = pickle.loads(small, buffers=buffers)
    assert list(again) == list(texts) == ["a/é.png", "", "b\udcff.png"]
    assert again[-1] == "b\udcff.png"
    assert list(again[:2]) == ["a/é.png", ""]
