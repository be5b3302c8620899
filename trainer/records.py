"""What a run keeps: its files, written and read."""

import csv
import hashlib
import json
import os
import platform
import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from trainer import files
from trainer.errors import UserError
from trainer.run import Run

PACKAGES = (
    *("tensorflow", "keras", "numpy", "albumentations", "opencv-python-headless"),
    *("onnx", "tf2onnx", "onnxruntime"),
)


def write_classes(run: Run, classes: tuple[str, ...]) -> None:
    """Keeps the class names, in the order of the scores."""
    files.write_text(run.classes, "".join(f"{name}\n" for name in classes))


def read_classes(run: Run) -> tuple[str, ...]:
    """The class names, in the order of the scores. Raises UserError if they are missing."""
    try:
        text = run.classes.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UserError(str(run.classes), f"cannot be read: {error.strerror}") from None
    return tuple(text.removesuffix("\n").split("\n"))


def write_data(
    run: Run, multi_label: bool, counts: Mapping[str, int], left_out: Mapping[str, str]
) -> None:
    """Keeps the task, the number of pictures by side, and why others are on none."""
    task = "multi_label" if multi_label else "single_label"
    files.write_json(run.data, {"task": task, "pictures": dict(counts), "left_out": dict(left_out)})


def read_data(run: Run) -> dict[str, Any]:
    """What `write_data` kept. Raises UserError if it is missing."""
    try:
        return json.loads(run.data.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(str(run.data), f"cannot be read: {error}") from None


def write_members(run: Run, members: Sequence[Run]) -> None:
    """Keeps of which runs an ensemble is made, as paths from its own folder."""
    paths = [os.path.relpath(each.folder.resolve(), run.folder.resolve()) for each in members]
    files.write_json(run.members, paths)


def read_members(run: Run) -> list[str]:
    """What `write_members` kept; empty for a run of one network. Raises UserError if damaged."""
    if not run.members.is_file():
        return []
    try:
        found: list[str] = json.loads(run.members.read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError) as error:
        raise UserError(str(run.members), f"cannot be read: {error}") from None


def write_custom(run: Run, modules: Mapping[str, Path]) -> None:
    """Keeps the sources of the user's own modules, under their import paths."""
    for name, file in modules.items():
        inside = Path(*name.split("."))
        package = file.name == "__init__.py"
        target = run.custom / (inside / file.name if package else inside.with_suffix(".py"))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())


def read_custom(run: Run) -> dict[str, Path]:
    """Import path -> kept source."""
    found = {}
    for file in sorted(run.custom.rglob("*.py")):
        inside = file.relative_to(run.custom).with_suffix("")
        parts = inside.parts[:-1] if inside.name == "__init__" else inside.parts
        found[".".join(parts)] = file
    return found


def forget_evaluation(run: Run) -> None:
    """Removes what was said of weights that will not be the best for long."""
    test = run.evaluated("test")
    folder = run.evaluated("validation").folder.parent
    for path in (test.metrics, test.predictions, test.gates, run.confidence, folder):
        files.remove(path)


def write_history(
    path: Path, history: Sequence[Mapping[str, float]], columns: Sequence[str]
) -> None:
    """One row per epoch, counted from 1."""
    rows = [[number, *map(row.get, columns)] for number, row in enumerate(history, 1)]
    files.write_csv(path, ("epoch", *columns), rows)


def read_history(path: Path) -> dict[str, list[float]]:
    """Column -> its values, one per epoch, of what `write_history` kept; empty if nothing was.

    Raises: UserError if it is damaged.
    """
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        columns = zip(*([float(cell or "nan") for cell in row] for row in rows), strict=True)
        found = dict(zip(header, map(list, columns), strict=True)) if rows else {}
    except (OSError, ValueError) as error:
        raise UserError(str(path), f"cannot be read: {error}") from None
    return {name: values for name, values in found.items() if name != "epoch"}


def best_epoch(run: Run) -> int | None:
    """The epoch that the best checkpoint is of, from 1; None if it does not say."""
    try:
        with zipfile.ZipFile(run.best) as archive:
            return int(json.loads(archive.read("state.json"))["epoch"])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None


def read_metrics(run: Run) -> dict[str, Any] | None:
    """The figures of the test split; None if it was not evaluated. Raises UserError if damaged."""
    if not run.metrics.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(run.metrics.read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError) as error:
        hint = "trainer evaluate writes it anew"
        raise UserError(str(run.metrics), f"cannot be read: {error}", hint) from None


def read_environment(run: Run) -> dict[str, Any]:
    """What `write_environment` kept; empty if nothing was."""
    try:
        found: dict[str, Any] = json.loads(run.environment.read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError):
        return {}


def write_environment(run: Run) -> None:
    """What the run depends on besides its config: versions, machine, commit, and by their sha256
    the pictures (split.csv) and the user's own modules."""
    found = {
        "trainer": metadata.version("keras-image-trainer"),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "commit": _commit(),
        "data": hashlib.sha256(run.split.read_bytes()).hexdigest(),
        "custom": {
            name: hashlib.sha256(file.read_bytes()).hexdigest()
            for name, file in read_custom(run).items()
        },
    }
    files.write_json(run.environment, found)


def _commit() -> str | None:
    """The commit of the working directory, where the config usually lives."""
    try:
        command = ["git", "rev-parse", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5)
        return done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
