"""Grad-CAM and Grad-CAM++: where in a picture the evidence for a class lies.

N batch, H, W, C: the picture; h, w, c: the maps of a layer.
"""

import keras
import numpy as np
import tensorflow as tf

from trainer.explain import _network

BATCH = 32  # pictures; the layers' outputs after the chosen one are held for the gradient


def heat(
    model: keras.Model,
    images: np.ndarray,
    targets_N: np.ndarray,
    layer: str | None = None,
    plus: bool = False,
) -> np.ndarray:
    """How much each place speaks for a class: float32 [N, h, w], 0 to 1, of each picture the most
    1; all 0 where nothing speaks for it.

    Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391): the channels of a layer, each weighed by the
    mean gradient of the class's logit, summed, and what is negative left out. Grad-CAM++
    (Chattopadhay et al. 2018, arXiv:1710.11063) weighs by positive gradients alone, place by place,
    and so finds several things of one class better.

    Args:
        images: uint8 [N, H, W, C].
        targets_N: which class is asked for, picture by picture.
        layer: its name; the last one with a map of the picture if None.
        plus: Grad-CAM++.

    Raises: UserError if there is no such layer, or no map of the picture.
    """
    found = _network.maps(model)
    name = _network.find(model, found, layer) if layer else _network.last(found)
    parts = [
        _heat(model, images[at : at + BATCH], targets_N[at : at + BATCH], name, plus)
        for at in range(0, len(images), BATCH)
    ]
    size = found[name].height, found[name].width
    return np.concatenate(parts) if parts else np.zeros((0, *size), np.float32)


def _heat(
    model: keras.Model, images: np.ndarray, targets_N: np.ndarray, name: str, plus: bool
) -> np.ndarray:
    held: list[tf.Tensor] = []
    with tf.GradientTape(watch_accessed_variables=False) as tape:

        def note(heard: _network.Heard) -> None:
            if heard.name == name:
                tape.watch(heard.given)
                held[:] = [heard.given]

        logits_NK = _network.logits(model, images, note)
        chosen_N = tf.gather(logits_NK, tf.cast(targets_N, tf.int32), batch_dims=1)
    (maps_Nhwc,) = held
    slopes = tape.gradient(chosen_N, maps_Nhwc, unconnected_gradients="zero")
    maps_Nhwc, slopes_Nhwc = (tf.cast(each, tf.float32).numpy() for each in (maps_Nhwc, slopes))
    weights_Nc = (_plus if plus else _mean)(maps_Nhwc, slopes_Nhwc)
    raw = np.maximum(np.einsum("nhwc,nc->nhw", maps_Nhwc, weights_Nc), 0)
    most = raw.max(axis=(1, 2), keepdims=True)
    return np.divide(raw, most, out=np.zeros_like(raw), where=most > 0)


def _mean(_: np.ndarray, slopes_Nhwc: np.ndarray) -> np.ndarray:
    return slopes_Nhwc.mean(axis=(1, 2))


def _plus(maps_Nhwc: np.ndarray, slopes_Nhwc: np.ndarray) -> np.ndarray:
    """Equations 15 and 19 of the paper; its exp of the logit cancels out when heat is scaled."""
    squares = slopes_Nhwc**2
    below = 2 * squares + maps_Nhwc.sum(axis=(1, 2), keepdims=True) * slopes_Nhwc**3
    alphas = np.divide(squares, below, out=np.zeros_like(below), where=below != 0)
    return (alphas * np.maximum(slopes_Nhwc, 0)).sum(axis=(1, 2))
