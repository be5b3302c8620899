"""`trainer benchmark input`: how many pictures a second the input path makes, alone."""

import math
import time
from collections.abc import Iterator
from itertools import islice

from trainer import places, terminal
from trainer.commands._assemble import check_augment
from trainer.commands._gather import gather
from trainer.config import Config
from trainer.data import feed
from trainer.data.pipeline import Faults, reported


def run(config: Config, seconds: float) -> None:
    """Reads the batches of a training and throws them away, for so many seconds.

    A cache is filled first, which is measured by itself. Begins with the first whole epoch after
    `augment_warmup`.
    """
    data, faults = config.data, Faults({}, [])
    check_augment(data)
    sides = gather(config).sides
    start = math.ceil(data.augment_warmup) * len(sides.train) // data.batch_size
    opened = feed.opened(sides, data, config.seed, faults, places.decoded(), start)
    with opened as fed, reported(faults):
        terminal.say(f"data     {len(sides.train)} pictures for training")
        terminal.say(f"cache    {fed.stores.said}")
        terminal.say(f"workers  {fed.maker.reason}")
        batches = iter(fed.training)
        for _ in islice(batches, fed.maker.processes + 4):  # started, and made in advance
            pass
        if fed.stores.training:
            steps = len(sides.train) // data.batch_size + 1  # to the end of the pass
            terminal.say(f"filling  {_measured(batches, data.batch_size, steps=steps)}")
        fed.tally.taken()  # up to here
        terminal.say(f"input    {_measured(batches, data.batch_size, seconds=seconds)}")
        terminal.say(f"picture  {fed.tally.taken().said()}, in CPU time")
    terminal.say("what a training step takes: trainer benchmark step")


def _measured(
    batches: Iterator[object], size: int, seconds: float = float("inf"), steps: int = 2**62
) -> str:
    """Reads batches until the time is over or the steps are done; says how fast."""
    start, done = time.perf_counter(), 0
    with terminal.progress(100 if steps == 2**62 else steps, "measuring", "") as tick:
        while done < steps and time.perf_counter() - start < seconds:
            next(batches)
            done += 1
            spent = (time.perf_counter() - start) / seconds
            tick(done if steps < 2**62 else min(100, int(100 * spent)), "")
    taken = time.perf_counter() - start
    return (
        f"{done * size / taken:,.0f} images/s, {1000 * taken / done:.3g} ms per step of {size}, "
        f"{done} steps in {taken:.1f} s"
    )
