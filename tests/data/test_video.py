"""Videos: the frames are those that counting from the beginning gives."""

import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests import families
from trainer.config.data import Video
from trainer.data.decode import decode
from trainer.data.examples import Examples
from trainer.data.sources import video
from trainer.errors import UserError

CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".avi": "MJPG", ".webm": "VP90"}
BITS = 6


@pytest.fixture(autouse=True)
def _here(workplace: Path) -> None:
    """Videos are written into an empty working directory."""


def write(path: str, frames: int, height: int = 48, width: int = 96) -> None:
    """Every frame shows its number as a row of black and white squares."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    code = cv2.VideoWriter.fourcc(*CODECS[Path(path).suffix])
    writer = cv2.VideoWriter(path, code, 30, (width, height))
    for number in range(frames):
        bits = [255 * (number >> bit & 1) for bit in range(BITS)]
        squares = np.repeat(np.array(bits, np.uint8), width // BITS)
        writer.write(np.broadcast_to(squares[None, :, None], (height, width, 3)).copy())
    writer.release()


def number(pixels: np.ndarray) -> int:
    """Of the frame that these pixels show."""
    columns = np.array_split(pixels.mean(axis=(0, 2)), BITS)
    return sum(int(column.mean() > 127) << bit for bit, column in enumerate(columns))


def read(every: int = 10) -> Examples:
    source = Video(kind="video", path="clips", every=every, frames="frames")
    return families.source(lambda: video.read(source))


def problem() -> str:
    with pytest.raises(UserError) as error:
        video.read(Video(kind="video", path="clips", frames="frames"))
    return str(error.value)


@pytest.mark.parametrize("suffix", CODECS)
def test_every_nth_frame_and_exactly_that_one(suffix: str) -> None:
    write(f"clips/a/1{suffix}", 43)
    write(f"clips/b/2{suffix}", 25)
    examples = read(every=7)
    shown = [number(decode(examples.pictures.content(i))) for i in range(len(examples))]
    assert shown == [0, 7, 14, 21, 28, 35, 42, 0, 7, 14, 21]
    assert examples.pictures.name(1) == f"a/1{suffix}/000007.jpg"
    assert examples.labels.tolist() == [0] * 7 + [1] * 4
    assert examples.groups is not None
    assert list(examples.groups) == [f"a/1{suffix}"] * 7 + [f"b/2{suffix}"] * 4


def test_split_roots() -> None:
    for place in ("train/a", "train/b", "test/a", "test/b"):
        write(f"clips/{place}/1.mp4", 12)
    examples = read()
    assert examples.sides is not None
    assert examples.sides.tolist() == [2, 2, 2, 2, 0, 0, 0, 0]


def test_a_video_is_read_again_only_when_it_has_changed() -> None:
    write("clips/a/1.mp4", 20)
    write("clips/b/1.mp4", 20)
    frame = read().pictures.place(0)
    first = Path(frame).stat().st_mtime_ns
    read()
    assert Path(frame).stat().st_mtime_ns == first
    write("clips/a/1.mp4", 40)
    assert len(read()) == 6
    assert len(read(every=5)) == 12  # beside the others
    assert len(list(Path("frames").iterdir())) == 2


def test_frames_without_their_marker_are_written_again() -> None:
    write("clips/a/1.mp4", 20)
    write("clips/b/1.mp4", 20)
    frame = Path(read().pictures.place(0))
    whole = frame.read_bytes()
    frame.write_bytes(b"half")
    (frame.parent / "frames.json").unlink()
    read()
    assert frame.read_bytes() == whole


def test_frames_that_are_gone_are_written_again() -> None:
    write("clips/a/1.mp4", 20)
    write("clips/b/1.mp4", 20)
    examples = read()
    one, other = Path(examples.pictures.place(1)), Path(examples.pictures.place(2))
    one.unlink()
    kept = other.stat().st_mtime_ns
    assert len(read()) == 4
    assert one.is_file()
    assert other.stat().st_mtime_ns == kept


def test_videos_of_phones_are_upright() -> None:
    write("clips/a/1.mp4", 2)
    write("clips/b/1.mp4", 2)
    path = Path("clips/a/1.mp4")
    content = path.read_bytes()
    level = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    turned = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)
    at = content.index(level, content.index(b"tkhd"))
    path.write_bytes(content[:at] + turned + content[at + len(turned) :])
    examples = read()
    assert decode(examples.pictures.content(0)).shape == (96, 48, 3)
    assert decode(examples.pictures.content(1)).shape == (48, 96, 3)


def test_videos_that_cannot_be_read(capfd: pytest.CaptureFixture[str]) -> None:
    write("clips/a/1.mp4", 20)
    write("clips/b/1.mp4", 20)
    whole = Path("clips/a/1.mp4").read_bytes()
    Path("clips/a/half.mp4").write_bytes(whole[: len(whole) // 2])
    Path("clips/b/empty.mov").write_bytes(b"")
    Path("clips/b", os.fsdecode(b"\xe9.mp4")).write_bytes(whole)
    capfd.readouterr()
    examples = video.read(Video(kind="video", path="clips", frames="frames"))
    assert len(examples) == 4
    assert capfd.readouterr().err == (
        "warning: clips/a/half.mp4 is left out: no frame of it can be decoded\n"
        "warning: clips/b/empty.mov is left out: no frame of it can be decoded\n"
        "warning: clips/b/\\udce9.mp4 is left out: its name is not UTF-8\n"
    )
    Path("clips/b/1.mp4").write_bytes(whole[:100])
    assert problem() == (
        "data.source.path: the readable videos of clips have 1 class (a)\n  two are needed"
    )


def test_a_video_that_breaks_off_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    write("clips/a/1.avi", 40)
    write("clips/b/1.avi", 40)
    whole = Path("clips/a/1.avi").read_bytes()
    Path("clips/a/1.avi").write_bytes(whole[: len(whole) // 2])
    video.read(Video(kind="video", path="clips", frames="frames"))
    err = capfd.readouterr().err
    assert "warning: clips/a/1.avi breaks off: " in err
    assert " of 40 frames can be decoded\n" in err


def test_no_videos() -> None:
    Path("clips/a").mkdir(parents=True)
    Path("clips/a/1.jpg").touch()
    assert problem() == (
        "data.source.path: no videos (mp4, m4v, mov, avi, mkv, webm) in the sub-folders of clips\n"
        "  put one sub-folder per class in it, with the videos inside"
    )
