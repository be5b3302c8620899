"""Checkpoints: `.keras` files with all that a training needs to go on as if it had never stopped.

Beside what Keras keeps (weights, optimizer, loss scale) lie `state.json` and `state.npz` in the
archive: one file, so that writing it is atomic. The last but one stays until the next is whole.
"""

import io
import json
import math
import os
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from trainer import files, terminal
from trainer.config.training import Best, Checkpoint
from trainer.errors import UserError
from trainer.training import callback_state
from trainer.training.peers import Peers
from trainer.training.variables import assign, values

MEMBER, ARRAYS = "state.json", "state.npz"  # Keras ignores further members of its archive
_ARRAY, _TUPLE = "__array__", "__tuple__"  # the number of the one, the items of the other


class Places(NamedTuple):
    """Where the checkpoints of a run lie."""

    last: Path
    previous: Path  # the last one before
    best: Path


class State(NamedTuple):
    """What a run knows besides the weights and the optimizer."""

    epoch: int = 0  # finished ones
    step: int = 0  # done of the epoch after them
    phase: int = 0  # the one at hand
    began: int = 0  # finished epochs when it began
    stopped: bool = False  # by a callback, which ends the phase
    ended: bool = False  # by a callback within an epoch, which ends everything
    best: float | None = None  # the best value of the monitored metric
    history: Sequence[dict[str, float]] = ()  # the logs of each epoch
    timing: Sequence[dict[str, float]] = ()  # of each epoch: no two runs have the same
    own: Mapping[str, Any] = {}  # what `.keras` does not keep: see _own
    variables: Sequence[Any] = ()  # that stand beside the model, as the objective says
    metrics: Sequence[Any] = ()  # running sums of the epoch that is not finished
    callbacks: Sequence[dict[str, Any]] = ()
    epochs: int = 0  # that were asked for
    callbacks_as: str = ""  # they were written; the state of others means nothing to these
    recipe: str = ""  # what the weights depend on; with another one it is another training


class Checkpoints(keras.callbacks.Callback):
    """Writes `last` after every epoch, every so many steps or minutes and when asked to, `best`
    when the monitored value improved.

    Stands after the callbacks whose state it keeps. After a resume it brings that back, together
    with all that they may have changed by beginning anew.

    Args:
        best: which epoch is the best.
        spec: when to write besides.
        others: the callbacks whose state is kept.
        metrics: of the training, whose running sums are kept.
        state: to go on from, as it was read from `origin`.
        asked: whether to write now; looked at after every batch.
        timing: the names of the logs that no two runs have in common.
        variables: kept besides, as `objective.variables`.
        peers: the workers of the training; the chief writes what all of them have.
    """

    def __init__(
        self,
        places: Places,
        best: Best,
        spec: Checkpoint,
        others: Sequence[keras.callbacks.Callback] = (),
        metrics: Sequence[keras.Metric] = (),
        state: State | None = None,
        origin: Path | None = None,
        asked: Callable[[], bool] = lambda: False,
        timing: Sequence[str] = (),
        variables: Sequence[Any] = (),
        peers: Peers | None = None,
    ) -> None:
        super().__init__()
        self.peers = peers or Peers(tf.distribute.get_strategy())
        self.places, self.best, self.spec = places, best, spec
        self.others, self.metrics, self.asked = others, metrics, asked
        self.state = (state or State())._replace(own={}, variables=())  # load takes them itself
        self.origin, self.timing, self.variables = origin, timing, variables
        self.written = self.state
        self._whole = origin is None or origin == places.last  # what `last` is
        self._steps, self._looked = 0, time.monotonic()

    def enter(self, phase: int, variables: Sequence[Any]) -> None:
        """Another phase begins, for which callbacks begin anew; `variables` as in the class."""
        self.state = self.state._replace(
            phase=phase, began=self.state.epoch, stopped=False, ended=False
        )
        self.variables, self.origin = variables, None

    def on_train_begin(self, logs: Any = None) -> None:
        if self.origin:  # a callback may have changed the learning rate
            self._load(self.origin)
            callback_state.restore(self.others, self.state.callbacks)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self.origin and self.state.step and epoch == self.state.epoch:
            # The epoch has begun before: what was to change at its beginning has changed already.
            self._load(self.origin)
            callback_state.restore(self.others, self.state.callbacks)
            assign(_running(self.metrics), self.state.metrics, self.peers)
            self.model.stop_training = self.state.stopped
        self.origin = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._steps += 1
        due = self._due()
        # What validation, which uses the metrics for itself, may have to write is that of here.
        if due or batch + 1 == self.params["steps"] or self.model.stop_training:
            self._snap(batch + 1)
        if due:
            self._write()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._due():
            self._write()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = {name: _plain(value) for name, value in (logs or {}).items()}
        timing = {name: logs.pop(name) for name in self.timing if name in logs}
        value = logs[self.best.monitor]
        better = _better(value, self.state.best, self.best.mode)
        self.state = self.state._replace(
            epoch=epoch + 1,
            step=0,
            stopped=bool(self.model.stop_training),
            ended=self.state.stopped,  # since one of this epoch's batches
            best=value if better else self.state.best,
            history=(*self.state.history, logs),
            timing=(*self.state.timing, timing),
            metrics=(),
            callbacks=callback_state.of(self.others),
        )
        if better:  # first: an end between the two repeats the epoch, exactly
            self._save(self.places.best)
        self._write()

    def late(self) -> bool:
        """Whether it is time to write, by the clock; workers have to agree on that."""
        minutes = (time.monotonic() - self._looked) / 60
        return bool(self.spec.minutes and minutes >= self.spec.minutes)

    def _due(self) -> bool:
        return self.asked() or bool(self.spec.steps and self._steps >= self.spec.steps)

    def _load(self, path: Path) -> None:
        load(self.model, path, self.state.recipe, self.variables, self.peers)

    def _snap(self, step: int) -> None:
        self.state = self.state._replace(
            step=step,
            stopped=bool(self.model.stop_training),
            metrics=values(_running(self.metrics), self.peers),
            callbacks=callback_state.of(self.others),
        )

    def _write(self) -> None:
        previous = self.places.previous if self._whole else None  # not over a whole one
        self._save(self.places.last, previous)
        self._whole = True
        self.written, self._steps, self._looked = self.state, 0, time.monotonic()

    def _save(self, path: Path, previous: Path | None = None) -> None:
        """Variables as they are now: in validation averages and weights have changed places."""
        own = _own(self.model)
        own = dict(zip(own, values(own.values(), self.peers), strict=True))
        variables = values(self.variables, self.peers)
        if self.peers.chief:
            save(self.model, self.state._replace(own=own, variables=variables), path, previous)


def save(model: keras.Model, state: State, path: Path, previous: Path | None = None) -> None:
    """Weights, optimizer and state in one file that Keras can load.

    Args:
        previous: what was at `path` goes there, once the new one is whole and on the disk.

    Raises: UserError if it cannot be written.
    """
    arrays: list[np.ndarray] = []
    packed, block = json.dumps(_packed(state._asdict(), arrays)), io.BytesIO()
    np.savez(block, *arrays)
    with files.replacing(path) as partial:
        model.save(partial)
        with zipfile.ZipFile(partial, "a") as archive:
            archive.writestr(MEMBER, packed)
            archive.writestr(ARRAYS, block.getvalue())
        with partial.open("rb") as file:
            os.fsync(file)  # else the new name may be on the disk before the content
        if previous and path.exists():
            path.replace(previous)


def load(
    model: keras.Model,
    path: Path,
    recipe: str = "",
    variables: Sequence[Any] = (),
    peers: Peers | None = None,
) -> State:
    """Fills the model, its optimizer if it is compiled, and the variables beside it; returns the
    state. It may have been written by more or fewer replicas.

    Args:
        recipe: demanded of the checkpoint.
        peers: the workers that read it.

    Raises: UserError for a file that is none, is damaged or does not fit.
    """
    state = read(path, recipe)
    with _explained(path):
        model.load_weights(path)
        own = {name: each for name, each in _own(model).items() if name in state.own}
        assign(own.values(), [state.own[name] for name in own], peers)
        assign(variables, state.variables, peers)
    return state


def read(path: Path, recipe: str = "") -> State:
    """The state in a checkpoint whose members are all whole.

    Args, Raises: as `load`.
    """
    with _explained(path):
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            if damaged:
                raise ValueError(f"{damaged} in it is damaged")
            if ARRAYS not in archive.namelist():
                raise ValueError("it was written by an earlier version, or by Keras")
            with np.load(io.BytesIO(archive.read(ARRAYS)), allow_pickle=False) as block:
                arrays = [block[name] for name in block.files]
            kept = _unpacked(json.loads(archive.read(MEMBER)), arrays)
            state = State(**{name: kept[name] for name in State._fields if name in kept})
        if recipe and state.recipe != recipe:
            raise ValueError("it was written by a training with another config")
    return state


def load_weights(model: keras.Model, path: Path) -> None:
    """Fills the model with the weights of a checkpoint of any version.

    Only numbers are read: the network itself is built from the config, so a checkpoint cannot
    bring code. Raises: UserError as `load`.
    """
    with _explained(path):
        model.load_weights(path)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error).split("\n")[0]
        raise UserError(str(path), f"is no usable checkpoint: {reason}") from None


def newest(places: Places, recipe: str) -> tuple[State, Path | None]:
    """The state of the newest checkpoint that is whole, and its place.

    Warns of those that are not. Without any checkpoint the state is that of the beginning.
    Raises: UserErrors if there are some, but none is whole.
    """
    problems: list[UserError] = []
    for path in places:
        if not path.is_file():
            continue
        try:
            found = read(path, recipe), path
        except UserError as error:
            problems.append(error)
            continue
        for problem in problems:
            terminal.warn(f"{problem.where} {problem.problem}; {path.name} is used instead")
        return found
    if problems:
        raise ExceptionGroup("not one checkpoint is whole", problems)
    return State(), None


def begun(places: Places) -> bool:
    """Whether there is anything to go on from."""
    return any(path.is_file() for path in places)


def _better(value: float, best: float | None, mode: str) -> bool:
    if math.isnan(value):
        return False
    return best is None or (value < best if mode == "min" else value > best)


def _own(model: keras.Model) -> dict[str, Any]:
    """What Keras does not save, by the place in the model: the seeds of Dropout and its like; of
    several replicas what they do not share, such as the statistics of BatchNormalization, of which
    it saves the first's."""
    several = model.distribute_strategy.num_replicas_in_sync > 1
    alone = {id(each) for each in model.non_trainable_variables}
    return {
        str(place): variable
        for place, variable in enumerate(model.variables)
        if variable.name == "seed_generator_state" or (several and id(variable) in alone)
    }


def _running(metrics: Iterable[keras.Metric]) -> list[Any]:
    return [variable for metric in metrics for variable in metric.variables]


def _packed(value: Any, arrays: list[np.ndarray]) -> Any:
    """The value for JSON, with numbers in the place of arrays."""
    match value:
        case np.ndarray() | np.generic():
            arrays.append(np.asarray(value))
            return {_ARRAY: len(arrays) - 1}
        case dict():
            return {name: _packed(each, arrays) for name, each in value.items()}
        case tuple():
            return {_TUPLE: [_packed(each, arrays) for each in value]}
        case list():
            return [_packed(each, arrays) for each in value]
        case _:
            return value


def _unpacked(value: Any, arrays: Sequence[np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_unpacked(each, arrays) for each in value]
    if not isinstance(value, dict):
        return value
    if _ARRAY in value:
        return arrays[value[_ARRAY]][()]  # of no dimension: a number again
    if _TUPLE in value:
        return tuple(_unpacked(each, arrays) for each in value[_TUPLE])
    return {name: _unpacked(each, arrays) for name, each in value.items()}


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
