"""`trainer predict`: the same from a run and from its files, whatever it is shown."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests import little
from tests.conftest import Outcome, draw_pictures
from tests.data.fetch.server import serving
from tests.data.test_video import write as write_video
from trainer import terminal
from trainer.commands import _opened, predict
from trainer.commands._copies import folders, safe
from trainer.data import frames
from trainer.runtimes.opened import Opened

Trainer = Callable[..., Outcome]
SEVERAL = {"task": "multi_label", "thresholds": (0.5, 0.9, 0.2)}


def paint(name: str, red: int, green: int, blue: int) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 9), (red, green, blue)).save(name)


@pytest.fixture
def model(workplace: Path) -> Path:
    """model.onnx beside three pictures below p/."""
    paint("p/a.png", 224, 160, 128)
    paint("p/b.png", 64, 64, 192)
    paint("p/deep/a.png", 128, 192, 128)
    return little.write(Path("model.onnx"), little.about())


def several(**changes: object) -> Path:
    return little.write(Path("several.onnx"), little.about(**SEVERAL, **changes))


def tree(folder: str) -> list[str]:
    return sorted(
        str(each.relative_to(folder)) for each in Path(folder).rglob("*") if each.is_file()
    )


# --- what is said -------------------------------------------------------------------------------


def test_a_line_for_every_picture(model: Path, trainer: Trainer) -> None:
    done = trainer("predict", model, "p")
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        "p/a.png       red    0.6285\n"  # softmax(1.5, 0.5, 0)
        "p/b.png       blue   0.7870\n"  # softmax(-1, -1, 1)
        "p/deep/a.png  green  0.5761\n"  # softmax(0, 1, 0)
    )
    assert trainer("predict", model, "p/b.png", "--top", 2).out == (
        "p/b.png  blue   0.7870  red    0.1065\n"
    )
    assert trainer("predict", model, "p/b.png", "--top", 9).out == (
        "p/b.png  blue   0.7870  red    0.1065  green  0.1065\n"
    )
    assert trainer("predict", several(), "p").out == (
        "p/a.png       red|blue  0.5000\n"  # sigmoid(1.5, 0.5, 0) from 0.5, 0.9, 0.2 on
        "p/b.png       blue   0.7311\n"
        "p/deep/a.png  red|blue  0.5000\n"
    )


def test_names_are_said_as_they_are(model: Path, trainer: Trainer) -> None:
    paint(":cat:[red].png", 224, 160, 128)
    Path(":dog:\x1b[2J.png").write_bytes(b"")
    done = trainer("predict", model, ":cat:[red].png", ":dog:\x1b[2J.png")
    assert done.out == ":cat:[red].png  red    0.6285\n"
    assert done.err.startswith("warning: :dog:\\x1b[2J.png is left out: ")


def test_it_ends_when_nobody_reads_any_more(
    model: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_pictures(Path("q"), {"red": 40})
    calls = []

    def scores(images: np.ndarray) -> np.ndarray:
        calls.append(len(images))
        return np.tile([0.5, 0.3, 0.2], (len(images), 1))

    monkeypatch.setattr(_opened.opened, "open", lambda path: Opened(little.about(), scores))
    monkeypatch.setattr(terminal.console, "quiet", True)  # as `| head` leaves it
    assert trainer("predict", model, "q").code == 0
    assert calls == [32]
    assert trainer("predict", model, "q", "--sort-into", "sorted").code == 0
    assert calls == [32, 32, 8]


def test_the_files(model: Path, trainer: Trainer) -> None:
    done = trainer("predict", model, "p", "--out", "new/labels.csv")
    assert (done.code, done.out) == (0, "written  new/labels.csv with 3 pictures\n")
    assert Path("new/labels.csv").read_text() == (
        "path,label,probability,red,green,blue\n"
        "p/a.png,red,0.628532,0.628532,0.231224,0.140244\n"
        "p/b.png,blue,0.786986,0.106507,0.106507,0.786986\n"
        "p/deep/a.png,green,0.576117,0.211942,0.576117,0.211942\n"
    )
    assert trainer("predict", model, "p/a.png", "--out", "labels.jsonl", "--top", 2).code == 0
    assert Path("labels.jsonl").read_text() == (
        '{"path": "p/a.png", "label": "red", "probability": 0.628532, '
        '"probabilities": {"red": 0.628532, "green": 0.231224, "blue": 0.140244}, '
        '"top": [{"label": "red", "probability": 0.628532}, {"label": "green", "probability": 0.231224}]}\n'
    )
    paint("dark.png", 0, 0, 0)
    assert trainer("predict", several(), "p/a.png", "dark.png", "--out", "labels.jsonl").code == 0
    one, none = map(json.loads, Path("labels.jsonl").read_text().splitlines())
    assert (one["labels"], one["probability"], list(one)) == (
        ["red", "blue"], 0.5, ["path", "labels", "probability", "probabilities"],
    )  # fmt: skip
    assert (none["labels"], none["probability"]) == ([], 0.119203)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["p", "--out", "labels.json"], "--out: expected a name that ends in .csv or .jsonl, received labels.json\n  as in --out labels.csv"),
        (["p", "--out", "labels.csv", "--top", "2"], "--top: a CSV has the probabilities of all classes anyway\n  leave --top out, or write --out labels.jsonl"),
        (["p", "--every", "2"], "--every: there is no video and no camera to look at"),
        (["p", "--frames", "2"], "--frames: there is no video and no camera to look at"),
        (["p", "--sort-into", "p/sorted"], "--sort-into: p/sorted lies in p: the next time its copies would be sorted as well\n  choose a folder beside it"),
        (["p", "--sort-into", "model.onnx"], "--sort-into: model.onnx cannot be written: File exists\n  choose another place or make it writable"),
        ([], "PATH: no pictures given\n  as in trainer predict model.onnx hand.jpg"),
        (["p", "model.onnx"], "model.onnx: is a model, but expected here is what it is to look at\n  one model is named first: trainer predict MODEL PATH…"),
        (["gone.png"], "gone.png: no such file or folder"),
    ],
)  # fmt: skip
def test_mistakes(arguments: list[str], message: str, model: Path, trainer: Trainer) -> None:
    done = trainer("predict", model, *arguments)
    assert (done.code, done.err) == (2, f"error: {message}\n")


def test_what_cannot_be_read_is_named_and_counted(model: Path, trainer: Trainer) -> None:
    Path("bad.jpg").write_bytes(b"")
    Path("clip.mp4").write_bytes(b"nothing")
    done = trainer("predict", model, "p/a.png", "bad.jpg", "clip.mp4")
    assert (done.code, done.out) == (1, "p/a.png             red    0.6285\n")
    assert done.err == (
        "warning: bad.jpg is left out: empty file\n"
        "warning: clip.mp4 is left out: no frame of it can be decoded\n"
        "error: 2 of 3 pictures could not be read\n"
    )
    assert trainer("predict", model, "bad.jpg").out == ""


# --- which model --------------------------------------------------------------------------------


def test_the_model_is_found_by_its_looks(small: Path, trainer: Trainer) -> None:
    def err(*arguments: object) -> str:
        done = trainer("predict", *arguments)
        assert done.code == 2
        return done.err

    assert err("pictures").startswith("error: no run in ")
    assert err("gone.onnx", "pictures") == (
        "error: gone.onnx: no such file or folder\n  expected .onnx, .tflite, .keras, the folder of a SavedModel or of OpenVINO, or the folder of a run\n"
    )
    Path("bad.onnx").write_bytes(b"nothing")
    assert err("bad.onnx", "pictures").startswith("error: bad.onnx: onnxruntime cannot open it: ")
    (Path("pictures") / "saved_model.pb").write_bytes(b"nothing")
    assert err("pictures") == (
        "error: PATH: no pictures given\n  pictures is a model; for the pictures in it: trainer predict MODEL pictures\n"
    )
    little.write(Path("model.onnx"), little.about())
    assert trainer("predict", "model.onnx", "pictures").code == 0
    assert err("pictures", "pictures").startswith("error: pictures: ")
    run = Path("runs/small/one")
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(small.read_text())
    (run.parent / "latest").symlink_to("one")
    assert err(run, "pictures") == (
        "error: runs/small/one: no epoch was finished in this run\n  train it with trainer fit\n"
    )
    assert err("runs/small", "pictures") == (
        "error: runs/small: is no run: it has no config.yaml\n  did you mean runs/small/latest?\n"
    )
    assert err("runs/small") == err("runs/small", "pictures")
    assert err("model.pt", "pictures") == (
        "error: model.pt: no such file or folder\n"
        "  expected .onnx, .tflite, .keras, the folder of a SavedModel or of OpenVINO, "
        "or the folder of a run\n"
    )
    Path("export").mkdir()
    Path("export/parity.json").write_text("[]")
    little.write(Path("export/model.onnx"), little.about())
    assert err("export", "pictures") == (
        "error: export: is the folder of a run's exports: name one of them\n"
        "  as in export/model.onnx\n"
    )
    assert "is a model, but expected here" in err("model.onnx", "pictures/red", run)


def test_a_file_that_fails_on_pictures(
    model: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    little.write(model, little.about(), network_size=(5, 5))
    done = trainer("predict", model, "p")
    assert done.code == 2
    assert done.err.startswith("error: model.onnx: fails on pictures: ")
    little.write(model, little.about(labels=("one", "two")))
    assert trainer("predict", model, "p").err == (
        "error: model.onnx: gives [3, 3] numbers for 3 pictures and 2 labels\n"
    )
    nothing = Opened(little.about(), lambda images: np.full((len(images), 3), np.nan))
    monkeypatch.setattr(_opened.opened, "open", lambda path: nothing)
    assert trainer("predict", model, "p").err == (
        "error: model.onnx: gives probabilities that are no numbers\n"
    )


def test_several_labels_need_their_thresholds(model: Path, trainer: Trainer) -> None:
    about = little.about(**SEVERAL).model_copy(update={"thresholds": (0.5,)})
    little.write(model, about)
    done = trainer("predict", model, "p")
    assert done.code == 2
    assert "1 thresholds for 3 labels" in done.err


def test_an_onnx_file_needs_no_tensorflow(model: Path) -> None:
    code = (
        "import sys; from trainer.cli import app\n"
        "try: app(['predict', 'model.onnx', 'p', '--out', 'labels.csv'])\n"
        "finally: print(sorted({'tensorflow', 'keras', 'albumentations', 'matplotlib', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1], done.stderr) == (0, "[]", "")


def odd(folder: Path) -> None:
    """What phones, scanners and editors make."""
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 4), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.fromarray(noise[:, :, :3]).save(folder / "turned.jpg", exif=exif)
    cv2.imwrite(str(folder / "grey.png"), noise[:, :, 0])
    cv2.imwrite(str(folder / "rgba.png"), noise)
    cv2.imwrite(str(folder / "deep.png"), noise[:, :, :3].astype(np.uint16) * 257)
    Image.fromarray(noise[:, :, 0]).convert("P").save(folder / "palette.gif")
    Image.fromarray(noise, "CMYK").save(folder / "cmyk.jpg")


def scores(trainer: Trainer, *arguments: object) -> tuple[list[tuple[str, str]], np.ndarray]:
    done = trainer("predict", *arguments, "--out", "labels.csv")
    assert done.code == 0, done.err
    rows = list(csv.reader(Path("labels.csv").open()))[1:]
    return [(row[0], row[1]) for row in rows], np.array([row[3:] for row in rows], float)


def test_a_run_and_its_files_say_the_same(small: Path, trainer: Trainer) -> None:
    odd(Path("odd"))
    assert trainer("fit", small, "--set", "training.epochs=1").code == 0
    assert trainer("export", small).code == 0
    exports = Path("runs/small/latest/export")
    expected, expected_NK = scores(trainer, "odd", "pictures")
    assert len(expected) == 30
    assert np.ptp(expected_NK, axis=0).max() > 0.1  # else anything would agree
    for one in (small, "runs/small/latest", exports / "model.onnx", exports / "saved_model"):
        found, found_NK = scores(trainer, one, "odd", "pictures")
        assert found == expected
        assert np.abs(found_NK - expected_NK).max() <= 1e-5
    (exports / "saved_model" / "saved_model.pb").write_bytes(b"broken")
    done = trainer("predict", exports / "saved_model", "odd")
    assert done.code == 2
    assert done.err.startswith(f"error: {exports}/saved_model: is no SavedModel: ")


# --- videos, cameras, addresses -----------------------------------------------------------------


def test_frames(model: Path, trainer: Trainer) -> None:
    write_video("clip.mp4", 40)
    done = trainer("predict", model, "clip.mp4", "--every", 15, "--sort-into", "sorted")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == [
        "clip.mp4#00:00.000", "clip.mp4#00:00.500", "clip.mp4#00:01.000",
    ]  # fmt: skip
    assert lines[3] == "sorted   3 copies into sorted"
    assert sorted(name.partition("/")[2] for name in tree("sorted")) == [
        "clip.mp4#00_00.000.jpg", "clip.mp4#00_00.500.jpg", "clip.mp4#00_01.000.jpg",
    ]  # fmt: skip
    assert trainer("predict", model, "clip.mp4", "--frames", 2, "--out", "x.csv").out == (
        "written  x.csv with 2 pictures\n"
    )


def test_a_camera_goes_on_until_ctrl_c(
    model: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video("clip.mp4", 40)
    monkeypatch.setattr(frames, "_camera", lambda number: cv2.VideoCapture("clip.mp4"))
    done = trainer("predict", model, "camera:0", "--every", 4, "--frames", 3)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("looking; Ctrl-C ends it\ncamera:0#00:00.0")
    assert len(done.out.splitlines()) == 4

    counted = 0

    def interrupted(path: Path) -> Opened:
        def scores(images: np.ndarray) -> np.ndarray:
            nonlocal counted
            counted += 1
            if counted == 5:
                os.kill(os.getpid(), signal.SIGINT)
            return np.full((len(images), 3), 1 / 3)

        return Opened(little.about(), scores)

    monkeypatch.setattr(_opened.opened, "open", interrupted)
    done = trainer("predict", model, "camera:0", "--every", 1, "--out", "seen.csv")
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("written  seen.csv with 5 pictures\n")
    assert len(Path("seen.csv").read_text().splitlines()) == 6


def test_addresses(model: Path, trainer: Trainer) -> None:
    content = Path("p/a.png").read_bytes()
    with serving({"a/photo?w=9": content, "a.png": content}) as server:
        urls = [server.url(each) for each in ("a/photo?w=9", "a.png", "gone.png")]
        done = trainer("predict", model, *urls, "--sort-into", "sorted")
    assert done.code == 1
    assert [line.split() for line in done.out.splitlines()[:2]] == [
        [url, "red", "0.6285"] for url in urls[:2]
    ]
    assert done.err == (
        f"warning: {urls[2]} is left out: the server answers 404 Not Found\n"
        "error: 1 of 3 pictures could not be read\n"
    )
    assert tree("sorted") == ["red/a.png", "red/photo.png"]
    assert Path("sorted/red/photo.png").read_bytes() == content


# --- sorting ------------------------------------------------------------------------------------


def test_copies_are_sorted_by_class(model: Path, trainer: Trainer) -> None:
    paint("p/more/a.png", 255, 0, 0)
    paint("p/more/b/a.png", 254, 0, 0)
    before = {name: (Path("p") / name).read_bytes() for name in tree("p")}
    done = trainer("predict", model, "p", "--sort-into", "sorted", "--out", "labels.csv")
    assert done.out == ("written  labels.csv with 5 pictures\nsorted   5 copies into sorted\n")
    expected = {
        "blue/b.png": "b.png",
        "green/a.png": "deep/a.png",
        "red/a.png": "a.png",
        "red/a-2.png": "more/a.png",
        "red/a-3.png": "more/b/a.png",
    }
    assert tree("sorted") == sorted(expected)
    for copy, name in expected.items():
        assert (
            (Path("sorted") / copy).read_bytes() == before[name] == (Path("p") / name).read_bytes()
        )
    trainer("predict", model, "p/b.png", "--sort-into", "sorted")
    assert tree("sorted") == sorted([*expected, "blue/b-2.png"])


def test_several_labels_are_several_copies(workplace: Path, trainer: Trainer) -> None:
    paint("p/a.png", 224, 160, 128)
    paint("p/b.png", 0, 0, 0)
    done = trainer("predict", several(), "p", "--sort-into", "sorted")
    assert done.out.endswith("sorted   3 copies into sorted\n")
    assert tree("sorted") == ["blue/a.png", "none/b.png", "red/a.png"]


def test_names_of_folders() -> None:
    assert folders(["a/b", "a_b", "A_B", "none", "ü ☃", "..", "aux", "c. ", ""]) == {
        "a/b": "a_b", "a_b": "a_b-2", "A_B": "A_B-3", "none": "none", "ü ☃": "ü ☃", "..": "_",
        "aux": "_aux", "c. ": "c", "": "_-2", None: "none-2",
    }  # fmt: skip
    assert safe("C:\\x\0.jpg") == "C__x_.jpg"
    assert safe(".hidden") == "_hidden"
    assert len(safe("ü" * 300).encode()) == 200


# --- stopping -----------------------------------------------------------------------------------


def test_nothing_half_written_is_kept(
    model: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_pictures(Path("q"), {"red": 40})
    Path("labels.csv").write_text("old")
    calls = []

    def interrupted(path: Path) -> Opened:
        def scores(images: np.ndarray) -> np.ndarray:
            calls.append(len(images))
            if len(calls) == 2:
                raise KeyboardInterrupt
            return np.tile([0.5, 0.3, 0.2], (len(images), 1))

        return Opened(little.about(), scores)

    monkeypatch.setattr(_opened.opened, "open", interrupted)
    done = trainer("predict", model, "q", "--out", "labels.csv", "--sort-into", "sorted")
    assert (done.code, done.out) == (130, "")
    assert done.err == (
        "error: stopped after 32 pictures; labels.csv was not written; 32 copies were made\n"
    )
    assert calls == [predict.BATCH, 8]
    assert Path("labels.csv").read_text() == "old"
    assert len(tree("sorted")) == 32
    assert not list(Path().rglob(".*partial*"))


def test_sigterm_ends_it_as_well(model: Path) -> None:
    draw_pictures(Path("q"), {"red": 10}, size=(600, 600))
    command = [
        sys.executable,
        "-m",
        "trainer",
        "predict",
        model,
        *["q"] * 400,
        "--out",
        "labels.csv",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not list(Path().glob(".labels.csv.*")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert err.startswith("error: stopped after ")
    assert err.endswith(" pictures; labels.csv was not written\n")
    assert not list(Path().glob("*.csv")) + list(Path().glob(".labels*"))
