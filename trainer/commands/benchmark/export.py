"""`trainer benchmark export`: the exported files of a run side by side: size, time, accuracy."""

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer import files, terminal
from trainer import run as runs
from trainer.commands._restore import restore, sides
from trainer.commands.benchmark import _timed
from trainer.commands.export import Proof, validation
from trainer.errors import Failed, UserError
from trainer.export import parity
from trainer.runtimes import opened
from trainer.runtimes.opened import Scores

NUMBERS = ("p50_ms", "p99_ms")


def run(this: runs.Run, overrides: Sequence[str], seconds: float, out: Path | None) -> None:
    """Each file in a process of its own, for so many seconds, after Keras in this one.

    Raises: Failed at the end if a file could not be measured.
    """
    if out:
        files.demand_writable(out, "--json")
    paths = _written(this)
    trained = restore(this, overrides)
    proof = validation(this, trained, sides(this, trained).validation)
    rows = []
    with terminal.progress(1 + len(paths), "measuring", "models") as tick:
        tick(0, "Keras")
        size = trained.model.count_params() * 4
        rows.append(
            _row("Keras", size, _timed.timed(_keras(trained.model), proof.images, seconds), proof)
        )
        for number, path in enumerate(paths, 1):
            tick(number, path.name)
            found = _timed.in_a_child(path, proof.images, seconds)
            rows.append(_row(path.name, files.weight(path), found, proof))
    _show(this, rows, proof)
    if out:
        machine = {"cpus": os.cpu_count(), "platform": platform.platform()}
        report = {
            "run": str(this.folder),
            "seconds": seconds,
            "images": len(proof.images),
            **machine,
        }
        files.write_json(out, {**report, "models": rows})
        terminal.say(f"written  {out}")
    wrong = [f"{row['file']}: {row['reason']}" for row in rows if "reason" in row]
    if wrong:
        raise Failed(f"could not be measured: {'; '.join(wrong)}")


def _written(this: runs.Run) -> list[Path]:
    """The files that the last export has given their names, as far as a runtime here opens them."""
    listed = this.parity
    try:
        rows = json.loads(listed.read_text(encoding="utf-8"))
        paths = [this.export / Path(row["file"]).name for row in rows]
    except (OSError, ValueError, TypeError, KeyError) as error:
        problem = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        raise UserError(str(listed), problem, f"trainer export {this.folder} writes it") from None
    found = [path for path in paths if path.exists() and opened.kind_of(path)]
    if not found:
        problem = "none of the files that it lists can be opened"
        raise UserError(str(listed), problem, f"trainer export {this.folder} writes them")
    return found


def _keras(model: keras.Model) -> Scores:
    """As evaluation calls it."""

    @tf.function(reduce_retracing=True)
    def forward(images: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(images, tf.float32), training=False)

    return lambda images: forward(tf.constant(images)).numpy()


def _row(name: str, size: int, found: _timed.Timed | str, proof: Proof) -> dict[str, Any]:
    """What is told of one model: seconds become ms of one call."""
    row: dict[str, Any] = {"file": name, "bytes": size}
    if isinstance(found, str):
        return row | {"reason": found}
    most = max(_timed.SIZES)
    compared = parity.compare(proof.truth_NK, proof.expected_NK, {most: found.scores_NK}, None)
    if "reason" in compared:
        return row | {"reason": compared["reason"]}
    for count, taken in found.seconds.items():
        p50, p99 = (1000 * float(np.percentile(taken, share)) for share in (50, 99))
        row[f"batch_{count}"] = {"p50_ms": p50, "p99_ms": p99, "calls": len(taken)}
    row["pictures_per_second"] = 1000 * most / row[f"batch_{most}"]["p50_ms"]
    return row | {key: compared[key] for key in ("accuracy", "largest_difference", "same_label")}


def _show(this: runs.Run, rows: Sequence[dict[str, Any]], proof: Proof) -> None:
    times = [f"{count}: {name}" for count in _timed.SIZES for name in ("p50 ms", "p99 ms")]
    terminal.table(
        f"{this.export}, on {len(proof.images)} validation pictures; calls with 1 and 32 pictures",
        ("file", "size", *times, "pictures/s", "accuracy", "largest difference"),
        [(row["file"], files.size(row["bytes"]), *_cells(row)) for row in rows],
    )


def _cells(row: dict[str, Any]) -> list[str]:
    if "reason" in row:
        return ["-"] * (2 * len(_timed.SIZES) + 2) + [row["reason"]]
    taken = [f"{row[f'batch_{count}'][name]:.3g}" for count in _timed.SIZES for name in NUMBERS]
    speed, accuracy = f"{row['pictures_per_second']:,.0f}", f"{row['accuracy']:.4f}"
    return [*taken, speed, accuracy, f"{row['largest_difference']:.2e}"]
