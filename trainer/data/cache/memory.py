"""`cache: memory`: pixels in memory that all threads and processes of a run share."""

import threading

import numpy as np

from trainer.data.cache import Content, Make, Shape, demand, locked
from trainer.data.cache.block import Block

_turns = threading.Lock()


class Memory:
    """Keeps N pictures of this shape. A picture takes memory once it is kept, not before.

    Several threads or processes may make one picture at once: they write the same bytes.
    """

    def __init__(self, count: int, shape: Shape) -> None:
        """Raises: OSError."""
        self._shape, self._block = shape, Block((count,), (count, *shape))

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What a process must inherit."""
        return (self._block.descriptor,)

    def fetch(self, index: int, content: Content, make: Make) -> np.ndarray:
        """See Store. What is kept is a view of the store: nothing is copied."""
        arrays = self._block.arrays()
        if arrays is None:
            return locked(make(content()))
        kept_N, pixels_NHWC = arrays
        if kept_N[index]:
            _in_order()
        else:
            made = make(content())
            demand(made, self._shape)
            pixels_NHWC[index] = made
            _in_order()  # whoever sees the mark must see the pixels
            kept_N[index] = 1
        return locked(pixels_NHWC[index])

    def close(self) -> None:
        """Pictures that are in use stay valid, and hold the memory until they are not."""
        self._block.close()

    def __enter__(self) -> "Memory":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _in_order() -> None:
    """What is read or written before is so for other cores too before what comes after.

    x86 keeps such an order anyhow, ARM does not. Nothing passes the end of the first turn downward
    or the start of the second one upward. 0.1 µs.
    """
    with _turns:
        pass
    with _turns:
        pass
