"""Arrays of zeros that processes share, for as long as somebody uses them."""

import math
import os
import weakref

import numpy as np

from trainer.data import shared

Shapes = tuple[tuple[int, ...], ...]
Arrays = tuple[np.ndarray, ...]


class Block:
    """uint8 arrays of these shapes. Pickled, it is the number of a descriptor to be inherited."""

    def __init__(self, *shapes: tuple[int, ...]) -> None:
        """Takes memory only for what is written to later. Raises: OSError."""
        self.descriptor, self._shapes = shared.create(sum(map(math.prod, shapes))), shapes
        # The owner maps now: after close() the number may belong to another file. For the same
        # reason nobody else closes it.
        self._arrays: Arrays | None = self._mapped()
        self._open = True
        self._let_go: weakref.finalize | None = weakref.finalize(self, os.close, self.descriptor)

    def arrays(self) -> Arrays | None:
        """The arrays; None when closed."""
        if self._arrays is None and self._open:
            self._arrays = self._mapped()
        return self._arrays

    def close(self) -> None:
        """Arrays that are in use stay valid. Twice is once."""
        self._open, self._arrays = False, None
        if self._let_go is not None:
            self._let_go()

    def _mapped(self) -> Arrays:
        starts = np.cumsum([0, *map(math.prod, self._shapes)]).tolist()
        return tuple(
            shared.array(self.descriptor, shape, np.uint8, start)
            for shape, start in zip(self._shapes, starts, strict=False)
        )

    def __getstate__(self) -> tuple[int, Shapes, bool]:
        return self.descriptor, self._shapes, self._open

    def __setstate__(self, state: tuple[int, Shapes, bool]) -> None:
        self.descriptor, self._shapes, self._open = state
        self._arrays, self._let_go = None, None
