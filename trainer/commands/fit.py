"""`trainer fit`: trains, keeps the best epoch, evaluates it."""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from trainer import files, terminal
from trainer import run as runs
from trainer.commands import evaluate
from trainer.commands._assemble import Job, assemble
from trainer.config import Config
from trainer.config.load import load
from trainer.data import feed, split_file
from trainer.data.pipeline import Faults, reported
from trainer.errors import Interrupted, UserError
from trainer.training import checkpoint, display, hardware, interrupt, loop, objective

# May differ after a resume: the rest decides what the weights become. The run has its pictures, so
# quarantine says nothing.
FREE = (
    *("training.epochs", "training.callbacks", "training.checkpoint", "training.profile"),
    *("data.cache", "data.workers", "data.worker_timeout", "data.quarantine", "data.source.path"),
    *("runs", "export"),
)


def run(config: Config, resume: bool = False) -> runs.Run:
    """Trains in a new run, or goes on with the last one of this name, if there is one."""
    this = runs.resumable(config) if resume else None  # before anything is drawn
    with ExitStack() as stack:
        if this:
            _demand_same(load(this.config), config, this)
            stack.enter_context(_alone(this))
            for folder in (this.folder, this.last.parent):
                files.remove_partial(folder)
        job = assemble(config, this)
        if this:
            state, origin = _resumed(config, job, this)
            if _finished(config, state) and (this.metrics.exists() or not len(job.sides.test)):
                _say_finished(config, this, state)
                return this
        else:
            this, state, origin = _created(config, job, resume), checkpoint.State(), None
            stack.enter_context(_alone(this))
        faults = Faults({}, [])
        if not _finished(config, state):
            state = _train(config, job, this, state, origin, faults)
        _conclude(config, job, this, state, faults)
    return this


def _created(config: Config, job: Job, resume: bool) -> runs.Run:
    if resume:
        terminal.say(f"resume   there is no run of {config.name} yet, so this is the first")

    def write(run: runs.Run) -> None:
        runs.write_classes(run, job.classes)
        counts = {name: len(side) for name, side in job.sides._asdict().items()}
        runs.write_data(run, job.sides.train.multi_label, counts, job.left_out)
        split_file.write(job.sides, run.split)
        runs.write_environment(run)

    return runs.create(config, write)


def _train(
    config: Config,
    job: Job,
    this: runs.Run,
    state: checkpoint.State,
    origin: Path | None,
    faults: Faults,
) -> checkpoint.State:
    """Trains to the end, or to the signal that stops it."""
    with ExitStack() as stack:
        heed = stack.enter_context(interrupt.heeded())
        start = state.epoch * job.steps + state.step
        fed = stack.enter_context(
            feed.opened(job.sides, config.data, config.seed, faults, runs.decoded(), start)
        )
        _describe(config, job, this, state, fed)
        keeper = _keeper(config, job, this, state, origin, heed)
        callbacks = stack.enter_context(_callbacks(config, job, this, keeper, fed))
        stack.enter_context(reported(faults))
        try:
            loop.train(
                job.model,
                job.objective,
                job.strategy,
                fed.training,
                fed.validation,
                epochs=config.training.epochs,
                steps=job.steps,
                first_epoch=state.epoch,
                first_step=state.step,
                callbacks=[*callbacks, heed],
            )
        except interrupt.Stopped as end:
            raise Interrupted(_how_to_go_on(this, keeper.written), 128 + end.number) from None
        except KeyboardInterrupt:
            raise Interrupted(_how_to_go_on(this, keeper.written)) from None
        except tf.errors.ResourceExhaustedError as error:  # TensorBoard's files
            if os.strerror(errno.ENOSPC) not in str(error):
                raise
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise files.not_writable(this.tensorboard, full) from None
        except OSError as error:  # a callback's file, or the disk is full
            raise files.not_writable(Path(error.filename or this.folder), error) from None
    return keeper.state


def _keeper(
    config: Config,
    job: Job,
    this: runs.Run,
    state: checkpoint.State,
    origin: Path | None,
    heed: interrupt.Heed,
) -> checkpoint.Checkpoints:
    best = config.training.best
    if best.mode == "auto":
        mode = objective.direction(best.monitor, job.objective)
        best = best.model_copy(update={"mode": mode})
    return checkpoint.Checkpoints(
        _places(this),
        best,
        config.training.checkpoint,
        job.callbacks,
        job.objective.metrics,
        state._replace(
            epochs=config.training.epochs, callbacks_as=_written(config), recipe=_recipe(config)
        ),
        origin,
        heed.asked,
        loop.TIMING,
    )


@contextmanager
def _callbacks(
    config: Config, job: Job, this: runs.Run, keeper: checkpoint.Checkpoints, fed: feed.Feed
) -> Iterator[list[keras.callbacks.Callback]]:
    """In the order of their work: the user's own, what keeps, what shows."""
    training, names = config.training, objective.names(job.objective)
    done = keeper.state.epoch * job.steps + keeper.state.step
    filling = fed.stores.training is not None
    advise = _Advise(lambda wait: feed.advice(fed, config.data, wait), skipped=filling)
    write = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: _write_logs(job, this, keeper.state)
    )
    board = keras.callbacks.TensorBoard(this.tensorboard, profile_batch=training.profile or 0)
    with display.display(names, training.epochs, job.steps, config.data.batch_size, done) as shown:
        yield [*job.callbacks, board, keeper, write, shown, advise]


class _Advise(keras.callbacks.Callback):
    """Says once what to do about a training that waits for its input.

    Args:
        skipped: the epochs that say nothing, because a cache is being filled.
    """

    def __init__(self, advice: Callable[[float], str], skipped: int) -> None:
        super().__init__()
        self.advice, self.skipped, self.said = advice, skipped, False

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        line = self.advice((logs or {})["input_wait"])
        if line and not self.said and not self.skipped:
            terminal.say(f"hint     {line}")
            self.said = True
        self.skipped = 0


def _write_logs(job: Job, this: runs.Run, state: checkpoint.State) -> None:
    runs.write_history(this.history, state.history, objective.names(job.objective))
    runs.write_history(this.timing, state.timing, loop.TIMING)


def _conclude(
    config: Config, job: Job, this: runs.Run, state: checkpoint.State, faults: Faults
) -> None:
    """Says what came out, and evaluates it."""
    if state.epoch < config.training.epochs:
        terminal.say(
            f"stopped  by a callback after epoch {state.epoch} of {config.training.epochs}"
        )
    monitor = config.training.best.monitor
    best = [epoch for epoch, logs in enumerate(state.history, 1) if logs[monitor] == state.best]
    if best:
        terminal.say(f"best     epoch {best[0]}, {monitor} {state.best:.4g}")
    if faults.unreadable:
        terminal.warn(f"{len(faults.unreadable)} pictures could not be decoded and were left out")
    if len(job.sides.test):
        evaluate.run(this)
    else:
        terminal.say("no test split, so nothing to evaluate")
    terminal.say(f"next: trainer export {this.folder}")


def _resumed(config: Config, job: Job, this: runs.Run) -> tuple[checkpoint.State, Path | None]:
    """The state to go on with and where it was read; the run's config.yaml becomes the one given
    now. Raises: UserErrors if there are checkpoints, but no usable one."""
    state, origin = checkpoint.newest(job.model, _places(this), _recipe(config))
    if state.callbacks_as != _written(config):
        state = state._replace(callbacks=(), stopped=False)  # the counters of others
    if state.epochs != config.training.epochs:
        state = state._replace(stopped=False)
    for callback in job.callbacks:
        if isinstance(callback, keras.callbacks.CSVLogger):
            callback.append = True
    if not _finished(config, state):
        this.metrics.unlink(missing_ok=True)  # of an earlier end
    runs.write_config(this, config)
    # The last epoch may be in the checkpoint alone, or no longer in it.
    if state.history or this.history.exists():
        _write_logs(job, this, state)
    return state, origin


def _say_finished(config: Config, this: runs.Run, state: checkpoint.State) -> None:
    """Not an error: a batch job that is started again may find that all is done."""
    end = ", then a callback stopped it" if state.stopped else ""
    terminal.say(f"finished {this.folder} after {state.epoch} epochs{end}; nothing is left to do")
    longer = max(state.epoch, config.training.epochs) + 5
    terminal.say(f"train longer: --set training.epochs={longer} --resume")


def _finished(config: Config, state: checkpoint.State) -> bool:
    return state.epoch >= config.training.epochs or (state.stopped and not state.step)


def _places(this: runs.Run) -> checkpoint.Places:
    return checkpoint.Places(this.last, this.previous, this.best)


@contextmanager
def _alone(this: runs.Run) -> Iterator[None]:
    """Nobody else trains in the run meanwhile. Raises UserError if somebody does."""
    try:
        with files.locked(this.lock):
            yield
    except BlockingIOError:
        problem = f"another trainer fit is at work in {this.folder}"
        raise UserError("--resume", problem, "wait for its end, or stop it") from None


def _demand_same(old: Config, new: Config, this: runs.Run) -> None:
    """Raises UserErrors for what differs and is not FREE."""
    another = "start a new run without --resume"
    changed = [
        UserError(where, f"differs from the run to resume, {this.folder}", another)
        for where in _differences(_essential(old.model_dump()), _essential(new.model_dump()), "")
    ]
    if changed:
        raise ExceptionGroup("changed", changed)


def _recipe(config: Config) -> str:
    """A hash of all that the weights depend on; keys of later versions have their defaults."""
    return _hash(_essential(config.model_dump(exclude_defaults=True)))


def _written(config: Config) -> str:
    """A hash of the callbacks as they are written."""
    return _hash([call.written() for call in config.training.callbacks])


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


def _essential(section: dict[str, Any], where: str = "") -> dict[str, Any]:
    """What is not FREE of a section."""
    kept = {name: value for name, value in section.items() if f"{where}{name}" not in FREE}
    return {
        name: _essential(value, f"{where}{name}.") if isinstance(value, dict) else value
        for name, value in kept.items()
    }


def _differences(one: Any, other: Any, where: str) -> Iterator[str]:
    """The paths of what is not equal in two configs."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            here = f"{where}.{key}" if where else key
            yield from _differences(one.get(key), other.get(key), here)
    elif one != other:
        yield where


def _describe(
    config: Config, job: Job, this: runs.Run, state: checkpoint.State, fed: feed.Feed
) -> None:
    terminal.say(f"run      {this.folder}")
    terminal.say(f"devices  {hardware.described(job.strategy, config.training)}")
    counts = ", ".join(f"{len(side)} {name}" for name, side in job.sides._asdict().items())
    names = ", ".join(job.classes[:10]) + ", …" * (len(job.classes) > 10)
    terminal.say(f"data     {counts}; {len(job.classes)} classes: {names}")
    terminal.say(f"cache    {fed.stores.said}")
    terminal.say(f"workers  {fed.maker.reason}")
    terminal.say(f"network  {job.model.count_params():,} parameters")
    terminal.say(f"watch    tensorboard --logdir {this.tensorboard}")
    if config.training.profile:
        first, last = config.training.profile
        view = 'TensorBoard shows it with pip install "keras-image-trainer[profile]"'
        terminal.say(f"profile  steps {first} to {last}; {view}")
    if state.epoch or state.step:
        terminal.say(f"resumed  {_reached(state)}")


def _reached(state: checkpoint.State) -> str:
    if state.step:
        return f"in epoch {state.epoch + 1} after step {state.step}"
    return f"after epoch {state.epoch}"


def _how_to_go_on(this: runs.Run, state: checkpoint.State) -> str:
    if not checkpoint.begun(_places(this)):
        return f"stopped before the first step was finished; nothing to keep in {this.folder}"
    kept = f"stopped {_reached(state)}; {this.last} is kept"
    return f"{kept}. Go on with the same command and --resume"
