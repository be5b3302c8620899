"""What the command line names becomes pictures, frame by frame, a few at a time."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.data.fetch.server import serving
from tests.data.test_video import number, write
from trainer.config.data import Presentation
from trainer.data import frames, inputs
from trainer.data.fetch import download
from trainer.data.inputs import Picture, Ready, Unreadable, holder, listed, pictures, ready
from trainer.errors import UserError

SPEC = Presentation(image_size=(4, 6))


@pytest.fixture(autouse=True)
def _here(workplace: Path) -> None:
    """Pictures and videos are written into an empty working directory."""


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(name, np.full((5, 7, 3), 200, np.uint8)) if "." in name else None


def names(*targets: str, limited: bool = True) -> list[str]:
    return list(listed(targets, limited))


def problem(*targets: str, limited: bool = True) -> str:
    with pytest.raises(UserError) as error:
        listed(targets, limited)
    return str(error.value)


def test_files_folders_and_patterns() -> None:
    touch("p/b/2.jpg", "p/b/10.png", "p/a/x.jpg", "p/.hidden/1.jpg", "single.bmp", "odd[1].jpg")
    Path("p/notes.txt").write_text("none")
    every = ["p/a/x.jpg", "p/b/10.png", "p/b/2.jpg"]
    assert names("p") == names("./p/") == every
    assert names("p/**") == names("p/**/*") == names("p/*") == every
    assert names("p/**/*.jpg") == ["p/a/x.jpg", "p/b/2.jpg"]
    assert names("p/?/x.*") == ["p/a/x.jpg"]
    assert names("p/*.txt") == ["p/notes.txt"]
    assert names("single.bmp", "p/a", "./single.bmp") == ["single.bmp", "p/a/x.jpg", "single.bmp"]
    assert names("odd[1].jpg") == ["odd[1].jpg"]  # there is a file of that name


def test_files_that_are_called_like_a_camera() -> None:
    touch("camera:0.jpg")
    assert names("*.jpg") == names("./camera:0.jpg") == ["./camera:0.jpg"]
    assert not inputs.is_live(names("*.jpg"))
    assert [each.file for each in pictures(names("*.jpg"), None, None)] == [True]


def test_what_is_not_there() -> None:
    touch("p/1.jpg")
    Path("empty/deep").mkdir(parents=True)
    write("clips/a/1.mp4", 3)
    assert problem("p", "gone.jpg") == "gone.jpg: no such file or folder"
    assert problem("x" * 300) == "x" * 300 + ": no such file or folder"
    assert problem("p/*.png") == "p/*.png: matches no picture"
    assert problem("empty") == "empty: has no pictures (jpg, png, bmp, webp, gif, tif, avif, heic)"
    assert problem("clips") == (
        "clips: has no pictures (jpg, png, bmp, webp, gif, tif, avif, heic)\n  its videos: 'clips/**/*.mp4'"
    )
    assert names("clips/**/*.mp4") == ["clips/a/1.mp4"]
    assert problem("camera:front") == (
        "camera:front: expected the number of a camera\n  the first is camera:0"
    )
    assert problem("camera:0", "p", limited=False) == (
        "camera:0: goes on without end, so p would never be looked at\n  put the camera last, or limit it: --frames 100"
    )
    assert names("p", "camera:0", limited=False) == ["p/1.jpg", "camera:0"]
    assert problem("https://example.org/clip.MP4?x=1") == (
        "https://example.org/clip.MP4?x=1: videos are read from files alone\n  download it first"
    )


def test_a_folder_that_is_locked(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("p/1.jpg")

    def walk(*_: object, onerror: object, **__: object) -> Iterator[None]:
        onerror(PermissionError(13, "Permission denied", "p/a"))  # type: ignore[operator]
        yield

    monkeypatch.setattr(os, "walk", walk)
    assert problem("p") == "p/a: cannot be read: Permission denied"


def test_who_would_find_the_pictures_of_a_folder() -> None:
    touch("p/a/1.jpg", "q/1.jpg")
    assert holder(Path("p"), ["q", "p"]) == "p"
    assert holder(Path("q/../p/a/new"), ["p"]) == "p"
    assert holder(Path("p/new"), ["p/**/*.jpg"]) == "p/**/*.jpg"
    assert holder(Path("new"), ["**/*.jpg"]) == "**/*.jpg"
    assert holder(Path("p/a/new"), ["p/*"]) == "p/*"
    assert holder(Path("new"), ["p", "p*/**/*.jpg", "p/a/1.jpg", "http://p", "camera:0"]) is None
    assert holder(Path("p/new"), ["p/a/1.jpg", "p/a/*.jpg"]) is None
    Path("link").symlink_to("p")
    assert holder(Path("link/new"), ["p"]) == "p"


def found(*targets: str, keep: bool = False) -> list[Ready | Unreadable]:
    return list(ready(pictures(names(*targets), None, None), SPEC, keep=keep, live=False))


def test_pictures_become_what_the_network_sees() -> None:
    cv2.imwrite("red.png", np.full((9, 9, 3), (0, 0, 255), np.uint8))
    Path("broken.jpg").write_bytes(b"no")
    Path("pipe.jpg").mkdir()
    red, broken = found("red.png", "broken.jpg")
    assert isinstance(red, Ready)
    assert (red.image.shape, red.image.dtype, red.original) == ((4, 6, 3), np.uint8, None)
    assert (red.image == [255, 0, 0]).all()
    assert broken == Unreadable("broken.jpg", "no picture of a known format")
    Path("red.png").unlink()
    [gone] = ready(
        [Picture("red.png", lambda: Path("red.png").read_bytes(), True)],
        SPEC,
        keep=False,
        live=False,
    )
    assert gone == Unreadable("red.png", "No such file or directory")


@pytest.mark.parametrize("live", [False, True])
def test_only_a_few_are_read_ahead(live: bool) -> None:
    taken = 0

    def many() -> Iterator[Picture]:
        nonlocal taken
        for index in range(100_000):
            taken += 1
            yield Picture(str(index), lambda: np.zeros((3, 3, 3), np.uint8), False)

    stream = ready(many(), SPEC, keep=False, live=live)
    assert [next(stream).name for _ in range(50)] == [str(index) for index in range(50)]
    assert taken <= 50 + (0 if live else inputs.AHEAD * inputs.THREADS)
    stream.close()


# --- frames -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".webm"])
def test_frames_are_called_after_their_moments(suffix: str) -> None:
    name = f"clip{suffix}"
    write(name, 40)
    found = list(frames.video(name, 15))
    assert [each.name for each in found] == [
        f"{name}#00:00.000",
        f"{name}#00:00.500",
        f"{name}#00:01.000",
    ]
    assert [number(each.pixels) for each in found] == [0, 15, 30]
    assert [number(each.pixels) for each in frames.video(name, most=3)] == [0, 1, 2]


def test_a_colon_in_the_name_of_a_video() -> None:
    write("clip.mp4", 2)
    Path("clip.mp4").rename("12:30.mp4")
    assert [each.name for each in frames.video("12:30.mp4", most=1)] == ["12:30.mp4#00:00.000"]


def test_moments() -> None:
    assert [frames._written(ms) for ms in (0, 1240.4, 61_000, 3_599_999.6, 36_000_001)] == [
        "00:00.000", "00:01.240", "01:01.000", "1:00:00.000", "10:00:00.001",
    ]  # fmt: skip


def test_frames_of_a_file_that_knows_no_times() -> None:
    class Timeless:
        left = 3

        def grab(self) -> bool:
            self.left -= 1
            return self.left >= 0

        def retrieve(self) -> tuple[bool, np.ndarray]:
            return True, np.zeros((2, 2, 3), np.uint8)

    stream = frames._frames(Timeless(), "clip.avi", 1, None, lambda: 0.0)  # type: ignore[arg-type]
    assert [each.name for each in stream] == [
        "clip.avi#00:00.000",
        "clip.avi#frame1",
        "clip.avi#frame2",
    ]


def test_broken_videos(capfd: pytest.CaptureFixture[str]) -> None:
    Path("none.mp4").write_bytes(b"nothing" * 50)
    Path(os.fsdecode(b"\xff.mp4")).write_bytes(b"nothing")
    assert found("none.mp4") == [Unreadable("none.mp4", "no frame of it can be decoded")]
    assert found(os.fsdecode(b"\xff.mp4")) == [
        Unreadable(os.fsdecode(b"\xff.mp4"), "its name is not UTF-8")
    ]
    write("cut.avi", 40)
    content = Path("cut.avi").read_bytes()
    Path("cut.avi").write_bytes(content[: len(content) * 2 // 3])
    count = len(found("cut.avi"))
    assert 20 < count < 30
    assert capfd.readouterr().err == (
        f"warning: cut.avi breaks off: {count} of 40 frames can be decoded\n"
    )


def test_frames_are_kept_as_jpeg() -> None:
    write("clip.mp4", 3)
    [first, *_] = found("clip.mp4", keep=True)
    assert isinstance(first, Ready)
    assert first.original
    [frame, *_] = frames.video("clip.mp4")
    kept = cv2.imdecode(np.frombuffer(first.original, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(kept.astype(int) - frame.pixels).max() < 12


def camera(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(frames, "_camera", lambda number: cv2.VideoCapture(name))


def test_a_camera(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    write("clip.mp4", 62)
    camera(monkeypatch, "clip.mp4")
    once_a_second = list(frames.camera(0))
    assert [number(each.pixels) for each in once_a_second] == [0, 30, 60]
    assert once_a_second[0].name.startswith("camera:0#00:00.0")
    assert capfd.readouterr().err == "warning: camera:0 shows nothing any more\n"
    assert [number(each.pixels) for each in frames.camera(0, every=7, most=3)] == [0, 7, 14]
    assert capfd.readouterr().err == ""


def test_a_camera_whose_frames_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    class Blind:
        def __init__(self, number: int) -> None:
            self.left = 3

        def isOpened(self) -> bool:  # noqa: N802 (OpenCV's)
            return True

        def get(self, what: int) -> float:
            return 30.0

        def grab(self) -> bool:
            self.left -= 1
            return self.left >= 0

        def retrieve(self) -> tuple[bool, None]:
            return False, None

        def release(self) -> None:
            pass

    monkeypatch.setattr(frames, "_camera", Blind)
    assert found("camera:0") == [Unreadable("camera:0", "it shows nothing")]


def test_no_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    camera(monkeypatch, "gone.mp4")
    with pytest.raises(UserError) as error:
        list(frames.camera(3))
    assert str(error.value) == "camera:3: there is no such camera, or another program uses it"


# --- addresses ----------------------------------------------------------------------------------


def reason(url: str) -> str:
    with pytest.raises(ValueError) as error:
        download.content(url)
    return str(error.value)


def test_a_picture_of_an_address() -> None:
    content = cv2.imencode(".png", np.full((9, 9, 3), (0, 0, 255), np.uint8))[1].tobytes()
    with serving({"red.png": content, "%C3%BC%20x.png": content}) as server:
        server.moved["old.png"] = server.url("red.png")
        urls = [server.url(each) for each in ("red.png", "red.png?w=100", "old.png", "ü x.png")]
        server.contents["red.png?w=100"] = content
        for url in urls:
            [picture] = found(url, keep=True)
            assert isinstance(picture, Ready)
            assert (picture.name, picture.original) == (url, content)
            assert (picture.image == [255, 0, 0]).all()


def test_an_address_without_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving({"page": b"<html>", "cut.png": b"12345678"}) as server:
        server.moved["file.png"] = "file:///etc/hostname"
        server.announces, server.cut = 20, [None]
        assert reason(server.url("cut.png")) == "the connection broke after 8 of 20 bytes"
        server.announces = 0
        assert found(server.url("page")) == [
            Unreadable(server.url("page"), "no picture of a known format")
        ]
        assert reason(server.url("gone.png")) == "the server answers 404 Not Found"
        assert "file" in reason(server.url("file.png"))
        server.kind = "text/html; charset=utf-8"
        assert reason(server.url("page")) == "the server sends text/html, which is no picture"
        server.kind = "image/png"
        monkeypatch.setattr(download, "PICTURE_BYTES", 7)
        assert reason(server.url("cut.png")) == "it has more than 7 bytes"
        port = server.server_port
    assert (
        reason(f"http://127.0.0.1:{port}/x.png") == "no connection to 127.0.0.1: Connection refused"
    )
    assert reason("http://").startswith("no host given")

    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(download, "PICTURE_SECONDS", 0.1)
        port = silent.getsockname()[1]
        assert reason(f"http://127.0.0.1:{port}/x") == "no connection to 127.0.0.1: timed out"

    def offline(*_: object, **__: object) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    assert reason("http://example.invalid/x.png") == "the host example.invalid was not found"
