"""What the tests share: small pictures, a small config, the command line in this process."""

import signal
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from trainer.cli import app

SMALL = """\
name: small
data:
  source: {kind: folder, path: pictures}
  image_size: [16, 20]
  split: {validation: 0.25, test: 0.25}
  batch_size: 5
  augment:
    - HorizontalFlip
    - RandomBrightnessContrast: {p: 1}
model:
  kind: layers
  layers:
    - Rescaling: {scale: 0.00392156862745098}
    - Conv2D: {filters: 4, kernel_size: 3, activation: relu}
    - Flatten
    - Dropout: {rate: 0.3}
    - Dense: {units: $classes, activation: softmax}
training:
  epochs: 2
  optimizer: {Adam: {learning_rate: 0.01}}
"""


# A shell that runs pytest in the background has SIGINT ignored, and children would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and an empty cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    return tmp_path


@pytest.fixture
def small(workplace: Path) -> Path:
    """A config with a folder of 3 × 8 pictures beside it."""
    draw_pictures(workplace / "pictures", {"blue": 8, "green": 8, "red": 8})
    path = Path("small.yaml")
    path.write_text(SMALL)
    return path


def draw_pictures(
    root: Path, counts: dict[str, int], size: tuple[int, int] = (18, 22), seed: int = 0
) -> None:
    """Noise around a colour of the class's own: PNG files <root>/<class>/<number>.png."""
    for index, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.random.default_rng([index, number, seed]).integers(0, 120, (*size, 3))
            pixels[..., index % 3] += 120
            cv2.imwrite(str(root / name / f"{number:02d}.png"), pixels.astype(np.uint8))


class Outcome:
    """How a command ended: its exit code, standard output and standard error."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def trainer(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs the command line: `trainer("fit", "small.yaml")`."""

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        with capfd.disabled():
            result = CliRunner().invoke(app, [str(each) for each in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return call
