"""`trainer crossval`: trains once per fold; each picture is judged by the network without it."""

import csv
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainer import files, places, records, terminal
from trainer import run as runs
from trainer.commands import _child, _crossval_page, _gather, _predictions
from trainer.commands._predictions import Predictions
from trainer.config import Config, tree
from trainer.config.load import load, located
from trainer.config.search import override
from trainer.data import split, split_file
from trainer.errors import Failed, Interrupted, Missed, UserError, leaves
from trainer.evaluation import folds as over_folds
from trainer.evaluation import metrics
from trainer.evaluation.calibration import THRESHOLD
from trainer.evaluation.metrics import Scored
from trainer.figures import cell, words

FOLDS_KEY = "data.split.folds"
FOLDS = 5  # where neither the command line nor the config says it
# Figures in the table, as far as the task has them; metrics.json has all.
SHOWN = (
    *("accuracy", "balanced_accuracy", "exact_match", "macro_f1"),
    *("mean_average_precision", "log_loss", "calibration_error"),
)
# May differ after an interruption: it changes no weight.
FREE = (
    *("data.cache", "data.workers", "data.worker_timeout", "training.checkpoint"),
    *("export", "tensorboard"),
)


class Request(NamedTuple):
    """What is asked for on the command line."""

    config: Path
    overrides: Sequence[str]
    folds: int | None
    resume: bool
    ensemble: bool


def run(asked: Request) -> None:
    """Trains every fold in a process of its own, in a new folder or, with `resume`, the latest one:
    a finished fold is not trained again, one in the middle goes on.

    Writes the predictions of all folds, their figures, and a report; with `ensemble` a run that
    averages all networks, and its exports.

    Raises: UserErrors; Interrupted after a signal; Failed if a fold was killed, or if an export
        disagrees; Missed if the ensemble misses a gate.
    """
    overrides = _overrides(asked)
    with _as_asked(asked.folds):
        base = load(asked.config, overrides)
        with located(base):
            sides = _gather.folds(base)
            place = _place(base, sides, asked.resume)
            with files.alone(place.lock, "trainer crossval", "--resume") as locks:
                for number in range(len(sides)):
                    if not place.out_of_fold(number).is_file():
                        _train(asked, base, overrides, place, number, locks)
                _conclude(base, place, len(sides))
                if asked.ensemble:
                    _ensemble(asked, base, overrides, place, locks)
    if not asked.ensemble:
        terminal.say(f"next: {_again(asked)} --ensemble makes one network of all")


def _again(asked: Request) -> str:
    """The command that goes on."""
    folds = ["--folds", str(asked.folds)] if asked.folds else []
    values = [part for each in asked.overrides for part in ("--set", each)]
    return shlex.join(["trainer", "crossval", str(asked.config), *folds, *values, "--resume"])


def _overrides(asked: Request) -> list[str]:
    """Those asked for, and the number of folds where the config does not say it."""
    given = load(asked.config, asked.overrides)
    spec = given.data.split
    with located(given):
        if spec.folds and "fold" in spec.model_fields_set:
            problem = f"every fold is trained, but this names one, {spec.fold}"
            raise UserError("data.split.fold", problem, "remove it")
    if spec.folds and not asked.folds:
        return [*asked.overrides]
    return [*asked.overrides, _folds(asked.folds)]


def _folds(count: int | None) -> str:
    """The override that makes so many."""
    return override(FOLDS_KEY, count or FOLDS)


@contextmanager
def _as_asked(count: int | None) -> Iterator[None]:
    """UserErrors about that override name what was typed: `--folds`, or nothing."""
    said = f"--folds {count}" if count else f"--folds {FOLDS}, as nothing else is said"
    try:
        yield
    except* UserError as group:
        raise ExceptionGroup(
            "as asked",
            [
                UserError(said, each.problem, each.hint)
                if each.place == f"--set {_folds(count)}"
                else each
                for each in leaves(group)
            ],
        ) from None


def _place(base: Config, sides: Sequence[split.Sides], resume: bool) -> places.CrossvalFolder:
    """The folder to go on with, or a new one. Raises: UserErrors if it is of another config or of
    other pictures."""
    rows = _rows(sides)
    found = places.latest_crossval(base) if resume else None
    if found is None:
        if resume:
            said = f"there is no cross-validation of {base.name} yet, so this is the first"
            terminal.say(f"resume   {said}")
        found = places.create_crossval(base, rows)
    else:
        _demand_same(base, rows, found)
    finished = sum(found.out_of_fold(number).is_file() for number in range(len(sides)))
    terminal.say(f"crossval {found.folder}, {finished} of {len(sides)} folds are finished")
    sizes = ", ".join(str(len(each.validation)) for each in sides)
    test = f"; {len(sides[0].test)} test" if len(sides[0].test) else ""
    terminal.say(f"pictures {sizes} in the folds{test}")
    if base.tensorboard.enabled:
        terminal.say(f"watch    trainer tensorboard {found.folder}")
    return found


def _rows(sides: Sequence[split.Sides]) -> list[tuple[str, str, str]]:
    """Of folds.csv, in the order of the source's names."""
    found = [
        (name, labels, str(number))
        for number, each in enumerate(sides)
        for name, labels, side in split_file.rows(each)
        if side == "validation"
    ]
    found += [
        (name, labels, "") for name, labels, side in split_file.rows(sides[0]) if side == "test"
    ]
    return sorted(found)


def _demand_same(
    base: Config, rows: list[tuple[str, str, str]], place: places.CrossvalFolder
) -> None:
    plain = [each.model_dump(mode="json") for each in (load(place.base), base)]
    changed = [
        _changed(where, old, new, place)
        for where, (old, new) in tree.apart(plain)
        if not _free(where)
    ]
    if changed:
        raise ExceptionGroup("changed", changed)
    with place.folds.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        _, *written = map(tuple, csv.reader(file))
    other = {row[0] for row in {*written} ^ {*rows}}
    if other:
        count = f"{len(other)} picture{'s' * (len(other) != 1)}"
        problem = f"{count} came, went or changed, such as {min(other)}, since {place.folder} began"
        hint = "bring them back, or begin anew without --resume"
        raise UserError("data.source", problem, hint)


def _free(where: str) -> bool:
    return re.match(rf"({'|'.join(map(re.escape, FREE))})([.\[]|$)", where) is not None


def _changed(where: str, old: Any, new: Any, place: places.CrossvalFolder) -> UserError:
    was, now = tree.line(old), tree.line(new)
    problem = f"was {was}, is {now}; the cross-validation to resume is {place.folder}"
    way = f"--folds {old}" if where == FOLDS_KEY else f"--set {shlex.quote(override(where, old))}"
    mend = "write it as it was" if "[" in where else f"pass {way}"  # --set takes no list apart
    return UserError(where, problem, f"{mend}, or begin anew without --resume")


# --- in processes of their own ------------------------------------------------------------------


def _train(
    asked: Request,
    base: Config,
    overrides: Sequence[str],
    place: places.CrossvalFolder,
    number: int,
    locks: tuple[int, ...],
) -> None:
    count = base.data.split.folds
    again = ", which was interrupted" if place.trained(number) else ""
    terminal.say()
    terminal.say(f"fold {number} ({number + 1} of {count}){again}", "bold")
    inside = _inside(base, place, place.fold(number))
    request = {
        "config": str(asked.config),
        "overrides": [*overrides, *inside, override("data.split.fold", number)],
        "folder": str(place.folder),
        "fold": number,
        "threshold": _threshold(base),
    }
    try:
        ended = _child.ask("_folds", "train", request, locks=locks)
    except Interrupted as end:
        going = f"{place.folder} is kept. Go on with the same command and --resume"
        done = sum(place.out_of_fold(each).is_file() for each in range(count or 0))
        said = f"stopped after {done} of {count} folds; {going}"
        raise Interrupted(said, end.code) from None
    except ExceptionGroup:
        if not any(place.folder.glob("*/*/config.yaml")):  # nothing to go on with
            places.forget_crossval(place)
        raise
    if ended.answer is None:
        why = f"killed by signal {-ended.code}" if ended.code < 0 else "the reason stands above"
        hint = "the same command with --resume goes on with it"
        raise Failed(f"fold {number} was not finished: {why}\n  {hint}")
    _say(place, number)


def _say(place: places.CrossvalFolder, number: int) -> None:
    """What a fold came to; the figures of all are in a table at the end."""
    this, told = place.trained(number), _predictions.read(place.out_of_fold(number), fold=True)
    assert this
    head = "exact_match" if records.read_data(this)["task"] == "multi_label" else "accuracy"
    tested = _test(this)
    beside = f", {tested[head]:.4f} on the test split" if tested else ""
    here = f"{told.right.mean():.4f} on {len(told.paths)} pictures"
    terminal.say(f"result   {words(head)} {here}{beside}")


def _ensemble(
    asked: Request,
    base: Config,
    overrides: Sequence[str],
    place: places.CrossvalFolder,
    locks: tuple[int, ...],
) -> None:
    terminal.say()
    terminal.say(f"ensemble of {base.data.split.folds} networks", "bold")
    request = {
        "config": str(asked.config),
        "overrides": [*overrides, *_inside(base, place, "ensemble")],
        "folder": str(place.folder),
    }
    found = _child.ask("_folds", "ensemble", request, locks=locks).answer
    if found is None:
        raise Failed("the ensemble could not be made; the reason stands above")
    terminal.say(f"ensemble {found['run']}: as any run, for predict, serve and export")
    if found["failed"]:
        raise (Missed if found["code"] == Missed.code else Failed)(found["failed"])


def _inside(base: Config, place: places.CrossvalFolder, name: str) -> list[str]:
    """What makes the config that of a run inside, with the quarantine list of the whole."""
    listing = _gather.listing(base)
    there = listing is not None and (base.data.quarantine != "auto" or listing.exists())
    values = {
        "name": name,
        "runs": str(place.folder),
        "data.quarantine": str(listing) if there else "none",
    }
    return [override(path, value) for path, value in values.items()]


# --- what came out ------------------------------------------------------------------------------


def _conclude(base: Config, place: places.CrossvalFolder, count: int) -> None:
    every = [each for each in map(place.trained, range(count)) if each]
    classes = records.read_classes(every[0])
    multi_label = records.read_data(every[0])["task"] == "multi_label"
    told = [_predictions.read(place.out_of_fold(number), fold=True) for number in range(count)]
    threshold = _threshold(base) if multi_label else None
    scored = [_scored(each, classes, threshold) for each in told]
    top = base.evaluation.top_k
    figures = [metrics.whole(each, top) for each in scored]
    pooled = _pooled(scored)
    found: dict[str, Any] = {
        "folds": [
            {"fold": number, "run": str(this.folder.relative_to(place.folder)),
             "examples": len(each.paths), **row, "test": _test(this)}
            for number, (this, each, row) in enumerate(zip(every, told, figures, strict=True))
        ],
        "spread": _spread(figures),
        "test_spread": _spread([_test(this) for this in every]),
        "examples": len(pooled.truth),
        **metrics.whole(pooled, top),
        "classes": metrics.per_class(pooled, classes),
        **({} if multi_label else {"confusion": metrics.confusion(pooled).tolist()}),
    }  # fmt: skip
    _join(place, count)
    files.write_json(place.metrics, found)
    _crossval_page.write(place, base.name, found, every)
    _show(found)
    terminal.say(f"written  {place.report}, {place.predictions.name}, {place.metrics.name}")


def _scored(told: Predictions, classes: Sequence[str], threshold: float | None) -> Scored:
    """Args: threshold: of labels of which a picture may have several; None if it has one."""
    number = {name: index for index, name in enumerate(classes)}
    if threshold is None:
        return Scored(np.array([number[name] for name in told.truth]), told.scores_NK)
    truth_NK = np.zeros(told.scores_NK.shape, np.int64)
    for row, labels in enumerate(told.truth):
        for name in filter(None, labels.split(split_file.SEPARATOR)):
            truth_NK[row, number[name]] = 1
    return Scored(truth_NK, told.scores_NK, np.full(len(classes), threshold))


def _pooled(scored: Sequence[Scored]) -> Scored:
    truth = np.concatenate([each.truth for each in scored])
    scores_NK = np.concatenate([each.scores_NK for each in scored])
    return Scored(truth, scores_NK, scored[0].thresholds_K)


def _test(this: runs.Run) -> dict[str, float]:
    """The figures of a fold's network on the test split."""
    found = records.read_metrics(this) or {}
    return {name: value for name, value in found.items() if isinstance(value, float)}


def _spread(rows: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    return {name: each._asdict() for name, each in over_folds.spread(rows).items()}


def _join(place: places.CrossvalFolder, count: int) -> None:
    """The tables of all folds as one."""
    lines: list[str] = []
    for number in range(count):
        text = place.out_of_fold(number).read_text(encoding="utf-8", errors="surrogateescape")
        head, _, rest = text.partition("\n")
        lines += [rest.rstrip("\n")] if lines else [head, rest.rstrip("\n")]
    files.write_lines(place.predictions, lines)


def _show(found: Mapping[str, Any]) -> None:
    folds, spread = found["folds"], found["spread"]
    names = [name for name in SHOWN if name in spread]
    head, tested = names[0], names[0] in found["test_spread"]
    mean, deviation = spread[head]["mean"], spread[head]["deviation"]
    title = f"{head.replace('_', ' ')} {mean:.4f} ± {deviation:.4f}"
    rows = [
        (each["fold"], each["examples"], *(cell(each[name]) for name in names),
         *[cell(each["test"][head])] * tested)
        for each in folds
    ]  # fmt: skip
    tests = [found["test_spread"][head]] if tested else []
    for what, key in (("mean", "mean"), ("± standard deviation", "deviation")):
        values = [*(spread[name] for name in names), *tests]
        rows.append((what, "", *(cell(each[key]) for each in values)))
    terminal.say()
    terminal.table(
        f"{len(folds)} folds: {title}, each picture by the network without it",
        ("fold", "pictures", *map(words, names), *[f"test {words(head)}"] * tested),
        rows,
    )


def _threshold(base: Config) -> float:
    """From which probability on a label of several holds, whatever validation says: thresholds that
    are fitted on a fold would flatter it."""
    given = base.evaluation.thresholds
    return THRESHOLD if given == "f1" else given
