"""What a source returns."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SIDES = ("train", "validation", "test")


class Examples(NamedTuple):
    """Pictures with their labels, in an order that does not depend on the machine.

    N pictures, K classes.
    """

    paths: Sequence[str]  # N files
    labels_NK: np.ndarray  # uint8, 1 where the picture is of the class
    classes: tuple[str, ...]  # K names, sorted
    sides: Sequence[str] | None = None  # N of SIDES where the source has split roots

    def take(self, indices: np.ndarray) -> "Examples":
        """The examples at these positions, in this order, without their sides."""
        paths = [self.paths[index] for index in indices]
        return Examples(paths, self.labels_NK[indices], self.classes)


def one_hot(indices_N: Sequence[int], classes: int) -> np.ndarray:
    """uint8 [N, K] of class indices."""
    return np.eye(classes, dtype=np.uint8)[np.asarray(indices_N, dtype=np.int64)]
