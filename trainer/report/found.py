"""What lies in the folder of a run. N pictures of the evaluated split, K classes."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainer import run as runs
from trainer.errors import UserError
from trainer.report.mistakes import Judged
from trainer.run import Run

SEPARATOR = "|"  # between the labels of one picture


class Found(NamedTuple):
    """The files of a run, read. What is missing is empty."""

    name: str  # of the config
    folder: Path
    multi_label: bool
    classes: tuple[str, ...]  # K names, in the order of the scores
    counts: dict[str, dict[str, int]]  # side -> class -> pictures
    pictures: dict[str, int]  # by side
    left_out: dict[str, str]  # path -> why a picture is on no side
    history: list[dict[str, float]]  # the logs of each epoch
    timing: list[dict[str, float]]  # what each epoch took
    metrics: dict[str, Any]
    predictions: list[Judged]  # N
    confidence: dict[str, Any]
    gates: list[dict[str, Any]]
    parity: list[dict[str, Any]]  # of each exported file
    environment: dict[str, Any]
    config: str  # as text

    @property
    def split(self) -> str:
        """Which pictures were evaluated."""
        return str(self.metrics.get("split", "test"))


def read(run: Run, name: str) -> Found:
    """What there is. Raises: UserError for a file that is damaged, or no run's."""
    data, classes = runs.read_data(run), runs.read_classes(run)
    several = data["task"] == "multi_label"
    rows = _rows(run.split)[1:]
    counts: dict[str, dict[str, int]] = {}
    for _, labels, side in rows:
        for label in _labels(labels, several):
            of_side = counts.setdefault(side, dict.fromkeys(classes, 0))
            of_side[label] = of_side.get(label, 0) + 1
    return Found(
        name=name,
        folder=run.folder,
        multi_label=several,
        classes=classes,
        counts=counts,
        pictures=data["pictures"],
        left_out=data["left_out"],
        history=_numbers(run.history),
        timing=_numbers(run.timing),
        metrics=_json(run.metrics, {}),
        predictions=_predictions(run, several),
        confidence=_json(run.confidence, {}),
        gates=_json(run.gates, []),
        parity=_json(run.parity, []),
        environment=_json(run.environment, {}),
        config=run.config.read_text(encoding="utf-8"),
    )


def _json(path: Path, missing: Any) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return missing
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None


def _rows(path: Path) -> list[list[str]]:
    """The rows of a CSV, the header first; none if there is no file."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            return list(csv.reader(file))
    except FileNotFoundError:
        return []
    except (OSError, csv.Error) as error:
        raise _damaged(path, error) from None


def _numbers(path: Path) -> list[dict[str, float]]:
    """Rows of numbers by column; an empty cell is left out."""
    head, *rows = _rows(path) or [[]]
    try:
        return [
            {name: float(cell) for name, cell in zip(head, row, strict=True) if cell}
            for row in rows
        ]
    except ValueError as error:
        raise _damaged(path, error) from None


def _predictions(run: Run, several: bool) -> list[Judged]:
    split = _json(run.metrics, {}).get("split", "test")
    try:
        return [
            Judged(path, split, _labels(truth, several), _labels(label, several), tuple(map(float, scores)))
            for path, truth, label, _, *scores in _rows(run.predictions)[1:]
        ]
    except ValueError as error:
        raise _damaged(run.predictions, error) from None


def _labels(cell: str, several: bool) -> tuple[str, ...]:
    if several:
        return tuple(cell.split(SEPARATOR)) if cell else ()
    return (cell,)


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(str(path), f"cannot be read: {error}", "trainer evaluate writes it anew")


def share(counts: dict[str, int], names: Sequence[str]) -> float:
    """Of the most frequent of the classes, 0 to 1: what guessing it always would get right."""
    total = sum(counts.get(name, 0) for name in names)
    return max((counts.get(name, 0) for name in names), default=0) / max(total, 1)
