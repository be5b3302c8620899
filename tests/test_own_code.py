"""Code of the user's own: kept with the run, so that the run can be used without it."""

import hashlib
import json
import shutil
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import SMALL, Outcome

Trainer = Callable[..., Outcome]

LAYERS = '''"""Layers of my own."""
import keras
from {name} import helpers

class Half(keras.layers.Layer):
    def call(self, pixels):
        return pixels * helpers.HALF
'''


@pytest.fixture
def package(small: Path) -> Path:
    """A package with a name of its own, since Python imports each name once, used by the config."""
    folder = Path(f"mine_{uuid.uuid4().hex[:8]}")
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "helpers.py").write_text("HALF = 0.5\n")
    (folder / "layers.py").write_text(LAYERS.format(name=folder.name))
    own = f"    - {folder.name}.layers.Half\n    - Flatten\n"
    small.write_text(SMALL.replace("    - Flatten\n", own).replace("epochs: 2", "epochs: 1"))
    return folder


def forget(package: Path) -> None:
    """As in a new process."""
    for name in [name for name in sys.modules if name.split(".")[0] == package.name]:
        del sys.modules[name]


def test_a_run_keeps_it_and_does_without_the_original(
    small: Path, package: Path, trainer: Trainer
) -> None:
    assert trainer("fit", small).code == 0
    kept = Path("runs/small/latest/custom")
    files = {str(path.relative_to(kept)) for path in kept.rglob("*.py")}
    inside = {f"{package.name}/{name}.py" for name in ("layers", "helpers")}
    assert files - {f"{package.name}/__init__.py"} == inside
    digest = hashlib.sha256((package / "layers.py").read_bytes()).hexdigest()
    environment = json.loads(Path("runs/small/latest/environment.json").read_text())
    assert environment["custom"][f"{package.name}.layers"] == digest
    before = json.loads(Path("runs/small/latest/metrics.json").read_text())
    shutil.rmtree(package)
    forget(package)
    done = trainer("evaluate", small)
    assert (done.code, done.err) == (0, "")
    assert json.loads(Path("runs/small/latest/metrics.json").read_text()) == before
    assert trainer("export", small).code == 0
    forget(package)
    done = trainer("fit", small, "--resume", "--set", "training.epochs=2")
    assert (done.code, done.err) == (0, "")
    assert "resumed  after epoch 1" in done.out


def test_code_that_has_changed_is_told_of(small: Path, package: Path, trainer: Trainer) -> None:
    assert trainer("fit", small).code == 0
    (package / "helpers.py").write_text("HALF = 0.25\n")
    forget(package)
    done = trainer("evaluate", small)
    assert done.code == 0
    run = Path("runs/small/latest").resolve()
    copy = Path("runs/small") / run.name / "custom" / package / "helpers.py"
    file = Path.cwd() / package / "helpers.py"
    assert done.err == (
        f"warning: {file} is no longer what the run was trained with, which is {copy}\n"
    )


def test_what_is_nowhere_is_a_mistake_of_the_config(
    small: Path, package: Path, trainer: Trainer
) -> None:
    small.write_text(small.read_text().replace("layers.Half", "layers.Third"))
    done = trainer("fit", small)
    assert done.code == 2
    assert f"small.yaml:15: model.layers[2].{package}.layers.Third: cannot be imported" in done.err
    assert not Path("runs").exists()
