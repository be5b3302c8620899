"""`trainer fit` on configs/rps.yaml, end to end, against its bare work: CPU time of all processes.

    python benchmarks/fit.py [--epochs 3] [--rounds 3] [--set …]

The bare work is as many training steps, by the loop's own compiled step on one batch that stays in
memory, and as many pictures read, decoded, resized and put through albumentations by one thread.
What validation takes of both stands apart: it is no training step, but no training is without it.

Fit and bare work take turns within one process, so noise of the machine hits both alike. Fit counts
from the config to its last line: reading the source, building and tracing the network, checkpoints,
TensorBoard, the evaluation of the test split. Not counted are imports, the drawing of the hands and
the one look at every picture, which are done once before.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import albumentations
import cv2
import numpy as np

import trainer.terminal
from trainer import objects
from trainer.commands import evaluate, fit
from trainer.commands._assemble import Job, assemble
from trainer.config import Config
from trainer.config.load import load
from trainer.data import feed, stream
from trainer.data.examples import Examples
from trainer.data.pipeline import Faults
from trainer.training import checkpoint, loop

CONFIG = Path(__file__).parent.parent / "configs" / "rps.yaml"
LIMIT = 1.05

# Parts of a fit that are timed: what they are called, and where the function is looked up.
PARTS: list[tuple[str, Any, str]] = [
    ("reading, splitting, building", fit, "assemble"),
    ("writing checkpoints", checkpoint, "save"),
    ("evaluation of the test split", evaluate, "run"),
]


def cpu() -> float:
    """User and system time of this process and of all that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def seconds(work: Callable[[], object]) -> float:
    """CPU time."""
    before = cpu()
    work()
    return cpu() - before


@contextmanager
def timed(found: Counter[str]) -> Iterator[None]:
    """Adds up the CPU time of PARTS, what other threads do meanwhile included."""

    def around(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            before = cpu()
            try:
                return plain(*args, **kwargs)
            finally:
                found[name] += cpu() - before  # type: ignore[assignment]

        return call

    before = [getattr(module, name) for _, module, name in PARTS]
    for (title, module, name), plain in zip(PARTS, before, strict=True):
        setattr(module, name, around(title, plain))
    try:
        yield
    finally:
        for (_, module, name), plain in zip(PARTS, before, strict=True):
            setattr(module, name, plain)


def steps(config: Config, job: Job) -> dict[str, float]:
    """Bare steps on one batch, without their tracing; that of the first one apart."""
    batch = next(iter(feed.training(job.sides.train, config.data, config.seed, Faults({}, []))))
    train = loop.train_step(job.model, job.objective, job.strategy)
    test = loop._test_step(job.model, job.objective, job.strategy)
    batches = -(-len(job.sides.validation) // config.data.batch_size)
    epochs = config.training.epochs

    def repeat(step: Callable[[Any], Any], count: int) -> None:
        for _ in range(count):
            step(batch)

    tracing = seconds(lambda: repeat(train, 1)) + seconds(lambda: repeat(test, 1))
    return {
        "tracing": tracing,
        "training steps": seconds(lambda: repeat(train, epochs * job.steps)),
        "validation passes": seconds(lambda: repeat(test, epochs * batches)),
    }


def inputs(config: Config, job: Job) -> dict[str, float]:
    """Bare decoding and augmenting, in this thread."""
    order = stream.shuffled(config.seed, len(job.sides.train))
    places = config.training.epochs * job.steps * config.data.batch_size
    height, width = config.data.image_size
    calls = config.data.augment
    transforms = [objects.make(call, "albumentations", "data.augment") for call in calls]
    pipeline = albumentations.Compose(transforms)

    def decoded(examples: Examples, index: int) -> np.ndarray:
        content = np.frombuffer(examples.pictures.content(index), np.uint8)
        pixels = cv2.imdecode(content, cv2.IMREAD_COLOR_RGB)
        return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)

    def training() -> None:
        for place in range(places):
            pipeline(image=decoded(job.sides.train, order(place)))

    def validation() -> None:
        for _ in range(config.training.epochs):
            for index in range(len(job.sides.validation)):
                decoded(job.sides.validation, index)

    return {
        "decoding and augmenting": seconds(training),
        "decoding for validation": seconds(validation),
    }


def measured(config: Config) -> dict[str, float]:
    """CPU seconds of one round, by what they were spent on."""
    parts: Counter[str] = Counter()
    with timed(parts):
        whole, wall = 0.0, time.perf_counter()
        whole = seconds(lambda: fit.run(config))
        wall = time.perf_counter() - wall
    job = assemble(config)
    bare = steps(config, job) | inputs(config, job)
    least = bare["training steps"] + bare["decoding and augmenting"]
    return {
        **bare,
        "trainer fit": whole,
        **parts,
        "wall": wall,
        "ratio": whole / least,
        "ratio with validation": whole
        / (least + bare["validation passes"] + bare["decoding for validation"]),
    }


def main() -> None:
    """Prints a line per round, and what the medians are made of."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    trainer.terminal.console.quiet = True
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        os.environ["XDG_CACHE_HOME"] = place
        config = load(CONFIG, [f"training.epochs={options.epochs}", *options.set])
        print(
            f"once: drawing and looking at the pictures, {seconds(lambda: assemble(config)):.0f} s"
        )
        rounds = []
        for number in range(1, options.rounds + 1):
            rounds.append(measured(config))
            show(f"round {number}", rounds[-1])
        middle = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
        show("median", middle)
        for name, value in middle.items():
            if not name.startswith("ratio"):
                print(f"  {name:30} {value:8.1f} s")
        os.chdir("/")


def show(title: str, found: dict[str, float]) -> None:
    """A line with both readings of the limit."""
    words = [f"trainer fit {found['trainer fit']:.1f} CPU s"]
    for name, what in (
        ("ratio", "steps and input path"),
        ("ratio with validation", "these and validation"),
    ):
        word = "met" if found[name] <= LIMIT else "MISSED"
        words.append(f"{found[name]:.3f} times {what}: {LIMIT} {word}")
    print(f"{title:8} {'; '.join(words)}", flush=True)


if __name__ == "__main__":
    main()
