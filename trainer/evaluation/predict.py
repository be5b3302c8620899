"""Batches -> scores."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf


def forward(model: keras.Model) -> Callable[[tf.Tensor | np.ndarray], tf.Tensor]:
    """The network as a graph: images uint8 [N, H, W, C] -> probabilities [N, K]; traced once for
    every N."""

    @tf.function
    def forward(images: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(images, tf.float32), training=False)

    return forward


def scores(model: keras.Model, batches: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """One pass of `data.feed.evaluation` through the network.

    Returns: scores float32 [N, K] and weights float32 [N] in the order of the examples, the padding
    of the last batch included: its weights, like those of pictures that could not be read, are 0.
    """
    network = forward(model)
    parts = [(network(images).numpy(), weights.numpy()) for images, _, weights in batches]
    if not parts:
        return np.zeros((0, model.output_shape[-1]), np.float32), np.zeros((0,), np.float32)
    scores_NK, weights_N = (np.concatenate(part) for part in zip(*parts, strict=True))
    return scores_NK, weights_N
