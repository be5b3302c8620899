"""Small trainings for the tests: `python -m tests.training.runs REPLICAS BATCH` prints one as JSON.

Replicas on logical CPU devices must be set up before TensorFlow starts, hence a process of its own.
"""

import hashlib
import json
import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.config.base import Call
from trainer.config.training import Training
from trainer.training import hardware, loop, objective

CLASSES, SHAPE = 3, (8, 8, 3)
SPEC: dict[str, Any] = {
    "epochs": 2,
    "optimizer": {"AdamW": {"learning_rate": 0.003}},
    "loss": {"CategoricalCrossentropy": {"label_smoothing": 0.1}},
    "metrics": ["CategoricalAccuracy", {"F1Score": {"average": "macro"}}],
}


def arrays(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise with labels: uint8 [N, 8, 8, 3], float32 [N, 3]."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, *SHAPE), dtype=np.uint8)
    return images, np.eye(CLASSES, dtype=np.float32)[generator.integers(0, CLASSES, count)]


def network(*, dropout: float = 0.0, batch_norm: bool = False) -> keras.Model:
    keras.utils.set_random_seed(5)
    inputs = keras.Input(SHAPE)
    tensor = keras.layers.Rescaling(1 / 255)(inputs)
    # A bias before BatchNorm has no gradient but rounding noise, which AdamW would scale up.
    tensor = keras.layers.Conv2D(4, 3, kernel_regularizer="l2", use_bias=not batch_norm)(tensor)
    if batch_norm:
        tensor = keras.layers.BatchNormalization(synchronized=True)(tensor)
    tensor = keras.layers.ReLU()(tensor)
    tensor = keras.layers.Flatten()(tensor)
    tensor = keras.layers.Dropout(dropout, seed=9)(tensor)
    return keras.Model(inputs, keras.layers.Dense(CLASSES, activation="softmax")(tensor))


def stream(images: np.ndarray, labels: np.ndarray, batch: int) -> tf.data.Dataset:
    """Endless full batches, shuffled anew each pass, as data.feed.training gives them."""
    count = len(images)
    order = np.concatenate(
        [np.random.default_rng([1, turn]).permutation(count) for turn in range(20)]
    )
    weights = np.ones(len(order), np.float32)
    dataset = tf.data.Dataset.from_tensor_slices((images[order], labels[order], weights))
    return dataset.batch(batch, drop_remainder=True)


def padded(images: np.ndarray, labels: np.ndarray, batch: int) -> tf.data.Dataset:
    """One pass, the last batch filled with weight 0, as data.feed.evaluation gives it."""
    missing = -len(images) % batch
    weights = np.concatenate([np.ones(len(images)), np.zeros(missing)]).astype(np.float32)
    parts = [
        np.concatenate([each, np.zeros((missing, *each.shape[1:]), each.dtype)])
        for each in (images, labels)
    ]
    return tf.data.Dataset.from_tensor_slices((*parts, weights)).batch(batch)


def train(
    strategy: tf.distribute.Strategy,
    batch: int,
    *,
    count: int = 97,
    callbacks: Any = (),
    **kind: Any,
) -> tuple[keras.Model, dict[str, list[float]]]:
    """Two epochs of count / batch steps; the validation set has 41 pictures."""
    with strategy.scope():
        model = network(**kind)
    spec = Training.model_validate({**SPEC, "optimizer": Call.parse(SPEC["optimizer"])})
    steps = -(-count // batch)
    aims = objective.build(spec, model, {}, strategy)
    history = loop.train(
        model, aims, strategy, stream(*arrays(count), batch), padded(*arrays(41, 1), batch),
        epochs=2, steps=steps, callbacks=callbacks,
    )  # fmt: skip
    return model, history


def summary(model: keras.Model, history: dict[str, list[float]]) -> dict[str, Any]:
    history = {name: values for name, values in history.items() if name not in loop.TIMING}
    weights = [keras.ops.convert_to_numpy(each).ravel().tolist() for each in model.weights]
    return {"history": history, "weights": weights}


def digest() -> str:
    """The sha256 of the weights of a network with BatchNormalization after a few steps."""
    strategy = hardware.prepare(Training.model_validate({"epochs": 1}), seed=1)
    inputs = tensor = keras.Input((96, 96, 3))
    for filters in (32, 64, 64, 64):
        tensor = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(tensor)
        tensor = keras.layers.ReLU()(keras.layers.BatchNormalization()(tensor))
        tensor = keras.layers.MaxPooling2D()(tensor)
    tensor = keras.layers.Dropout(0.3)(keras.layers.GlobalMaxPooling2D()(tensor))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(tensor))
    aims = objective.build(Training.model_validate({"epochs": 1}), model, {}, strategy)
    images = np.random.default_rng(0).integers(0, 256, (256, 96, 96, 3), np.uint8)
    data = stream(images, arrays(256)[1], 32)
    loop.train(model, aims, strategy, data, data.take(1), epochs=1, steps=12)
    return hashlib.sha256(b"".join(each.tobytes() for each in model.get_weights())).hexdigest()


if __name__ == "__main__":
    if sys.argv[1] == "digest":
        print(digest())
        sys.exit()
    replicas, batch = int(sys.argv[1]), int(sys.argv[2])
    [cpu] = tf.config.list_physical_devices("CPU")
    devices = [tf.config.LogicalDeviceConfiguration()] * replicas
    tf.config.set_logical_device_configuration(cpu, devices)
    strategy = tf.distribute.MirroredStrategy()
    assert strategy.num_replicas_in_sync == replicas
    print(json.dumps(summary(*train(strategy, batch, batch_norm="norm" in sys.argv))))
