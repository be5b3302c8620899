"""Ctrl-C and SIGTERM, which end a training after the step at hand and a checkpoint.

Python runs a handler wherever the main thread happens to be; what it raises inside a finalizer, of
which TensorFlow has many, is printed and forgotten. So the first signal is only remembered, and
raised after the batch. The second Ctrl-C is raised at once.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import keras

from trainer import terminal


class Stopped(Exception):
    """A signal has ended the training; `number` is its own."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Heed(keras.callbacks.Callback):
    """Raises Stopped after the batch in which a signal came. Stands behind whatever is to be done
    before the end."""

    number = 0  # of the signal

    def asked(self) -> bool:
        """Whether to stop."""
        return bool(self.number)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """After every batch of training."""
        if self.number:
            raise Stopped(self.number)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """After every batch of validation."""
        self.on_train_batch_end(batch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Between the last batch of validation and the next epoch."""
        self.on_train_batch_end(epoch)

    def on_train_end(self, logs: Any = None) -> None:
        """After the last epoch: the evaluation is still to come."""
        self.on_train_batch_end(0)


@contextmanager
def heeded() -> Iterator[Heed]:
    """A callback that knows whether SIGINT or SIGTERM came inside the block."""
    heed = Heed()
    if threading.current_thread() is not threading.main_thread():
        yield heed
        return

    def remember(number: int, frame: FrameType | None) -> None:
        if heed.number and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not heed.number:
            heed.number = number
            way = "; Ctrl-C once more stops at once" if number == signal.SIGINT else ""
            terminal.say(f"stopping after this step{way}")

    before = {
        number: signal.signal(number, remember)
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN  # in the background
    }
    try:
        yield heed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: not set by Python
