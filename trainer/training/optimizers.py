"""The optimizer of a phase: Keras's own, but exact on any number of replicas.

What Keras does per replica or not at all under a strategy is taken off the optimizer and done by
the loop: gradients are summed over the replicas before anything looks at them, so that Keras clips
and checks the whole gradient; they are accumulated in `accumulator.py`, weights averaged in
`average.py`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras

from trainer import objects
from trainer.config.base import Call
from trainer.config.training import Stage, Training
from trainer.errors import UserError
from trainer.training import freeze
from trainer.training.schedules import Warmup


class Taken(NamedTuple):
    """What the loop does in place of the optimizer."""

    momentum: float | None  # of the averaged weights; nothing: they are not averaged
    overwrite: int  # updates after which the weights become their averages; 0: never


def make(
    spec: Training, stage: Stage, model: keras.Model, values: Mapping[str, int]
) -> tuple[Any, Taken]:
    """The optimizer, not yet built, and what was taken off it.

    Args:
        values: what `$steps_per_epoch` and `$total_steps` stand for, in updates of this stage.

    Raises: UserErrors for what cannot be made of the config.
    """
    optimizer = objects.make(_call(spec, stage), "keras.optimizers", "training.optimizer", values)
    inner = innermost(optimizer)
    _set_rate(inner, stage, values)
    _exempt(inner, spec, model)
    _scale_rates(inner, freeze.rates(model, stage))
    # The loop has summed them: Keras would do so after clipping each replica's part by itself.
    inner._all_reduce_sum_gradients = list
    taken = _taken(inner, spec)
    if spec.precision == "mixed_float16" and inner is optimizer:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer, taken


def innermost(optimizer: Any) -> Any:
    """The one that a LossScaleOptimizer wraps, else itself."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def has_schedule(optimizer: Any) -> bool:
    """Whether the learning rate is a function of the update."""
    schedules = keras.optimizers.schedules.LearningRateSchedule
    return isinstance(getattr(innermost(optimizer), "_learning_rate", None), schedules)


def _call(spec: Training, stage: Stage) -> Call:
    """The optimizer as it is written, without a learning rate where the phase has one."""
    call = spec.optimizer
    if stage.learning_rate is None:
        return call
    rest = {name: value for name, value in call.arguments.items() if name != "learning_rate"}
    if "inner_optimizer" in rest:
        inner = Call.parse(rest["inner_optimizer"])
        less = {name: value for name, value in inner.arguments.items() if name != "learning_rate"}
        rest["inner_optimizer"] = Call(inner.name, less).written()
    return Call(call.name, rest)


def _set_rate(optimizer: Any, stage: Stage, values: Mapping[str, int]) -> None:
    rate, warmup = stage.learning_rate, stage.warmup
    if isinstance(rate, Call):
        where = f"{stage.where}.learning_rate"
        rate = objects.make(rate, "keras.optimizers.schedules", where, values)
    if rate is not None:
        optimizer.learning_rate = rate
    if warmup:
        steps = warmup.steps or round((warmup.epochs or 0) * values["$steps_per_epoch"])
        if steps > values["$total_steps"]:
            problem = f"{steps} updates of warmup, but there are only {values['$total_steps']}"
            raise UserError(f"{stage.where}.warmup", problem, "write a shorter one")
        full = optimizer._learning_rate
        if not has_schedule(optimizer):
            full = float(keras.ops.convert_to_numpy(full))
        optimizer.learning_rate = Warmup(full, max(1, steps))


def _exempt(optimizer: Any, spec: Training, model: keras.Model) -> None:
    """Keeps weight decay from the variables of `no_weight_decay`."""
    if not spec.no_weight_decay:
        return
    where = "training.no_weight_decay"
    if not optimizer.weight_decay:
        problem = f"{type(optimizer).__name__} has no weight decay"
        raise UserError(where, problem, "give it weight_decay, or remove no_weight_decay")
    exempt: list[Any] = []
    for index, pattern in enumerate(spec.no_weight_decay):
        here = f"{where}[{index}]"
        try:
            found = [each for each in model.weights if re.search(pattern, each.path)]
        except re.error as error:
            raise UserError(here, f"'{pattern}' is no regular expression: {error}") from None
        if not found:
            paths = [each.path for each in model.weights]
            known = ", ".join(paths[:4]) + ", …" * (len(paths) > 4)
            raise UserError(here, f"'{pattern}' matches no weight", f"they are called {known}")
        exempt += found
    optimizer.exclude_from_weight_decay(var_list=exempt)


def _scale_rates(optimizer: Any, rates: Sequence[tuple[Any, float]]) -> None:
    """Multiplies the learning rate of each of these variables, and with it weight decay.

    Keras's optimizers get their learning rate as an argument of `update_step`, or ask themselves
    for it where they apply weight decay; so one rule serves them all.
    """
    if not rates:
        return
    update, decay, current = (
        optimizer.update_step,
        optimizer._apply_weight_decay,
        optimizer._get_current_learning_rate,
    )
    factors = {optimizer._var_key(variable): factor for variable, factor in rates}
    scale = 1.0

    def factored(variable: Any, call: Callable[[float], None]) -> None:
        nonlocal scale
        scale = factors.get(optimizer._var_key(variable), 1.0)
        call(scale)
        scale = 1.0

    def update_step(gradient: Any, variable: Any, learning_rate: Any) -> None:
        factored(variable, lambda factor: update(gradient, variable, learning_rate * factor))

    def apply_weight_decay(variables: Sequence[Any]) -> None:
        for variable in variables:
            factored(variable, lambda _, variable=variable: decay([variable]))  # type: ignore[misc]

    optimizer.update_step = update_step
    optimizer._apply_weight_decay = apply_weight_decay
    optimizer._get_current_learning_rate = lambda: current() if scale == 1 else current() * scale


def _taken(optimizer: Any, spec: Training) -> Taken:
    if (optimizer.gradient_accumulation_steps or 1) != spec.accumulated():  # 4.0, or computed
        where = f"training.optimizer.{spec.optimizer.name}"
        problem = "gradient_accumulation_steps is no whole number in the config"
        raise UserError(where, problem, "write one, as in gradient_accumulation_steps: 4")
    momentum = optimizer.ema_momentum if optimizer.use_ema else None
    overwrite = optimizer.ema_overwrite_frequency if optimizer.use_ema else None
    optimizer.use_ema, optimizer.ema_overwrite_frequency = False, None
    optimizer.gradient_accumulation_steps = None
    return Taken(momentum, overwrite or 0)
