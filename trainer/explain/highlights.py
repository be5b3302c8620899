"""What a layer's channels look for: the parts of pictures that move them most.

N pictures; H, W: their size; h, w, C: the maps of the layer.
"""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from trainer.explain import _network, features

BATCH = 32  # pictures
NOISE = 8  # pictures
EDGE = 0.01  # of the largest gradient: what is less is not looked at


class Highlight(NamedTuple):
    """What moves one channel, the strongest first."""

    channel: int
    answers: tuple[float, ...]
    pictures: tuple[int, ...]  # which of the N
    parts: tuple[np.ndarray, ...]  # uint8 [side, side', 1 or 3] each, all of one size


def regions(
    model: keras.Model, images: np.ndarray, layer: str, channels: int, count: int
) -> tuple[Highlight, ...]:
    """The parts of the pictures that the strongest channels answer to most.

    Real pictures instead of dreamt ones (Zeiler and Fergus 2014, arXiv:1311.2901; Zhou et al. 2015,
    arXiv:1412.6856): they can be read, and nothing has to be tuned. Two parts of one picture lie
    apart by half their size at least.

    Args:
        images: uint8 [N, H, W, 1 or 3].
        layer: its full name, as `features.layers` gives it.
        channels: how many of them at most, by their strongest answer, in their order.
        count: how many parts of each at most.
    """
    best_NC = np.concatenate(_batchwise(model, images, layer, lambda given: given.max(axis=(1, 2))))
    order = np.argsort(-best_NC.max(axis=0), kind="stable")[:channels]
    chosen = sorted(each for each in order.tolist() if best_NC[:, each].max() > 0)
    if not chosen:
        return ()
    # The `count` strongest places lie in the `count` pictures with the strongest one each.
    tops = np.unique(np.argsort(-best_NC[:, chosen], axis=0, kind="stable")[:count])
    parts = _batchwise(model, images[tops], layer, lambda given: given[..., chosen])
    maps = np.concatenate(parts)
    side = field(model, layer)
    return tuple(
        _highlight(channel, maps[..., at], images, tops, side, count)
        for at, channel in enumerate(chosen)
    )


def field(model: keras.Model, layer: str) -> tuple[int, int]:
    """How much of the picture one place of a layer looks at: height and width in pixels.

    It is the effective receptive field (Luo et al. 2016, arXiv:1701.04128): the box around the
    middle of the map in which a pixel's gradient reaches a hundredth of the largest, in one of a
    few pictures of noise.
    """
    random = np.random.default_rng(0)
    pixels = tf.constant(random.uniform(0, 255, (NOISE, *model.input_shape[1:])), tf.float32)
    held: list[tf.Tensor] = []
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(pixels)

        def note(heard: _network.Heard) -> None:
            if heard.name == layer:
                held[:] = [heard.given]

        _network.logits(model, pixels, note)
        middle = [length // 2 for length in held[0].shape[1:3]]
        answers_NC = tf.cast(held[0][:, middle[0], middle[1]], tf.float32)
        mixed = answers_NC * random.normal(size=answers_NC.shape)  # so that none undoes another
    slopes = tape.gradient(mixed, pixels, unconnected_gradients="zero").numpy()
    seen_HW = np.abs(slopes).max(axis=(0, 3))
    found = []
    for axis, (at, cells) in enumerate(zip(middle, held[0].shape[1:3], strict=True)):
        line = seen_HW.max(axis=1 - axis)
        far = np.abs(np.flatnonzero(line > EDGE * line.max()) + 0.5 - _centre(at, cells, len(line)))
        least = len(line) / cells  # a place's own share of the picture
        found.append(min(len(line), round(max(2 * (far.max(initial=0) + 0.5), least))))
    return found[0], found[1]


def _batchwise(
    model: keras.Model, images: np.ndarray, layer: str, part: Callable[[np.ndarray], np.ndarray]
) -> list[np.ndarray]:
    """A part of the layer's maps of each batch: whole ones would not all fit into memory."""
    return [
        part(features.maps(model, images[at : at + BATCH], [layer])[layer])
        for at in range(0, len(images), BATCH)
    ]


def _highlight(
    channel: int,
    maps_nhw: np.ndarray,
    images: np.ndarray,
    numbers_n: np.ndarray,
    side: tuple[int, int],
    count: int,
) -> Highlight:
    left = maps_nhw.copy()
    cells, sizes = left.shape[1:], images.shape[1:3]
    apart = [max(1, round(side[n] * cells[n] / sizes[n] / 2)) for n in range(2)]
    answers: list[float] = []
    pictures: list[int] = []
    parts: list[np.ndarray] = []
    while len(parts) < count and left.max() > 0:
        number, *at = np.unravel_index(left.argmax(), left.shape)
        image = images[numbers_n[number]]
        answers.append(float(left[number, at[0], at[1]]))
        pictures.append(int(numbers_n[number]))
        rows, columns = (_window(int(at[n]), cells[n], sizes[n], side[n]) for n in range(2))
        parts.append(image[rows, columns])
        near = [slice(max(0, at[n] - apart[n] + 1), at[n] + apart[n]) for n in range(2)]
        left[number, near[0], near[1]] = 0
    return Highlight(channel, tuple(answers), tuple(pictures), tuple(parts))


def _centre(at: int, cells: int, length: int) -> float:
    """The middle, in pixels, of a cell of the map."""
    return (at + 0.5) * length / cells


def _window(at: int, cells: int, length: int, side: int) -> slice:
    """`side` pixels around a cell of the map, moved into the picture where they reach out of it."""
    start = round(_centre(at, cells, length) - side / 2)
    start = min(max(0, start), length - side)
    return slice(start, start + side)
