"""Sources: the battery, and what each promises beyond it."""

from pathlib import Path

import pytest

from tests import families
from tests.conftest import draw_pictures
from trainer.config.data import Folder, RenderedHands
from trainer.data.sources import folder, rendered_hands
from trainer.errors import UserError


def at(path: Path) -> Folder:
    return Folder(kind="folder", path=str(path))


def test_folder(tmp_path: Path) -> None:
    draw_pictures(tmp_path, {"b": 2, "a": 3})
    (tmp_path / "a" / "deeper").mkdir()
    (tmp_path / "a" / "00.png").rename(tmp_path / "a" / "deeper" / "00.JPEG")
    (tmp_path / "a" / "notes.txt").write_text("not a picture")
    (tmp_path / "a" / "._01.png").write_text("a Mac's shadow file")
    (tmp_path / ".hidden").mkdir()
    examples = families.source(lambda: folder.read(at(tmp_path)))
    assert examples.classes == ("a", "b")
    assert examples.labels_NK.sum(axis=0).tolist() == [3, 2]
    assert examples.sides is None


def test_folder_with_split_roots_has_the_classes_of_all_of_them(tmp_path: Path) -> None:
    draw_pictures(tmp_path / "train", {"a": 2, "c": 2})
    draw_pictures(tmp_path / "val", {"b": 1, "c": 1})
    draw_pictures(tmp_path / "test", {"c": 1})
    examples = families.source(lambda: folder.read(at(tmp_path)))
    assert examples.classes == ("a", "b", "c")
    assert sorted(zip(examples.sides or (), examples.labels_NK.argmax(1).tolist(), strict=True)) == [
        ("test", 2), ("train", 0), ("train", 0), ("train", 2), ("train", 2),
        ("validation", 1), ("validation", 2),
    ]  # fmt: skip


def test_classes_called_train_and_test_are_classes(tmp_path: Path) -> None:
    draw_pictures(tmp_path, {"train": 2, "test": 2, "car": 1})
    assert families.source(lambda: folder.read(at(tmp_path))).classes == ("car", "test", "train")


def test_rendered_hands(tmp_path: Path) -> None:
    source = RenderedHands(kind="rendered_hands", path=str(tmp_path), images_per_class=4, size=32)
    examples = families.source(lambda: rendered_hands.read(source))
    assert examples.classes == ("paper", "rock", "scissors")
    assert examples.labels_NK.sum(axis=0).tolist() == [4, 4, 4]


def test_rendered_hands_are_the_same_bytes_wherever_they_are_drawn(tmp_path: Path) -> None:
    def drawn(place: str, **options: int) -> dict[str, bytes]:
        path = str(tmp_path / place)
        source = RenderedHands(
            kind="rendered_hands", path=path, size=32, images_per_class=3, **options
        )
        return {Path(p).name: Path(p).read_bytes() for p in rendered_hands.read(source).paths}

    assert drawn("one") == drawn("two") != drawn("two", seed=2)


def test_hands_without_their_marker_are_drawn_again(tmp_path: Path) -> None:
    source = RenderedHands(kind="rendered_hands", path=str(tmp_path), images_per_class=2, size=32)
    first = Path(rendered_hands.read(source).paths[0])
    whole = first.read_bytes()
    first.write_bytes(b"half")  # as if stopped in the middle
    (first.parent.parent / "complete.json").unlink()
    rendered_hands.read(source)
    assert first.read_bytes() == whole


def problem(path: Path) -> str:
    with pytest.raises(UserError) as error:
        folder.read(at(path))
    return str(error.value)


LAYOUT = "\n  put one sub-folder per class in it, with the pictures inside"


def test_bad_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    relative = f"\n  the path is relative to the working directory, {tmp_path}"
    assert problem(Path("gone")) == f"data.source.path: no such folder: gone{relative}"
    Path("file").write_text("")
    assert problem(Path("file")) == f"data.source.path: file is a file, not a folder{relative}"
    Path("empty").mkdir()
    kinds = "jpg, jpeg, png, bmp, webp, gif"
    assert problem(Path("empty")) == (
        f"data.source.path: no pictures ({kinds}) in the sub-folders of empty{LAYOUT}"
    )
    draw_pictures(Path("one"), {"cat": 2})
    assert problem(Path("one")) == (
        f"data.source.path: one has one class only, 'cat': one/cat/00.png{LAYOUT}"
    )
    assert problem(Path("one/cat")) == (
        f"data.source.path: one/cat has 2 pictures but no class folders{LAYOUT}"
    )


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    draw_pictures(tmp_path / "elsewhere", {"a": 2})
    draw_pictures(tmp_path / "root", {"b": 1, "c": 1})
    (tmp_path / "root" / "a").symlink_to(tmp_path / "elsewhere" / "a")
    (tmp_path / "elsewhere" / "a" / "deeper").mkdir()
    (tmp_path / "elsewhere" / "a" / "deeper" / "round").symlink_to(tmp_path / "elsewhere" / "a")
    examples = families.source(lambda: folder.read(at(tmp_path / "root")))
    assert examples.labels_NK.sum(axis=0).tolist() == [2, 1, 1]


def test_layouts_that_could_be_meant_in_two_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for side in ("train", "val"):
        draw_pictures(Path("root") / side, {"a": 2, "b": 2})
    Path("root/car").mkdir()
    assert problem(Path("root")) == (
        "data.source.path: root has train/ with sub-folders and also car/\n"
        "  put either split roots or classes in it"
    )
    Path("root/car").rename("root/validation")
    assert problem(Path("root")) == (
        "data.source.path: root has both val and validation\n  keep one of them"
    )
    Path("root/validation").rename("root/test")
    assert problem(Path("root")) == (
        "data.source.path: root/test has no pictures\n"
        "  fill it, or remove it to split its pictures off the training ones"
    )


def test_class_folders_without_pictures_are_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_pictures(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "x.tiff").write_text("")
    assert folder.read(at(tmp_path)).classes == ("a", "b")
    assert f"warning: {tmp_path}/c has no pictures, so 'c' is no class\n" in capsys.readouterr().err


def test_a_line_break_in_a_class_is_refused(tmp_path: Path) -> None:
    draw_pictures(tmp_path, {"a": 2, "b\nc": 2})
    assert problem(tmp_path) == "data.source.path: the class 'b\\nc' has a line break in its name"
