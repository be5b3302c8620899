"""What is evaluated: pictures with what the network says of them; and whether it can be."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trainer import run as runs
from trainer.commands._restore import Trained
from trainer.config import Config
from trainer.config.data import Csv, Source
from trainer.data import feed
from trainer.data.examples import Examples
from trainer.data.pipeline import Faults
from trainer.data.sources import csv
from trainer.data.stream import WHOLE, Shard
from trainer.errors import UserError
from trainer.evaluation import predict
from trainer.training.peers import Peers

ONE, SEVERAL = ("accuracy", "balanced_accuracy"), ("exact_match", "hamming_loss")
VALUES = 50  # of a column, above which it is no slice but a list


class Seen(NamedTuple):
    """N pictures that could be read."""

    examples: Examples
    scores_NK: np.ndarray  # float32, at temperature 1
    unreadable: list[str]  # the places of the others


def seen(
    this: runs.Run,
    trained: Trained,
    examples: Examples,
    where: str | None = None,
    peers: Peers | None = None,
) -> Seen:
    """What the network says of these pictures.

    Args:
        where: they come from; the split of the run if None.
        peers: workers that share them.

    Raises: UserError if none can be read, or if a probability is no number.
    """
    faults = Faults({}, [])
    shard = Shard(peers.worker, peers.workers) if peers else WHOLE
    batches = feed.evaluation(examples, trained.config.data, faults, shard=shard)
    scores_NK, weights_N = predict.scores(trained.model, batches)
    unreadable = sorted(faults.unreadable)
    if peers:
        steps = -(-len(examples) // trained.config.data.batch_size)
        scores_NK, weights_N = peers.rows(scores_NK, steps), peers.rows(weights_N, steps)
        unreadable = peers.union(unreadable)
    if not weights_N.any():
        raise UserError(where or str(this.split), "none of its pictures can be read")
    counted = np.flatnonzero(weights_N[: len(examples)])
    scores_NK = scores_NK[counted]
    if not np.isfinite(scores_NK).all():
        hint = "a smaller learning rate may help"
        raise UserError(str(this.best), "gives probabilities that are no numbers", hint)
    return Seen(examples.take(counted), scores_NK, unreadable)


def demand(config: Config, multi_label: bool) -> None:
    """Raises UserErrors for what `evaluation` wants and such pictures cannot have."""
    spec, where = config.evaluation, "evaluation"
    found = []
    for name in spec.gates.given():
        if name in (ONE if multi_label else SEVERAL):
            many = "several labels" if multi_label else "one label"
            found.append(
                UserError(
                    f"{where}.gates.{name}",
                    f"is no figure of pictures with {many} each",
                    f"write {(SEVERAL if multi_label else ONE)[0]}",
                )
            )
    if multi_label and spec.confidence.precision is not None:
        problem = "pictures with several labels each are not rejected"
        hint = "remove it: thresholds say which label holds"
        found.append(UserError(f"{where}.confidence.precision", problem, hint))
    try:
        _columns(config.data.source, spec.slices)
    except UserError as error:
        found.append(error)
    if found:
        raise ExceptionGroup("evaluation", found)


def slices(source: Source, names: Sequence[str], examples: Examples) -> dict[str, list[str]]:
    """Column -> its cell for each of the examples. Raises UserErrors as `demand`."""
    found = {}
    for name, cells in _columns(source, names).items():
        found[name] = [cells[examples.pictures.name(index)] for index in range(len(examples))]
    return found


def _columns(source: Source, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Column -> path of a picture -> cell. Raises UserError if there is no such column, or if it
    has too many values."""
    if not names:
        return {}
    if not isinstance(source, Csv):
        problem = f"slices are columns of a table, but the pictures come from a {source.kind}"
        raise UserError("evaluation.slices", problem, "remove them, or list the pictures in a CSV")
    found = {name: csv.column(source, name, "evaluation.slices") for name in names}
    for name, cells in found.items():
        count = len(set(cells.values()))
        if count > VALUES:
            problem = f"column '{name}' has {count} different values"
            hint = f"a slice is a column of at most {VALUES}"
            raise UserError("evaluation.slices", problem, hint)
    return found
