"""Every shipped config is a claim: it loads, it builds, its header says what it does."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Outcome
from trainer.commands.tune import _trial
from trainer.config.load import load, read
from trainer.config.search import Search
from trainer.objects import mistakes

EVERY = sorted((Path(__file__).parent.parent / "configs").rglob("*.yaml"))
SEARCHES = [path for path in EVERY if path.name.startswith("search_")]
CONFIGS = [path for path in EVERY if path not in SEARCHES]

LARGE = ("resnet50_layers", "vgg16")  # built for smaller pictures here


def test_there_are_configs() -> None:
    assert [path.stem for path in CONFIGS] == [
        *("fashion_mnist", "flowers_mobilenet", "inception", "lenet_kmnist", "lenet_mnist"),
        *("mnist_dense", "onnx_talk", "resnet50_layers", "rps", "rps_talk", "scenes_multilabel"),
        "vgg16",
    ]
    assert [path.stem for path in SEARCHES] == ["search_rps"]


@pytest.mark.parametrize("path", SEARCHES, ids=lambda path: path.name)
def test_a_search_fits_its_config(path: Path) -> None:
    spec = read(path, Search, mistakes)
    assert _trial.checked(path.parent / spec.config, spec).training.best.monitor == spec.monitor
    first = path.read_text().splitlines()[0]
    assert first.startswith(f"# trainer tune search configs/{path.name}  ")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_it_builds(path: Path, workplace: Path, trainer: Callable[..., Outcome]) -> None:
    """With drawn hands for pictures, and without downloading weights."""
    few = ["data.source.kind=rendered_hands", "data.source.images_per_class=8"]
    few += ["data.source.size=48", "data.batch_size=4", "data.workers=threads"]
    few += ["data.image_size=[64, 64]"] * (path.stem in LARGE)
    few += ["model.weights=none"] * (load(path).model.kind == "backbone")
    done = trainer("check", path, *(part for each in few for part in ("--set", each)))
    assert done.code == 0, done.err
    assert "all is well" in done.out


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_it_is_called_as_its_file(path: Path) -> None:
    assert load(path).name == path.stem


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_its_header_states_command_time_and_result(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    command = f"# trainer fit configs/{path.name} +"
    measured = r"\d+ min.* on 2 CPU cores; test (accuracy|mean average precision) \d"
    assert re.match(f"{command}({measured}|not measured: )", first), first
