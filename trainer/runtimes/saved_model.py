"""SavedModel, by TensorFlow."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from trainer.config import about
from trainer.errors import UserError
from trainer.runtimes import _operators
from trainer.runtimes.opened import Opened


def open(path: Path) -> Opened:
    """Signature `serving_default`: `image` uint8 [N, H, W, C] to `probabilities`.

    Raises: UserError if TensorFlow cannot load it, it could do anything but compute, or it does not
        describe itself.
    """
    _operators.demand_harmless(path)
    asset = path / "assets" / about.FILE
    told = about.parse(asset.read_bytes() if asset.is_file() else b"", str(path))
    try:
        loaded = tf.saved_model.load(str(path))
        serve = loaded.signatures["serving_default"]
    except Exception as error:  # TensorFlow raises whatever a broken file makes it stumble over
        said = str(error).splitlines()[0]
        raise UserError(str(path), f"TensorFlow cannot load it: {said}") from None

    def scores(images: np.ndarray) -> np.ndarray:
        return serve(image=tf.constant(images, tf.uint8))["probabilities"].numpy()

    scores.keep = loaded  # type: ignore[attr-defined]  # the signature alone holds no variables
    return Opened(told, scores)
