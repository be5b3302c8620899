"""The file of a search: what it takes, and what it answers to mistakes."""

from pathlib import Path
from typing import Any

import pytest

from trainer import objects
from trainer.config.load import read
from trainer.config.search import Domain, Search, override
from trainer.errors import leaves

SPACE = """\
name: hunt
config: small.yaml
trials: 4
monitor: val_categorical_accuracy
set: {training.epochs: 3}
space:
  training.optimizer.Adam.learning_rate: {float: {low: 1.0e-5, high: 0.1, log: true}}
  data.batch_size: {categorical: [4, 8]}
  model.layers[3].Dropout.rate: {float: {low: 0, high: 0.5, step: 0.1}}
pruner: {MedianPruner: {n_startup_trials: 1}}
"""


def loaded(text: str) -> Search:
    Path("search.yaml").write_text(text)
    return read(Path("search.yaml"), Search, objects.mistakes)


def test_it_reads_domains(workplace: Path) -> None:
    spec = loaded(SPACE)
    assert [domain.ends() for domain in spec.space.values()] == [[1e-5, 0.1], [4, 8], [0, 0.5]]
    assert spec.overrides() == [
        "training.epochs=3",
        "training.best.monitor=val_categorical_accuracy",
        "training.best.mode=auto",
    ]
    assert spec.sampler.name == "TPESampler"
    plain = spec.model_dump(mode="json")
    assert Search.model_validate(plain).model_dump() == spec.model_dump()


def test_choices_that_optuna_cannot_keep_go_by_their_yaml() -> None:
    size = Domain.model_validate({"categorical": [[64, 64], 5, None, {"Adam": {"beta_1": 0.8}}]})
    assert size.choices() == {
        "[64, 64]": [64, 64],
        5: 5,
        None: None,
        "{Adam: {beta_1: 0.8}}": {"Adam": {"beta_1": 0.8}},
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1, "a.b=0.1"), (1e-07, "a.b=1.0e-07"), (True, "a.b=true"), (None, "a.b=null"),
     ("1e5", "a.b='1e5'"), ([1, 2], "a.b=[1, 2]"), ({"SGD": {"momentum": 0.9}}, "a.b={SGD: {momentum: 0.9}}")],
)  # fmt: skip
def test_an_override_is_one_line_that_set_reads(value: Any, text: str) -> None:
    assert override("a.b", value) == text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("trials: 4", "trails: 4", "search.yaml:1: the key 'trials' is missing\n  add `trials:`"),
        ("log: true}", "logs: true}",
         "search.yaml:7: space.training.optimizer.Adam.learning_rate.float.logs: unknown key 'logs'\n  did you mean 'log'?"),
        ("low: 0,", "low: none,",
         "search.yaml:9: space.model.layers[3].Dropout.rate.float.low: expected a number, received the text 'none'"),
        ("{categorical: [4, 8]}", "{categorical: [4, 8], int: {low: 1, high: 2}}",
         "search.yaml:8: space.data.batch_size: expected one of float, int and categorical, received int and categorical"),
        ("{categorical: [4, 8]}", "{}",
         "search.yaml:8: space.data.batch_size: expected one of float, int and categorical, received none of them"),
        ("MedianPruner:", "MedianPrune:",
         "search.yaml:10: pruner.MedianPrune: optuna.pruners has no 'MedianPrune'\n  did you mean 'MedianPruner'?"),
        ("n_startup_trials", "startup_trials",
         "search.yaml:10: pruner.MedianPruner.startup_trials: MedianPruner has no argument 'startup_trials'\n  did you mean 'n_startup_trials'?"),
        ("set: {training.epochs: 3}", "set: {data.batch_size: 3}",
         "search.yaml:1: data.batch_size stands in set and in space"),
        ("data.batch_size: {", "training.optimizer: {",
         "search.yaml:1: training.optimizer.Adam.learning_rate lies inside training.optimizer: of the two, only one can be tried"),
    ],
)  # fmt: skip
def test_mistakes(workplace: Path, old: str, new: str, message: str) -> None:
    assert SPACE.count(old) == 1
    with pytest.raises(ExceptionGroup) as group:
        loaded(SPACE.replace(old, new))
    assert message in [str(each) for each in leaves(group.value)]
