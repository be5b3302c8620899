"""What `fit` and `check` share: everything a training needs, built and checked."""

import hashlib
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from trainer import objects
from trainer import run as runs
from trainer.commands import _evaluation
from trainer.commands._gather import gather, resumed
from trainer.config import Config
from trainer.config.data import Data
from trainer.data import augment, batches, feed, split
from trainer.errors import UserError
from trainer.model import network
from trainer.training import freeze, hardware, objective, phases
from trainer.training.peers import Peers

# Callbacks of Keras that do not do here what they promise: (problem, way out).
NOT_HERE = {
    "BackupAndRestore": (
        "would start a new run from the weights of another",
        "remove it: every epoch is kept, and --resume goes on",
    ),
    "SwapEMAWeights": (
        "would swap the weights a second time",
        "remove it: with use_ema in the optimizer, validation, best.keras and exports have the "
        "averages",
    ),
}


class Job(NamedTuple):
    """A training that only wants to be started."""

    classes: tuple[str, ...]
    sides: split.Sides
    left_out: dict[str, str]  # name -> reason of pictures on no side
    strategy: tf.distribute.Strategy
    peers: Peers
    model: keras.Model
    objective: objective.Objective
    callbacks: list[Any]
    steps: int  # per epoch
    plan: phases.Plan  # enters the phases after that of `objective`


def assemble(
    config: Config,
    run: runs.Run | None = None,
    phase: int = 0,
    strategy: tf.distribute.Strategy | None = None,
) -> Job:
    """Reads the data and builds all that the config names. Raises UserErrors.

    Args:
        run: to go on with, on its own pictures.
        phase: to begin in, from 0.
        strategy: of `hardware.prepare`, where that has been called.
    """
    data, training = config.data, config.training
    strategy = strategy or hardware.prepare(training, config.seed)
    peers = Peers.of(strategy)
    hardware.demand_full_replicas(strategy, data.batch_size)
    check_augment(data)
    with peers.chief_first():  # who may draw, download or look at every picture
        sides, left_out = _sides(config, run)
    if peers.workers > 1:
        peers.demand_same("pictures", _digest(sides))
    classes, multi_label = sides.train.classes, sides.train.multi_label
    _evaluation.demand(config, multi_label)
    if config.evaluation.gates.given() and not len(sides.test):
        hint = "set data.split.test, or remove the gates"
        raise UserError("evaluation.gates", "there is no test split to find them on", hint)
    batches.class_weights(sides.train, data)  # mistakes belong here, not into a thread
    batches.sampled(sides.train, data, config.seed)
    steps = -(-len(sides.train) // data.batch_size)
    # A run that was killed before its first checkpoint begins anew, so with the same weights.
    begun = run and any(path.is_file() for path in (run.last, run.previous, run.best))
    with strategy.scope():
        model = network.build(config.model, data.input_shape, classes, pretrained=not begun)
    network.demand_probabilities(model, training.loss, multi_label)
    objective.demand_metrics(training, multi_label)
    backbone, own = network.backbone_layers(model, config.model), freeze.flags(model)
    plan = phases.Plan(training, model, strategy, backbone, own, len(classes), steps)
    aims = plan.begin(phase)
    values = plan.values(training.all_epochs())
    callbacks = [
        objects.make(call, "keras.callbacks", f"training.callbacks[{index}]", values)
        for index, call in enumerate(training.callbacks)
    ]
    _demand_callbacks(config, callbacks, aims, plan)
    return Job(classes, sides, left_out, strategy, peers, model, aims, callbacks, steps, plan)


def check_augment(spec: Data) -> None:
    """Raises UserError for transforms that do not make pictures of `image_size`."""
    loaded = None
    if spec.load_size is not None:
        # Original pictures may have any size; one that is larger than needed stands for them.
        height, width = spec.image_size
        loaded = feed.loaded_shape(spec) or (2 * height + 1, 2 * width + 2, spec.channels)
    augment.check(spec.augment, spec.input_shape, loaded)


def _sides(config: Config, run: runs.Run | None) -> tuple[split.Sides, dict[str, str]]:
    """The pictures, and why others are left out, by their names."""
    if run:
        return resumed(config, run), {}
    gathered = gather(config)
    return gathered.sides, gathered.left_out()


def _digest(sides: split.Sides) -> str:
    """Of the labels of all pictures, and of up to a thousand names on each side."""
    found = hashlib.sha256(repr(sides.train.classes).encode())
    for side in sides:
        found.update(repr(len(side)).encode() + np.ascontiguousarray(side.labels).tobytes())
        for index in range(0, len(side), max(1, len(side) // 1000)):
            found.update(side.pictures.name(index).encode("utf-8", "surrogateescape"))
    return found.hexdigest()


def _demand_callbacks(
    config: Config, callbacks: list[Any], aims: objective.Objective, plan: phases.Plan
) -> None:
    """Raises UserError for a callback that would fail or mislead only after hours, and gives those
    of mode `auto` the direction of the metric they monitor.

    Of an unknown name Keras only warns, every epoch; the direction it looks up in metrics that
    only its own `fit` builds.
    """
    names = objective.names(aims)
    calls = zip(config.training.callbacks, callbacks, strict=True)
    wanted: list[tuple[str, str]] = [("training.best.monitor", config.training.best.monitor)]
    for index, (call, callback) in enumerate(calls):
        where = f"training.callbacks[{index}].{call.name}"
        if call.name in NOT_HERE:
            raise UserError(where, *NOT_HERE[call.name])
        plateau = isinstance(callback, keras.callbacks.ReduceLROnPlateau)
        if plateau and plan.scheduled():
            problem = "the learning rate follows a schedule, so nothing else can change it"
            hint = "give the optimizer a number as its learning_rate, and no warmup"
            raise UserError(where, problem, hint)
        monitored = getattr(callback, "monitor", None)
        if monitored is not None:
            wanted.append((f"{where}.monitor", monitored))
            if getattr(callback, "mode", None) == "auto":
                callback.mode = objective.direction(monitored, aims)
    for where, name in wanted:
        if name not in names:
            raise UserError(where, f"nothing is called '{name}'", f"one of: {', '.join(names)}")
