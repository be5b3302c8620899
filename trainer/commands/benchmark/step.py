"""`trainer benchmark step`: how long a training step takes, alone."""

import statistics
import time

from trainer import terminal
from trainer.commands._assemble import assemble
from trainer.config import Config
from trainer.data import feed
from trainer.data.pipeline import Faults, reported
from trainer.training import hardware, loop


def run(config: Config, seconds: float) -> None:
    """Trains on one batch, which stays in memory, for so many seconds. Nothing is kept."""
    job = assemble(config)
    size, faults = config.data.batch_size, Faults({}, [])
    terminal.say(f"devices  {hardware.described(job.strategy, config.training)}")
    terminal.say(f"network  {job.model.count_params():,} parameters")
    with reported(faults):
        batch = feed.training(job.sides.train, config.data, config.seed, faults).take(1).cache()
        batches = iter(job.strategy.experimental_distribute_dataset(batch.repeat()))
        step = loop.train_step(job.model, job.objective, job.strategy)
        start = time.perf_counter()
        _wait(step(next(batches)))
    terminal.say(f"tracing  {time.perf_counter() - start:.1f} s for the first step")
    taken: list[float] = []
    cpu, start = time.process_time(), time.perf_counter()
    with terminal.progress(100, "measuring", "") as tick:
        while not taken or time.perf_counter() - start < seconds:
            begun = time.perf_counter()
            _wait(step(next(batches)))
            taken.append(time.perf_counter() - begun)
            tick(min(100, int(100 * (begun - start) / seconds)), "")
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    middle = statistics.median(taken)
    terminal.say(
        f"step     {1000 * middle:.3g} ms (median of {len(taken)}), {size / middle:,.0f} images/s, "
        f"{1000 * cpu / len(taken) / size:.3g} ms of CPU time per picture on {cpu / wall:.1f} cores"
    )
    terminal.say("what the input path makes in that time: trainer benchmark input")


def _wait(logs: loop.Logs) -> None:
    """Until the device is done."""
    for value in logs.values():
        float(value)
