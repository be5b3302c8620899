"""`kind: saved_model`: TensorFlow's own format, for TensorFlow and its Serving."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.config.export import SavedModel

NAME = "saved_model"


def write(model: keras.Model, spec: SavedModel, about: Mapping[str, Any], path: Path) -> None:
    """Signature `serving_default`: input `image` float32 [N, H, W, C], 0 to 255; outputs
    `probabilities` float32 [N, K], `label_index` int64 [N] and `labels`: the most probable one's
    number and name.

    Args:
        model: float32 pixels [N, H, W, C] -> probabilities [N, K].
        about: `labels` holds the K names.
    """
    names = tf.constant(about["labels"])

    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = model(image, training=False)
        index = tf.argmax(probabilities, axis=1)
        return {
            "probabilities": probabilities,
            "label_index": index,
            "labels": tf.gather(names, index),
        }

    archive = keras.export.ExportArchive()
    archive.track(model)
    image = tf.TensorSpec(model.input_shape, tf.float32, name="image")
    archive.add_endpoint("serving_default", serve, [image])
    archive.write_out(path, verbose=False)


def open(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """uint8 images [N, H, W, C] -> probabilities [N, K], by TensorFlow."""
    loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]

    def scores(images: np.ndarray) -> np.ndarray:
        return serve(image=tf.constant(images, tf.float32))["probabilities"].numpy()

    scores.keep = loaded  # type: ignore[attr-defined]  # the signature alone holds no variables
    return scores
