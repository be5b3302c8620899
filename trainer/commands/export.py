"""`trainer export`: writes the files of the config and proves that they agree with Keras."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trainer import files, terminal
from trainer import run as runs
from trainer.commands._restore import Trained, demand_pictures, restore, sides
from trainer.config.export import Export
from trainer.data import feed
from trainer.data.pipeline import Faults
from trainer.errors import Failed
from trainer.evaluation import predict
from trainer.export import parity
from trainer.parts import part

IMAGES = 256  # validation pictures that every file is compared on


class _DisagreesError(Exception):
    """Leaves the block that would give the file its final name."""


def run(this: runs.Run, overrides: Sequence[str] = ()) -> None:
    """Every file is written beside its place, opened by its own runtime, compared on validation
    pictures, and only then given its name. Raises Failed if one disagrees."""
    trained = restore(this, overrides)
    images, expected_NK = _pictures(this, trained)
    files.demand_writable(this.export / "parity.json", str(this.folder))
    rows = []
    for spec in trained.config.export:
        rows.append(_one(spec, this, trained, images, expected_NK))
    files.write_json(this.export / "parity.json", rows)
    _show(rows)
    wrong = [row["file"] for row in rows if not row["agrees"]]
    if wrong:
        raise Failed(f"not written, because it disagrees with Keras: {', '.join(wrong)}")


def _one(
    spec: Export, this: runs.Run, trained: Trained, images: np.ndarray, expected_NK: np.ndarray
) -> dict[str, Any]:
    exporter = part("export", spec.kind)
    target = this.export / exporter.NAME
    try:
        with files.replacing(target) as partial, terminal.silenced():
            exporter.write(trained.model, spec, _about(trained), partial)
            result = parity.compare(expected_NK, exporter.open(partial)(images), spec.tolerance)
            if not result["agrees"]:
                raise _DisagreesError
    except _DisagreesError:
        files.remove(target)  # an older one would look like this one
    return {"kind": spec.kind, "file": str(target), **result}


def _about(trained: Trained) -> dict[str, Any]:
    """What whoever uses the file must know: the labels in the order of the scores, and how a
    picture becomes the input."""
    data = trained.config.data
    return {
        "labels": list(trained.classes),
        "task": "multi_label" if trained.multi_label else "single_label",
        "image_size": list(data.image_size),
        "channels": data.channels,
        "fit": data.fit,
        "resize": data.resize,
    }


def _pictures(this: runs.Run, trained: Trained) -> tuple[np.ndarray, np.ndarray]:
    """Validation pictures uint8 [N, H, W, C] and what Keras says of them [N, K]."""
    examples = sides(this, trained).validation
    some = np.linspace(0, len(examples) - 1, min(IMAGES, len(examples))).astype(int)
    batches = feed.evaluation(examples.take(some), trained.config.data, Faults({}, []))
    scores_NK, weights_N = predict.scores(trained.model, batches)
    demand_pictures(weights_N, this)
    images = np.concatenate([batch[0].numpy() for batch in batches])
    return images[weights_N > 0], scores_NK[weights_N > 0]


def _show(rows: list[dict[str, Any]]) -> None:
    terminal.table(
        "exports, compared with Keras on validation pictures",
        ("file", "pictures", "same label", "largest difference", "tolerance", "result"),
        [
            (
                row["file"],
                row["images"],
                row.get("same_label", "-"),
                f"{row['largest_difference']:.2e}"
                if "largest_difference" in row
                else row["reason"],
                f"{row.get('tolerance', 0):.0e}",
                "agrees" if row["agrees"] else "DISAGREES",
            )
            for row in rows
        ],
    )
