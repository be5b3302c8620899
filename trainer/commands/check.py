"""`trainer check`: builds everything that fit would, and trains nothing."""

import keras
import numpy as np

from trainer import files, places, terminal
from trainer.commands._assemble import Job, assemble
from trainer.config import Config
from trainer.data import feed
from trainer.data.pipeline import Faults, reported
from trainer.model import drawing, summary
from trainer.training import hardware


def run(config: Config) -> None:
    """Shows data, network and one batch's loss before training."""
    job = assemble(config)
    _show_data(job)
    found = summary.summarise(job.model, job.objective.optimizer)
    _show_network(found)
    drawn = places.drawing(config)
    files.write_text(drawn, drawing.draw(config.name, found))
    faults = Faults({}, [])
    batches = feed.training(job.sides.train, config.data, config.seed, faults)
    with reported(faults):
        images, labels, _ = next(iter(batches))
    loss = np.mean(job.objective.loss(labels, job.model(keras.ops.cast(images, "float32"))))
    counts = (len(job.sides.train), len(job.sides.validation))
    _show_memory(found.memory, config.data.batch_size)
    with feed.stored(config.data, counts, places.decoded()) as stores:
        terminal.say(f"cache    {stores.said}")
    training = config.training
    terminal.say(f"devices  {hardware.described(job.strategy, training)}")
    plan = (
        f"{training.all_epochs()} epochs of {job.steps} steps of {config.data.batch_size} pictures"
    )
    terminal.say(f"plan     {plan}")
    for number, what in enumerate(job.plan.described(), 1):
        terminal.say(f"phase    {number} of {len(training.phases)}: {what}")
    terminal.say(f"loss     {loss:.4f} on the first batch, before training")
    terminal.say(f"drawn    {drawn}")
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


def _show_network(found: summary.Summary) -> None:
    rows = [
        (
            number,
            row.name,
            row.kind,
            _sources(number, row),
            summary.dims(row.shape),
            summary.short(row.parameters) if row.parameters else "",
            summary.short(row.multiply_adds) if row.multiply_adds else "",
        )
        for number, row in enumerate(found.rows)
    ]
    trained = "all" if found.trainable == found.parameters else f"{found.trainable:,}"
    terminal.table(
        f"network: {found.parameters:,} parameters, {trained} trainable; "
        f"{found.multiply_adds:,} multiply-adds (MACs) per picture",
        ("#", "layer", "kind", "from", "output", "params", "MACs"),
        rows,
    )


def _sources(number: int, row: summary.Row) -> str:
    """Where a layer's inputs come from, if not simply from the one before."""
    plain = row.inputs == (number - 1,) or not row.inputs
    return "" if plain else ", ".join(map(str, row.inputs))


def _show_memory(found: summary.Memory, batch_size: int) -> None:
    kept, batch = files.size(found.kept), files.size(found.kept * batch_size)
    peak, weights = files.size(found.peak), files.size(found.weights)
    training = f"{files.size(found.fixed)} and {kept} per picture ({batch} per batch)"
    terminal.say(
        f"memory   at least {training} to train, {weights} and {peak} per picture to predict"
    )
