"""`kind: saved_model`: TensorFlow's own format, for TensorFlow and its Serving."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from trainer import files
from trainer.config import about
from trainer.config.export import SavedModel
from trainer.export import _picture, _warmup
from trainer.export.material import Material

Answer = dict[str, tf.Tensor]


def write(material: Material, spec: SavedModel, path: Path) -> None:
    """Three signatures, each with outputs `probabilities` float32 [N, K], `label_index` int64 [N]
    and `labels` string [N], the most probable one's number and name:

    - `serving_default`: `image` uint8 [N, H, W, C];
    - `serve_float`: `image` float32 [N, H, W, C], 0 to 255;
    - `serve_bytes`: `image_bytes` string [N], files of any size, which are decoded, turned upright
      and resized as in training (TensorFlow Serving takes names ending in `_bytes` as base64).

    What the file says of itself is `assets/about.json`; the labels alone are `assets/classes.txt`.
    """
    model, told = material.model, material.about
    names = tf.constant(told.labels)
    shape = told.input_shape

    def serve_float(image: tf.Tensor) -> Answer:
        probabilities = model(image, training=False)
        index = tf.argmax(probabilities, axis=1)
        return {
            "probabilities": probabilities,
            "label_index": index,
            "labels": tf.gather(names, index),
        }

    def serving_default(image: tf.Tensor) -> Answer:
        return serve_float(tf.cast(image, tf.float32))

    def serve_bytes(image_bytes: tf.Tensor) -> Answer:
        images = tf.map_fn(
            lambda content: _picture.pixels(content, told),
            image_bytes,
            fn_output_signature=tf.TensorSpec(shape, tf.uint8),
        )
        return serving_default(images)

    archive = keras.export.ExportArchive()
    archive.track(model)
    for serve, kind in ((serving_default, tf.uint8), (serve_float, tf.float32)):
        image = tf.TensorSpec((None, *shape), kind, name="image")
        archive.add_endpoint(serve.__name__, serve, [image])
    content = tf.TensorSpec((None,), tf.string, name="image_bytes")
    archive.add_endpoint("serve_bytes", serve_bytes, [content])
    archive.write_out(path, verbose=False)
    files.write_json(path / "assets" / about.FILE, told.model_dump(mode="json"))
    files.write_text(path / "assets" / "classes.txt", "".join(f"{name}\n" for name in told.labels))
    _warmup.write(path, _requests(shape), told.name)


def _requests(shape: tuple[int, int, int]) -> dict[str, dict[str, object]]:
    """One picture for each signature: noise, so that no one's pictures leave with the file."""
    image = np.random.default_rng(0).integers(0, 256, (1, *shape), np.uint8)
    content = tf.io.encode_jpeg(image[0]).numpy()
    return {
        "serving_default": {"image": image},
        "serve_float": {"image": image.astype(np.float32)},
        "serve_bytes": {"image_bytes": [content]},
    }
