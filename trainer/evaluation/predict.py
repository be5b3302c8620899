"""Batches -> scores."""

import statistics
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

WARMUP, TIMED = 5, (15, 105)  # pictures: not counted, and at least and at most


def forward(model: keras.Model) -> Callable[[tf.Tensor | np.ndarray], tf.Tensor]:
    """The network as a graph: images uint8 [N, H, W, C] -> probabilities [N, K]; traced once for
    every N."""

    @tf.function
    def forward(images: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(images, tf.float32), training=False)

    return forward


def latency(model: keras.Model) -> float:
    """The median time in ms that the network takes for one picture [1, H, W, C], on the device that
    it runs on, in up to a second after five pictures that do not count. Decoding is no part."""
    network = forward(model)
    image = np.random.default_rng(0).integers(0, 256, (1, *model.input_shape[1:]), np.uint8)
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < TIMED[0] or (len(times) < TIMED[1] and time.perf_counter() - begun < 1):
        start = time.perf_counter()
        network(image).numpy()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[WARMUP:])


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
