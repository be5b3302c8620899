"""What every exporter gets."""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np

from trainer.config.about import About


class Material(NamedTuple):
    """What a file is made of."""

    model: keras.Model  # float32 pixels 0 to 255 [N, H, W, C] -> probabilities [N, K]
    about: About
    # A number -> about so many training pictures, of every class alike: uint8 [N, H, W, C]
    calibration: Callable[[int], np.ndarray]
