"""From the YAML to the export, with networks of every notation."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import pytest

from tests.conftest import SMALL, Outcome, draw_pictures
from trainer import objects
from trainer.config.load import load, named

Trainer = Callable[..., Outcome]
CONFIGS = Path(__file__).parent.parent.parent / "configs"
RUN = Path("runs/small/latest")

BACKBONE = """\
model:
  kind: backbone
  network: {MobileNet: {alpha: 0.25}}
  weights: mine.weights.h5
  head:
    - GlobalAveragePooling2D
    - Dense: {units: $classes, activation: softmax}
"""

OWN = """\
model:
  kind: layers
  layers:
    - Rescaling: {scale: 0.00392156862745098}
    - swirls.Swirl: {turns: 3, name: swirl}
    - Flatten
    - Dense: {units: $classes, activation: softmax}
"""

SWIRLS = """\
import keras
import helpers

class Swirl(keras.layers.Layer):
    def __init__(self, turns, **others):
        super().__init__(**others)
        self.turns = turns

    def call(self, inputs):
        return helpers.sine(inputs * self.turns)
"""


def write(model: str, size: str = "[16, 20]") -> Path:
    text = SMALL[: SMALL.index("model:")] + model + SMALL[SMALL.index("training:") :]
    Path("small.yaml").write_text(text.replace("[16, 20]", size).replace("epochs: 2", "epochs: 1"))
    return Path("small.yaml")


@pytest.fixture
def no_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a download")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", refuse)


@pytest.mark.slow
@pytest.mark.usefixtures("small", "no_downloads")
def test_weights_are_read_by_a_new_training_alone(trainer: Trainer) -> None:
    """Then neither evaluation nor export wants the file; a run that was stopped before its first
    checkpoint does."""
    path = write(BACKBONE, "[32, 32]")
    keras.utils.set_random_seed(7)
    mine = keras.applications.MobileNet(alpha=0.25, include_top=False, weights=None)
    mine.save_weights("mine.weights.h5")
    assert trainer("fit", path).code == 0
    first = (RUN / "history.csv").read_text()
    for kept in (*(RUN / "checkpoints").iterdir(), RUN / "history.csv", RUN / "metrics.json"):
        kept.unlink()
    assert trainer("fit", path, "--resume").code == 0
    assert (RUN / "history.csv").read_text() == first
    Path("mine.weights.h5").unlink()
    assert trainer("evaluate", RUN).code == 0
    done = trainer("export", RUN)
    assert done.code == 0, done.err
    missing = trainer("check", path)
    assert missing.code == 2
    assert "small.yaml:13: model.weights: no such file: mine.weights.h5" in missing.err


@pytest.fixture
def own(small: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Modules of the user's own in the working directory."""
    monkeypatch.syspath_prepend(str(Path.cwd()))
    Path("swirls.py").write_text(SWIRLS)
    Path("helpers.py").write_text("import keras\n\ndef sine(x):\n    return keras.ops.sin(x)\n")
    yield write(OWN)
    for name in ("swirls", "helpers"):
        sys.modules.pop(name, None)


@pytest.mark.slow
def test_exports_do_not_need_the_user_s_own_code(own: Path, trainer: Trainer) -> None:
    done = trainer("fit", own)
    assert done.code == 0, done.err
    assert trainer("export", RUN).code == 0
    Path("swirls.py").unlink()
    elsewhere = subprocess.run(
        [sys.executable, "-P", "-c", OPEN, RUN.resolve()],
        cwd=Path("pictures"), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert float(elsewhere.stdout) < 1e-5


OPEN = """
import sys
from pathlib import Path
import numpy as np, onnxruntime, tensorflow as tf
try:
    import swirls
except ImportError:
    pass
else:
    raise AssertionError("importable")
folder = Path(sys.argv[1]) / "export"
images = np.random.default_rng(0).integers(0, 256, (3, 16, 20, 3)).astype(np.uint8)
session = onnxruntime.InferenceSession(folder / "model.onnx")
first = session.run(["probabilities"], {"image": images})[0]
loaded = tf.saved_model.load(str(folder / "saved_model"))
second = loaded.signatures["serving_default"](image=tf.constant(images))
print(abs(first - second["probabilities"].numpy()).max())
"""


def test_the_user_s_own_modules_are_known(own: Path) -> None:
    """Those that the config names, in nested calls too, and what they import from here."""
    Path("losses.py").write_text("import keras\nclass Mine(keras.losses.Loss): pass\n")
    Path("ramps.py").write_text(
        "import keras\nclass Ramp(keras.optimizers.schedules.LearningRateSchedule): pass\n"
    )
    config = load(
        own, ["training.loss=losses.Mine", "training.optimizer.Adam.learning_rate={ramps.Ramp: {}}"]
    )
    here = Path.cwd()
    assert objects.own_modules(named(config)) == {
        name: here / f"{name}.py" for name in ("helpers", "losses", "ramps", "swirls")
    }
    assert objects.own_modules(named(load(own, ["model.layers=[Flatten]"]))) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50_layers", "vgg16", "inception"])
def test_shipped_architectures(name: str, workplace: Path, trainer: Trainer) -> None:
    draw_pictures(workplace / "pictures", dict.fromkeys("abcde", 6), (240, 256))
    path = CONFIGS / f"{name}.yaml"
    done = trainer(
        "check", path, "--set", "data.source.path=pictures", "--set", "data.batch_size=2"
    )
    assert done.code == 0, done.err
    assert "all is well" in done.out
    assert path.read_text().startswith(f"# trainer fit configs/{name}.yaml       not measured: ")
