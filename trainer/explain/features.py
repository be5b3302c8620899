"""Feature maps: what the channels of a layer answer to a picture, place by place.

N batch, H, W: the picture; h, w, C: the maps of a layer.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from trainer.explain import _network

LAYERS = 4  # shown if none is named


def layers(model: keras.Model, names: Sequence[str] = ()) -> tuple[str, ...]:
    """The full names of these layers; if none is named, of up to four convolutions from the first
    to the last.

    Raises: UserError if there is no such layer, it gives no map, or there is no convolution.
    """
    found = _network.maps(model)
    if names:
        return tuple(dict.fromkeys(_network.find(model, found, name) for name in names))
    _network.last(found)
    every = [name for name, each in found.items() if each.convolves]
    spread = np.linspace(0, len(every) - 1, min(LAYERS, len(every))).round().astype(int)
    return tuple(every[at] for at in spread)


def maps(model: keras.Model, images: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Full name of a layer -> its output, float32 [N, h, w, C].

    Args:
        images: uint8 [N, H, W, 1 or 3].
    """
    found: dict[str, np.ndarray] = {}

    def note(heard: _network.Heard) -> None:
        if heard.name in names:
            found[heard.name] = tf.cast(heard.given, tf.float32).numpy()

    _network.logits(model, images, note)
    return {name: found[name] for name in names}


def strongest(maps_hwC: np.ndarray, count: int) -> tuple[int, ...]:
    """The channels that answer most, by their mean over the places, in the order of the channels.
    What never rises above 0 comes last."""
    order = np.argsort(-np.maximum(maps_hwC, 0).mean(axis=(0, 1)), kind="stable")
    return tuple(sorted(order[:count].tolist()))
