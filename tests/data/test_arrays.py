"""Arrays in idx and npz files: how they are paired, named and refused."""

import gzip
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import families
from trainer.config.data import Idx, Npz
from trainer.data.examples import Examples
from trainer.data.sources import idx, npz
from trainer.errors import UserError

GREY = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)
COLOUR = np.arange(4 * 5 * 6 * 3, dtype=np.uint16).astype(np.uint8).reshape(4, 5, 6, 3)
LABELS = np.array([0, 1, 2, 1], np.uint8)


@pytest.fixture(autouse=True)
def _here(workplace: Path) -> None:
    """Files are written into an empty working directory."""


def write_idx(name: str, values: np.ndarray) -> None:
    content = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    content += values.tobytes()
    Path(name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


def read_idx(**options: Any) -> Examples:
    return families.source(lambda: idx.read(Idx(kind="idx", path=".", **options)))


def read_npz(path: str = "a.npz", **options: Any) -> Examples:
    return families.source(lambda: npz.read(Npz(kind="npz", path=path, **options)))


def idx_problem(**options: Any) -> str:
    with pytest.raises(UserError) as error:
        idx.read(Idx(kind="idx", path=".", **options))
    return str(error.value)


def npz_problem(path: str = "a.npz", **options: Any) -> str:
    with pytest.raises(UserError) as error:
        npz.read(Npz(kind="npz", path=path, **options))
    return str(error.value)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_mnist_as_it_is_distributed(suffix: str) -> None:
    write_idx(f"train-images-idx3-ubyte{suffix}", GREY)
    write_idx(f"train-labels-idx1-ubyte{suffix}", LABELS)
    write_idx(f"t10k-images-idx3-ubyte{suffix}", GREY[:2])
    write_idx(f"t10k-labels-idx1-ubyte{suffix}", LABELS[:2])
    Path("README").write_text("of MNIST")
    examples = read_idx()
    assert examples.classes == ("0", "1", "2")
    assert examples.labels.tolist() == [0, 1, 2, 1, 0, 1]
    assert examples.sides is not None
    assert examples.sides.tolist() == [0, 0, 0, 0, 2, 2]
    assert examples.pictures.name(5) == "test/1"
    assert np.array_equal(examples.pictures.content(5), GREY[1])


def test_names_of_classes_are_sorted_and_the_labels_with_them() -> None:
    write_idx("train-images-idx3-ubyte", GREY)
    write_idx("train-labels-idx1-ubyte", LABELS)
    examples = read_idx(classes=["shirt", "bag", "coat"])
    assert examples.classes == ("bag", "coat", "shirt")
    assert [examples.names_of(i) for i in range(4)] == [["shirt"], ["bag"], ["coat"], ["bag"]]
    assert examples.sides is None


def test_numbers_sort_as_they_count_and_those_of_no_picture_are_no_classes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_idx("train-images-idx3-ubyte", GREY)
    write_idx("train-labels-idx1-ubyte", np.array([2, 10, 2, 1], np.uint8))
    examples = read_idx()
    assert examples.classes == ("01", "02", "10")
    assert examples.labels.tolist() == [1, 2, 1, 0]
    assert read_idx(classes=[f"c{number}" for number in range(11)]).classes == ("c1", "c10", "c2")
    assert "warning: . has no picture of 'c0', so it is no class\n" in capsys.readouterr().err


def test_idx_files_that_cannot_be_read() -> None:
    assert idx_problem() == (
        "data.source.path: no idx files in .\n  expected files such as train-images-idx3-ubyte.gz"
    )
    write_idx("train-labels-idx1-ubyte", LABELS)
    write_idx("train-images-idx3-ubyte.gz", GREY)
    whole = Path("train-images-idx3-ubyte.gz").read_bytes()
    Path("train-images-idx3-ubyte.gz").write_bytes(whole[:-20])
    assert idx_problem() == (
        "data.source.path: train-images-idx3-ubyte.gz is no whole idx file: Compressed file ended "
        "before the end-of-stream marker was reached\n  fetch it again"
    )
    Path("train-images-idx3-ubyte.gz").write_bytes(gzip.decompress(whole)[:-20])
    assert idx_problem() == (
        "data.source.path: train-images-idx3-ubyte.gz has 116 bytes, but its header [4, 5, 6] "
        "means 136\n  fetch it again"
    )
    Path("train-images-idx3-ubyte.gz").write_text("<html>not found")
    assert idx_problem() == (
        "data.source.path: train-images-idx3-ubyte.gz is no idx file: it begins with 3c 68 74 6d\n"
        "  expected 00 00 08 03 (images) or 00 00 08 01 (labels)"
    )


PAIRS = "\n  expected an array of images and one of labels for each of train, validation, test"


def test_images_and_labels_that_do_not_fit() -> None:
    write_idx("train-images-idx3-ubyte", GREY)
    assert idx_problem() == (
        f"data.source: . has the arrays train-images-idx3-ubyte [4, 5, 6]{PAIRS}"
    )
    write_idx("train-labels-idx1-ubyte", LABELS[:3])
    assert idx_problem() == ("data.source: 'train-images-idx3-ubyte' has 4 images but 3 labels")
    write_idx("train-labels-idx1-ubyte", LABELS)
    hint = "\n  one name for each label, in their order"
    assert idx_problem(classes=["a", "b"]) == (
        f"data.source.classes: 2 different names for the labels 0 to 2 of .{hint}"
    )
    assert idx_problem(classes=["a", "b", "a"]) == (
        f"data.source.classes: 2 different names for the labels 0 to 2 of .{hint}"
    )
    write_idx("train-labels-idx1-ubyte", LABELS * 0)
    assert idx_problem() == "data.source: . has 1 class (0)\n  a classifier needs two"


def test_the_archive_of_keras() -> None:
    np.savez("a.npz", x_train=GREY, y_train=LABELS, x_test=GREY[:1], y_test=LABELS[:1])
    examples = read_npz()
    assert examples.sides is not None
    assert examples.sides.tolist() == [0, 0, 0, 0, 2]
    assert examples.pictures.place(4) == "a.npz: test/0"


def test_kuzushiji_mnist_an_archive_per_array() -> None:
    for side, count in (("train", 4), ("test", 3)):
        np.savez(f"kmnist-{side}-imgs.npz", GREY[:count])
        np.savez(f"kmnist-{side}-labels.npz", LABELS[:count])
    examples = read_npz(".")
    assert examples.labels.tolist() == [0, 1, 2, 1, 0, 1, 2]


def test_medmnist_a_column_of_labels() -> None:
    sides = {"train": 4, "val": 3, "test": 2}
    images = {f"{side}_images": COLOUR[:count] for side, count in sides.items()}
    labels = {f"{side}_labels": LABELS[:count, None] for side, count in sides.items()}
    np.savez("a.npz", **images, **labels)
    examples = read_npz()
    assert not examples.multi_label
    assert examples.sides is not None
    assert examples.sides.tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2]
    assert np.array_equal(examples.pictures.content(1), COLOUR[1])


def test_multi_hot_labels(capsys: pytest.CaptureFixture[str]) -> None:
    hot = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]])
    np.savez("a.npz", images=GREY, labels=hot)
    examples = read_npz(classes=["z", "y", "x"])
    assert "warning: a.npz has no picture of 'x', so it is no class\n" in capsys.readouterr().err
    assert examples.multi_label
    assert examples.classes == ("y", "z")
    assert [examples.names_of(i) for i in range(4)] == [["z"], ["y", "z"], [], ["y"]]
    assert read_npz().classes == ("0", "1")
    assert "warning: a.npz has no picture of '2', so it is no class\n" in capsys.readouterr().err
    hint = "\n  one name for each label, in their order"
    for names in (["a", "b"], ["a", "b", "c", "d"]):
        assert npz_problem(classes=names) == (
            f"data.source.classes: {len(names)} different names for the labels 0 to 2 of a.npz{hint}"
        )


def test_numbers_beyond_32_bits_stay_apart() -> None:
    np.savez("a.npz", images=GREY, labels=np.array([0, 2**32, 1, 2**64 - 1], np.uint64))
    examples = read_npz()
    assert [int(name) for name in examples.classes] == [0, 1, 2**32, 2**64 - 1]
    assert examples.labels.tolist() == [0, 2, 1, 3]
    assert npz_problem(classes=["a", "b"]).startswith(
        "data.source.classes: 2 different names for the labels 0 to 18446744073709551615 of a.npz"
    )


def test_a_picture_changes_with_the_file_that_holds_it() -> None:
    Path("set").mkdir()
    for side in ("train", "test"):
        np.savez(f"set/{side}.npz", images=GREY, labels=LABELS)
        write_idx(f"set/{side}-images-idx3-ubyte", GREY)
        write_idx(f"set/{side}-labels-idx1-ubyte", LABELS)

    def stamps() -> tuple[list[tuple[int, int]], ...]:
        read = npz.read(Npz(kind="npz", path="set")), idx.read(Idx(kind="idx", path="set"))
        return tuple([each.pictures.stamp(index) for index in range(8)] for each in read)

    first = stamps()
    for name in ("set/test.npz", "set/test-images-idx3-ubyte"):
        os.utime(name, ns=(1, 1))  # as if written over in place: the folder does not change
    for old, new in zip(first, stamps(), strict=True):
        assert new[:4] == old[:4]
        assert new[4:] == [(old[4][0], 1)] * 4


@pytest.mark.parametrize(
    ("arrays", "problem"),
    [
        (
            {"x": GREY / 255, "y": LABELS},
            "'x' is float64 [4, 5, 6]\n  expected uint8 [N, H, W] or [N, H, W, 1 or 3]",
        ),
        (
            {"x": GREY[..., None].repeat(2, 3), "y": LABELS},
            "'x' is uint8 [4, 5, 6, 2]\n  expected uint8 [N, H, W] or [N, H, W, 1 or 3]",
        ),
        (
            {"x": GREY, "y": LABELS.astype(str)},
            "the labels 'y' are text\n  expected whole numbers from 0",
        ),
        (
            {"x": GREY, "y": LABELS.astype(float)},
            "the labels 'y' are float64\n  expected whole numbers from 0",
        ),
        (
            {"x": GREY, "y": LABELS.astype(int) - 1},
            "the labels 'y' are from -1\n  expected whole numbers from 0",
        ),
        (
            {"x": GREY, "y": LABELS[:, None].repeat(2, 1)},
            "the labels 'y' are [4, 2], but not 0 and 1 only\n"
            "  expected one number per picture, or a 0 or 1 per class",
        ),
        (
            {"x_train": GREY, "y_train": LABELS, "x_test": GREY, "y_test": np.eye(4, dtype=int)},
            "the labels of a.npz are [4], [4, 4]\n"
            "  expected [N] on every side, or [N, K] with the same K",
        ),
        (
            {"x": GREY, "y": LABELS, "names": np.array(["a", "b", "c"])},
            f"a.npz has the arrays x [4, 5, 6], y [4], names [3]{PAIRS}",
        ),
    ],
)  # fmt: skip
def test_arrays_that_are_refused(arrays: dict[str, np.ndarray], problem: str) -> None:
    np.savez("a.npz", **arrays)
    assert npz_problem() == f"data.source: {problem}"


def test_archives_that_cannot_be_read(workplace: Path) -> None:
    hint = "\n  numpy.savez_compressed(path, images=…, labels=…) writes one"
    assert npz_problem() == (
        "data.source.path: no such file: a.npz\n"
        f"  the path is relative to the working directory, {workplace}"
    )
    assert npz_problem(".") == f"data.source.path: no npz files in .{hint}"
    np.save("a.npy", GREY)
    assert npz_problem("a.npy") == (
        f"data.source.path: a.npy is a single array, not an archive{hint}"
    )
    np.savez_compressed("a.npz", x=GREY, y=LABELS)
    whole = Path("a.npz").read_bytes()
    Path("a.npz").write_bytes(whole[:-30])
    assert npz_problem() == (
        f"data.source.path: a.npz is no whole npz archive: File is not a zip file{hint}"
    )
    Path("a.npz").write_text("<html>not found</html>")
    assert npz_problem() == f"data.source.path: a.npz is no npz archive{hint}"
    broken = bytearray(whole)
    broken[60:80] = bytes(20)
    Path("a.npz").write_bytes(broken)
    assert npz_problem().startswith("data.source.path: a.npz is no whole npz archive: ")
    np.savez("a.npz", x=np.array([{}], object))
    assert npz_problem() == (
        "data.source.path: a.npz is no whole npz archive: Object arrays cannot be loaded when "
        f"allow_pickle=False{hint}"
    )
