"""What lies in the folder of a run. K classes."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainer import records
from trainer.errors import UserError
from trainer.report.mistakes import Judged
from trainer.run import Run

SIDES = ("train", "validation", "test")
CHIEF = ("test", "validation")  # what the report is about: the first that was evaluated
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
    split: str  # which side was evaluated
    metrics: dict[str, Any]
    predictions: list[Judged]
    others: dict[str, list[Judged]]  # of the other sides that were evaluated
    confidence: dict[str, Any]
    gates: list[dict[str, Any]]  # of the config, as far as an evaluation has asked them
    unasked: list[str]  # those that it has not: they were set later
    parity: list[dict[str, Any]]  # of each exported file
    environment: dict[str, Any]
    config: str  # as text


def read(run: Run, name: str, gates: Mapping[str, float]) -> Found:
    """What there is. Raises: UserError for a file that is damaged, or no run's.

    Args:
        gates: name -> bound of those in the run's config; others say nothing of it any more.
    """
    data, classes = records.read_data(run), records.read_classes(run)
    several = data["task"] == "multi_label"
    said = {side: _predictions(run, side, several) for side in SIDES}
    split = next((side for side in CHIEF if run.evaluated(side).metrics.is_file()), CHIEF[0])
    metrics = _json(run.evaluated(split).metrics, {})
    asked = [
        gate
        for gate in _json(run.evaluated(split).gates, [])
        if gates.get(gate["name"]) == gate["wanted"]
    ]
    names = [gate["name"] for gate in asked]
    return Found(
        name=name,
        folder=run.folder,
        multi_label=several,
        classes=classes,
        counts=_counts(run.split, classes, several),
        pictures=data["pictures"],
        left_out=data["left_out"],
        history=_numbers(run.history),
        timing=_numbers(run.timing),
        split=split,
        metrics=metrics,
        predictions=said.pop(split),
        others={side: found for side, found in said.items() if found},
        confidence=_json(run.confidence, {}),
        gates=asked,
        unasked=[each for each in gates if each not in names] if metrics else [],
        parity=_json(run.parity, []),
        environment=_json(run.environment, {}),
        config=run.config.read_text(encoding="utf-8"),
    )


def _counts(path: Path, classes: Sequence[str], several: bool) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    try:
        for _, labels, side in _rows(path)[1:]:
            for label in _labels(labels, several):
                of_side = counts.setdefault(side, dict.fromkeys(classes, 0))
                of_side[label] = of_side.get(label, 0) + 1
    except ValueError as error:
        raise _damaged(path, error) from None
    return counts


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


def _predictions(run: Run, side: str, several: bool) -> list[Judged]:
    path = run.evaluated(side).predictions
    try:
        return [
            Judged(name, side, _labels(truth, several), _labels(label, several), _scores(scores))
            for name, truth, label, _, *scores in _rows(path)[1:]
        ]
    except ValueError as error:
        raise _damaged(path, error) from None


def _scores(cells: Sequence[str]) -> tuple[float, ...]:
    return tuple(map(float, cells))


def _labels(cell: str, several: bool) -> tuple[str, ...]:
    if several:
        return tuple(cell.split(SEPARATOR)) if cell else ()
    return (cell,)


def _damaged(path: Path, error: Exception) -> UserError:
    again = path.name in ("metrics.json", "predictions.csv", "gates.json", "confidence.json")
    hint = "trainer evaluate writes it anew" if again else ""
    return UserError(str(path), f"cannot be read: {error}", hint)
