"""What `fit` and `check` share: everything a training needs, built and checked."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from trainer import objects
from trainer.config import Config
from trainer.data import augment, split
from trainer.errors import UserError
from trainer.model import network
from trainer.parts import part
from trainer.training import hardware, objective


class Job(NamedTuple):
    """A training that only wants to be started."""

    classes: tuple[str, ...]
    sides: split.Sides
    strategy: tf.distribute.Strategy
    model: keras.Model
    objective: objective.Objective
    callbacks: list[Any]
    augment: augment.Augment
    steps: int  # per epoch


def assemble(config: Config) -> Job:
    """Reads the data and builds all that the config names. Raises UserErrors."""
    data, training = config.data, config.training
    strategy = hardware.prepare(training, config.seed)
    hardware.demand_full_replicas(strategy, data.batch_size)
    examples = part("data.sources", data.source.kind).read(data.source)
    sides = split.split(examples, data.split, config.seed)
    augment.check(data.augment, data.image_size)
    steps = -(-len(sides.train.paths) // data.batch_size)
    values = {
        "$classes": len(examples.classes),
        "$steps_per_epoch": steps,
        "$total_steps": steps * training.epochs,
    }
    with strategy.scope():
        model = network.build(config.model, data.image_size, examples.classes)
    network.demand_probabilities(model, training.loss)
    aims = objective.build(training, model, values, strategy)
    callbacks = [
        objects.make(call, "keras.callbacks", f"training.callbacks[{index}]", values)
        for index, call in enumerate(training.callbacks)
    ]
    _demand_monitors(config, callbacks, objective.names(aims))
    objective.direct(callbacks, aims)
    augmented = augment.build(data.augment)
    return Job(examples.classes, sides, strategy, model, aims, callbacks, augmented, steps)


def _demand_monitors(config: Config, callbacks: list[Any], names: list[str]) -> None:
    """Keras would only warn, every epoch, and never stop or save anything."""
    wanted = [("training.best.monitor", config.training.best.monitor)]
    for index, (call, callback) in enumerate(
        zip(config.training.callbacks, callbacks, strict=True)
    ):
        where = f"training.callbacks[{index}].{call.name}.monitor"
        wanted.append((where, getattr(callback, "monitor", names[0])))
    for where, name in wanted:
        if name not in names:
            raise UserError(where, f"nothing is called '{name}'", f"one of: {', '.join(names)}")
