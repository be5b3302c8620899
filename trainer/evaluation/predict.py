"""Batches -> scores."""

import keras
import numpy as np
import tensorflow as tf


def scores(model: keras.Model, batches: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """One pass of `data.feed.evaluation` through the network.

    Returns: scores float32 [N, K] and weights float32 [N] in the order of the examples, the padding
    of the last batch included: its weights, like those of pictures that could not be read, are 0.
    """

    @tf.function
    def forward(images: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(images, tf.float32), training=False)

    parts = [(forward(images).numpy(), weights.numpy()) for images, _, weights in batches]
    if not parts:
        return np.zeros((0, model.output_shape[-1]), np.float32), np.zeros((0,), np.float32)
    scores_NK, weights_N = (np.concatenate(part) for part in zip(*parts, strict=True))
    return scores_NK, weights_N
