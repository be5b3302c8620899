"""What the user sees while training: a live bar, and a line per epoch."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from trainer import terminal


@contextmanager
def display(
    names: Sequence[str], epochs: int, steps: int, images: int, first_epoch: int
) -> Iterator["Display"]:
    """The callback that shows a training.

    Args:
        names: the logs to show, in this order.
        epochs, steps: of the training, per epoch.
        images: per step.
    """
    with terminal.progress(epochs * steps, "training", "steps") as tick:
        tick(first_epoch * steps, "")
        yield Display(tick, names, epochs, steps, images)


class Display(keras.callbacks.Callback):
    """Ticks after each step; says the logs after each epoch."""

    def __init__(
        self, tick: terminal.Tick, names: Sequence[str], epochs: int, steps: int, images: int
    ) -> None:
        super().__init__()
        self.tick, self.names = tick, names
        self.epochs, self.steps, self.images = epochs, steps, images

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch, self.started = epoch, time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        speed = (batch + 1) * self.images / (time.perf_counter() - self.started)
        shown = numbers(logs or {}, self.names)
        note = f"epoch {self.epoch + 1}/{self.epochs}  {shown}  {speed:.0f} images/s"
        self.tick(self.epoch * self.steps + batch + 1, note)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = dict(logs or {})
        speed = logs["images_per_second"]
        seconds = time.perf_counter() - self.started
        width = len(str(self.epochs))
        terminal.say(
            f"epoch {epoch + 1:{width}}/{self.epochs}  {numbers(logs, self.names)}  "
            f"{speed:.0f} images/s  {seconds:.0f} s"
        )


def numbers(logs: dict[str, float], names: Sequence[str]) -> str:
    """`loss 0.4312  val_loss 0.5`: those of the names that the logs hold, four digits each."""
    return "  ".join(f"{name} {logs[name]:.4g}" for name in names if name in logs)
