"""Transforms of a user's own."""

from typing import Any

import albumentations
import numpy as np


class Failing(albumentations.ImageOnlyTransform):
    """Fails."""

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        raise ValueError("no")


class Halving(albumentations.ImageOnlyTransform):
    """Leaves out every second row."""

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        return img[::2]


class Marking(albumentations.ImageOnlyTransform):
    """Writes into its input, as albumentations' own never do."""

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        img[0] = 255
        return img


class Busy(albumentations.ImageOnlyTransform):
    """Keeps the interpreter for itself, as loops in Python do."""

    def apply(self, img: np.ndarray, **params: Any) -> np.ndarray:
        total = 0
        for number in range(50_000):
            total += number
        return img + np.uint8(total % 2)
