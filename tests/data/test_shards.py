"""Shards of tf.train.Example, our own and those of TensorFlow Datasets."""

import gzip
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf

from tests import families
from trainer.config.data import Tfds, Tfrecord
from trainer.data import records
from trainer.data.decode import decode
from trainer.data.examples import Examples
from trainer.data.sources import tfds, tfrecord
from trainer.errors import UserError

Value = int | str | bytes | float | list[Any]


@pytest.fixture(autouse=True)
def _here(workplace: Path) -> None:
    """Shards are written into an empty working directory."""


def png(value: int) -> bytes:
    return cv2.imencode(".png", np.full((4, 5, 3), value, np.uint8))[1].tobytes()


def example(**features: Value) -> bytes:
    """A serialized tf.train.Example; `image__label` stands for image/label."""
    found = {}
    for name, value in features.items():
        items = value if isinstance(value, list) else [value]
        items = [item.encode() if isinstance(item, str) else item for item in items]
        if all(isinstance(item, int) for item in items):
            feature = tf.train.Feature(int64_list=tf.train.Int64List(value=items))
        elif isinstance(items[0], float):
            feature = tf.train.Feature(float_list=tf.train.FloatList(value=items))
        else:
            feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=items))
        found[name.replace("__", "/")] = feature
    return tf.train.Example(features=tf.train.Features(feature=found)).SerializeToString()


def write(path: str, *contents: bytes) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(path) as writer:
        for content in contents:
            writer.write(content)


def labelled(*labels: Value) -> list[bytes]:
    """Records with the pictures 0, 1, … and these labels."""
    return [example(image=png(at), label=label) for at, label in enumerate(labels)]


def spec(path: str = "shards", **options: Any) -> Tfrecord:
    return Tfrecord(
        **{"kind": "tfrecord", "path": path, "image": "image", "label": "label"} | options
    )


def read(path: str = "shards", **options: Any) -> Examples:
    return families.source(lambda: tfrecord.read(spec(path, **options)))


def problem(path: str = "shards", **options: Any) -> str:
    with pytest.raises(UserError) as error:
        tfrecord.read(spec(path, **options))
    return str(error.value)


def test_shards_are_sides_by_their_names() -> None:
    write("shards/flowers-train.tfrecord-00000-of-00002", *labelled(0, 1))
    write("shards/flowers-train.tfrecord-00001-of-00002", *labelled(1, 0, 1))
    write("shards/deeper_test/validation.tfrec", *labelled(1))
    write("shards/flowers_test.tfrecords", *labelled(0))
    Path("shards/tfrecord.json").write_text("{}")
    Path("shards/.tfrecord").write_text("a shadow")
    examples = read()
    assert [examples.pictures.name(i) for i in range(3)] == [
        "deeper_test/validation.tfrec#0",
        "flowers-train.tfrecord-00000-of-00002#0",
        "flowers-train.tfrecord-00000-of-00002#1",
    ]
    assert examples.sides is not None
    assert examples.sides.tolist() == [1, 0, 0, 0, 0, 0, 2]
    assert examples.labels.tolist() == [1, 0, 1, 1, 0, 1, 0]
    shown = [decode(examples.pictures.content(i))[0, 0, 0] for i in range(7)]
    assert shown == [0, 0, 1, 0, 1, 2, 0]


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("shards/b.tfrecord", "b.tfrecord"),
        ("shards/b*", "b.tfrecord"),
        ("**/b.*", "shards/b.tfrecord"),
    ],
)
def test_a_file_or_a_pattern(pattern: str, name: str) -> None:
    write("shards/a.tfrecord", *labelled(5, 6))
    write("shards/b.tfrecord", *labelled(0, 1, 2))
    examples = read(pattern)
    assert [examples.pictures.name(i) for i in range(2)] == [f"{name}#0", f"{name}#1"]
    assert examples.classes == ("0", "1", "2")
    assert examples.sides is None


def test_names_stay_when_a_pattern_finds_more() -> None:
    write("shards/m/x.tfrecord", *labelled(0, 1))
    for pattern in ("shards/*/*.tfrecord", str(Path("shards/*/*.tfrecord").absolute())):
        assert tfrecord.read(spec(pattern)).pictures.name(1) == "m/x.tfrecord#1"
    write("shards/n/x.tfrecord", *labelled(0, 1))
    assert read("shards/*/*.tfrecord").pictures.name(1) == "m/x.tfrecord#1"


def test_names_for_numbers() -> None:
    write("shards/a.tfrecord", *labelled(2, 10, 2))
    assert read().classes == ("02", "10")
    assert read(classes=[*"abcdefghijk"]).classes == ("c", "k")
    assert problem(classes=["a", "b"]) == (
        "data.source.classes: 2 different names for the labels 0 to 10 of shards\n"
        "  one name for each label, in their order"
    )


@pytest.mark.parametrize(
    ("texts", "classes"),
    [
        (["dog", "cat", "dog"], ("cat", "dog")),
        (["dog", "cat", "cow"], ("1", "2")),  # one number, two texts
        (["dog", "dog", "dog"], ("1", "2")),  # one text, two numbers
        (["dog", "", "dog"], ("1", "2")),
    ],
)
def test_numbers_are_named_by_the_texts_beside_them(
    texts: list[str], classes: tuple[str, ...]
) -> None:
    rows = zip((1, 2, 1), texts, strict=True)
    contents = [
        example(image=png(0), image__class__label=number, image__class__text=text)
        for number, text in rows
    ]
    write("shards/a.tfrecord", *contents)
    examples = read(label="image/class/label")
    assert examples.classes == classes
    assert examples.names_of(0) == [classes[-1] if classes[0] == "cat" else "1"]


def test_labels_that_are_texts() -> None:
    write("shards/a.tfrecord", *labelled("dog", "café", "dog"))
    examples = read()
    assert examples.classes == ("café", "dog")
    assert examples.labels.tolist() == [1, 0, 1]
    assert problem(classes=["a", "b"]) == (
        "data.source.classes: 'label' holds texts already, such as café\n  remove classes"
    )


@pytest.mark.parametrize("labels", [([0, 2], [], [2]), (["a", "c"], [], ["c"])])
def test_several_labels(labels: tuple[Any, ...]) -> None:
    write("shards/a.tfrecord", *labelled(*labels))
    examples = read()
    assert examples.multi_label
    assert examples.labels.tolist() == [[1, 1], [0, 0], [0, 1]]


def test_records_without_a_label_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    write("shards/a.tfrecord", *labelled(0, -1, 1, []))
    examples = read()
    assert [examples.pictures.name(i) for i in range(2)] == ["a.tfrecord#0", "a.tfrecord#2"]
    assert examples.labels.tolist() == [0, 1]
    assert (
        "warning: 2 records without a label are left out, such as shards/a.tfrecord#1\n"
        in capsys.readouterr().err
    )


def test_a_record_without_an_image_is_found_when_it_is_met() -> None:
    write("shards/a.tfrecord", *labelled(0, 1), example(label=1))
    pictures = tfrecord.read(spec()).pictures
    with pytest.raises(ValueError, match="the record has no image"):
        pictures.content(2)
    Path("shards/a.tfrecord").write_bytes(b"")
    with pytest.raises(ValueError, match="the shard has become shorter"):
        pictures.content(1)
    Path("shards/a.tfrecord").unlink()
    with pytest.raises(OSError, match="No such file"):
        pictures.content(1)


def test_features_of_another_name_or_kind() -> None:
    write("shards/a.tfrecord", *labelled(0, 1))
    has = "\n  it has image, label; name one: "
    assert problem(image="image/encoded") == (
        "data.source.image: the first record of shards/a.tfrecord has no feature "
        f"'image/encoded'{has}image: …"
    )
    assert problem(label="class") == (
        "data.source.label: the first record of shards/a.tfrecord has no feature "
        f"'class'{has}label: …"
    )
    assert problem(image="label") == (
        "data.source.image: the feature 'label' of the first record of shards/a.tfrecord is no "
        "file's content\n  expected one text of bytes, such as a JPEG's"
    )
    write("shards/a.tfrecord", *labelled(0.5, 1.5))
    assert problem() == (
        "data.source.label: the feature 'label' of the first record of shards/a.tfrecord holds "
        "floats\n  expected whole numbers or texts"
    )
    write("shards/a.tfrecord", *labelled(0, "one"))
    assert problem() == (
        "data.source.label: the feature 'label' holds numbers in some records and texts in others\n"
        "  write the shards again with one of them"
    )


def test_shards_that_cannot_be_read(workplace: Path) -> None:
    relative = f"\n  the path is relative to the working directory, {workplace}"
    assert problem() == f"data.source.path: no such file: shards{relative}"
    Path("shards").mkdir()
    assert problem() == f"data.source.path: no files called *.tfrecord in shards{relative}"
    path = Path("shards/a.tfrecord")
    path.touch()
    assert problem() == "data.source.path: no records in shards\n  is it the right place?"
    write(str(path), *labelled(0, 1))
    whole = path.read_bytes()
    second = 16 + int.from_bytes(whole[:8], "little")
    again = "\n  fetch or write it again"
    name = f"data.source.path: {path}"
    path.write_bytes(whole[:-5])
    assert problem() == f"{name} breaks off in the record at byte {second}{again}"
    path.write_bytes(whole[: second + 3])
    assert problem() == f"{name} breaks off at byte {second}{again}"
    path.write_bytes(whole[:second] + b"\1" + whole[second + 1 :])
    assert problem() == f"{name} is damaged at byte {second}{again}"
    path.write_text("<html>not found</html>")
    assert problem() == f"{name} is no TFRecord file{again}"
    unpacked = "so its records cannot be read in any order\n  write it without compression"
    path.write_bytes(gzip.compress(whole))
    assert problem() == f"{name} is compressed with gzip, {unpacked}"
    path.write_bytes(zlib.compress(whole))
    assert problem() == f"{name} is compressed with zlib, {unpacked}"
    write(str(path), b"\xff\xff\xff no message")
    assert problem().startswith(f"{name} holds no tf.train.Example at byte ")


def test_one_class() -> None:
    write("shards/a.tfrecord", *labelled(3, 3))
    assert problem() == "data.source: shards has 1 class (3)\n  a classifier needs two"


def test_features_are_found_as_tensorflow_wrote_them() -> None:
    numbers = [0, 1, 127, 128, 300, 2**40, 2**63 - 1, -1, -(2**63)]
    content = example(many=numbers, none=[], texts=["a", "", "long" * 100], part=[0.5, 1.5])
    found = records.features(content, (0, len(content)))
    assert set(found) == {"many", "none", "texts", "part"}
    assert records.values(content, found["many"]) == ([], numbers)
    assert records.values(content, found["none"]) == ([], [])
    spans, _ = records.values(content, found["texts"])
    assert [content[start:end] for start, end in spans] == [b"a", b"", b"long" * 100]
    assert records.floats(content, found["part"])
    # the older way to write repeated numbers: a field each
    assert records.values(b"\x1a\x05\x08\x05\x08\xac\x02", (0, 7)) == ([], [5, 300])


@pytest.fixture(scope="module")
def tiny() -> None:
    """A dataset of tfds: train 6, test 2, extra 3 pictures. tfds takes a name only once."""
    datasets = pytest.importorskip("tensorflow_datasets")

    class Tiny(datasets.core.GeneratorBasedBuilder):  # type: ignore[name-defined]
        VERSION = datasets.core.Version("1.0.0")

        def _info(self) -> Any:
            features = {
                "image": datasets.features.Image(shape=(None, None, 3)),
                "label": datasets.features.ClassLabel(names=["dog", "cat"]),
                "tags": datasets.features.Sequence(
                    datasets.features.ClassLabel(names=["x", "y", "z"])
                ),
                "number": np.int64,
            }
            return datasets.core.DatasetInfo(
                builder=self, features=datasets.features.FeaturesDict(features)
            )

        def _split_generators(self, _: Any) -> Any:
            return {name: self._some(n) for name, n in (("train", 6), ("test", 2), ("extra", 3))}

        def _generate_examples(self) -> Any:
            """Abstract there; `_split_generators` gives the examples."""

        def _some(self, count: int) -> Any:
            for at in range(count):
                pixels = np.full((4, 5, 3), at, np.uint8)
                tags = ["x", "z"] if at == 0 else ["y"]
                yield at, {"image": pixels, "label": at % 2, "tags": tags, "number": at + 5}


def tfds_read(**options: Any) -> Examples:
    source = Tfds(**{"kind": "tfds", "name": "tiny", "path": "sets"} | options)
    return families.source(lambda: tfds.read(source))


def test_tfds(tiny: None, capsys: pytest.CaptureFixture[str]) -> None:
    examples = tfds_read()
    assert "warning: the split 'extra' of tiny is left out\n" in capsys.readouterr().err
    assert examples.classes == ("cat", "dog")
    assert examples.sides is not None
    assert examples.sides.tolist() == [0] * 6 + [2] * 2
    shown = {int(decode(examples.pictures.content(i))[0, 0, 0]): i for i in range(6)}
    names = [examples.names_of(shown[number])[0] for number in range(6)]  # tfds shuffles
    assert names == ["dog", "cat"] * 3
    assert tfds_read(label="number").classes == ("05", "06", "07", "08", "09", "10")
    several = tfds_read(label="tags")
    assert several.multi_label
    assert several.counts().tolist() == [2, 6, 2]


def test_tfds_mistakes(tiny: None) -> None:
    def problem(**options: Any) -> str:
        with pytest.raises(UserError) as error:
            tfds_read(**options)
        return str(error.value)

    assert problem(name="tyny") == (
        "data.source.name: tfds has no dataset 'tyny'\n  did you mean 'tiny'?"
    )
    assert problem(image="pic") == (
        "data.source.image: 'tiny' has no feature 'pic'\n  it has image, label, number, tags"
    )
    assert "Dataset tiny cannot be loaded at version 9.9.9" in problem(name="tiny:9.9.9")


def test_tfds_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(UserError) as error:
        tfds.read(Tfds(kind="tfds", name="beans"))
    assert str(error.value) == (
        'data.source.kind: tfds needs an extra: pip install "keras-image-trainer[tfds]"'
    )
