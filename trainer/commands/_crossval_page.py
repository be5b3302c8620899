"""The report of a cross-validation, in Markdown with two pictures beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer import files, places, records
from trainer import run as runs
from trainer.figures import UNSHOWN, cell, words
from trainer.markdown import table, text
from trainer.plots import comparison, confusion, style

SAME = "size_mb"  # a figure that all folds have in common
CLASSES = ("precision", "recall", "f1", "average_precision")


def write(
    place: places.CrossvalFolder, name: str, found: Mapping[str, Any], every: Sequence[runs.Run]
) -> None:
    """Writes report.md, curves.png, and confusion.png where a picture has one label.

    Args:
        name: of the config.
        found: metrics.json.
        every: the runs of the folds.
    """
    _draw(place, found, every)
    tested = found["folds"][0]["test"]
    blocks = [
        f"# {name}: cross-validation of {len(every)} folds",
        f"{found['examples']} pictures, each judged by the network that did not train on it. The "
        "best epoch of a fold was chosen on the same pictures, so the figures are a little too "
        "good. The standard deviation says how much a training depends on its pictures; folds "
        "share most of these, so it is no error of the mean.",
        "## Figures",
        _figures(found["folds"], found["spread"]),
        *(["## The same networks on the test split", _tested(found)] if tested else []),
        "## Classes, all folds together",
        _classes(found["classes"]),
        *(["![confusion matrix](confusion.png)"] if "confusion" in found else []),
        "## Trainings",
        f"![curves](curves.png)\n\n{_trainings(found['folds'], every)}",
    ]
    files.write_text(place.report, "\n\n".join(blocks) + "\n")


def _draw(
    place: places.CrossvalFolder, found: Mapping[str, Any], every: Sequence[runs.Run]
) -> None:
    names = [f"fold {each['fold']}" for each in found["folds"]]
    histories = [records.read_history(each.history) for each in every]
    panels = comparison.panels(names, histories, [records.best_epoch(each) for each in every])
    with files.replacing(place.curves) as partial:
        style.save(comparison.draw(panels), partial)
    if "confusion" in found:
        counts_KK, classes = np.array(found["confusion"]), list(found["classes"])
        with files.replacing(place.confusion) as partial:
            style.save(confusion.draw(counts_KK, classes, normalised=False), partial)


def _figures(folds: Sequence[Mapping[str, Any]], spread: Mapping[str, Any]) -> str:
    rows = [
        (words(name), *(cell(each[name]) for each in folds), *_cells(value))
        for name, value in spread.items()
        if not name.startswith(UNSHOWN) and name != SAME
    ]
    numbers = (f"fold {number}" for number in range(len(folds)))
    return table(("figure", *numbers, "mean", "standard deviation"), rows)


def _tested(found: Mapping[str, Any]) -> str:
    return _figures([each["test"] for each in found["folds"]], found["test_spread"])


def _cells(value: Mapping[str, float]) -> tuple[str, str]:
    return f"**{value['mean']:.4f}**", f"{value['deviation']:.4f}"


def _classes(classes: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        (text(name), *(cell(row[key]) for key in CLASSES), str(row["support"]))
        for name, row in classes.items()
    ]
    return table(("class", *map(words, CLASSES), "pictures"), rows)


def _trainings(folds: Sequence[Mapping[str, Any]], every: Sequence[runs.Run]) -> str:
    rows = [
        (
            str(each["fold"]),
            str(each["examples"]),
            str(len(records.read_history(this.history).get("loss", ()))),
            str(records.best_epoch(this) or "-"),
            f"`{each['run']}`",
        )
        for each, this in zip(folds, every, strict=True)
    ]
    return table(("fold", "pictures", "epochs", "best epoch", "run"), rows)
