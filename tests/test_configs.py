"""Every shipped config is a claim: it loads, it builds, its header says what it does."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Outcome
from trainer.commands.tune import _trial
from trainer.config.load import read
from trainer.config.search import Search
from trainer.objects import mistakes

EVERY = sorted((Path(__file__).parent.parent / "configs").rglob("*.yaml"))
SEARCHES = [path for path in EVERY if path.name.startswith("search_")]
CONFIGS = [path for path in EVERY if path not in SEARCHES]


def test_there_are_configs() -> None:
    assert [path.name for path in CONFIGS] == ["rps.yaml"]
    assert [path.name for path in SEARCHES] == ["search_rps.yaml"]


@pytest.mark.parametrize("path", SEARCHES, ids=lambda path: path.name)
def test_a_search_fits_its_config(path: Path) -> None:
    spec = read(path, Search, mistakes)
    assert _trial.checked(path.parent / spec.config, spec).training.best.monitor == spec.monitor
    first = path.read_text().splitlines()[0]
    assert first.startswith(f"# trainer tune search configs/{path.name}  ")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_it_builds(path: Path, workplace: Path, trainer: Callable[..., Outcome]) -> None:
    few = ["data.source.images_per_class=8", "data.source.size=48", "data.batch_size=4"]
    done = trainer("check", path, *(part for each in few for part in ("--set", each)))
    assert done.code == 0, done.err
    assert "all is well" in done.out


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_its_header_states_command_time_and_result(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert re.match(
        rf"# trainer fit configs/{path.name} +\d+ min.* on 2 CPU cores; test accuracy ", first
    )
