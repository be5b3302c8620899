"""The filters of the first convolution: small pictures, since it looks at pixels.

F filters; c channels of what the convolution takes.
"""

from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from trainer.explain import _network

GREY = 0.5  # stands for a weight of 0


class Filters(NamedTuple):
    """Those of a layer."""

    layer: str
    pictures: np.ndarray  # float32 [F, height, width, 3], 0 to 1


def first(model: keras.Model) -> Filters:
    """The filters of the first convolution in the colours of the picture: where one is red, red
    pixels raise its answer. Each is scaled by its own largest weight.

    What stands before it (a scale per channel, BGR instead of RGB, grey as three equal channels) is
    asked by four pictures, black and one of each colour, and undone. Of EquivariantConv2D they are
    the patterns in their first orientation; of a convolution by depth or in groups, what is shared.

    Raises: UserError if there is no convolution.
    """
    found = _network.maps(model)
    _network.last(found)
    name, layer = next((name, each.layer) for name, each in found.items() if each.convolves)
    weight = next(weight for weight in layer.weights if len(weight.shape) == 4)
    kernels = tf.cast(weight.value, tf.float32).numpy()
    seen_3c = _seen(model, name)
    if kernels.shape[2] != seen_3c.shape[1]:  # in groups
        seen_3c = np.full((3, kernels.shape[2]), 1 / kernels.shape[2])
    if isinstance(layer, keras.layers.DepthwiseConv2D | keras.layers.SeparableConv2D):
        pictures = np.einsum("hwcm,xc->cmhwx", kernels, seen_3c).reshape(-1, *kernels.shape[:2], 3)
    else:
        pictures = np.einsum("hwcf,xc->fhwx", kernels, seen_3c)
    most = np.abs(pictures).max(axis=(1, 2, 3), keepdims=True)
    shades = np.divide(pictures, most, out=np.zeros_like(pictures), where=most > 0)
    return Filters(name, (GREY + GREY * shades).astype(np.float32))


def _seen(model: keras.Model, name: str) -> np.ndarray:
    """How what the layer takes rises with red, green and blue: [3, c], in the middle of the map."""
    height, width, channels = model.input_shape[1:]
    probes = np.zeros((4, height, width, channels), np.uint8)
    for at in range(3):
        probes[at + 1, ..., at if channels == 3 else 0] = 255
    taken: list[np.ndarray] = []

    def note(heard: _network.Heard) -> None:
        if heard.name == name:
            taken.append(tf.cast(heard.taken, tf.float32).numpy())

    _network.logits(model, probes, note)
    middle = taken[0][:, taken[0].shape[1] // 2, taken[0].shape[2] // 2]
    return middle[1:] - middle[0]
