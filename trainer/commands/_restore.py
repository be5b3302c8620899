"""What the verbs share that take a run: its network as it was trained."""

from typing import NamedTuple

import keras
import numpy as np

from trainer import run as runs
from trainer.config import Config
from trainer.config.load import load
from trainer.errors import UserError
from trainer.model import network
from trainer.training import checkpoint, hardware


class Trained(NamedTuple):
    """A run's config, class names in the order of the scores, and network.

    The network takes float32 pixels 0 to 255 [N, H, W, 3] and gives probabilities [N, K], in
    float32 whatever the precision of the training.
    """

    config: Config
    classes: tuple[str, ...]
    model: keras.Model


def restore(run: runs.Run) -> Trained:
    """The network of the best epoch. Raises UserError if no epoch was finished."""
    if not run.best.is_file():
        nan = run.last.is_file()
        raise UserError(
            str(run.folder),
            "there is no checkpoints/best.keras: the monitored value was NaN in every epoch?"
            if nan
            else "no epoch was finished in this run",
            "a smaller learning rate may help" if nan else "train it with trainer fit",
        )
    config = load(run.config)
    classes = runs.read_classes(run)
    hardware.full_precision()
    model = network.build(config.model, config.data.image_size, classes)
    checkpoint.load(model, run.best)
    return Trained(config, classes, network.with_probabilities(model, config.training.loss))


def demand_pictures(weights_N: np.ndarray, run: runs.Run) -> None:
    """Raises UserError if not one picture of the split could be read."""
    if not weights_N.any():
        raise UserError(
            str(run.split),
            "none of its pictures can be read",
            "its paths are relative to the directory in which the run was trained: run it there",
        )
