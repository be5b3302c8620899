"""Occlusion: what is lost when a part of the picture is covered.

N batch, H, W, C: the picture; P places of the cover; K classes.
"""

import itertools
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from trainer.explain import _network

BATCH = 32  # covered pictures
SIDE = 6  # the cover's side is a sixth of the picture's longer one: 121 places in a square


class Place(NamedTuple):
    """A rectangle in a picture, in pixels; `bottom` and `right` are the first outside it."""

    top: int
    left: int
    bottom: int
    right: int


def heat(model: keras.Model, images: np.ndarray, targets_N: np.ndarray) -> np.ndarray:
    """How much each place speaks for a class: float32 [N, H, W], 0 to 1, of each picture the most
    1; all 0 where nothing does. What speaks against it is left out.

    Args, raises: as `drops`.
    """
    found = np.maximum(drops(model, images, targets_N), 0)
    most = found.max(axis=(1, 2), keepdims=True, initial=0)
    return np.divide(found, most, out=np.zeros_like(found), where=most > 0)


def drops(model: keras.Model, images: np.ndarray, targets_N: np.ndarray) -> np.ndarray:
    """How far the logit of a class falls when a place is covered: float32 [N, H, W]; of each pixel
    the mean over the covers that hide it. Below 0 where the place speaks against the class.

    A square of the picture's mean colour goes over it in steps of half its side (Zeiler and Fergus
    2014, arXiv:1311.2901). It asks nothing of the network but scores, so it explains every one.

    Args:
        images: uint8 [N, H, W, C].
        targets_N: which class is asked for, picture by picture.
    """

    @tf.function(reduce_retracing=True)
    def logits(batch: tf.Tensor) -> tf.Tensor:
        return _network.logits(model, batch, lambda heard: None)

    parts = [
        _drops(logits, image, int(target)) for image, target in zip(images, targets_N, strict=True)
    ]
    return np.stack(parts) if parts else np.zeros(images.shape[:3], np.float32)


def places(height: int, width: int) -> list[Place]:
    """Where the cover lies, from edge to edge of a picture."""
    side = max(1, round(max(height, width) / SIDE))

    def starts(length: int) -> list[int]:
        room = max(0, length - side)
        steps = -(-2 * room // side)  # of half its side, or a little less
        return sorted({round(at) for at in np.linspace(0, room, steps + 1)})

    return [
        Place(top, left, min(height, top + side), min(width, left + side))
        for top, left in itertools.product(starts(height), starts(width))
    ]


def _drops(
    logits: "tf.types.experimental.PolymorphicFunction", image: np.ndarray, target: int
) -> np.ndarray:
    height, width = image.shape[:2]
    every = places(height, width)
    colour = image.mean(axis=(0, 1)).round().astype(image.dtype)
    found = [logits(image[None]).numpy()[:, target]]
    for at in range(0, len(every), BATCH):
        batch = np.repeat(image[None], len(every[at : at + BATCH]), axis=0)
        for covered, (top, left, bottom, right) in zip(batch, every[at:], strict=False):
            covered[top:bottom, left:right] = colour
        found.append(logits(batch).numpy()[:, target])
    before, after_P = found[0][0], np.concatenate(found[1:])
    total, count = np.zeros((2, height, width), np.float64)
    for (top, left, bottom, right), after in zip(every, after_P, strict=True):
        total[top:bottom, left:right] += before - after
        count[top:bottom, left:right] += 1
    return (total / count).astype(np.float32)
