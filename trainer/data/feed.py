"""The input path of a training: the stream, what keeps its pictures, who makes its batches."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from trainer.config.data import Data
from trainer.data import batches, pipeline, remedy
from trainer.data.batch import Batch, Made
from trainer.data.cache import Shape, Store, room
from trainer.data.cache.disk import Disk
from trainer.data.cache.memory import Memory
from trainer.data.decode import VERSION
from trainer.data.examples import Examples
from trainer.data.pipeline import Faults, Make
from trainer.data.split import Sides
from trainer.data.stream import WHOLE, Shard
from trainer.data.workers import choice, pool
from trainer.files import size


class Stores(NamedTuple):
    """What keeps the decoded pictures of both sides, None where nothing does; a line on it."""

    training: Store | None = None
    validation: Store | None = None
    said: str = "off"


class Maker(NamedTuple):
    """Who makes the batches: so many processes, or threads; and why."""

    make: Make
    processes: int
    reason: str


class Tally:
    """Adds up what batches took. Threads share it."""

    def __init__(self) -> None:
        self._lock, self._total = threading.Lock(), remedy.Cost(0.0, 0.0, 0)

    def add(self, made: Made) -> None:
        """One batch more."""
        with self._lock:
            decoding, augmenting, pictures = self._total
            self._total = remedy.Cost(
                decoding + made.decoding,
                augmenting + made.augmenting,
                pictures + made.pictures,
            )

    def taken(self) -> remedy.Cost:
        """Since the last time."""
        with self._lock:
            total, self._total = self._total, remedy.Cost(0.0, 0.0, 0)
        return total


class Feed(NamedTuple):
    """The batches of a training, and how they come about."""

    training: tf.data.Dataset
    validation: tf.data.Dataset
    stores: Stores
    maker: Maker
    tally: Tally
    room: Callable[[], remedy.Room | None]  # for a cache


@contextmanager
def opened(
    sides: Sides,
    spec: Data,
    seed: int,
    faults: Faults,
    folder: Path,
    start: int = 0,
    shard: Shard = WHOLE,
) -> Iterator[Feed]:
    """The input path, for as long as the block lasts.

    Args:
        folder: for `cache: disk`.
        start: the step to begin with.
        shard: what is made here of every batch.

    Raises: UserError if a cache would not fit.
    """
    counts = (len(sides.train), len(sides.validation))
    with ExitStack() as stack:
        stores = stack.enter_context(stored(spec, counts, folder))
        maker = stack.enter_context(made_by(sides.train, spec, seed, stores.training, start, shard))
        tally = Tally()
        training = pipeline.dataset(
            maker.make,
            batches.shapes(spec, len(sides.train.classes), shard),
            pipeline.endless(start),
            faults,
            tally.add,
            # One more than there are processes, so that none waits while its batch is taken away.
            maker.processes + 1 if maker.processes else pipeline.PARALLEL_BATCHES,
        )
        validation = evaluation(sides.validation, spec, faults, stores.validation, shard)
        yield Feed(training, validation, stores, maker, tally, partial(_room, spec, counts, folder))


def advice(feed: Feed, spec: Data, wait: float) -> str:
    """What to do about a training that waits for such a share of its time; empty if nothing."""
    cost = feed.tally.taken()
    if wait < remedy.SLOW:
        return ""
    return remedy.remedy(wait, cost, spec, feed.maker.processes, choice.cores(), feed.room())


def training(
    examples: Examples, spec: Data, seed: int, faults: Faults, start: int = 0
) -> tf.data.Dataset:
    """The batches of a training from a step on, made by threads and kept by nothing."""
    shapes = batches.shapes(spec, len(examples.classes))
    make = pipeline.in_threads(batches.training(examples, spec, seed), shapes)
    return pipeline.dataset(make, shapes, pipeline.endless(start), faults)


def evaluation(
    examples: Examples,
    spec: Data,
    faults: Faults,
    store: Store | None = None,
    shard: Shard = WHOLE,
) -> tf.data.Dataset:
    """One pass in order, the last batch filled with rows of weight 0."""
    shapes = batches.shapes(spec, len(examples.classes), shard)
    make = pipeline.in_threads(batches.evaluation(examples, spec, store, shard), shapes)
    return pipeline.dataset(make, shapes, pipeline.once(len(examples), spec.batch_size), faults)


@contextmanager
def stored(spec: Data, counts: tuple[int, int], folder: Path) -> Iterator[Stores]:
    """The caches of so many pictures for training and for validation, as `data.cache` says.

    Raises: UserError if they would not fit.
    """
    sizes = _sizes(spec, counts)
    if spec.cache == "off" or sizes is None:
        yield Stores()
        return
    of = room.described(sizes)
    with ExitStack() as stack:
        if spec.cache == "memory":
            total = sum(room.predicted("memory", *each) for each in sizes)
            room.demand("memory", total, of=of)
            one, other = (stack.enter_context(Memory(*each)) for each in sizes)
            yield Stores(one, other, f"in memory, {size(total)} for {of}; the first epoch fills it")
            return
        named = zip(settings(spec), sizes, strict=True)
        first, second = (stack.enter_context(Disk(folder, name, *each)) for name, each in named)
        total = room.demand_disk([first, second])
        yield Stores(first, second, f"on disk, {size(total)} for {of}, in {folder}")


def _sizes(spec: Data, counts: tuple[int, int]) -> list[tuple[int, Shape]] | None:
    """Number and shape of the pictures of both sides; None where shapes differ."""
    loaded = loaded_shape(spec)
    return None if loaded is None else [(counts[0], loaded), (counts[1], spec.input_shape)]


def _room(spec: Data, counts: tuple[int, int], folder: Path) -> remedy.Room | None:
    sizes = _sizes(spec, counts)
    if sizes is None:
        return None
    needed = sum(room.predicted("memory", *each) for each in sizes)
    memory, disk = room.available_memory(), room.available_disk(folder)
    return remedy.Room(
        size(needed),
        memory is None or needed <= room.SHARE * memory,
        needed <= room.SHARE * disk,
    )


def loaded_shape(spec: Data) -> Shape | None:
    """H, W, C of a picture before augmentation; None where they differ."""
    if spec.load_size == "original":
        return None
    return (*(spec.load_size or spec.image_size), spec.channels)


def settings(spec: Data) -> list[str]:
    """All that decoded pixels depend on besides the content, for training and for validation: equal
    text, equal pixels."""
    common = f"{spec.channels} channels, {spec.fit}, {spec.resize}, {VERSION}"
    loaded = spec.image_size if spec.load_size in (None, "original") else spec.load_size
    ways = [(loaded, spec.jpeg_scaling), (spec.image_size, False)]
    return [f"{size}, {common}{', scaled' * scaled}" for size, scaled in ways]


@contextmanager
def made_by(
    examples: Examples,
    spec: Data,
    seed: int,
    store: Store | None,
    start: int,
    shard: Shard = WHOLE,
) -> Iterator[Maker]:
    """Who makes the batches of a training, as `data.workers` says."""
    shapes = batches.shapes(spec, len(examples.classes), shard)
    prepare = partial(batches.training, examples, spec, seed, store, shard)
    first: dict[int, tuple[Batch, Made]] = {}
    if spec.workers == "auto":
        full = spec.model_copy(update={"augment_warmup": 0.0})  # what most of the training costs
        fill = batches.training(examples, full, seed, store, shard)
        chosen, first = choice.choose(fill, shapes, start)
        if spec.augment_warmup:
            first.clear()
    elif spec.workers == "threads":
        chosen = choice.Choice(0, "threads, as data.workers says")
    else:
        chosen = choice.Choice(
            spec.workers, f"{spec.workers} process{'es' * (spec.workers > 1)}, as data.workers says"
        )
    with ExitStack() as stack:
        make: Make
        if chosen.processes:
            make = stack.enter_context(
                pool.started(
                    prepare,
                    shapes,
                    chosen.processes,
                    spec.worker_timeout,
                    store.descriptors if store else (),
                )
            )
        else:
            make = pipeline.in_threads(prepare(), shapes)

        def next_one(step: int) -> tuple[Batch, Made]:
            return first.pop(step, None) or make(step)

        yield Maker(next_one, *chosen)
