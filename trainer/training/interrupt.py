"""Ctrl-C and SIGTERM, which end a training after the step at hand and a checkpoint.

Python runs a handler wherever the main thread happens to be; what it raises inside a finalizer, of
which TensorFlow has many, is printed and forgotten. So the first signal is only remembered, and
raised after the batch. The second Ctrl-C is raised at once.

Several workers stop after the same batch, whoever got the signal: after each they tell each other.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import keras

from trainer import terminal

Most = Callable[..., tuple[int, ...]]


class Stopped(Exception):
    """A signal has ended the training; `number` is its own."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Heed(keras.callbacks.Callback):
    """Raises Stopped after the batch in which a signal came. Stands behind whatever is to be done
    before the end.

    Args:
        most: the largest of numbers on all workers; nothing: there are no others.
    """

    heard = 0  # the number of the signal that came here
    number = 0  # of one that came to any worker, and that all know of
    late = False  # whether it is time to write a checkpoint, as any worker's clock says

    def __init__(self, most: Most | None = None) -> None:
        super().__init__()
        self.most = most
        self.clock: Callable[[], bool] = lambda: False

    def hear(self, number: int) -> None:
        """A signal has come here."""
        self.heard = number
        if not self.most:
            self.number = number

    def agree(self) -> None:
        """What any worker has heard is what all have heard."""
        late = int(self.clock())
        if self.most:
            self.number, late = self.most(self.heard, late)
        self.late = bool(late)

    def asked(self) -> bool:
        """Whether to write a checkpoint now."""
        return bool(self.number) or self.late

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
        self.agree()
        self.on_train_batch_end(0)


class Agreement(keras.callbacks.Callback):
    """Lets the workers agree after every batch. Stands before whatever asks `heed`."""

    def __init__(self, heed: Heed) -> None:
        super().__init__()
        self.heed = heed

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """After every batch of training."""
        self.heed.agree()

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """After every batch of validation."""
        self.heed.agree()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Between the last batch of validation and the next epoch."""
        self.heed.agree()


@contextmanager
def heeded(most: Most | None = None) -> Iterator[Heed]:
    """A callback that knows whether SIGINT or SIGTERM came inside the block.

    Args:
        most: as `Heed`.
    """
    heed = Heed(most)
    if threading.current_thread() is not threading.main_thread():
        yield heed
        return

    def remember(number: int, frame: FrameType | None) -> None:
        if heed.heard and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not heed.heard:
            heed.hear(number)
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
