"""`trainer tune lr`: which learning rate a training should have."""

import math
import shlex

from trainer import files, places, terminal
from trainer.commands._assemble import Job, assemble
from trainer.config import Config
from trainer.config.search import override
from trainer.data import feed
from trainer.data.pipeline import Faults, reported
from trainer.errors import Failed, Interrupted, UserError
from trainer.plots import rates
from trainer.training import finder, hardware, interrupt, loop


def run(config: Config, steps: int) -> None:
    """Trains with a learning rate that rises until the loss diverges; writes the curve and what it
    suggests. The weights are thrown away: no run is made.

    Raises: UserError for too few steps and for a loss that is not finite from the start, Failed if
        the loss never fell, Interrupted after a signal. What was measured is kept then too.
    """
    if steps < finder.LEAST:
        problem = f"expected at least {finder.LEAST} steps, received {steps}"
        raise UserError("--steps", problem, "200 make a curve that can be read")
    files.demand_writable(places.range_test(config), "runs")
    job = assemble(config)
    terminal.say(f"devices  {hardware.described(job.strategy, config.training)}")
    terminal.say(f"network  {job.model.count_params():,} parameters")
    points, signal = _measured(config, job, steps)
    if not points:
        raise Failed(f"{finder.PATIENCE} batches made no update: are gradients never finite?")
    if not math.isfinite(points[0][1]):
        problem = (
            f"the loss is {points[0][1]} at the first step, at a learning rate of {finder.LOW:g}"
        )
        hint = "it is not the rate then: look at the pictures, the network and the loss"
        raise UserError("training.loss", problem, hint)
    curve = finder.curve(points)
    advice = finder.advice(curve)
    _write(config, curve, advice)
    if signal:
        kept = f"{places.range_test(config)} holds what was measured"
        raise Interrupted(f"stopped after {len(points)} of {steps} steps; {kept}", 128 + signal)
    if advice is None:
        raise Failed(_nothing(points, steps))
    _say(config, advice)


def _measured(config: Config, job: Job, steps: int) -> tuple[list[tuple[float, float]], int]:
    """(learning rate, loss) of each step; the signal that stopped it, or 0."""
    points: list[tuple[float, float]] = []
    faults = Faults({}, [])
    with (
        interrupt.heeded() as heed,
        feed.opened(job.sides, config.data, config.seed, faults, places.decoded()) as fed,
        reported(faults),
        terminal.progress(steps, "measuring", "steps") as tick,
    ):
        batches = iter(job.strategy.experimental_distribute_dataset(fed.training))
        step = loop.train_step(job.model, job.objective, job.strategy)
        for point in finder.measure(step, batches, job.objective, steps):
            points.append(point)
            tick(len(points), f"learning rate {point[0]:.2g}  loss {point[1]:.4g}")
            if heed.heard:
                break
    return points, heed.heard


def _write(config: Config, curve: finder.Curve, advice: finder.Advice | None) -> None:
    table = places.range_test(config)
    picture = table.with_suffix(".png")
    rows = zip(*(each.tolist() for each in (*curve, curve.smoothed)), strict=True)
    files.write_csv(table, ("learning_rate", "loss", "smoothed"), list(rows))
    with files.replacing(picture) as partial:
        title = f"{config.name}: loss while the learning rate rises"
        marks = (advice.suggested, advice.least) if advice else None
        rates.range_test(partial, title, *curve, curve.smoothed, marks)
    terminal.say(f"written  {picture} and {table.name}")


def _say(config: Config, advice: finder.Advice) -> None:
    place = finder.place(config.model_dump()["training"])
    terminal.say(
        f"least    loss at a learning rate of {advice.least:.2g}; a tenth of it is suggested"
    )
    terminal.say(f"try      --set {shlex.quote(override(place, _rounded(advice.suggested)))}")


def _nothing(points: list[tuple[float, float]], steps: int) -> str:
    if len(points) < finder.LEAST:
        return (
            f"the loss diverged after {len(points)} of {steps} steps, at a learning rate of "
            f"{points[-1][0]:.2g}: too few to read anything from; give more --steps"
        )
    return (
        "the loss never fell by more than its own noise, so no learning rate can be suggested: "
        f"more --steps than {steps} make the curve clearer, trainer fit shows whether the network "
        "learns at all"
    )


def _rounded(rate: float) -> float:
    """To two digits: more would pretend."""
    return float(f"{rate:.1e}")
