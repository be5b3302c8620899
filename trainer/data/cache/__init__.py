"""Decoded pictures, kept between epochs: `off | memory | disk`. Nothing else may depend on it.

N pictures of one shape [H, W, C], uint8.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np

Content = Callable[[], "bytes | np.ndarray"]  # reads the encoded file, or pixels
Make = Callable[["bytes | np.ndarray"], np.ndarray]  # of it the pixels [H, W, C]
Shape = tuple[int, int, int]  # H, W, C


class Store(Protocol):
    """The pixels of N pictures. Threads share it; pickled, processes do, if they inherit its
    descriptors under their numbers (`subprocess.Popen(pass_fds=store.descriptors)`)."""

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What a process must inherit."""

    def fetch(self, index: int, content: Content, make: Make) -> np.ndarray:
        """The pixels of picture `index`: kept ones, or `make(content())`, which are kept then.

        Returns uint8 [H, W, C], which cannot be written to. What `content` and `make` raise passes
        through, and nothing is kept.
        """

    def close(self) -> None:
        """Lets go of everything; who still asks gets what `make` makes."""


def locked(pixels: np.ndarray) -> np.ndarray:
    """The same pixels; who writes to them gets ValueError."""
    view = pixels.view()
    view.flags.writeable = False
    return view


def demand(pixels: np.ndarray, shape: Shape) -> None:
    """Raises TypeError for pixels that such a store cannot hold: a mistake of the program."""
    if pixels.shape != shape or pixels.dtype != np.uint8:
        raise TypeError(f"{pixels.dtype} {pixels.shape} in a cache of uint8 {shape}")
