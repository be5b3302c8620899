"""The callback that writes what TensorBoard shows.

N validation pictures that could be read, n pictures of a batch, H, W, C image, K classes.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import keras
import numpy as np

from trainer import terminal
from trainer.board import graph
from trainer.board.events import Events, Value, histogram, scalar, text
from trainer.board.purse import Purse
from trainer.config.board import Board
from trainer.errors import UserError

OPTIMIZER = ("learning_rate", "gradient_norm", "weight_norm")
SIDES = ("train", "validation")  # TensorBoard's runs: it lays equal tags of both over each other


class Seen(NamedTuple):
    """What an epoch has shown."""

    images: np.ndarray  # uint8 [n, H, W, C] of its first batch, augmented
    labels: np.ndarray  # float32 [n, K]
    scores: np.ndarray  # float32 [N, K], probabilities
    numbers: np.ndarray  # int [N], which validation pictures these are


class Page(NamedTuple):
    """What is drawn after some epochs."""

    name: str
    side: str  # one of SIDES
    draw: Callable[[Seen], Iterable[Value]]


class Watch(keras.callbacks.Callback):
    """Writes scalars after every epoch, and the pages that are due. Steps are epochs, counted from
    1. Its methods `began` and `validated` are those of the loop's Eyes.

    Args:
        folder: of the event files; those that are there go on.
        pages: besides the weights' histograms, which are this file's own.
        epochs: planned, of all phases.
        pictures: of validation; rows after them fill the last batch.
        config: as YAML.
        timing: the logs that are about speed.
    """

    def __init__(
        self,
        folder: Path,
        spec: Board,
        pages: Sequence[Page],
        epochs: int,
        pictures: int,
        config: str,
        timing: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.spec, self.pictures, self.config, self.timing = spec, pictures, config, timing
        own = [Page("histograms", "train", lambda _: _histograms(self.model))]
        self.pages = [*pages, *(own if spec.histograms else [])]
        self.purse = Purse(epochs, None if spec.every == "auto" else spec.every)
        self.drawn: dict[str, int] = {}  # page -> how often
        self.overhead, self._told = 0.0, False
        self._events = {side: Events(folder / side) for side in SIDES}
        self._seen = Seen(*[np.empty(0)] * 4)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for events in self._events.values():
            events.close()

    def began(self, images: np.ndarray, labels: np.ndarray) -> None:
        """The first batch of an epoch."""
        self._seen = self._seen._replace(images=images, labels=labels)

    def validated(self, scores: np.ndarray, weights: np.ndarray) -> None:
        """Of all validation pictures, in their order."""
        numbers = np.flatnonzero(weights[: self.pictures])
        self._seen = self._seen._replace(scores=scores[numbers], numbers=numbers)

    def on_train_begin(self, logs: Any = None) -> None:
        if self._told:  # in an earlier phase
            return
        self._told = True
        if self.spec.graph:
            self._events["train"].write_graph(graph.of(self.model))
        if self.spec.config:
            yaml = text("config", f"```yaml\n{self.config}\n```")
            self._events["train"].write(0, [yaml])

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        start = time.perf_counter()
        self.purse.earn(start - self._started)
        number, values = epoch + 1, self._scalars(dict(logs or {}))
        for page in self.pages:
            if self.purse.due(page.name, number) or self.model.stop_training:  # the last epoch
                values[page.side] += self._drawn_of(page, number)
        for side, events in self._events.items():
            events.write(number, values[side])
            events.flush()
        self.overhead += time.perf_counter() - start

    def _drawn_of(self, page: Page, epoch: int) -> list[Value]:
        began = time.perf_counter()
        try:
            found = list(page.draw(self._seen))
        except Exception as error:  # whatever it is, it is not worth a training
            reason = error.problem if isinstance(error, UserError) else str(error).split("\n")[0]
            terminal.warn(f"tensorboard.{page.name} is left out from here on: {reason}")
            self.pages = [each for each in self.pages if each is not page]
            return []
        self.purse.pay(page.name, epoch, time.perf_counter() - began)
        self.drawn[page.name] = self.drawn.get(page.name, 0) + 1
        return found

    def _scalars(self, logs: dict[str, float]) -> dict[str, list[Value]]:
        """Metrics of both sides under one tag, so in one chart."""
        values: dict[str, list[Value]] = {side: [] for side in SIDES}
        norm = logs.pop("gradient_norm")
        if self.spec.norms:
            logs |= {"gradient_norm": norm, "weight_norm": _norm(self.model)}
        for name, value in logs.items():
            plain = name.removeprefix("val_")
            side = "validation" if plain != name and plain in logs else "train"
            tag = plain if side == "validation" else name
            values[side].append(scalar(f"{self._group(tag)}/{tag}", float(value)))
        return values

    def _group(self, name: str) -> str:
        """Of charts."""
        if name in self.timing:
            return "speed"
        return "optimizer" if name in OPTIMIZER else "metrics"


def _norm(model: keras.Model) -> float:
    """Of all trainable weights together."""
    squares = [np.square(each, dtype=np.float64).sum() for each in _weights(model).values()]
    return float(np.sqrt(np.sum(squares)))


def _histograms(model: keras.Model) -> list[Value]:
    """Of each trainable weight, `conv2d/kernel`."""
    return [histogram(f"weights/{name}", each) for name, each in _weights(model).items()]


def _weights(model: keras.Model) -> dict[str, np.ndarray]:
    return {each.path: each.value.numpy() for each in model.trainable_weights}
