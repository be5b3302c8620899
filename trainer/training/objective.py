"""What training minimises and how: loss, optimizer and metrics, made under the strategy's scope."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from trainer import objects
from trainer.config.base import Call
from trainer.config.training import Stage, Training
from trainer.errors import UserError
from trainer.training import hardware, optimizers
from trainer.training.accumulator import Accumulator
from trainer.training.average import Average


class Objective(NamedTuple):
    """N batch, K classes."""

    loss: Any  # (labels [N, K], scores [N, K]) -> [N], not reduced
    probabilities: Callable[[tf.Tensor], tf.Tensor]  # scores [N, K] -> what metrics see
    optimizer: keras.Optimizer
    metrics: tuple[keras.Metric, ...]  # the first one is the mean loss
    gradient_norm: keras.metrics.Mean  # over the updates of an epoch
    accumulator: Accumulator | None = None  # nothing: every batch is an update
    average: Average | None = None  # nothing: the weights are what they are
    jit_compile: bool = False

    @property
    def running(self) -> tuple[keras.Metric, ...]:
        """All that is summed up in the course of an epoch."""
        return (*self.metrics, self.gradient_norm)

    @property
    def variables(self) -> tuple[Any, ...]:
        """What a checkpoint has to keep besides the compiled model."""
        kept = (self.accumulator, self.average)
        return tuple(variable for each in kept if each for variable in each.variables)


def build(
    spec: Training,
    model: keras.Model,
    values: Mapping[str, int],
    strategy: tf.distribute.Strategy,
    stage: Stage | None = None,
) -> Objective:
    """Makes the parts and compiles the model with them, so that callbacks and whoever loads a
    checkpoint find an ordinary Keras model.

    Args:
        values: what $classes, $steps_per_epoch and $total_steps stand for.
        stage: to begin with; nothing: the first one. What it freezes is frozen already.
    """
    _demand_dense(spec)
    with strategy.scope():
        loss = _loss(spec, values)
        if isinstance(loss, keras.Loss):
            loss.reduction = "none"  # the loop divides by the weights of all replicas
        metrics = (
            keras.metrics.Mean(name="loss"),
            *(
                objects.make(call, "keras.metrics", f"training.metrics[{index}]", values)
                for index, call in enumerate(spec.metrics)
            ),
        )
        norm = keras.metrics.Mean(name="gradient_norm")
    stage = stage or spec.stages()[0]
    moving = _moving(spec, stage, model, values, strategy)
    jit = hardware.compiles(spec, model, strategy)
    objective = Objective(
        loss, _probabilities(spec.loss), moving[0], metrics, norm, *moving[1:], jit
    )
    _demand_fit(spec, objective, model.output_shape[-1], strategy)
    return objective


def enter(
    objective: Objective,
    spec: Training,
    stage: Stage,
    model: keras.Model,
    values: Mapping[str, int],
    strategy: tf.distribute.Strategy,
) -> Objective:
    """The objective of another stage: with a fresh optimizer for the variables that train now; the
    averages go on. Compiles the model with it.

    Args:
        values: as `build`, of the stage.
    """
    optimizer, sums, average = _moving(spec, stage, model, values, strategy, objective.average)
    return objective._replace(optimizer=optimizer, accumulator=sums, average=average)


def demand_metrics(spec: Training, multi_label: bool) -> None:
    """Raises UserError for a metric that wants one right class where there may be several."""
    for index, call in enumerate(spec.metrics if multi_label else ()):
        if call.name in ("CategoricalAccuracy", "TopKCategoricalAccuracy"):
            problem = f"{call.name} wants one label per picture, but these may have several"
            hint = "write BinaryAccuracy, or AUC: {multi_label: true}"
            raise UserError(f"training.metrics[{index}].{call.name}", problem, hint)


def names(objective: Objective) -> list[str]:
    """What an epoch's logs hold, in the order to show them."""
    plain = [metric.name for metric in objective.metrics]
    return [*plain, *(f"val_{name}" for name in plain), "learning_rate"]


def direction(name: str, objective: Objective) -> Literal["min", "max"]:
    """Whether a logged value is better when smaller or greater, as its metric says of itself."""
    for metric in objective.metrics[1:]:
        if name in (metric.name, f"val_{metric.name}"):
            return "max" if getattr(metric, "_direction", "up") == "up" else "min"
    return "min"  # the loss


def _moving(
    spec: Training,
    stage: Stage,
    model: keras.Model,
    values: Mapping[str, int],
    strategy: tf.distribute.Strategy,
    average: Average | None = None,
) -> tuple[keras.Optimizer, Accumulator | None, Average | None]:
    """What moves the weights; the model is compiled with it."""
    with strategy.scope():
        optimizer, taken = optimizers.make(spec, stage, model, values)
        model.compile(optimizer, _loss(spec, values))
        variables, batches = model.trainable_variables, spec.accumulated()
        optimizer.build(variables)
        if taken.momentum is not None and average is None:
            average = Average.of(model, taken.momentum, taken.overwrite)
        return optimizer, Accumulator.of(variables, batches) if batches > 1 else None, average


def _loss(spec: Training, values: Mapping[str, int]) -> Any:
    return objects.make(spec.loss, "keras.losses", "training.loss", values)


def _probabilities(loss: Call) -> Callable[[tf.Tensor], tf.Tensor]:
    """AUC, Precision and their like cut at probabilities; on logits they would be quietly wrong."""
    if not loss.arguments.get("from_logits"):
        return lambda scores: scores
    return tf.nn.sigmoid if "Binary" in loss.name else tf.nn.softmax


def _demand_fit(
    spec: Training, objective: Objective, classes: int, strategy: tf.distribute.Strategy
) -> None:
    """Feeds loss and metrics two rows of weight 0, eagerly.

    What cannot take labels [N, K] shows here. F1Score and its like make their variables at the
    first update, which fails inside the step's graph with several replicas.
    """
    rows, zeros = tf.zeros((2, classes)), tf.zeros((2,))

    def loss() -> None:
        if objective.loss(rows, rows).shape != (2,):
            raise ValueError("it does not give one loss per picture")

    def update(metric: keras.Metric) -> None:
        metric.update_state(rows, rows, sample_weight=zeros)
        if np.ndim(metric.result()) > 0:
            raise ValueError("it gives one value per class; average: macro makes it one")

    trials: list[tuple[str, Callable[[], None]]] = [(f"training.loss.{spec.loss.name}", loss)]
    for index, (call, metric) in enumerate(zip(spec.metrics, objective.metrics[1:], strict=True)):
        trials.append((f"training.metrics[{index}].{call.name}", partial(update, metric)))
    with strategy.scope():
        for where, trial in trials:
            try:
                strategy.run(trial)
            except Exception as error:  # whatever a metric raises that is not made for these shapes
                reason = re.sub(r"\{\{.*?\}\} | \[Op:.*", "", str(error).split("\n")[0])
                problem = f"does not fit one-hot labels [N, {classes}]: {reason}"
                raise UserError(where, problem) from None
        for metric in objective.metrics:
            metric.reset_state()


def _demand_dense(spec: Training) -> None:
    """Raises UserError for what wants class indices: some of it takes one-hot labels and computes
    nonsense."""
    metrics = [(f"training.metrics[{index}]", call) for index, call in enumerate(spec.metrics)]
    for where, call in metrics:
        if call.name == "Accuracy":
            problem = (
                "Accuracy asks whether scores equal the labels exactly, which is always about 0"
            )
            raise UserError(f"{where}.Accuracy", problem, "write CategoricalAccuracy")
    for where, call in [("training.loss", spec.loss), *metrics]:
        if call.name.startswith("Sparse"):
            problem = f"{call.name} wants class indices, but labels are one-hot"
            raise UserError(
                f"{where}.{call.name}", problem, f"write {call.name.removeprefix('Sparse')}"
            )
