"""What the verbs share that take a run: its network as it was trained."""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np

from trainer import records, terminal
from trainer import run as runs
from trainer.commands import _confidence, _custom
from trainer.commands._gather import read
from trainer.config import Config
from trainer.config.load import load
from trainer.data import split, split_file
from trainer.errors import UserError
from trainer.model import network
from trainer.training import checkpoint, hardware


class Trained(NamedTuple):
    """A run's config, class names in the order of the scores, and network.

    The network takes float32 pixels 0 to 255 [N, H, W, C] and gives probabilities [N, K], in
    float32 whatever the precision of the training.
    """

    config: Config
    classes: tuple[str, ...]
    multi_label: bool
    model: keras.Model


def restore(run: runs.Run, overrides: Sequence[str] = (), raw: bool = False) -> Trained:
    """The network of the best epoch.

    Args:
        overrides: laid over the run's config; `data.source.path=…` where the pictures have moved.
        raw: without the temperature that may be built into the probabilities.

    Raises: UserError if no epoch was finished.
    """
    if not run.best.is_file():
        nan = run.history.is_file()
        raise UserError(
            str(run.folder),
            "there is no checkpoints/best.keras: the monitored value was NaN in every epoch?"
            if nan
            else "no epoch was finished in this run",
            "a smaller learning rate may help" if nan else "train it with trainer fit",
        )
    config = load(run.config, overrides)
    _custom.bring(config, run)
    classes = records.read_classes(run)
    hardware.full_precision()
    probabilities = _loaded(run, config, classes)
    multi_label = records.read_data(run)["task"] == "multi_label"
    if not raw:
        temperature = _confidence.temperature(run, config)
        probabilities = network.with_temperature(probabilities, temperature, multi_label)
    return Trained(config, classes, multi_label, probabilities)


def _loaded(run: runs.Run, config: Config, classes: tuple[str, ...]) -> keras.Model:
    """The network with the weights of the best epoch; of an ensemble, all its networks as one."""

    def built() -> keras.Model:
        return network.build(config.model, config.data.input_shape, classes)

    members = records.read_members(run)
    if not members:
        model = built()
        checkpoint.load_weights(model, run.best)
        return network.with_probabilities(model, config.training.loss)
    loss = config.training.loss
    model = network.averaged([network.with_probabilities(built(), loss) for _ in members])
    checkpoint.load_weights(model, run.best)
    return model


def sides(run: runs.Run, trained: Trained) -> split.Sides:
    """The pictures of the run on the sides they had, read from the config's source.

    Warns of those that are gone. Raises UserError if all are.
    """
    try:
        examples = read(trained.config)
    except UserError as error:
        hint = "if the pictures have moved: --set data.source.path=…"
        raise UserError(error.where, error.problem, hint, error.place) from None
    found, gone = split_file.restore(run.split, examples, trained.classes)
    hint = "is data.source.path the folder that it was trained on?"
    if gone and not any(map(len, found)):
        raise UserError(str(run.split), f"none of its {len(gone)} pictures is there", hint)
    for name, side in found._asdict().items():
        if gone and not len(side) and name in {row[2] for row in split_file.read(run.split)}:
            raise UserError(str(run.split), f"none of its {name} pictures is there", hint)
    if gone:
        terminal.warn(f"{len(gone)} pictures of {run.split} are gone, such as {gone[0]}")
    return found


def demand_pictures(weights_N: np.ndarray, run: runs.Run) -> None:
    """Raises UserError if not one picture of the split could be read."""
    if not weights_N.any():
        raise UserError(str(run.split), "none of its pictures can be read")
