"""Pictures -> records: what they are, whether they can be read, and that none is decoded twice."""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from trainer.data.examples import Arrays, Files, Texts
from trainer.data.inspect import survey


class Counted:
    """Files that count how often each is read; `stop` breaks off at a name."""

    def __init__(self, root: Path, stop: str = "") -> None:
        names = sorted(path.name for path in root.iterdir())
        self.files, self.read, self.stop = Files(str(root), Texts(names)), Counter(), stop

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        return self.files.name(index)

    def place(self, index: int) -> str:
        return self.files.place(index)

    def stamp(self, index: int) -> tuple[int, int]:
        return self.files.stamp(index)

    def content(self, index: int) -> bytes:
        if self.name(index) == self.stop:
            raise KeyboardInterrupt
        self.read[self.name(index)] += 1
        return self.files.content(index)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty folder for pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    return folder


def noise(height: int = 40, width: int = 60, seed: int = 0, mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def look(root: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Records and reasons by name."""
    pictures = Counted(root)
    found = survey.survey(pictures, root.parent / "kept.npz")
    records = {pictures.name(index): found.records[index] for index in range(len(pictures))}
    return records, {pictures.name(index): why for index, why in found.reasons.items()}


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def test_what_a_picture_is(root: Path) -> None:
    noise().save(root / "plain.jpg")
    noise().save(root / "turned.jpg", exif=turned(6))
    noise(mode="RGBA").save(root / "alpha.png")
    Image.fromarray(np.arange(2400, dtype=np.uint16).reshape(40, 60)).save(root / "deep.png")
    noise(mode="L").save(root / "grey.jpg")
    noise(mode="L").convert("RGB").save(root / "grey_in_three_channels.jpg")
    noise().save(root / "animated.gif", save_all=True, append_images=[noise(seed=1)])
    records, reasons = look(root)
    fields = ("format", "height", "width", "orientation", "alpha", "deep", "grey", "animated")
    assert {name: tuple(record[list(fields)].tolist()) for name, record in records.items()} == {
        "plain.jpg": ("JPEG", 40, 60, 0, False, False, False, False),
        "turned.jpg": ("JPEG", 60, 40, 6, False, False, False, False),
        "alpha.png": ("PNG", 40, 60, 0, True, False, False, False),
        "deep.png": ("PNG", 40, 60, 0, False, True, True, False),
        "grey.jpg": ("JPEG", 40, 60, 0, False, False, True, False),
        "grey_in_three_channels.jpg": ("JPEG", 40, 60, 0, False, False, True, False),
        "animated.gif": ("GIF", 40, 60, 0, False, False, False, True),
    }
    assert reasons == {}


def test_sixteen_bits_in_three_channels(root: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (40, 60, 3), np.uint16)
    cv2.imwrite(str(root / "deep.png"), pixels)
    records, _ = look(root)
    assert (records["deep.png"]["deep"], records["deep.png"]["grey"]) == (True, False)


def test_what_cannot_be_read_is_named_and_stops_nothing(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    noise().save(root / "good.png")
    noise().save(root / "good.jpg")
    content = (root / "good.png").read_bytes()
    (root / "half.png").write_bytes(content[: len(content) // 2])
    (root / "broken.png").write_bytes(content[:60] + b"broken" + content[66:])
    (root / "empty.jpg").write_bytes(b"")
    (root / "text.jpg").write_bytes(b"hello")
    (root / "marker.jpg").write_bytes(b"\xff\xd8\xff\xff")
    (root / "gone.jpg").symlink_to("nowhere")
    (root / "folder.jpg").mkdir()
    records, reasons = look(root)
    assert {name for name, record in records.items() if record["readable"]} == {
        "good.png",
        "good.jpg",
    }
    assert reasons.keys() == records.keys() - {"good.png", "good.jpg"}
    assert reasons["empty.jpg"] == "empty file"
    assert reasons["text.jpg"] == "no picture of a known format"
    assert reasons["gone.jpg"] == "No such file or directory"
    assert reasons["folder.jpg"] == "Is a directory"
    assert capfd.readouterr().err == ""  # libpng's own words


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (31, 33), (257, 127)])
def test_every_shape(root: Path, size: tuple[int, int]) -> None:
    noise(*size).save(root / "a.png")
    records, _ = look(root)
    assert (records["a.png"]["height"], records["a.png"]["width"]) == size


def test_pixels_of_arrays(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    grey = generator.integers(0, 256, (2, 28, 28), np.uint8)
    found = survey.survey(Arrays(str(tmp_path / "a.npz"), {"train": grey}), tmp_path / "kept.npz")
    assert found.records["format"].tolist() == ["pixels", "pixels"]
    assert found.records["grey"].all()
    assert found.records["content"][0] != found.records["content"][1]


def test_large_pictures_and_those_of_unknown_size_wait_for_each_other(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "LARGE", 40 * 60 - 1)
    held: list[bool] = []
    monkeypatch.setattr(
        survey, "decode", lambda content: held.append(survey._one_large.locked()) or 1 / 0
    )
    noise().save(root / "large.jpg")
    with pytest.raises(ZeroDivisionError):
        look(root)
    (root / "large.jpg").write_bytes(b"what is this")
    with pytest.raises(ZeroDivisionError):
        look(root)
    noise(39, 60).save(root / "large.jpg")
    with pytest.raises(ZeroDivisionError):
        look(root)
    assert held == [True, True, False]


def test_nothing_is_decoded_twice_unless_it_changes(root: Path) -> None:
    for seed in range(3):
        noise(seed=seed).save(root / f"{seed}.png")
    kept = root.parent / "kept.npz"
    first = survey.survey(Counted(root), kept)
    again = Counted(root)
    assert np.array_equal(survey.survey(again, kept).records, first.records)
    assert not again.read
    noise(50, 50).save(root / "1.png")
    noise(seed=9).save(root / "0a.png")  # moves the others
    third = Counted(root)
    found = survey.survey(third, kept)
    assert third.read == {"1.png": 1, "0a.png": 1}
    assert found.records["height"].tolist() == [40, 40, 50, 40]
    assert np.array_equal(found.records[[0, 3]], first.records[[0, 2]])


def test_what_could_not_be_read_is_tried_again(root: Path) -> None:
    noise().save(root / "good.png")
    (root / "bad.png").write_bytes(b"")
    kept = root.parent / "kept.npz"
    for _ in range(2):
        pictures = Counted(root)
        assert survey.survey(pictures, kept).reasons == {0: "empty file"}
        assert pictures.read["bad.png"] == 1
    assert not pictures.read["good.png"]


def test_ctrl_c_keeps_what_was_found(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "CHUNK", 4)
    for seed in range(10):
        noise(seed=seed).save(root / f"{seed}.png")
    kept = root.parent / "kept.npz"
    with pytest.raises(KeyboardInterrupt):
        survey.survey(Counted(root, stop="9.png"), kept)
    rest = Counted(root)
    survey.survey(rest, kept)
    assert rest.read == {"8.png": 1, "9.png": 1}


def test_a_damaged_memory_is_made_anew(root: Path) -> None:
    noise().save(root / "a.png")
    kept = root.parent / "kept.npz"
    kept.write_bytes(b"PK damaged")
    assert survey.survey(Counted(root), kept).records["readable"].all()
    again = Counted(root)
    survey.survey(again, kept)
    assert not again.read
