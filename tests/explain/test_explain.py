"""`trainer explain`: which files it writes, and what it says to who got something wrong."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from tests.board.reading import Board
from tests.conftest import SMALL, Outcome, draw_pictures
from trainer.cli import app
from trainer.commands.explain import Files, _named

Trainer = Callable[..., Outcome]

NAMED = (
    SMALL.replace("activation: relu", "activation: relu, name: conv")
    .replace("- Rescaling: {", "- Rescaling: {name: scaled, ")
    .replace("activation: softmax", "activation: softmax, name: scores")
    .replace("epochs: 2", "epochs: 1")
)

# Several labels, logits, grey pictures, half precision.
HARD = """\
name: hard
data:
  source: {kind: csv, path: labels.csv, folder: pictures, label: tags, separator: "|"}
  image_size: [16, 16]
  channels: 1
  batch_size: 6
model:
  kind: layers
  layers:
    - Rescaling: {scale: 0.00392156862745098}
    - Conv2D: {filters: 4, kernel_size: 3, activation: relu, name: conv}
    - GlobalMaxPooling2D
    - Dense: {units: $classes}
training:
  epochs: 1
  precision: mixed_bfloat16
  loss: {BinaryCrossentropy: {from_logits: true}}
  optimizer: {Adam: {learning_rate: 0.01}}
  metrics: [BinaryAccuracy]
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures and the runs of two small networks: `small`, and `hard`."""
    folder = tmp_path_factory.mktemp("explain")
    draw_pictures(folder / "pictures", {"blue": 8, "green": 8, "red": 8})
    draw_pictures(folder / "few", {"red": 2})
    rows = [f"{c}/{n:02d}.png,{c}{'|dark' * (n % 2)}" for c in ("blue", "red") for n in range(8)]
    (folder / "labels.csv").write_text("\n".join(["path,tags", *rows, ""]))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / ".cache"))
        for name, text in (("small", NAMED), ("hard", HARD)):
            Path(f"{name}.yaml").write_text(text)
            result = CliRunner().invoke(app, ["fit", f"{name}.yaml"])
            assert result.exit_code == 0, result.stderr
    return folder


@pytest.fixture
def place(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained)
    monkeypatch.setenv("XDG_CACHE_HOME", str(trained / ".cache"))
    return trained


def tree(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*.png"))


def test_everything_is_drawn(place: Path, trainer: Trainer) -> None:
    run = Path("runs/small") / Path("runs/small/latest").readlink()
    done = trainer("explain", run, "pictures/blue/00.png", "few")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-2:] == [
        f"written  {run}/explain",
        f"watch    trainer tensorboard {run}",
    ]
    found = tree(run / "explain")
    stems = ["00", "00-2", "01"]
    tops = [f"{stem}.png" for stem in stems]
    assert [each for each in found if "/" not in each] == sorted(
        [*tops, "filters.png", "highlights_conv.png"]
    )
    [label] = {each.split("_")[1] for each in found if each.startswith("00/gradcam")}
    assert label.removesuffix(".png") in ("blue", "green", "red")
    assert {each.removeprefix("00/") for each in found if each.startswith("00/")} == {
        *(f"{method}_{label}" for method in ("gradcam", "gradcam++", "occlusion")),
        "features_conv.png",
    }
    # 16 × 20 pixels, larger by a whole factor
    assert cv2.imread(str(run / "explain" / "00" / f"gradcam_{label}")).shape == (192, 240, 3)
    board = Board(run / "tensorboard" / "explain")
    assert set(board.tags) == {
        *(f"pictures/{stem}" for stem in stems),
        "network/filters",
        "network/highlights_conv",
    }
    [image] = board.images("pictures/00-2")
    assert (image[..., ::-1] == cv2.imread(str(run / "explain" / "00-2.png"))).all()


def test_no_two_pictures_have_one_file(tmp_path: Path) -> None:
    into = Files(tmp_path, lambda value: None, ["filters"])
    names = ["a/1.jpg", "b/1.JPG", "1-2.png", "Filters.jpg", "filters.jpg", "https://x.org/1.jpg?a"]
    assert [into.stem(name) for name in names] == [
        *("1", "1-2", "1-2-2", "Filters-2", "filters-3", "1.jpg_a"),
    ]  # fmt: skip


def test_labels_that_make_one_name_of_a_file_keep_their_own() -> None:
    """The same for every picture, whichever of its labels come first."""
    labels = ["a/b", "A:b", "c"]
    assert _named(f"gradcam_{each}" for each in labels) == [
        "gradcam_a_b",
        "gradcam_A_b-2",
        "gradcam_c",
    ]
    long = ["x" * 300 + end for end in "ab"]
    assert len(set(_named(long))) == 2


def test_one_name_of_a_layer_and_of_a_label_is_not_written_twice(tmp_path: Path) -> None:
    """Label `1_a` of layer `conv`, and `a` of `conv_1`."""
    into = Files(tmp_path, lambda value: None, [])
    assert [into.free("00/gradcam_conv_1_a") for _ in range(2)] == [
        "00/gradcam_conv_1_a", "00/gradcam_conv_1_a-2",
    ]  # fmt: skip


def test_what_is_asked_for(place: Path, trainer: Trainer) -> None:
    done = trainer(
        "explain", "small.yaml", "pictures/red/03.png", "--out", "asked", "--method", "occlusion, gradcam",
        "--class", "red", "--class", "blue", "--layer", "scaled", "--layer", "conv",
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert tree(Path("asked")) == [
        "03.png",
        *(f"03/gradcam_{layer}_{name}.png" for layer in ("conv", "scaled") for name in ("blue", "red")),
        "03/occlusion_blue.png",
        "03/occlusion_red.png",
    ]  # fmt: skip
    assert len(list(Path("asked/tensorboard/explain").iterdir())) == 1
    assert done.out.endswith("watch    trainer tensorboard asked\n")


def test_several_labels_of_grey_pictures_in_half_precision(place: Path, trainer: Trainer) -> None:
    done = trainer(
        "explain", "hard.yaml", "pictures/blue/00.png", "--out", "hard", "--class", "dark"
    )
    assert (done.code, done.err) == (0, "")
    assert {f"00/{method}_dark.png" for method in ("gradcam", "gradcam++", "occlusion")} <= set(
        tree(Path("hard"))
    )
    assert {"filters.png", "highlights_conv.png", "00/features_conv.png"} <= set(tree(Path("hard")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["p", "--method", "gradcma"], "--method: there is no 'gradcma'\n  did you mean 'gradcam'?"),
        (["p", "--method", ","], "--method: no method is named\n  expected one of: features, filters, gradcam, gradcam++, highlights, occlusion"),
        (["pictures", "--layer", "convs"], "--layer: the network has no layer 'convs'\n  did you mean 'conv'?"),
        (["pictures", "--layer", "scores"], "--layer: scores gives [3] for a picture, which is no map [h, w, channels] of it\n  the last layer with a map is conv"),
        (["pictures", "--class", "ret"], "--class: the run knows no class 'ret'\n  did you mean 'red'?"),
        (["gone.png"], "gone.png: no such file or folder"),
        (["clip.mp4"], "clip.mp4: moves, but expected here are pictures\n  trainer predict MODEL PATH --sort-into FOLDER makes pictures of its frames"),
        (["camera:0", "gone.png"], "gone.png: no such file or folder"),
        (["camera:0"], "camera:0: moves, but expected here are pictures\n  trainer predict MODEL PATH --sort-into FOLDER makes pictures of its frames"),
        ([], "PATH: no pictures given\n  as in trainer explain small.yaml hand.jpg, or draw what needs none: --method filters"),
    ],
)  # fmt: skip
def test_mistakes(arguments: list[str], message: str, place: Path, trainer: Trainer) -> None:
    Path("clip.mp4").touch()
    done = trainer("explain", "small.yaml", *arguments)
    assert (done.code, done.err) == (2, f"error: {message}\n")


def test_an_exported_file_shows_no_layers(place: Path, trainer: Trainer) -> None:
    Path("model.onnx").touch()
    done = trainer("explain", "model.onnx", "pictures")
    assert (done.code, done.err) == (
        2,
        "error: model.onnx: is an exported file, which does not let its layers be seen\n"
        "  give the folder of the run\n",
    )


def test_unreadable_pictures_are_named_and_counted(place: Path, trainer: Trainer) -> None:
    Path("bad.jpg").write_bytes(b"nothing")
    arguments = ("pictures/red/00.png", "--out", "bad", "--method", "gradcam,highlights")
    done = trainer("explain", "small.yaml", "bad.jpg", *arguments)
    assert done.code == 1
    assert done.err == (
        "warning: bad.jpg is left out: no picture of a known format\n"
        "error: 1 of 2 pictures could not be read\n"
    )
    assert "00.png" in tree(Path("bad"))
    done = trainer("explain", "small.yaml", "bad.jpg", "--out", "none")
    assert (done.code, done.out, tree(Path("none"))) == (1, "", [])


def test_what_libpng_says_of_a_broken_file_is_not_shown(place: Path, trainer: Trainer) -> None:
    whole = Path("pictures/red/00.png").read_bytes()
    at = whole.index(b"IDAT") + 40
    Path("crc.png").write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
    command = (sys.executable, "-m", "trainer", "explain", "small.yaml", "crc.png", "--out", "crc")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "libpng" not in done.stderr
    assert done.stderr.splitlines()[0].startswith("warning: crc.png is left out: ")


def test_filters_need_no_picture(place: Path, trainer: Trainer) -> None:
    done = trainer("explain", "small.yaml", "--method", "filters", "--out", "alone")
    assert (done.code, done.err, tree(Path("alone"))) == (0, "", ["filters.png"])
    done = trainer("explain", "small.yaml", "--method", "filters,gradcam")
    hint = "as in trainer explain small.yaml hand.jpg, or draw what needs none: --method filters"
    assert (done.code, done.err) == (2, f"error: PATH: no pictures given\n  {hint}\n")


def test_networks_without_convolution_are_explained_by_occlusion(
    place: Path, trainer: Trainer
) -> None:
    text = NAMED.replace("name: small", "name: flat")
    line = "    - Conv2D: {filters: 4, kernel_size: 3, activation: relu, name: conv}\n"
    assert line in text
    Path("flat.yaml").write_text(text.replace(line, ""))
    assert trainer("fit", "flat.yaml").code == 0
    done = trainer("explain", "flat.yaml", "pictures/red/00.png")
    assert (done.code, done.err) == (
        2,
        "error: model: the network has no convolution, so there are no maps of the picture in it\n"
        "  --method occlusion explains every network\n",
    )
    done = trainer(
        "explain", "flat.yaml", "pictures/red/00.png", "--method", "occlusion", "--out", "o"
    )
    assert (done.code, done.err) == (0, "") and len(tree(Path("o"))) == 2
