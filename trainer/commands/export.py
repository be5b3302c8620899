"""`trainer export`: writes the files of the config and proves that they agree with Keras."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainer import files, terminal
from trainer import run as runs
from trainer.commands import _client, _fresh
from trainer.commands._about import about
from trainer.commands._restore import Trained, demand_pictures, restore, sides
from trainer.config.export import Export
from trainer.config.load import located
from trainer.data import feed
from trainer.data.examples import Examples
from trainer.data.pipeline import Faults
from trainer.errors import Failed, UserError
from trainer.evaluation import predict
from trainer.export import parity
from trainer.export.material import Material
from trainer.parts import part

IMAGES = 256  # validation pictures that every file is compared on
SIZES = (1, 3, IMAGES)  # of batches: a file may be right for one of them alone
BLAMED = 5  # layers that are named where a rounded file has lost too much


class _DisagreesError(Exception):
    """Leaves the block that would give the file its final name."""


class Proof(NamedTuple):
    """What every file is measured by: N validation pictures."""

    images: np.ndarray  # uint8 [N, H, W, C]
    truth_NK: np.ndarray  # uint8, 1 where a label holds
    expected_NK: np.ndarray  # Keras's probabilities


def run(this: runs.Run, overrides: Sequence[str] = ()) -> None:
    """Every file is written beside its place, opened by its own runtime in a fresh process,
    compared on validation pictures, and only then given its name. Raises Failed if one disagrees.
    """
    trained = restore(this, overrides)
    with located(trained.config):
        if not trained.config.export:
            raise UserError("export", "the list is empty", "as in export: [{kind: onnx}]")
    split = sides(this, trained)
    proof = validation(this, trained, split.validation)
    material = Material(trained.model, about(this, trained), _calibration(trained, split.train))
    found = this.parity
    files.demand_writable(found, str(this.folder))
    rows: list[dict[str, Any]] = []
    specs = trained.config.export
    with located(trained.config), terminal.progress(len(specs), "exporting", "files") as tick:
        for index, spec in enumerate(specs):
            tick(index, spec.file)
            rows.append(_one(f"export[{index}]", spec, this.export, material, proof))
            files.write_json(found, rows)  # the next one may be refused: this one has its name
    _show(rows, this.export)
    for spec, row in zip(specs, rows, strict=True):
        file = this.export / spec.file
        _client.follow(spec, row["agrees"], material, split.validation, file)
    wrong = [row["file"] for row in rows if not row["agrees"]]
    if wrong:
        advice = "".join(_advice(row) for row in rows)
        raise Failed(f"not written, because it disagrees with Keras: {', '.join(wrong)}{advice}")


def _one(
    where: str, spec: Export, folder: Path, material: Material, proof: Proof
) -> dict[str, Any]:
    target, module, weight = folder / spec.file, part("export", spec.kind), 0
    try:
        with files.staged(target) as partial:
            with terminal.silenced(), _placed(where, spec):
                module.write(material, spec, partial)
            weight = files.weight(partial.parent)
            received = _fresh.scores(partial, proof.images, SIZES)
            result = parity.compare(
                proof.truth_NK, proof.expected_NK, received, spec.most, spec.drop
            )
            if not result["agrees"]:
                if _lost(result) and hasattr(module, "blame"):
                    with terminal.silenced():
                        blamed = module.blame(material, spec, partial, proof.images)
                    result["blamed"] = dict(list(blamed.items())[:BLAMED])
                raise _DisagreesError
    except _DisagreesError:
        files.remove(target)  # an older one would look like this one
        files.remove(target.with_name(target.name + files.DATA))
    return {"kind": spec.kind, "file": str(target), "bytes": weight, **result}


@contextmanager
def _placed(where: str, spec: Export) -> Iterator[None]:
    """UserErrors at a key of the section get the section's place before it."""
    try:
        yield
    except UserError as error:
        key = error.where.partition("[")[0]
        if key not in type(spec).model_fields:
            raise
        place = f"{where}.{error.where}"
        raise UserError(place, error.problem, error.hint, error.place) from None


def validation(this: runs.Run, trained: Trained, examples: Examples) -> Proof:
    """Up to IMAGES of these pictures, as Keras sees and scores them."""
    some = examples.take(_spread(len(examples), IMAGES))
    batches = feed.evaluation(some, trained.config.data, Faults({}, []))
    scores_NK, weights_N = predict.scores(trained.model, batches)
    demand_pictures(weights_N, this)
    images = np.concatenate([batch[0].numpy() for batch in batches])
    truth = np.concatenate([batch[1].numpy() for batch in batches])
    counted = weights_N > 0
    held = examples.targets(np.arange(len(examples))).any(axis=0)
    absent = [trained.classes[index] for index in np.flatnonzero(~held)]
    if absent:
        names = ", ".join(absent[:10]) + ", …" * (len(absent) > 10)
        terminal.warn(f"no validation picture of {names}: accuracy is that of the other classes")
    return Proof(images[counted], truth[counted].astype(np.uint8), scores_NK[counted])


def _calibration(trained: Trained, examples: Examples) -> Callable[[int], np.ndarray]:
    """Training pictures as the network sees them without augmentation, of every class alike."""

    def pictures(count: int) -> np.ndarray:
        targets = examples.targets(np.arange(len(examples)))
        of_class = [np.flatnonzero(column) for column in targets.T]
        share = -(-count // len(of_class))
        chosen = [has[_spread(len(has), share)] for has in of_class if len(has)]
        every = np.unique(np.concatenate(chosen))
        some = examples.take(every[_spread(len(every), count)])  # there may be more classes
        batches = feed.evaluation(some, trained.config.data, Faults({}, []))
        parts = [images.numpy()[weights.numpy() > 0] for images, _, weights in batches]
        return np.concatenate(parts)

    return pictures


def _spread(count: int, most: int) -> np.ndarray:
    """At most so many of `count` indices, evenly; int64."""
    return np.linspace(0, count - 1, min(most, count)).astype(np.int64)


def _show(rows: list[dict[str, Any]], folder: Path) -> None:
    terminal.table(
        f"{folder}, compared with Keras on validation pictures",
        ("file", "size", "pictures", "same label", "accuracy", "largest difference", "result"),
        [
            (
                Path(row["file"]).name,
                files.size(row["bytes"]),
                row["images"],
                *_compared(row),
                "agrees" if row["agrees"] else "DISAGREES",
            )
            for row in rows
        ],
    )


def _lost(row: dict[str, Any]) -> bool:
    """Whether rounding has cost more of the accuracy than it may."""
    if row.get("max_drop") is None:  # not asked, or no scores at all
        return False
    return row["accuracy_lost"] > row["max_drop"]


def _advice(row: dict[str, Any]) -> str:
    """What to do where rounding costs too much."""
    if "blamed" not in row:
        return ""
    name, lost, most = Path(row["file"]).name, row["accuracy_lost"], row["max_drop"]
    said = f"\n  {name} loses {lost:.4f} of the accuracy and may lose {most}"
    if not row["blamed"]:
        return f"{said}; no layer is left to blame\n  use precision: float16, or a larger max_drop"
    worst = ", ".join(f"{layer} by {change:.3f}" for layer, change in row["blamed"].items())
    return (
        f"{said}; rounded alone, these layers change a probability most: {worst}"
        f"\n  leave the worst in float, as with keep_float: [{next(iter(row['blamed']))}]"
    )


def _compared(row: dict[str, Any]) -> tuple[str, str, str]:
    if "reason" in row:
        return "-", "-", row["reason"]
    limit = "" if row["tolerance"] is None else f" of {row['tolerance']:.0e}"
    return (
        str(row["same_label"]),
        f"{row['accuracy']:.4f} (Keras {row['accuracy_of_keras']:.4f})",
        f"{row['largest_difference']:.2e}{limit}",
    )
