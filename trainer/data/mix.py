"""Mixing of the pictures of a batch with each other: MixUp and CutMix.

What is drawn depends on the seed and the number of the batch alone, so that a training which is
resumed mixes as if it had never stopped. N batch, H, W, C picture, K classes.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from trainer.config.data import Mix
from trainer.data import stream
from trainer.data.batch import Batch

# (images [N, H, W, C], the other picture of each [N], share of its own, generator) -> the share
# that it kept; changes the images.
Way = Callable[[np.ndarray, np.ndarray, float, np.random.Generator], float]


class Mixing(NamedTuple):
    """What is drawn for a batch."""

    way: Way
    others: np.ndarray  # int64 [N], the row that each is mixed with
    share: float  # of its own that a picture keeps
    generator: np.random.Generator  # for what the way draws

    def needed(self, rows: Sequence[int]) -> tuple[list[int], "Mixing"]:
        """To mix these rows of the batch alone: the rows that it takes, these first, and the mixing
        of a batch of just those. What stands behind these rows is of no use afterwards."""
        taken = list(dict.fromkeys([*rows, *self.others[list(rows)].tolist()]))
        places = {row: place for place, row in enumerate(taken)}
        others = [places.get(int(self.others[row]), place) for row, place in places.items()]
        return taken, self._replace(others=np.array(others, np.int64))


def mixing(spec: Mix, seed: int, step: int, size: int) -> Mixing | None:
    """How the batch of a step is mixed, `size` pictures in all; None if it is not.

    A share λ is drawn from Beta(α, α) for the whole batch.
    """
    generator = stream.of_batch(seed, step)
    if generator.random() >= spec.p:
        return None
    ways = [(blend, spec.mixup), (paste, spec.cutmix)]
    chosen = [(way, alpha) for way, alpha in ways if alpha is not None]
    way, alpha = chosen[generator.integers(len(chosen))]
    others = generator.permutation(size)
    return Mixing(way, others, float(generator.beta(alpha, alpha)), generator)


def mix(batch: Batch, drawn: Mixing) -> None:
    """Mixes each picture of a batch with another one of it, in place, labels and weights included.

    Labels become (λ w_a y_a + (1-λ) w_b y_b) / w and the weight w = λ w_a + (1-λ) w_b; so a loss
    that is linear in the labels, as crossentropy is, is that of both pictures by their shares,
    class weights too.
    """
    images, labels, weights = batch
    others = drawn.others
    share = drawn.way(images, others, drawn.share, drawn.generator)
    own, other = share * weights.astype(np.float64), (1 - share) * weights[others]
    sums = own + other
    labels[:] = (own[:, None] * labels + other[:, None] * labels[others]) / sums[:, None]
    weights[:] = sums


def blend(
    images: np.ndarray, others: np.ndarray, share: float, generator: np.random.Generator
) -> float:
    """MixUp (Zhang et al. 2018): share · picture + (1 - share) · other, rounded to uint8."""
    rows = images.reshape(len(images), -1)  # OpenCV: a tenth of the time of numpy's floats
    cv2.addWeighted(rows, share, rows[others], 1 - share, 0, dst=rows)
    return share


def paste(
    images: np.ndarray, others: np.ndarray, share: float, generator: np.random.Generator
) -> float:
    """CutMix (Yun et al. 2019): a box of the other picture, at the same place, of 1 - share of the
    area around a uniform centre; what of it lies outside is lost."""
    height, width = images.shape[1:3]
    side = np.sqrt(1 - share)
    centre = generator.integers(height), generator.integers(width)
    ends = [
        (max(middle - int(side * size) // 2, 0), min(middle + int(side * size) // 2, size))
        for middle, size in zip(centre, (height, width), strict=True)
    ]
    (top, bottom), (left, right) = ends
    images[:, top:bottom, left:right] = images[others, top:bottom, left:right]
    return 1 - (bottom - top) * (right - left) / (height * width)
