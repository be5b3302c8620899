"""predictions.csv: what is true of each picture and what a network says. N pictures, K classes."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainer import files
from trainer.commands import _answers
from trainer.config.about import About
from trainer.data.examples import Examples
from trainer.data.split_file import SEPARATOR
from trainer.errors import UserError


class Predictions(NamedTuple):
    """A table as written; several labels of a picture are one text, joined by `|`."""

    paths: list[str]  # N
    truth: list[str]  # N
    labels: list[str]  # N, of the network
    scores_NK: np.ndarray  # probabilities, float64

    @property
    def right(self) -> np.ndarray:
        """bool [N]: whether every label is right."""
        pairs = zip(self.truth, self.labels, strict=True)
        return np.array([truth == said for truth, said in pairs], bool)


def write(
    path: Path, says: About, examples: Examples, scores_NK: np.ndarray, fold: int | None = None
) -> None:
    """One row per picture, in the order of the examples.

    Args:
        says: what labels the scores mean.
        fold: if given, a column of its own says it.
    """
    after = [] if fold is None else [str(fold)]

    def rows() -> Iterator[list[str]]:
        for index, scores_K in enumerate(scores_NK):
            verdict = says.verdict(scores_K.tolist())
            name = examples.pictures.name(index)
            _, label, probability, *_ = _answers.row(_answers.Answer(name, verdict, scores_K, None))
            # All of a float32: rounded to 0, a probability of 1e-7 would have a log loss of 36.
            shares = [f"{score:.9g}" for score in scores_K]
            truth = SEPARATOR.join(examples.names_of(index))
            yield [name, truth, label, probability, *after, *shares]

    files.write_csv(path, _answers.columns(says.labels, truth=True, fold=fold is not None), rows())


def read(path: Path, fold: bool = False) -> Predictions:
    """The table. Raises UserError if it is missing or another one.

    Args:
        fold: whether it has a column of that name; else a class may be called so.
    """
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            header, *rows = csv.reader(file)
        path_at, truth_at, label_at = map(header.index, ("path", "truth", "label"))
        own = header.index("fold" if fold else "probability") + 1
        return Predictions(
            [row[path_at] for row in rows],
            [row[truth_at] for row in rows],
            [row[label_at] for row in rows],
            np.array([row[own:] for row in rows], np.float64).reshape(len(rows), len(header) - own),
        )
    except OSError as error:
        raise UserError(str(path), f"cannot be read: {error.strerror}") from None
    except (ValueError, IndexError, csv.Error) as error:
        raise UserError(str(path), f"is no table of predictions: {error}") from None
