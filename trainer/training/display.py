"""What the user sees while training: a live bar, and a line per epoch."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from trainer import terminal


@contextmanager
def display(
    names: Sequence[str], epochs: int, steps: int, images: int, done: int
) -> Iterator["Display"]:
    """The callback that shows a training.

    Args:
        names: the logs to show, in this order.
        epochs, steps: of the training, per epoch.
        images: per step.
        done: steps before.
    """
    with terminal.progress(epochs * steps, "training", "steps") as tick:
        tick(done, "")
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
        self.epoch, self.started, self.done = epoch, time.perf_counter(), 0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.done += 1  # since the start, which may have been in the middle of the epoch
        speed = self.done * self.images / (time.perf_counter() - self.started)
        shown = numbers(logs or {}, self.names)
        note = f"epoch {self.epoch + 1}/{self.epochs}  {shown}  {speed:.0f} images/s"
        self.tick(self.epoch * self.steps + batch + 1, note)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        logs = dict(logs or {})
        seconds = time.perf_counter() - self.started
        width = len(str(self.epochs))
        terminal.say_parts(
            f"epoch {epoch + 1:{width}}/{self.epochs}  {numbers(logs, self.names)}",
            f"{logs['images_per_second']:.0f} images/s  {logs['step_ms']:.0f} ms/step  "
            f"{logs['input_wait']:.0%} waiting for input  {seconds:.0f} s",
        )


def numbers(logs: dict[str, float], names: Sequence[str]) -> str:
    """`loss 0.4312 (val 0.5)  lr 0.003`: those of the names in the logs, four digits each."""
    parts = []
    for name in names:
        if name in logs and not (name.startswith("val_") and name.removeprefix("val_") in logs):
            short = "lr" if name == "learning_rate" else name
            beside = f" (val {logs[f'val_{name}']:.4g})" if f"val_{name}" in logs else ""
            parts.append(f"{short} {logs[name]:.4g}{beside}")
    return "  ".join(parts)
