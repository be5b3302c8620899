"""`trainer predict`: labels for files and folders."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainer import files, terminal
from trainer import run as runs
from trainer.commands._restore import Trained, restore
from trainer.data import feed, split_file
from trainer.data.examples import Examples, Files
from trainer.data.pipeline import Faults
from trainer.data.sources.folder import KINDS, SUFFIXES, below
from trainer.errors import Failed, UserError
from trainer.evaluation import predict
from trainer.evaluation.metrics import THRESHOLD


def run(this: runs.Run, targets: Sequence[Path], out: Path | None) -> None:
    """Says label and probability of every picture, or writes those of every class to `out`.

    Raises: Failed at the end if pictures could not be decoded.
    """
    paths = _pictures(targets)
    if out:
        if out.suffix.lower() in SUFFIXES:
            raise UserError("--out", f"{out} is the name of a picture", "as in --out labels.csv")
        files.demand_writable(out, "--out")
    trained = restore(this)
    none = np.zeros((len(paths), len(trained.classes)), np.uint8)
    examples = Examples(Files("", paths), none, trained.classes)
    faults = Faults({}, [])
    scores_NK, weights_N = predict.scores(
        trained.model, feed.evaluation(examples, trained.config.data, faults)
    )
    known = [
        (path, *_said(scores_K, trained), scores_K)
        for path, scores_K, weight in zip(paths, scores_NK, weights_N, strict=False)
        if weight
    ]
    if out:
        rows = [
            (path, label, f"{probability:.6f}", *(f"{score:.6f}" for score in scores_K))
            for path, label, probability, scores_K in known
        ]
        files.write_csv(out, _columns(trained.classes), rows)
        terminal.say(f"written  {out} with {len(rows)} pictures")
    else:
        _show(known)
    if faults.unreadable:
        raise Failed(f"{len(faults.unreadable)} of {len(paths)} files could not be decoded")


def _said(scores_K: np.ndarray, trained: Trained) -> tuple[str, float]:
    """The label and its probability; for multi-label all from THRESHOLD on, joined by `|`, and the
    probability of the least of them (or, if there is none, of the most probable one)."""
    best = int(scores_K.argmax())
    if not trained.multi_label:
        return trained.classes[best], float(scores_K[best])
    holds = np.flatnonzero(scores_K >= THRESHOLD)
    if not len(holds):
        return "", float(scores_K[best])
    names = split_file.SEPARATOR.join(trained.classes[index] for index in holds)
    return names, float(scores_K[holds].min())


def _show(known: Sequence[tuple[str, str, float, np.ndarray]]) -> None:
    width = max((len(path) for path, *_ in known), default=0)
    longest = max((len(label) for _, label, *_ in known), default=0)
    for path, label, probability, _ in known:
        terminal.say(f"{path:{width}}  {label or '-':{longest}}  {probability:.4f}")


def _columns(classes: Sequence[str]) -> list[str]:
    """One column per class; a class called `label` must not hide the column of that name."""
    own = ["path", "label", "probability"]
    return [*own, *(f"class {name}" if name in own else name for name in classes)]


def _pictures(targets: Sequence[Path]) -> list[str]:
    """The files as given, and the pictures at any depth below the folders, sorted."""
    found: list[str] = []
    for target in targets:
        if target.is_dir():
            pictures = list(below(target))
            if not pictures:
                raise UserError(str(target), f"has no pictures ({KINDS})")
            found += pictures
        elif target.exists():
            found.append(str(target))
        else:
            raise UserError(str(target), "no such file or folder")
    return found
