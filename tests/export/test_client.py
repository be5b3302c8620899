"""The clients beside an ONNX file: they see what training saw, and their check notices if not."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import keras
import numpy as np
import pytest
from PIL import Image

from tests.conftest import SMALL, Outcome
from trainer.config.about import About
from trainer.config.data import Presentation
from trainer.config.export import Onnx
from trainer.data.decode import decode, present
from trainer.export import client, onnx
from trainer.export.client import Golden
from trainer.export.material import Material
from trainer.runtimes import opened

DATA = os.environ.get("TRAINER_DATA")
ROOT = Path(__file__).parents[2]
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")

# Stands in for onnxruntime: the mean of each channel as the "probability" of its label.
STAND_IN = """
export class Tensor { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } }
export const InferenceSession = { create: async () => ({ run: async ({ image }) => {
  if (image.type !== "uint8" || image.dims.length !== 4) throw new Error("not bytes [N, H, W, C]");
  const sums = [0, 0, 0];
  image.data.forEach((value, index) => { sums[index % 3] += value; });
  const count = image.data.length / 3 * 255;
  return { probabilities: { data: Float32Array.from(sums, (sum) => sum / count) } };
} }) };
"""


def load_client() -> ModuleType:
    spec = importlib.util.spec_from_file_location("client", client.TEMPLATES / "client.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CLIENT = load_client()


def cases(count: int) -> list[tuple[np.ndarray, Presentation]]:
    """Pictures and what to make of them: smaller, larger, whole multiples, ratios whose inverse is
    not exact (49), single pixels."""
    rng, found = np.random.default_rng(3), []
    for number in range(count):
        (h, w), (height, width) = rng.integers(1, 150, 2), rng.integers(1, 100, 2)
        if number % 4 == 0:
            h, w = height * rng.integers(1, 5), width * rng.integers(1, 5)
        if number % 7 == 0:
            h, w = height * 2, width * 2
        if number % 25 == 0:
            (h, w), (height, width) = (98, 49), (2, 1)
        pixels = rng.integers(0, 256, (int(h), int(w), 3), np.uint8)
        spec = Presentation(
            image_size=(int(height), int(width)),
            channels=(1, 3)[number % 2],  # type: ignore[arg-type]
            fit=("stretch", "crop", "pad")[number % 3],  # type: ignore[arg-type]
            resize=("area", "bilinear")[number // 6 % 2],  # type: ignore[arg-type]
        )
        found.append((pixels, spec))
    return found


# OpenCV built for another processor may itself round another way.
def near(some: np.ndarray, other: np.ndarray) -> bool:
    apart = np.abs(some.astype(int) - other.astype(int))
    return some.shape == other.shape and apart.max() <= 1 and (apart > 0).mean() <= 0.01


def test_python_sees_what_training_sees() -> None:
    for pixels, spec in cases(300):
        seen = CLIENT.present(pixels, spec.model_dump(mode="json"))
        assert near(seen, present(pixels, spec)), (pixels.shape, spec)


def test_cells_cover_their_pixels() -> None:
    assert CLIENT.cells(5, 2) == [
        [(0, 0.4), (1, 0.4), (2, 0.2)],
        [(2, 0.2), (3, 0.4), (4, 0.4)],
    ]
    index, weight = CLIENT.neighbours(2, 4, True)
    assert index.tolist() == [[0, 0, 0, 1], [0, 1, 1, 1]]
    assert weight.tolist() == [[2048, 1536, 512, 2048], [0, 512, 1536, 0]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_python_decodes_as_training_does(mode: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 4), np.uint8)
    picture = Image.fromarray(pixels, "RGBA")
    if mode == "I;16":
        picture = Image.fromarray(np.arange(63, dtype=np.uint16).reshape(9, 7) * 1040)
    else:
        picture = picture.convert("RGB").convert(mode) if mode == "P" else picture.convert(mode)
    picture.save(tmp_path / "picture.png")
    content = (tmp_path / "picture.png").read_bytes()
    assert np.array_equal(CLIENT.decode(tmp_path / "picture.png"), decode(content))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_python_turns_pictures_upright(orientation: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "picture.jpg", exif=exif)
    content = (tmp_path / "picture.jpg").read_bytes()
    assert np.array_equal(CLIENT.decode(tmp_path / "picture.jpg"), decode(content))


def test_labels() -> None:
    one = {"task": "single_label", "labels": ["a", "b"], "thresholds": []}
    assert CLIENT.label(np.array([0.2, 0.8]), one) == "b"
    several = {"task": "multi_label", "labels": ["a", "b", "c"], "thresholds": [0.2, 0.9, 0.5]}
    assert CLIENT.label(np.array([0.2, 0.8, 0.6]), several) == "a|c"
    assert CLIENT.label(np.array([0.1, 0.8, 0.4]), several) == "-"


@needs_node
def test_javascript_sees_what_training_sees(tmp_path: Path) -> None:
    listed, content = [], b""
    for pixels, spec in cases(300):
        expected = present(pixels, spec)
        row = [*pixels.shape[:2], spec.model_dump(mode="json"), len(content), expected.size]
        listed.append(row)
        content += pixels.tobytes() + expected.tobytes()
    (tmp_path / "cases.json").write_text(json.dumps(listed))
    (tmp_path / "cases.bin").write_bytes(content)
    (tmp_path / "run.mjs").write_text(
        f"""
        import {{ readFileSync }} from "node:fs";
        import {{ present }} from {json.dumps((client.TEMPLATES / "classifier.mjs").as_uri())};
        const content = new Uint8Array(readFileSync("cases.bin"));
        for (const [height, width, about, at, size] of JSON.parse(readFileSync("cases.json"))) {{
          const middle = at + height * width * 3;
          const expected = content.subarray(middle, middle + size);
          const seen = present({{ height, width, pixels: content.subarray(at, middle) }}, about);
          const apart = Array.from(seen, (value, index) => Math.abs(value - expected[index]));
          const off = apart.filter(Boolean).length;
          if (seen.length !== size || Math.max(...apart) > 1 || off > size / 100) {{
            throw new Error(`${{height}} x ${{width}} ${{JSON.stringify(about)}}: ${{off}} differ`);
          }}
        }}
        console.log("equal");
        """
    )
    done = node(tmp_path / "run.mjs", cwd=tmp_path)
    assert done.stdout == "equal\n", done.stderr[-2000:]


def node(script: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(NODE), str(script), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


# --- the folder and its check -------------------------------------------------------------------

ABOUT = About(
    name="hands", task="single_label", labels=("paper", "rock", "scissors"), image_size=(12, 10),
    fit="crop",
)  # fmt: skip


def pictures(channels: int = 3) -> list[np.ndarray]:
    """Three of them, each with more of another colour."""
    found = np.random.default_rng(0).integers(0, 150, (3, 31, 23, 3), np.uint8)
    for index in range(3):
        found[index, ..., index] += 100
    return [*found]


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `model.onnx` and `client/`."""
    path = tmp_path_factory.mktemp("export")
    keras.utils.set_random_seed(1)
    layers = [keras.Input((12, 10, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    network = keras.Sequential([*layers, keras.layers.Dense(3, activation="softmax")])
    material = Material(network, ABOUT, lambda count: np.zeros((count, 12, 10, 3), np.uint8))
    onnx.write(material, Onnx(kind="onnx"), path / "model.onnx")
    scores = opened.open(path / "model.onnx").scores
    seen = [present(each, ABOUT) for each in pictures()]
    golden = [Golden(a, b, scores(b[None])[0]) for a, b in zip(pictures(), seen, strict=True)]
    client.write(ABOUT, golden, path / "client")
    return path


@pytest.fixture
def made(beside: Path, tmp_path: Path) -> Path:
    """`client/`, to be changed."""
    return shutil.copytree(beside, tmp_path / "export") / "client"


@pytest.fixture
def standing_in(made: Path) -> Path:
    """The same for the stand-in of onnxruntime."""
    runtime = made / "node_modules" / "onnxruntime-node"
    runtime.mkdir(parents=True)
    (runtime / "package.json").write_text('{"type": "module", "exports": "./index.mjs"}')
    (runtime / "index.mjs").write_text(STAND_IN)
    golden = json.loads((made / "golden.json").read_text())
    for row, picture in zip(golden["pictures"], pictures(), strict=True):
        row["probabilities"] = (present(picture, ABOUT).mean(axis=(0, 1)) / 255).tolist()
    (made / "golden.json").write_text(json.dumps(golden))
    return made


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "client.py"), *arguments]
    return subprocess.run(command, cwd=folder.parent, capture_output=True, text=True)


def change_golden(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    golden = json.loads((folder / "golden.json").read_text())
    change(golden["pictures"][1])
    (folder / "golden.json").write_text(json.dumps(golden))


def raise_a_pixel(path: Path, levels: int) -> None:
    pixels = cv2.imread(str(path))
    pixels[5, 5] = np.where(pixels[5, 5] < 128, pixels[5, 5] + levels, pixels[5, 5] - levels)
    cv2.imwrite(str(path), pixels)


def test_python_checks_itself(made: Path) -> None:
    done = python(made, "--check")
    assert (done.returncode, done.stdout.count("pixels differ by 0")) == (0, 3), done.stderr
    raise_a_pixel(made / "golden/0_pixels.png", 1)
    assert python(made, "--check").returncode == 0
    raise_a_pixel(made / "golden/0_pixels.png", 2)
    done = python(made, "--check")
    assert (done.returncode, done.stdout.count("NOT MET")) == (1, 1)


def test_python_checks_probabilities(made: Path) -> None:
    def shift(row: dict[str, Any]) -> None:
        row["probabilities"][0] += 0.002

    change_golden(made, shift)
    done = python(made, "--check")
    assert done.returncode == 1
    assert "golden/1.png" in done.stdout
    assert "probabilities by 2.0e-03  NOT MET" in done.stdout


def test_python_labels_pictures(made: Path) -> None:
    done = python(made, str(made / "golden/0.png"))
    pixels = present(pictures()[0], ABOUT)
    [scores] = opened.open(made.parent / "model.onnx").scores(pixels[None])
    label = ABOUT.labels[scores.argmax()]
    assert done.stdout == f"{made / 'golden/0.png'}  {label}  {scores.max():.4f}\n"
    assert python(made).returncode == 2  # says how it is used
    assert python(made, "--help").stdout.startswith("Labels pictures")
    (made / "text.jpg").write_text("text")
    done = python(made, str(made / "text.jpg"), str(made), str(made / "golden/0.png"))
    assert (done.returncode, done.stdout.count("\n"), "Traceback" in done.stderr) == (1, 1, False)
    assert [line.partition(": ")[0] for line in done.stderr.splitlines()] == [
        str(made / "text.jpg"),
        str(made),
    ]


@needs_node
def test_javascript_checks_itself(standing_in: Path) -> None:
    done = node(standing_in / "client.mjs", "--check", cwd=standing_in.parent)
    assert (done.returncode, done.stdout.count("pixels differ by 0")) == (0, 3), done.stderr[-2000:]
    labels = [line.split()[1] for line in done.stdout.splitlines()]
    assert labels == ["paper", "rock", "scissors"]
    raise_a_pixel(standing_in / "golden/2_pixels.png", 2)
    done = node(standing_in / "client.mjs", "--check", cwd=standing_in.parent)
    assert (done.returncode, done.stdout.count("NOT MET")) == (1, 1)
    assert node(standing_in / "client.mjs", cwd=standing_in).returncode == 2  # says how it is used
    done = node(standing_in / "client.mjs", "none.png", "golden/0.png", cwd=standing_in)
    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    assert done.stderr.startswith("none.png: ")


@needs_node
def test_javascript_decodes_png(standing_in: Path) -> None:
    """The stand-in gives a mean for each channel, so the label is the brightest."""
    expected = []
    for number, mode in enumerate(("RGB", "RGBA", "L", "LA", "P")):
        pixels = np.random.default_rng(number).integers(0, 256, (31, 23, 4), np.uint8)
        name = f"{mode}.png"
        picture = Image.fromarray(pixels, "RGBA")
        (picture.convert("RGB") if mode == "P" else picture).convert(mode).save(standing_in / name)
        seen = present(decode((standing_in / name).read_bytes()), ABOUT).mean(axis=(0, 1)) / 255
        expected.append(f"{name}  {ABOUT.labels[int(seen.argmax())]}  {seen.max():.4f}")
    names = [line.split()[0] for line in expected]
    done = node(standing_in / "client.mjs", *names, cwd=standing_in)
    assert done.stdout.splitlines() == expected, done.stderr[-2000:]


@needs_node
def test_javascript_leaves_colour_profiles_alone(standing_in: Path) -> None:
    """As training does; sharp would convert what a phone takes in Display P3. This one says what it
    was asked for."""
    sharp = standing_in / "node_modules" / "sharp"
    sharp.mkdir()
    (sharp / "package.json").write_text('{"type": "module", "exports": "./index.mjs"}')
    (sharp / "index.mjs").write_text(
        "export default (_, options) => { throw new Error(JSON.stringify(options)); };"
    )
    (standing_in / "it.jpg").write_bytes(b"\xff\xd8\xff")
    done = node(standing_in / "client.mjs", "it.jpg", cwd=standing_in)
    assert '{"ignoreIcc":true}' in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("dotnet") is None, reason="dotnet is not installed")
def test_c_sharp_checks_itself(made: Path) -> None:
    command = ["dotnet", "run", "--", "--check"]
    done = subprocess.run(command, cwd=made, capture_output=True, text=True)
    assert (done.returncode, done.stdout.count("NOT MET")) == (0, 0), done.stdout + done.stderr


def test_the_tools_find_what_they_need() -> None:
    names = {path.name for path in client.TEMPLATES.glob("*.*")}
    assert names == {
        "Client.cs", "README.md", "classifier.mjs", "client.csproj", "client.mjs", "client.py",
        "package.json",
    }  # fmt: skip
    readme = (client.TEMPLATES / "README.md").read_text()
    assert all(name in readme for name in names - {"README.md", "package.json"})


# --- the command --------------------------------------------------------------------------------


def exported(trainer: Callable[..., Outcome], *exports: str) -> Outcome:
    return trainer("export", "small.yaml", "--set", f"export=[{', '.join(exports)}]")


def test_an_export_brings_clients_along(small: Path, trainer: Callable[..., Outcome]) -> None:
    assert trainer("fit", "small.yaml", "--set", "training.epochs=1").code == 0
    folder = Path("runs/small/latest/export/client")
    done = exported(trainer, "{kind: onnx, input: float32}")
    assert done.code == 0
    assert not folder.exists()
    done = exported(trainer, "{kind: onnx}")
    assert done.code == 0
    assert "client, proven on 6 golden pictures" in done.out
    assert python(folder.absolute(), "--check").returncode == 0
    about = json.loads((folder / "about.json").read_text())
    assert about["labels"] == ["blue", "green", "red"]
    [golden] = {Image.open(each).size for each in folder.glob("golden/?.png")}
    assert golden == (22, 18)  # as they are; the network sees 20 x 16

    done = exported(trainer, "{kind: onnx, tolerance: 1.0e-30}")
    assert (done.code, folder.exists()) == (1, False)


def test_golden_pictures_are_small_and_grey_ones_work(
    workplace: Path, trainer: Callable[..., Outcome]
) -> None:
    for name in ("dark", "light"):
        Path("pictures", name).mkdir(parents=True)
        for number in range(6):
            low, high = (0, 90) if name == "dark" else (120, 255)
            pixels = np.random.default_rng(number).integers(low, high, (500, 700, 3), np.uint8)
            cv2.imwrite(f"pictures/{name}/{number}.jpg", pixels)
    Path("small.yaml").write_text(SMALL)
    grey = ("--set", "data.channels=1", "--set", "data.fit=pad", "--set", "training.epochs=1")
    assert trainer("fit", "small.yaml", *grey).code == 0
    assert exported(trainer, "{kind: onnx}").code == 0
    folder = Path("runs/small/latest/export/client")
    assert {Image.open(each).size for each in folder.glob("golden/?.png")} == {(320, 229)}
    assert {Image.open(each).mode for each in folder.glob("golden/?_pixels.png")} == {"L"}
    assert python(folder.absolute(), "--check").returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(DATA is None, reason="TRAINER_DATA names no folder")
def test_python_and_training_agree_on_real_photographs(
    workplace: Path, trainer: Callable[..., Outcome]
) -> None:
    photographs = Path(str(DATA)) / "flowers"
    weights = Path(str(DATA)) / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    options = [
        f"data.source.path={photographs}",
        f"model.weights={weights}",
        "training.phases=[{epochs: 2, frozen: backbone, learning_rate: 0.003}]",
        "export=[{kind: onnx}]",
    ]
    sets = [part for each in options for part in ("--set", each)]
    assert trainer("fit", ROOT / "configs" / "flowers_mobilenet.yaml", *sets).code == 0
    assert trainer("export").code == 0
    path = Path("runs/flowers_mobilenet/latest/export/model.onnx")
    model, (session, about) = opened.open(path), CLIENT.load(path)
    for each in sorted(photographs.rglob("*.jpg")):
        expected = model.scores(present(decode(each.read_bytes()), model.about)[None])
        pixels = CLIENT.present(CLIENT.decode(each), about)
        [received] = session.run(["probabilities"], {"image": pixels[None]})
        assert np.abs(received - expected).max() <= 1e-3
        assert received.argmax() == expected.argmax()
