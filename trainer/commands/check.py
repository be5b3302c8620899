"""`trainer check`: builds everything that fit would, and trains nothing."""

import keras
import numpy as np

from trainer import run as runs
from trainer import terminal
from trainer.commands._assemble import Job, assemble
from trainer.config import Config
from trainer.data import feed
from trainer.data.pipeline import Faults, reported
from trainer.training import hardware


def run(config: Config) -> None:
    """Shows data, network and one batch's loss before training."""
    job = assemble(config)
    _show_data(job)
    _show_network(job.model)
    faults = Faults({}, [])
    batches = feed.training(job.sides.train, config.data, config.seed, faults)
    with reported(faults):
        images, labels, _ = next(iter(batches))
    loss = np.mean(job.objective.loss(labels, job.model(keras.ops.cast(images, "float32"))))
    counts = (len(job.sides.train), len(job.sides.validation))
    with feed.stored(config.data, counts, runs.decoded()) as stores:
        terminal.say(f"cache    {stores.said}")
    training = config.training
    terminal.say(f"devices  {hardware.described(job.strategy, training)}")
    plan = (
        f"{training.all_epochs()} epochs of {job.steps} steps of {config.data.batch_size} pictures"
    )
    terminal.say(f"plan     {plan}")
    terminal.say(f"loss     {loss:.4f} on the first batch, before training")
    terminal.say("all is well; train it with trainer fit")


def _show_data(job: Job) -> None:
    sides = job.sides._asdict()
    counts = {name: side.counts() for name, side in sides.items()}
    terminal.table(
        "pictures per class and split",
        ("class", *sides),
        [
            (label, *(counts[name][index] for name in sides))
            for index, label in enumerate(job.classes)
        ],
    )


def _show_network(model: keras.Model) -> None:
    rows = [
        (layer.name, type(layer).__name__, _shape(layer.output.shape), f"{layer.count_params():,}")
        for layer in model.layers
    ]
    terminal.table(
        f"network: {model.count_params():,} parameters",
        ("layer", "kind", "output shape", "parameters"),
        rows,
    )


def _shape(shape: tuple[int | None, ...]) -> str:
    return " × ".join("N" if size is None else str(size) for size in shape)
