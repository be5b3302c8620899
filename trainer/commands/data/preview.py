"""`trainer data preview`: training pictures, as the first epochs (after `augment_warmup`, if there
is one) will see them."""

import functools
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from trainer import files, places, terminal
from trainer.board import events
from trainer.commands._assemble import check_augment
from trainer.commands._gather import gather
from trainer.config import Config
from trainer.config.data import Data
from trainer.data import augment, batches, contact
from trainer.data.batch import empty
from trainer.data.decode import load
from trainer.data.examples import Examples
from trainer.errors import UserError

ROWS, EPOCHS = 8, 5  # of the sheet


class Shown(NamedTuple):
    """A training picture and when training sees it."""

    number: int  # in the training examples
    pixels: np.ndarray  # uint8 [H, W, C] as it is loaded, not augmented
    positions: list[int | None]  # in the stream, the first one of each epoch; None: not drawn


def run(config: Config, out: Path | None) -> None:
    """Draws the sheet as a PNG and for TensorBoard.

    Args:
        out: the PNG; the run's place for it if None.
    """
    target = out or places.preview(config)
    files.demand_writable(target, "--out" if out else "runs")
    check_augment(config.data)
    examples = gather(config).sides.train
    shown = chosen(examples, config.data, config.seed)
    sheet = _sheet(config, examples, shown)
    with files.replacing(target) as partial:
        sheet.save(partial, "png", optimize=True)
    with events.alone(places.preview_events(config)) as add:
        add(events.image("preview", np.asarray(sheet)))
    terminal.say(f"written  {target}")
    terminal.say(f"watch    trainer tensorboard {places.preview(config).parent}")


def chosen(
    examples: Examples, spec: Data, seed: int, rows: int = ROWS, epochs: int = EPOCHS
) -> list[Shown]:
    """Up to so many readable pictures, spread over the classes and sorted by them: the first of the
    stream, those that are drawn in every epoch before others. (An epoch is a whole number of
    batches, so one may begin before the last pass over the pictures has ended.)

    Raises: UserError if none can be read.
    """
    order = batches.sampled(examples, spec, seed)
    length = -(-len(examples) // spec.batch_size) * spec.batch_size  # positions of an epoch
    starts = [(skipped(spec) + epoch) * length for epoch in range(epochs)]
    drawn = [
        np.fromiter(map(order, range(start, start + length)), np.int64, length) for start in starts
    ]
    always = functools.reduce(np.intersect1d, drawn)
    candidates = spread(examples, dict.fromkeys([*drawn[0][np.isin(drawn[0], always)], *drawn[0]]))
    found = list(itertools.islice(_readable(examples, candidates, spec), rows))
    if not found:
        raise UserError("data.source", "not one training picture can be read")
    shown = [
        Shown(index, pixels, [_place(index, *each) for each in zip(drawn, starts, strict=True)])
        for index, pixels in found
    ]
    return sorted(shown, key=lambda each: examples.names_of(each.number))


def skipped(spec: Data) -> int:
    """How many epochs pass until all pictures are augmented."""
    return math.ceil(spec.augment_warmup)


def _place(index: int, drawn: np.ndarray, start: int) -> int | None:
    places = np.flatnonzero(drawn == index)
    return start + int(places[0]) if len(places) else None


def spread(examples: Examples, order: Iterable[int]) -> list[int]:
    """The examples in this order, but one of each class in turn; of several labels the first
    counts."""
    turns: Counter[str] = Counter()
    keys = []
    for place, index in enumerate(order):
        name = "".join(examples.names_of(index)[:1])
        keys.append((turns[name], place, index))
        turns[name] += 1
    return [index for _, _, index in sorted(keys)]


def _readable(
    examples: Examples, candidates: Iterable[int], spec: Data
) -> Iterator[tuple[int, np.ndarray]]:
    for index in candidates:
        with suppress(OSError, ValueError):  # training leaves it out too
            yield index, load(examples.pictures.content(index), spec)


def _sheet(config: Config, examples: Examples, shown: Sequence[Shown]) -> Image.Image:
    seen = seen_at(config, examples)

    def row(each: Shown) -> contact.Row:
        cells = [
            None if position is None else seen(each.pixels, position) for position in each.positions
        ]
        caption = ", ".join(examples.names_of(each.number)) or "no label"
        return contact.Row(caption, examples.pictures.name(each.number), [each.pixels, *cells])

    first = skipped(config.data) + 1
    heads = ["original", *(f"epoch {number}" for number in range(first, first + EPOCHS))]
    return contact.draw(heads, [row(each) for each in shown], "not drawn")


def seen_at(config: Config, examples: Examples) -> augment.Augment:
    """(pixels [H, W, C] as loaded, position in the stream) -> [H, W, C] as training sees them."""
    if config.data.mix:
        return _mixed(config, examples)
    return batches.augmentation(examples, config.data, config.seed)


def _mixed(config: Config, examples: Examples) -> augment.Augment:
    """Takes the picture out of its batch, which is made as a whole: it is mixed with others."""
    shapes = batches.shapes(config.data, len(examples.classes))
    fill = batches.training(examples, config.data, config.seed)

    def seen(_: np.ndarray, position: int) -> np.ndarray:
        step, row = divmod(position, shapes.size)
        batch = empty(shapes)
        fill(step, batch)
        return batch[0][row]

    return seen
