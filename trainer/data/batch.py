"""What a batch is, and what makes one; known to threads and to worker processes, so numpy only.

N is the global batch size, [H, W, C] a picture, K the number of classes.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# Images uint8 [N, H, W, C], labels float32 [N, K], weights float32 [N]: weight 0 marks a row that
# counts for nothing.
Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


class Shapes(NamedTuple):
    """How large a batch is: `size` N, `picture` (H, W, C), `classes` K."""

    size: int
    picture: tuple[int, int, int]
    classes: int


class Made(NamedTuple):
    """What making one batch cost, and what was found on the way.

    `decoding` and `augmenting` are CPU seconds, for `pictures` pictures; `unreadable` has the
    pictures newly found to be broken, place -> reason.
    """

    decoding: float
    augmenting: float
    pictures: int
    unreadable: dict[str, str]


# fill(step, batch) writes all of the batch of that step; the arrays may hold an earlier one.
# Several threads call it at once. Raises: UserError.
Fill = Callable[[int, Batch], Made]


def empty(shapes: Shapes) -> Batch:
    """A batch of zeros: black pictures that count for nothing."""
    return (
        np.zeros((shapes.size, *shapes.picture), np.uint8),
        np.zeros((shapes.size, shapes.classes), np.float32),
        np.zeros(shapes.size, np.float32),
    )
