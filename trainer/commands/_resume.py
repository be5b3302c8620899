"""Going on with a run: whether it is the same training, where it stands, and what to say of it."""

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from trainer import run as runs
from trainer import terminal
from trainer.config import Config, tree
from trainer.config.load import load
from trainer.errors import UserError
from trainer.training import checkpoint

# May differ from worker to worker: it is about a machine, or compared in another way.
LOCAL = (
    *("training.strategy", "training.worker_timeout", "runs"),
    *("data.cache", "data.workers", "data.worker_timeout", "data.quarantine", "data.source.path"),
)

# May differ after a resume: the rest decides what the weights become. The run has its pictures, so
# quarantine says nothing.
FREE = (
    *LOCAL,
    *("training.epochs", "training.callbacks", "training.checkpoint", "training.profile"),
    *("export", "evaluation", "tensorboard"),
)


class Start(NamedTuple):
    """Where a training begins, or goes on."""

    state: checkpoint.State
    origin: Path | None = None  # the checkpoint that it was read from


def demand_same(config: Config, this: runs.Run) -> None:
    """Raises UserErrors for what differs from the config of the run and is not FREE."""
    old, new = (essential(each.model_dump()) for each in (load(this.config), config))
    another = "start a new run without --resume"
    changed = [
        UserError(where, f"differs from the run to resume, {this.folder}", another)
        for where in tree.differences(old, new)
    ]
    if changed:
        raise ExceptionGroup("changed", changed)


def found(config: Config, this: runs.Run) -> Start:
    """Where the run stands, by its newest checkpoint that is whole.

    Raises: UserErrors if there are checkpoints, but no usable one.
    """
    state, origin = checkpoint.newest(places(this), recipe(config))
    if state.callbacks_as != written(config):
        state = state._replace(callbacks=(), stopped=False, ended=False)  # the counters of others
    last = state.phase == len(config.training.stages()) - 1
    if last and state.epochs != config.training.all_epochs():
        state = state._replace(stopped=False, ended=False)
    return Start(state, origin)


def finished(config: Config, state: checkpoint.State) -> bool:
    """Whether nothing is left to train."""
    stages = config.training.stages()
    over = state.epoch >= end(config, state) or (state.stopped and not state.step)
    return (state.ended and not state.step) or (over and state.phase == len(stages) - 1)


def end(config: Config, state: checkpoint.State) -> int:
    """The number of epochs after which the phase at hand is over."""
    return state.began + config.training.stages()[state.phase].epochs


def planned(config: Config, state: checkpoint.State) -> int:
    """The number of epochs after which the training is over, if no callback ends it."""
    later = config.training.stages()[state.phase + 1 :]
    return end(config, state) + sum(stage.epochs for stage in later)


def say_finished(config: Config, this: runs.Run, state: checkpoint.State) -> None:
    """Not an error: a batch job that is started again may find that all is done."""
    by = ", then a callback stopped it" if state.stopped else ""
    terminal.say(f"finished {this.folder} after {state.epoch} epochs{by}; nothing is left to do")
    stage = config.training.stages()[state.phase]
    longer = max(state.epoch - state.began, stage.epochs) + 5
    terminal.say(f"train longer: --set {stage.where}.epochs={longer} --resume")


def places(this: runs.Run) -> checkpoint.Places:
    """Where the run's checkpoints lie."""
    return checkpoint.Places(this.last, this.previous, this.best)


def recipe(config: Config) -> str:
    """A hash of all that the weights depend on; keys of later versions have their defaults."""
    return _hash(essential(config.model_dump(exclude_defaults=True)))


def shared(config: Config) -> dict[str, Any]:
    """All that workers have to agree on: what they do together depends on it, and each would wait
    for another that does something else."""
    return _without(LOCAL, config.model_dump(mode="json"))


def written(config: Config) -> str:
    """A hash of the callbacks as they are written."""
    return _hash([call.written() for call in config.training.callbacks])


def reached(state: checkpoint.State) -> str:
    """How far the training came, for the user."""
    if state.step:
        return f"in epoch {state.epoch + 1} after step {state.step}"
    return f"after epoch {state.epoch}"


def how_to_go_on(this: runs.Run, state: checkpoint.State) -> str:
    """What is kept of a training that was stopped, for the user."""
    if not checkpoint.begun(places(this)):
        return f"stopped before the first step was finished; nothing to keep in {this.folder}"
    kept = f"stopped {reached(state)}; {this.last} is kept"
    return f"{kept}. Go on with the same command and --resume"


def _hash(value: Any) -> str:
    text = json.dumps(_with_floats(value), sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _with_floats(value: Any) -> Any:
    """0 and 0.0 are the same number."""
    if isinstance(value, dict):
        return {name: _with_floats(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_with_floats(each) for each in value]
    return float(value) if type(value) is int else value


def essential(config: dict[str, Any]) -> dict[str, Any]:
    """What is not FREE of a config; the last phase may be of any length."""
    kept = _without(FREE, config)
    training = kept.get("training", {})
    if training.get("phases"):
        *before, last = training["phases"]
        training["phases"] = [*before, {name: last[name] for name in last if name != "epochs"}]
    return kept


def _without(paths: Collection[str], section: dict[str, Any], where: str = "") -> dict[str, Any]:
    """A config, or a section of it, without what stands at these paths."""
    return {
        name: _without(paths, value, f"{where}{name}.") if isinstance(value, dict) else value
        for name, value in section.items()
        if f"{where}{name}" not in paths
    }
