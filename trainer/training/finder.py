"""The learning-rate range test (Smith, "Cyclical Learning Rates for Training Neural Networks",
2017), with the exponential rise and the stop that fast.ai gave it.

S measured points.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from trainer.training.loop import Step
from trainer.training.objective import Objective

LOW, HIGH = 1e-7, 10.0  # the learning rates of the first and of the last step
LEAST = 20  # points below which there is nothing to read from a curve
DIVERGED = 4.0  # times the best smoothed loss
FALL = 4.0  # standard errors that the smoothed loss must fall by
PATIENCE = 1000  # batches without an update, as of float16 gradients that never become finite

WIDTH = 0.25  # of the smoothing, in decades; with 200 steps a decade has 25


class Curve(NamedTuple):
    """What the test measured."""

    rates_S: np.ndarray  # rising
    losses_S: np.ndarray  # of each step's pictures, before its update

    @property
    def smoothed(self) -> np.ndarray:
        """The losses, averaged with Gaussian weights over the logarithm of the rate. An average of
        the past alone, as fast.ai's, would lag: the curve is there as a whole."""
        return _weights(self.rates_S) @ self.losses_S


class Advice(NamedTuple):
    """Learning rates that a curve suggests."""

    least: float  # where the smoothed loss is least
    suggested: float  # a tenth of that


def _weights(rates_S: np.ndarray) -> np.ndarray:
    """[S, S]: what each loss counts for in each smoothed one; rows add up to 1."""
    logs_S = np.log10(rates_S)
    weights_SS = np.exp(-0.5 * ((logs_S[:, None] - logs_S) / WIDTH) ** 2)
    return weights_SS / weights_SS.sum(axis=1, keepdims=True)


def ramp(optimizer: keras.Optimizer, steps: int) -> None:
    """Makes the learning rate rise from LOW to HIGH in so many updates, whatever it was: a number
    or a schedule."""
    optimizer.learning_rate = keras.optimizers.schedules.ExponentialDecay(
        LOW, steps - 1, HIGH / LOW
    )


def measure(
    step: Step, batches: Iterator[Any], objective: Objective, steps: int
) -> Iterator[tuple[float, float]]:
    """(learning rate, loss) of each update of a training whose rate rises in so many steps.

    Ends at HIGH, when the loss has diverged, and after one that is not finite. Updates that take
    several batches (accumulation, overflows of float16) give the mean of these.
    """
    optimizer = getattr(objective.optimizer, "inner_optimizer", objective.optimizer)
    ramp(optimizer, steps)
    mean = objective.metrics[0]
    found: list[tuple[float, float]] = []
    while (rate := _number(optimizer.learning_rate)) <= HIGH * 1.001:
        mean.reset_state()
        for _ in range(PATIENCE):
            loss = float(step(next(batches))[mean.name])
            if not math.isfinite(loss) or _number(optimizer.learning_rate) != rate:
                break
        else:
            return
        found.append((rate, loss))
        yield rate, loss
        if not math.isfinite(loss) or diverged(curve(found)):
            return


def curve(points: Sequence[tuple[float, float]]) -> Curve:
    """The points whose loss is finite."""
    finite = [point for point in points if math.isfinite(point[1])]
    rates_S, losses_S = np.array(finite, np.float64).reshape(-1, 2).T
    return Curve(rates_S, losses_S)


def diverged(found: Curve) -> bool:
    """Whether the smoothed loss has risen from its least value to DIVERGED times that."""
    smoothed_S = found.smoothed
    if not len(smoothed_S):
        return False
    least = smoothed_S.min()
    return bool(smoothed_S[-1] > least + (DIVERGED - 1) * abs(least))  # losses may be negative


def advice(found: Curve) -> Advice | None:
    """What the curve suggests; None if it has fewer than LEAST points, or the loss does not fall by
    more than its noise.

    A tenth of the rate of the least loss, because the least loss stands out of the noise of small
    batches. fast.ai's other rule, the steepest place, does not: 9.2e-07 for configs/rps.yaml, whose
    least loss is at 0.022.
    """
    if len(found.rates_S) < LEAST:
        return None
    smoothed_S = found.smoothed
    end = int(smoothed_S.argmin())
    noise = float(np.std((found.losses_S - smoothed_S)[: end + 1]))
    errors_S = noise * np.sqrt((_weights(found.rates_S) ** 2).sum(axis=1))  # of the smoothed losses
    first = float(smoothed_S[0])
    # Pure noise of 60 to 400 steps falls by FALL errors in 1 of 100 curves.
    if first - smoothed_S[end] <= max(
        FALL * np.hypot(errors_S[0], errors_S[end]), abs(first) / 100
    ):
        return None
    least = float(found.rates_S[end])
    return Advice(least, least / 10)


# --- where the rate stands in the YAML ------------------------------------------------------------


def place(training: Mapping[str, Any]) -> str:
    """The path of the number that sets the height of the learning rate, for `--set`.

    Args:
        training: that section as plain values.
    """
    for index, phase in enumerate(training.get("phases") or ()):
        if phase.get("learning_rate") is not None:
            return _of_rate(f"training.phases[{index}]", phase)
        break  # the first one is measured
    return _of_optimizer("training.optimizer", training["optimizer"])


def _of_optimizer(where: str, call: Any) -> str:
    name, arguments = _parsed(call)
    inner = arguments.get("inner_optimizer")
    if inner is not None:
        return _of_optimizer(f"{where}.{name}.inner_optimizer", inner)
    return _of_rate(f"{where}.{name}", arguments)


def _of_rate(where: str, arguments: Mapping[str, Any]) -> str:
    """A schedule's highest rate if it has one, else all of `learning_rate`."""
    rate = arguments.get("learning_rate")
    if isinstance(rate, dict) and len(rate) == 1:
        name, inner = _parsed(rate)
        for argument in ("warmup_target", "initial_learning_rate"):  # warmup: from the other to it
            if inner.get(argument) is not None:
                return f"{where}.learning_rate.{name}.{argument}"
    return f"{where}.learning_rate"


def _parsed(call: Any) -> tuple[str, Mapping[str, Any]]:
    """Name and arguments of a call as it is written."""
    if isinstance(call, str):
        return call, {}
    [(name, arguments)] = call.items()
    return name, arguments or {}


def _number(value: Any) -> float:
    return float(keras.ops.convert_to_numpy(value))
