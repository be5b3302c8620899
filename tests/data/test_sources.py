"""Folders and drawn hands: the battery, and what each promises beyond it."""

import os
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter

from tests import families
from tests.conftest import draw_pictures
from trainer.config.data import Folder, RenderedHands, Source
from trainer.data.examples import demand_names
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
    assert examples.counts().tolist() == [3, 2]
    assert examples.sides is None


def test_folder_with_split_roots_has_the_classes_of_all_of_them(tmp_path: Path) -> None:
    draw_pictures(tmp_path / "train", {"a": 2, "c": 2})
    draw_pictures(tmp_path / "val", {"b": 1, "c": 1})
    draw_pictures(tmp_path / "test", {"c": 1})
    examples = families.source(lambda: folder.read(at(tmp_path)))
    assert examples.classes == ("a", "b", "c")
    assert examples.sides is not None
    assert sorted(zip(examples.sides.tolist(), examples.labels.tolist(), strict=True)) == [
        (0, 0), (0, 0), (0, 2), (0, 2), (1, 1), (1, 2), (2, 2),
    ]  # fmt: skip
    assert examples.pictures.name(0) == "test/c/00.png"  # sorted


def test_classes_called_train_and_test_are_classes(tmp_path: Path) -> None:
    draw_pictures(tmp_path, {"train": 2, "test": 2, "car": 1})
    assert families.source(lambda: folder.read(at(tmp_path))).classes == ("car", "test", "train")


def test_the_working_directory_can_be_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    draw_pictures(Path(), {"a": 1, "b": 1})
    examples = families.source(lambda: folder.read(at(Path())))
    assert [examples.pictures.name(i) for i in range(2)] == ["a/00.png", "b/00.png"]


def test_names_are_the_same_wherever_the_folder_lies(tmp_path: Path) -> None:
    draw_pictures(tmp_path / "one", {"a": 1, "b": 1})
    draw_pictures(tmp_path / "two" / "deeper", {"a": 1, "b": 1})
    one = folder.read(at(tmp_path / "one"))
    two = folder.read(Folder(kind="folder", path=str(tmp_path / "two" / "deeper") + "/"))
    assert [one.pictures.name(i) for i in range(2)] == [two.pictures.name(i) for i in range(2)]


def test_file_names_that_are_no_utf_8(tmp_path: Path) -> None:
    draw_pictures(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "a" / "00.png").rename(tmp_path / "a" / os.fsdecode(b"caf\xe9.png"))
    examples = families.source(lambda: folder.read(at(tmp_path)))
    assert os.fsencode(examples.pictures.name(0)) == b"a/caf\xe9.png"


def test_rendered_hands(tmp_path: Path) -> None:
    source = RenderedHands(kind="rendered_hands", path=str(tmp_path), images_per_class=4, size=32)
    examples = families.source(lambda: rendered_hands.read(source))
    assert examples.classes == ("paper", "rock", "scissors")
    assert examples.counts().tolist() == [4, 4, 4]


def test_rendered_hands_are_the_same_bytes_wherever_they_are_drawn(tmp_path: Path) -> None:
    def drawn(place: str, **options: int) -> dict[str, bytes]:
        path = str(tmp_path / place)
        source = RenderedHands(
            kind="rendered_hands", path=path, size=32, images_per_class=3, **options
        )
        pictures = rendered_hands.read(source).pictures
        return {pictures.name(i): pictures.content(i) for i in range(len(pictures))}

    assert drawn("one") == drawn("two") != drawn("two", seed=2)


def pictures_in(place: Path) -> dict[str, bytes]:
    return {str(each.relative_to(place)): each.read_bytes() for each in place.rglob("*.jpg")}


@pytest.mark.parametrize("command", [None, "raise SystemExit(1)"], ids=["help", "no help"])
def test_processes_draw_what_one_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str | None
) -> None:
    """Even if one that should help ends early."""
    source = RenderedHands(kind="rendered_hands", images_per_class=3, size=32)
    rendered_hands.draw_all(source, tmp_path / "alone", 1)
    monkeypatch.setattr(rendered_hands, "WORTH", 1)
    if command:
        monkeypatch.setattr(rendered_hands, "COMMAND", command)
    rendered_hands.draw_all(source, tmp_path / "together", 3)
    assert len(pictures_in(tmp_path / "alone")) == 9
    assert pictures_in(tmp_path / "together") == pictures_in(tmp_path / "alone")


def test_a_helper_ends_with_its_parent(tmp_path: Path) -> None:
    source = RenderedHands(kind="rendered_hands", images_per_class=3, size=32)
    rendered_hands.help_with(source.model_dump_json(), str(tmp_path), 0, 1, parent=-1)
    assert not pictures_in(tmp_path)


def test_drawing_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = RenderedHands(kind="rendered_hands", path=str(tmp_path), images_per_class=2, size=32)
    first = Path(rendered_hands.read(source).pictures.place(0))
    whole = first.read_bytes()
    first.write_bytes(b"half")  # as if stopped in the middle
    (first.parent.parent / "complete.json").unlink()
    (first.parent.parent / "rock" / "0001.jpg").unlink()
    drawn, draw = [], rendered_hands.hands.draw

    def counted(label: str, generator: np.random.Generator, size: int) -> np.ndarray:
        drawn.append(label)
        return draw(label, generator, size)

    monkeypatch.setattr(rendered_hands.hands, "draw", counted)
    assert len(rendered_hands.read(source)) == 6
    assert first.read_bytes() == whole
    assert drawn == ["paper", "rock"]


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
    kinds = "jpg, png, bmp, webp, gif, tif, avif, heic"
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
    assert examples.counts().tolist() == [2, 1, 1]


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
        "data.source.path: root has both val/ and validation/\n  keep one of them"
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
    (tmp_path / "c" / "x.mp4").write_text("")
    assert folder.read(at(tmp_path)).classes == ("a", "b")
    assert f"warning: {tmp_path}/c has no pictures, so 'c' is no class\n" in capsys.readouterr().err


def test_a_line_break_in_a_class_is_refused(tmp_path: Path) -> None:
    draw_pictures(tmp_path, {"a": 2, "b\nc": 2})
    assert problem(tmp_path) == "data.source: the class 'b\\nc' has a line break in its name"


@pytest.mark.parametrize("name", ["b\nc", "b\n", "\rb", "b\u2028c", "\n"])
def test_names_of_classes_take_one_line(name: str) -> None:
    demand_names(["a b", "größer", ""])
    with pytest.raises(UserError) as error:
        demand_names(["a", name])
    assert str(error.value) == f"data.source: the class {name!r} has a line break in its name"


def test_a_class_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    draw_pictures(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "b").rename(tmp_path / os.fsdecode(b"caf\xe9"))
    assert problem(tmp_path) == (
        "data.source.path: the class b'caf\\xe9' has a name that is not UTF-8\n  rename the folder"
    )


def test_the_examples_of_the_documentation_are_valid_and_cover_every_kind() -> None:
    text = (Path(__file__).parents[2] / "docs" / "sources.md").read_text()
    found = [
        yaml.safe_load(f"source:{one}")["source"]
        for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        for one in block.split("source:")[1:]
    ]
    read = [TypeAdapter(Source).validate_python(each) for each in found]
    kinds = {
        get_args(each.model_fields["kind"].annotation)[0] for each in get_args(get_args(Source)[0])
    }
    assert {each.kind for each in read} == kinds


def test_a_pipe_that_is_called_like_a_picture_is_an_empty_file(tmp_path: Path) -> None:
    draw_pictures(tmp_path, {"a": 2, "b": 2})
    os.mkfifo(tmp_path / "a" / "pipe.jpg")
    examples = folder.read(at(tmp_path))
    contents = {
        examples.pictures.name(index): examples.pictures.content(index) for index in range(5)
    }
    assert contents["a/pipe.jpg"] == b""


def test_pictures_beside_the_class_folders_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_pictures(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "a" / "00.png").rename(tmp_path / "loose.png")
    folder.read(at(tmp_path))
    assert capsys.readouterr().err == (
        f"warning: 1 pictures beside the class folders of {tmp_path} are of no class and left out, "
        "such as loose.png\n"
    )
