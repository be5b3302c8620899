"""Checkpoints: `.keras` files with `state.json` inside, written atomically."""

import json
import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras

from trainer import files
from trainer.config.training import Best
from trainer.errors import UserError

MEMBER = "state.json"  # Keras ignores further members of its archive


class State(NamedTuple):
    """What a run knows besides the weights and the optimizer."""

    epoch: int = 0  # finished ones
    best: float | None = None  # the best value of the monitored metric
    history: tuple[dict[str, float], ...] = ()  # the logs of each epoch
    seeds: tuple[list[int], ...] = ()  # of Dropout and its like: `.keras` does not restore them
    callbacks: tuple[dict[str, Any], ...] = ()


class Checkpoints(keras.callbacks.Callback):
    """Writes `last` after every epoch, `best` when the monitored value improved.

    Stands last in the list of callbacks: it saves, and after a resume restores, the counters of
    the others (EarlyStopping's patience, ReduceLROnPlateau's wait).
    """

    def __init__(
        self,
        last: Path,
        best: Path,
        spec: Best,
        others: Sequence[keras.callbacks.Callback] = (),
        state: State | None = None,
    ) -> None:
        super().__init__()
        self.last, self.best, self.spec, self.others = last, best, spec, others
        self.state = state or State()

    def on_train_begin(self, logs: Any = None) -> None:
        for callback, counters in zip(self.others, self.state.callbacks, strict=False):
            vars(callback).update(counters)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = {name: _plain(value) for name, value in (logs or {}).items()}
        value = logs[self.spec.monitor]
        better = _better(value, self.state.best, self.spec.mode)
        self.state = State(
            epoch + 1,
            value if better else self.state.best,
            (*self.state.history, logs),
            tuple(seed.numpy().tolist() for seed in _seeds(self.model)),
            tuple(_counters(callback) for callback in self.others),
        )
        if better:  # first: an end between the two repeats the epoch, exactly
            save(self.model, self.state, self.best)
        save(self.model, self.state, self.last)


def save(model: keras.Model, state: State, path: Path) -> None:
    """Weights, optimizer and state in one file that Keras can load."""
    with files.replacing(path) as partial:
        model.save(partial)
        with zipfile.ZipFile(partial, "a") as archive:
            archive.writestr(MEMBER, json.dumps(state._asdict()))


def load(model: keras.Model, path: Path) -> State:
    """Fills the model, and its optimizer if it is compiled, and returns the state.

    Only numbers are read: the network itself is built from the config, so a checkpoint cannot
    bring code. Raises UserError for a file that is none or does not fit.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            state = State(**json.loads(archive.read(MEMBER)))
        model.load_weights(path)
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        reason = str(error).split("\n")[0]
        raise UserError(str(path), f"is no checkpoint of this run's network: {reason}") from None
    for variable, value in zip(_seeds(model), state.seeds, strict=False):
        variable.assign(value)
    return state


def _better(value: float, best: float | None, mode: str) -> bool:
    if math.isnan(value):
        return False
    return best is None or (value < best if mode == "min" else value > best)


def _seeds(model: keras.Model) -> list[Any]:
    return [v for v in model.non_trainable_variables if v.name == "seed_generator_state"]


def _counters(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """The attributes of a callback that are plain numbers or flags."""
    names = [name for name in vars(callback) if name[0] != "_" and name != "min_delta"]
    plain = {name: _plain(vars(callback)[name]) for name in names}  # Keras turns min_delta's sign
    return {name: value for name, value in plain.items() if isinstance(value, bool | int | float)}


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
