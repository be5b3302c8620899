"""Networks whose explanations can be computed by hand."""

import keras
import numpy as np

from trainer.layers import EquivariantConv2D

# Of the picture's own channels 0 and 1: as evidence for class 0 and class 1.
EVIDENCE = np.array([[3.0, -1.0], [-2.0, 4.0]], np.float32)


def averaging(last: list[keras.layers.Layer], scale: float = 1, **dense: object) -> keras.Model:
    """Pixels [N, 4, 4, 3]; a convolution gives red and green as they are; their means times
    EVIDENCE are the logits of two classes."""
    conv = keras.layers.Conv2D(2, 1, use_bias=False, activation="relu", name="conv")
    scores = keras.layers.Dense(2, name="scores", **dense)
    model = keras.Sequential(
        [keras.Input((4, 4, 3)), conv, keras.layers.GlobalAveragePooling2D(), scores, *last]
    )
    conv.set_weights([np.eye(3, 2, dtype=np.float32)[None, None]])
    scores.set_weights([scale * EVIDENCE, np.zeros(2, np.float32)])
    return model


def nested() -> keras.Model:
    """A network inside a network inside a network, with a pool behind its last convolution."""
    keras.utils.set_random_seed(1)
    inner = keras.Sequential(
        [keras.Input((8, 8, 4)), keras.layers.Conv2D(5, 3, name="c")], name="inner"
    )
    x = keras.Input((10, 10, 3))
    middle = keras.Model(x, inner(keras.layers.Conv2D(4, 3, name="b")(x)), name="middle")
    inputs = keras.Input((10, 10, 3))
    x = keras.layers.MaxPooling2D(name="pool")(
        middle(keras.layers.Rescaling(1 / 255, name="rescaling")(inputs))
    )
    outputs = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten(name="flat")(x))
    return keras.Model(inputs, outputs)


def equivariant() -> keras.Model:
    """Its scores are the same for a turned picture."""
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            EquivariantConv2D(16, lift=True),
            keras.layers.ReLU(),
            EquivariantConv2D(16),
            keras.layers.ReLU(),
            keras.layers.GlobalMaxPooling2D(),
            keras.layers.Reshape((8, 2)),
            keras.layers.GlobalMaxPooling1D(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


def flat() -> keras.Model:
    """Without a convolution: the logit of class 1 is 0.01 of each pixel times its number."""
    dense = keras.layers.Dense(2, name="dense")
    model = keras.Sequential(
        [keras.Input((6, 6, 1)), keras.layers.Flatten(), dense, keras.layers.Softmax()]
    )
    kernel = np.stack([np.zeros(36), 0.01 * np.arange(36)], axis=1)
    dense.set_weights([kernel, np.zeros(2)])
    return model


def noise(count: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    """uint8 pictures."""
    made = np.random.default_rng(3).integers(0, 256, (count, height, width, channels))
    return made.astype(np.uint8)
