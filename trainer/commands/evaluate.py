"""`trainer evaluate`: the best epoch of a run on its test split."""

from typing import Any

import numpy as np

from trainer import files, terminal
from trainer import run as runs
from trainer.commands._restore import demand_pictures, restore
from trainer.data import pipeline, split
from trainer.errors import UserError
from trainer.evaluation import metrics, predict


def run(this: runs.Run) -> None:
    """Writes metrics.json and shows it as a table."""
    trained = restore(this)
    examples = split.read(this.split, trained.classes).test
    if not examples.paths:
        raise UserError("data.split.test", "the run has no test split", "set it, as in test: 0.15")
    faults = pipeline.Faults({}, [])
    batches = pipeline.evaluation(examples, trained.config.data, faults)
    scores_NK, weights_N = predict.scores(trained.model, batches)
    demand_pictures(weights_N, this)
    counted = weights_N[: len(examples.paths)] > 0
    truth_N = examples.labels_NK.argmax(axis=1)[counted]
    predicted_N = scores_NK[: len(examples.paths)].argmax(axis=1)[counted]
    confusion_KK = metrics.confusion(truth_N, predicted_N, len(trained.classes))
    found = metrics.summary(confusion_KK, trained.classes)
    files.write_json(
        this.metrics, {"split": "test", **found, "unreadable": sorted(faults.unreadable)}
    )
    _show(found, confusion_KK)
    terminal.say(f"written  {this.metrics}")


def _show(found: dict[str, Any], confusion_KK: np.ndarray) -> None:
    names = list(found["classes"])
    terminal.table(
        f"test split: accuracy {found['accuracy']:.4f} on {found['examples']} pictures",
        ("class", "precision", "recall", "F1", "pictures"),
        [
            (
                name,
                f"{row['precision']:.4f}",
                f"{row['recall']:.4f}",
                f"{row['f1']:.4f}",
                row["support"],
            )
            for name, row in found["classes"].items()
        ],
    )
    if len(names) <= 20:  # more do not fit a terminal; metrics.json has them all
        terminal.table(
            "confusion matrix: true class in rows, predicted in columns",
            ("", *names),
            [(name, *row) for name, row in zip(names, confusion_KK.tolist(), strict=True)],
        )
