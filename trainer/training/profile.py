"""A trace of some steps, for TensorBoard's profiler."""

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf


class Profile(keras.callbacks.Callback):
    """Traces the steps from `first` to `last`, counted from 1 in this process, into a folder."""

    def __init__(self, folder: Path, first: int, last: int) -> None:
        super().__init__()
        self.folder, self.first, self.last = folder, first, last
        self._step, self._tracing = 0, False

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._step += 1
        if self._step == self.first:
            tf.profiler.experimental.start(str(self.folder))
            self._tracing = True

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._step >= self.last:
            self._stop()

    def on_train_end(self, logs: Any = None) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._tracing:
            tf.profiler.experimental.stop()
            self._tracing = False
