"""`trainer fit`: trains, keeps the best epoch, evaluates it."""

import contextlib

import keras

from trainer import run as runs
from trainer import terminal
from trainer.commands import evaluate
from trainer.commands._assemble import Job, assemble
from trainer.config import Config
from trainer.config.load import load
from trainer.data import pipeline, split
from trainer.errors import Interrupted, UserError
from trainer.training import checkpoint, display, hardware, loop, objective

FREE = ("training.epochs", "training.callbacks", "export", "runs")  # may differ after a resume


def run(config: Config, resume: bool = False) -> runs.Run:
    """Trains in a new run, or goes on with the last one of this name."""
    job = assemble(config)
    this = _resumed(config) if resume else runs.create(config)
    state = checkpoint.load(job.model, this.last) if this.last.is_file() else checkpoint.State()
    _describe(config, job, this, state)
    faults = pipeline.Faults({}, [])
    try:
        _train(config, job, this, state, faults)
    except KeyboardInterrupt:
        raise Interrupted(_how_to_go_on(config, this)) from None
    if faults.unreadable:
        terminal.warn(f"{len(faults.unreadable)} pictures could not be decoded and were left out")
    evaluate.run(this)
    terminal.say(f"next: trainer export {this.folder}")
    return this


def _train(
    config: Config, job: Job, this: runs.Run, state: checkpoint.State, faults: pipeline.Faults
) -> None:
    data, training = config.data, config.training
    batches = pipeline.training(
        job.sides.train, job.augment, data, config.seed, faults, start=state.epoch * job.steps
    )
    validation = pipeline.evaluation(job.sides.validation, data, faults)
    keeper = checkpoint.Checkpoints(this.last, this.best, training.best, job.callbacks, state)
    names = objective.names(job.objective)
    with contextlib.ExitStack() as stack:
        shown = stack.enter_context(
            display.display(names, training.epochs, job.steps, data.batch_size, state.epoch)
        )
        stack.enter_context(pipeline.reported(faults))
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
                keras.callbacks.LambdaCallback(
                    on_epoch_end=lambda *_: runs.write_history(
                        this, keeper.state.history, [*names, "images_per_second"]
                    )
                ),
                shown,
            ],
        )


def _resumed(config: Config) -> runs.Run:
    """The latest run of the config's name, if it was started with the same config."""
    latest = runs.latest(config)
    before, now = (each.model_dump(mode="json") for each in (load(latest.config), config))
    for path in FREE:
        for each in (before, now):
            *above, key = path.split(".")
            (each[above[0]] if above else each).pop(key)
    changed = [f"{key}" for key in now if now[key] != before[key]]
    if changed:
        raise UserError(
            changed[0],
            f"{', '.join(changed)} differ from the run to resume, {latest.folder}",
            "start a new run without --resume, or give the config as it was",
        )
    return latest


def _describe(config: Config, job: Job, this: runs.Run, state: checkpoint.State) -> None:
    if state.epoch >= config.training.epochs:
        raise UserError(
            "training.epochs",
            f"{this.folder} has finished {state.epoch} of {config.training.epochs} epochs",
            f"train longer: --set training.epochs={state.epoch + 5} --resume",
        )
    runs.write_classes(this, job.classes)
    split.write(job.sides, this.split)
    runs.write_environment(this)
    terminal.say(f"run      {this.folder}")
    terminal.say(f"devices  {hardware.described(job.strategy, config.training)}")
    counts = ", ".join(f"{len(side.paths)} {name}" for name, side in job.sides._asdict().items())
    terminal.say(f"data     {counts}; classes {', '.join(job.classes)}")
    terminal.say(f"network  {job.model.count_params():,} parameters")
    terminal.say(f"watch    tensorboard --logdir {this.tensorboard}")
    if state.epoch:
        terminal.say(f"resumed  after epoch {state.epoch}")


def _how_to_go_on(config: Config, this: runs.Run) -> str:
    if not this.last.is_file():
        return f"stopped before the first epoch was finished; nothing to keep in {this.folder}"
    return f"stopped; {this.last} is kept. Go on with the same command and --resume"
