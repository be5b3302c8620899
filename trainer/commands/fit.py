"""`trainer fit`: trains, keeps the best epoch, evaluates it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from trainer import files, terminal
from trainer import run as runs
from trainer.commands import evaluate
from trainer.commands._assemble import Job, assemble
from trainer.config import Config
from trainer.config.load import load
from trainer.data import pipeline, split_file
from trainer.errors import Interrupted, UserError
from trainer.training import checkpoint, display, hardware, interrupt, loop, objective

# May differ after a resume, as may export; the run has its pictures, so quarantine says nothing.
FREE = ("training.epochs", "training.callbacks", "runs", "data.quarantine", "data.source.path")


def run(config: Config, resume: bool = False) -> runs.Run:
    """Trains in a new run, or goes on with the last one of this name."""
    this = runs.resumable(config) if resume else None  # before anything is drawn
    if this:
        _demand_same(load(this.config), config, this)
    job = assemble(config, this)
    if this:
        state = _resumed(config, job, this)
    else:
        this, state = runs.create(config), checkpoint.State()
        runs.write_classes(this, job.classes)
        counts = {name: len(side) for name, side in job.sides._asdict().items()}
        runs.write_data(this, job.sides.train.multi_label, counts, job.left_out)
        split_file.write(job.sides, this.split)
        runs.write_environment(this)
    _describe(config, job, this, state)
    faults = pipeline.Faults({}, [])
    try:
        state = _train(config, job, this, state, faults)
    except KeyboardInterrupt:
        raise Interrupted(_how_to_go_on(this)) from None
    except OSError as error:  # a callback's file, or the disk is full
        raise files.not_writable(Path(error.filename or this.folder), error) from None
    _say_best(config, state)
    if faults.unreadable:
        terminal.warn(f"{len(faults.unreadable)} pictures could not be decoded and were left out")
    if len(job.sides.test):
        evaluate.run(this)
    else:
        terminal.say("no test split, so nothing to evaluate")
    terminal.say(f"next: trainer export {this.folder}")
    return this


def _train(
    config: Config, job: Job, this: runs.Run, state: checkpoint.State, faults: pipeline.Faults
) -> checkpoint.State:
    data, training = config.data, config.training
    batches = pipeline.training(
        job.sides.train, job.augment, data, config.seed, faults, start=state.epoch * job.steps
    )
    validation = pipeline.evaluation(job.sides.validation, data, faults)
    best = training.best
    if best.mode == "auto":
        mode = objective.direction(best.monitor, job.objective)
        best = best.model_copy(update={"mode": mode})
    keeper = checkpoint.Checkpoints(this.last, this.best, best, job.callbacks, state)
    names = objective.names(job.objective)
    with contextlib.ExitStack() as stack:
        shown = stack.enter_context(
            display.display(names, training.epochs, job.steps, data.batch_size, state.epoch)
        )
        stack.enter_context(pipeline.reported(faults))
        heed = stack.enter_context(interrupt.heeded())
        loop.train(
            job.model,
            job.objective,
            job.strategy,
            batches,
            validation,
            epochs=training.epochs,
            steps=job.steps,
            first_epoch=state.epoch,
            callbacks=[
                *job.callbacks,
                keras.callbacks.TensorBoard(this.tensorboard),
                keeper,
                heed,
                keras.callbacks.LambdaCallback(
                    on_epoch_end=lambda *_: runs.write_history(
                        this, keeper.state.history, [*names, "images_per_second"]
                    )
                ),
                shown,
            ],
        )
    return keeper.state


def _say_best(config: Config, state: checkpoint.State) -> None:
    if state.epoch < config.training.epochs:
        terminal.say(
            f"stopped  by a callback after epoch {state.epoch} of {config.training.epochs}"
        )
    monitor = config.training.best.monitor
    for epoch, logs in enumerate(state.history, start=1):
        if logs[monitor] == state.best:
            terminal.say(f"best     epoch {epoch}, {monitor} {state.best:.4g}")
            return


def _resumed(config: Config, job: Job, this: runs.Run) -> checkpoint.State:
    """The state to go on with; the run's config.yaml becomes the one given now.

    Raises: UserError if all epochs are done.
    """
    old = load(this.config)
    state = checkpoint.load(job.model, this.last) if this.last.is_file() else checkpoint.State()
    if state.epoch >= config.training.epochs:
        raise UserError(
            "training.epochs",
            f"{this.folder} has already finished {state.epoch} epochs, "
            f"{config.training.epochs} are asked for",
            f"train longer: --set training.epochs={state.epoch + 5} --resume",
        )
    if old.training.callbacks != config.training.callbacks:
        state = state._replace(callbacks=())  # the counters of others
    for callback in job.callbacks:
        if isinstance(callback, keras.callbacks.CSVLogger):
            callback.append = True
    runs.write_config(this, config)
    return state


def _demand_same(old: Config, new: Config, this: runs.Run) -> None:
    """Raises UserErrors for what differs and is not FREE."""
    another = "start a new run without --resume"
    changed = [
        UserError(where, f"differs from the run to resume, {this.folder}", another)
        for where in _differences(old.model_dump(), new.model_dump(), "")
        if where not in FREE and not where.startswith("export")
    ]
    if changed:
        raise ExceptionGroup("changed", changed)


def _differences(one: Any, other: Any, where: str) -> Iterator[str]:
    """The paths of what is not equal in two configs."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            here = f"{where}.{key}" if where else key
            yield from _differences(one.get(key), other.get(key), here)
    elif one != other:
        yield where


def _describe(config: Config, job: Job, this: runs.Run, state: checkpoint.State) -> None:
    terminal.say(f"run      {this.folder}")
    terminal.say(f"devices  {hardware.described(job.strategy, config.training)}")
    counts = ", ".join(f"{len(side)} {name}" for name, side in job.sides._asdict().items())
    names = ", ".join(job.classes[:10]) + ", …" * (len(job.classes) > 10)
    terminal.say(f"data     {counts}; {len(job.classes)} classes: {names}")
    terminal.say(f"network  {job.model.count_params():,} parameters")
    terminal.say(f"watch    tensorboard --logdir {this.tensorboard}")
    if state.epoch:
        terminal.say(f"resumed  after epoch {state.epoch}")


def _how_to_go_on(this: runs.Run) -> str:
    if not this.last.is_file():
        return f"stopped before the first epoch was finished; nothing to keep in {this.folder}"
    return f"stopped; {this.last} is kept. Go on with the same command and --resume"
