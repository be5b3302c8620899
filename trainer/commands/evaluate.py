"""`trainer evaluate`: the best epoch of a run on its test split."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer import files, terminal
from trainer import run as runs
from trainer.commands._restore import demand_pictures, restore, sides
from trainer.data import feed
from trainer.data.pipeline import Faults
from trainer.errors import UserError
from trainer.evaluation import metrics, predict


def run(this: runs.Run, overrides: Sequence[str] = ()) -> None:
    """Writes metrics.json and shows it as a table.

    Args:
        overrides: laid over the run's config, as where its pictures have moved.
    """
    trained = restore(this, overrides)
    examples = sides(this, trained).test
    if not len(examples):
        raise UserError("data.split.test", "the run has no test split", "set it, as in test: 0.15")
    faults = Faults({}, [])
    batches = feed.evaluation(examples, trained.config.data, faults)
    scores_NK, weights_N = predict.scores(trained.model, batches)
    demand_pictures(weights_N, this)
    counted = np.flatnonzero(weights_N[: len(examples)])
    truth, scores_NK = examples.labels[counted], scores_NK[counted]
    if examples.multi_label:
        found = metrics.multi_label_summary(truth, scores_NK, trained.classes)
        _show_multi_label(found)
    else:
        predicted_N = scores_NK.argmax(axis=1)
        confusion_KK = metrics.confusion(truth, predicted_N, len(trained.classes))
        found = metrics.summary(confusion_KK, trained.classes)
        _show(found, confusion_KK)
    unreadable = sorted(faults.unreadable)
    files.write_json(this.metrics, {"split": "test", **found, "unreadable": unreadable})
    terminal.say(f"written  {this.metrics}")


def _show(found: dict[str, Any], confusion_KK: np.ndarray) -> None:
    names = list(found["classes"])
    title = f"test split: accuracy {found['accuracy']:.4f} on {found['examples']} pictures"
    _show_classes(title, found, ("precision", "recall", "f1"))
    if len(names) <= 20:  # more do not fit a terminal; metrics.json has them all
        terminal.table(
            "confusion matrix: true class in rows, predicted in columns",
            ("", *names),
            [(name, *row) for name, row in zip(names, confusion_KK.tolist(), strict=True)],
        )


def _show_multi_label(found: dict[str, Any]) -> None:
    title = (
        f"test split: {found['examples']} pictures, all labels right in "
        f"{found['exact_match']:.4f}, F1 {found['macro_f1']:.4f} (macro), "
        f"mean average precision {found['mean_average_precision']:.4f}"
    )
    _show_classes(title, found, ("precision", "recall", "f1", "average_precision"))


def _show_classes(title: str, found: dict[str, Any], columns: tuple[str, ...]) -> None:
    heads = [column.replace("_", " ").replace("f1", "F1") for column in columns]
    terminal.table(
        title,
        ("class", *heads, "pictures"),
        [
            (name, *(f"{row[column]:.4f}" for column in columns), row["support"])
            for name, row in found["classes"].items()
        ],
    )
