"""Ctrl-C that cannot get lost.

Python raises KeyboardInterrupt wherever the main thread happens to be. Inside a finalizer, of which
TensorFlow has many, it is printed and forgotten; so it is remembered too, and raised once more
after the batch.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import keras


class Heed(keras.callbacks.Callback):
    """Raises KeyboardInterrupt after the batch in which it was pressed."""

    pressed = False

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """After every batch of training."""
        if self.pressed:
            raise KeyboardInterrupt

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """After every batch of validation."""
        self.on_train_batch_end(batch)


@contextmanager
def heeded() -> Iterator[Heed]:
    """A callback that knows whether Ctrl-C was pressed inside the block."""
    heed = Heed()
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background
        yield heed
        return

    def press(number: int, frame: FrameType | None) -> None:
        heed.pressed = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, press)
    try:
        yield heed
    finally:
        signal.signal(signal.SIGINT, before)
