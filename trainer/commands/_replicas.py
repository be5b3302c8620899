"""What `check --devices` does in processes of their own: trains on so many devices, and measures.

Devices can only be chosen before TensorFlow uses one.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.commands import _steps
from trainer.commands._assemble import Job, assemble
from trainer.config import Config
from trainer.config.load import load, located
from trainer.data import feed
from trainer.data.pipeline import Faults, reported
from trainer.objects import mistakes
from trainer.training import hardware, loop, objective, variables

EPOCHS = 3
UPDATES = 2  # of the weights in each

NOISE = ("rate", "stddev")  # of Dropout and its like, of GaussianNoise

BY_ROWS = "normalises by the rows of its own replica; with synchronized: true by all"
REGULARIZED = "has an activity regularizer, which looks at the rows of its own replica"
DRAWS = "draws random numbers for the rows of its own replica"


def trial(request: Mapping[str, Any]) -> dict[str, Any]:
    """Trains on `replicas` devices of a `kind`, as `strategy` and `precision` of the request's
    `overrides` say.

    Returns: with `exact` what `_trained` finds; with `timed` for the `batch` of the config, and for
        one that gives each replica as much as one alone would get, the `seconds` of a step.

    Raises: UserErrors, such as of a batch that is too small for the replicas.
    """
    kind, replicas = request["kind"], request["replicas"]
    hardware.restrict(kind, replicas)
    config = load(Path(request["config"]), request["overrides"], mistakes)
    found: dict[str, Any] = {}
    with located(config):
        job = assemble(config)
        if request["exact"]:
            found |= _trained(config, job, Path(request["weights"]))
        if request["timed"]:
            batch = config.data.batch_size
            sizes = sorted({batch, replicas * batch})
            found["seconds"] = {size: _steps.timed(config, job, size).seconds for size in sizes}
    return found


def _trained(config: Config, job: Job, place: Path) -> dict[str, Any]:
    """Trains the first few batches of the config, in full float32 and without Dropout.

    Returns: `history` of each epoch, and by how much at most a weight has `moved`; of one replica
        `rounding` too: by how much each differs if the rows of each batch come the other way round,
        which is the same training but for the order of sums. `apart`: why layers may differ. The
        weights are saved to `place`.
    """
    held = [*job.model.variables, *job.objective.optimizer.variables, *job.objective.variables]
    start = variables.values(held)
    begun = job.model.get_weights()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    with _without_noise(job.model):
        history = _history(config, job, backwards=False)
        weights = job.model.get_weights()
        found = {"history": history, "moved": apart(weights, begun), "apart": reasons(job.model)}
        np.savez(place, *weights)
        if job.strategy.num_replicas_in_sync == 1:
            variables.assign(held, start)
            other = _history(config, job, backwards=True)
            rounding = {name: apart(history[name], other[name]) for name in history}
            found["rounding"] = rounding | {"weights": apart(weights, job.model.get_weights())}
    tf.config.experimental.enable_tensor_float_32_execution(True)
    return found


def _history(config: Config, job: Job, *, backwards: bool) -> dict[str, list[float]]:
    """The loop of `fit`, with validation pictures that leave the last batch nearly empty."""
    spec, faults = config.data, Faults({}, [])
    few = min(len(job.sides.validation), spec.batch_size + 1)
    training = feed.training(job.sides.train, spec, config.seed, faults)
    if backwards:
        training = training.map(lambda *parts: tuple(part[::-1] for part in parts))
    with reported(faults):
        history = loop.train(
            job.model,
            job.objective._replace(jit_compile=False),
            job.strategy,
            training,
            feed.evaluation(job.sides.validation.take(np.arange(few)), spec, faults),
            epochs=EPOCHS,
            steps=UPDATES * config.training.accumulated(),
        )
    logged = (name for name in objective.names(job.objective) if name != "learning_rate")
    names = [*logged, job.objective.gradient_norm.name]
    return {name: [float(each) for each in history[name]] for name in names}


def apart(one: Any, other: Any) -> float:
    """The largest difference of two lists of numbers or arrays; NaN if any is NaN."""
    return max(
        (float(np.max(np.abs(np.subtract(*pair)))) for pair in zip(one, other, strict=True)),
        key=lambda value: (np.isnan(value), value),
    )


@contextmanager
def _without_noise(model: keras.Model) -> Iterator[None]:
    """Dropout and Gaussian noise rest inside the block: masks are drawn for a replica's rows."""
    loud = [
        (layer, name, getattr(layer, name))
        for layer in model._flatten_layers()
        for name in NOISE
        if _draws(layer) and getattr(layer, name, None)
    ]
    for layer, name, _ in loud:
        setattr(layer, name, 0.0)
    try:
        yield
    finally:
        for layer, name, value in loud:
            setattr(layer, name, value)


def _draws(layer: keras.Layer) -> bool:
    return any(isinstance(each, keras.random.SeedGenerator) for each in vars(layer).values())


def reasons(model: keras.Model) -> dict[str, list[str]]:
    """Reason -> the names of layers for which several replicas may train otherwise than one."""
    found: dict[str, list[str]] = {}
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            if layer.trainable and not layer.synchronized:
                found.setdefault(BY_ROWS, []).append(layer.name)
        elif _draws(layer) and not any(hasattr(layer, each) for each in NOISE):
            found.setdefault(DRAWS, []).append(layer.name)
        if getattr(layer, "activity_regularizer", None):
            found.setdefault(REGULARIZED, []).append(layer.name)
    return found
