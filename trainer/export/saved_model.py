"""`kind: saved_model`: TensorFlow's own format, for TensorFlow and its Serving."""

from pathlib import Path

import keras
import tensorflow as tf

from trainer import files
from trainer.config import about
from trainer.config.export import SavedModel
from trainer.export.material import Material


def write(material: Material, spec: SavedModel, path: Path) -> None:
    """Signature `serving_default`: input `image` float32 [N, H, W, C], 0 to 255; outputs
    `probabilities` float32 [N, K], `label_index` int64 [N] and `labels`: the most probable one's
    number and name. What the file says of itself is `assets/about.json`."""
    model, names = material.model, tf.constant(material.about.labels)

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
    files.write_json(path / "assets" / about.FILE, material.about.model_dump(mode="json"))
