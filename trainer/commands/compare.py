"""`trainer compare`: figures, curves and configs of runs, and whether chance would explain it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any, NamedTuple

import numpy as np

from trainer import files, places, records, terminal
from trainer import run as runs
from trainer.commands import _predictions
from trainer.commands._predictions import Predictions
from trainer.config import tree
from trainer.config.load import load
from trainer.data import split_file
from trainer.errors import UserError
from trainer.evaluation import mcnemar
from trainer.figures import UNSHOWN, cell, words
from trainer.plots import comparison, style

MOST = len(ascii_uppercase)  # runs: each has a letter
CLASSES = 12  # in the table: those that differ most
WIDTH = 48  # characters of a value that are shown
OWN = ("name", "runs")  # of a config: where it lies
TIMES = {"images_per_second": "images per second", "step_ms": "ms per step"}


class Compared(NamedTuple):
    """A run with what is known of it."""

    letter: str
    run: runs.Run
    classes: tuple[str, ...]
    task: str
    metrics: dict[str, Any]
    told: Predictions | None  # of the test split; None where no evaluation kept them
    config: dict[str, Any]  # plain
    history: dict[str, list[float]]
    timing: dict[str, list[float]]
    environment: dict[str, Any]


def run(targets: Sequence[str], out: Path | None = None, json: Path | None = None) -> None:
    """Shows the runs beside each other and draws their curves.

    Args:
        out: a PNG; None: `compare.png` beside the first run.
        json: a file for everything that is shown, for programs.

    Raises: UserErrors for runs that cannot be compared.
    """
    every = _opened(targets)
    picture = out or places.comparison(every[0].run)
    for path, where in ((picture, "--out"), (json, "--json")):
        if path:
            files.demand_writable(path, where)
    for each in every:
        terminal.say(f"{each.letter}  {each.run.folder}")
    found: dict[str, Any] = {
        "runs": [_facts(each) for each in every],
        "tests": [_tested(every[0], other) for other in every[1:]],
        "config": dict(tree.apart([each.config for each in every])),
        "environment": dict(tree.apart([each.environment for each in every])),
    }
    _show_figures(every)
    _show_tests(found["tests"], every)
    _show_apart("what differs in the configs", found["config"], every)
    _show_apart("what differs around them", found["environment"], every)
    if "data" in found["environment"]:
        _say_sides(every)
    _show_times(found["runs"])
    _draw(every, picture)
    if json:
        files.write_json(json, found)
        terminal.say(f"written  {json}")


# --- the runs -----------------------------------------------------------------------------------


def _opened(targets: Sequence[str]) -> list[Compared]:
    """Raises UserErrors for runs that are not evaluated, or of other classes than the first."""
    if not 1 < len(targets) <= MOST:
        problem = f"expected 2 to {MOST} runs, received {len(targets)}"
        raise UserError("RUN", problem, "as in trainer compare runs/one/latest runs/two/latest")
    found = [runs.find(target) for target in targets]
    for index, this in enumerate(found):
        if this.folder.resolve() in [each.folder.resolve() for each in found[:index]]:
            problem = f"is {this.folder}, which was named before"
            raise UserError(targets[index], problem, "name each run once")
    values = [records.read_metrics(this) for this in found]
    unknown = [
        UserError(
            str(this.folder),
            "was not evaluated on a test split",
            f"trainer evaluate {this.folder}",
        )
        for this, each in zip(found, values, strict=True)
        if each is None
    ]
    if unknown:
        raise ExceptionGroup("not evaluated", unknown)
    pairs = zip(found, (each or {} for each in values), ascii_uppercase, strict=False)
    every = [_compared(letter, this, each) for this, each, letter in pairs]
    _demand_alike(every)
    return every


def _compared(letter: str, this: runs.Run, metrics: dict[str, Any]) -> Compared:
    place = this.evaluated("test").predictions
    config = load(this.config).model_dump(mode="json")
    return Compared(
        letter,
        this,
        records.read_classes(this),
        records.read_data(this)["task"],
        metrics,
        _predictions.read(place) if place.is_file() else None,
        {key: value for key, value in config.items() if key not in OWN},
        records.read_history(this.history),
        records.read_history(this.timing),
        records.read_environment(this),
    )


def _demand_alike(every: Sequence[Compared]) -> None:
    first, *others = every
    mistakes = []
    for other in others:
        where = str(other.run.folder)
        if other.task != first.task:
            here, there = (each.task.replace("_", " ") for each in (other, first))
            problem = f"its task is {here}, that of {first.run.folder} is {there}"
            mistakes.append(UserError(where, problem, "compare runs of one task"))
        elif set(other.classes) != set(first.classes):
            mine = sorted(set(other.classes) - set(first.classes))
            missing = sorted(set(first.classes) - set(other.classes))
            parts = [("has", mine), ("lacks", missing)]
            said = " and ".join(f"{word} {', '.join(names[:5])}" for word, names in parts if names)
            problem = f"has other classes than {first.run.folder}: it {said}"
            mistakes.append(UserError(where, problem, "compare runs of the same classes"))
    if mistakes:
        raise ExceptionGroup("not alike", mistakes)


# --- figures ------------------------------------------------------------------------------------


def _facts(one: Compared) -> dict[str, Any]:
    """What is said of a run by itself."""
    classes: Mapping[str, Any] = one.metrics["classes"]
    return {
        "run": str(one.run.folder),
        "letter": one.letter,
        "examples": one.metrics["examples"],
        "figures": _floats(one.metrics),
        "temperature": _built_in(one.metrics),
        "intervals": one.metrics.get("intervals", {}),
        "classes": {name: dict(row) for name, row in classes.items()},
        "epochs": len(one.timing.get("step_ms", ())),
        "best_epoch": records.best_epoch(one.run),
        "timing": {
            name: float(np.median(values))
            for name, values in one.timing.items()
            if name in TIMES or name == "input_wait"
        },
    }


def _floats(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if isinstance(value, float)}


def _built_in(metrics: Mapping[str, Any]) -> float | None:
    """The temperature that the probabilities went through, if any."""
    confidence: Mapping[str, Any] = metrics.get("confidence", {})
    return confidence["temperature"] if confidence.get("applied") else None


def _show_figures(every: Sequence[Compared]) -> None:
    names = dict.fromkeys(name for each in every for name in _floats(each.metrics))
    built_in = [_built_in(each.metrics) for each in every]
    terminal.table(
        "figures of the test split",
        ("", *(each.letter for each in every)),
        [
            ("pictures", *(each.metrics["examples"] for each in every)),
            *([("temperature built in", *map(cell, built_in))] if any(built_in) else []),
            *(
                (words(name), *(cell(each.metrics.get(name)) for each in every))
                for name in names
                if not name.startswith(UNSHOWN)
            ),
        ],
    )
    values = {
        name: [each.metrics["classes"][name]["f1"] for each in every] for name in every[0].classes
    }
    apart = sorted(values, key=lambda name: min(values[name]) - max(values[name]))
    most = f", the {CLASSES} that differ most" * (len(apart) > CLASSES)
    terminal.table(
        f"F1 of each class{most}",
        ("class", *(each.letter for each in every)),
        [(name, *map(cell, values[name])) for name in apart[:CLASSES]],
    )


# --- chance -------------------------------------------------------------------------------------


def _tested(first: Compared, other: Compared) -> dict[str, Any]:
    """McNemar's test of a run against the first, on the pictures that both were evaluated on."""
    pair = {"first": first.letter, "second": other.letter}
    if first.told is None or other.told is None:
        without = [each for each in (first, other) if each.told is None]
        return {**pair, "missing": [str(each.run.folder) for each in without]}
    one, two = (
        {path: at for at, path in enumerate(each.paths)} for each in (first.told, other.told)
    )
    common = [path for path in one if path in two]
    same = [path for path in common if first.told.truth[one[path]] == other.told.truth[two[path]]]
    facts = {
        **pair,
        "pictures": [len(one), len(two)],
        "common": len(common),
        "other_label": len(common) - len(same),
        "other_source": first.config["data"]["source"] != other.config["data"]["source"],
    }
    if not same:
        return facts
    right_first = first.told.right[[one[path] for path in same]]
    right_second = other.told.right[[two[path] for path in same]]
    result = mcnemar.test(right_first, right_second)
    shares = {"right": [float(right_first.mean()), float(right_second.mean())]}
    return {**facts, **shares, **result._asdict()}


def _show_tests(tests: Sequence[Mapping[str, Any]], every: Sequence[Compared]) -> None:
    rows = []
    _warn_missing(tests)
    for test in tests:
        pair = _pair(test)
        _warn(pair, test)
        if "p" in test:
            way = "exact" if test["exact"] else "chi-square"
            cells = (test[key] for key in ("both", "only_first", "only_second", "neither"))
            count = test["common"] - test["other_label"]
            shares = (f"{share:.4f}" for share in test["right"])
            rows.append((pair, count, *shares, *cells, f"{test['p']:#.4g}", way))
    if rows:
        right = "right in every label" if every[0].task == "multi_label" else "right"
        heads = (f"first {right}", f"second {right}", "both", "only first", "only second")
        terminal.table(
            "McNemar's test on the same pictures; p: how often chance makes them so unequal",
            ("runs", "pictures", *heads, "neither", "p", "by"),
            rows,
        )


def _pair(test: Mapping[str, Any]) -> str:
    return f"{test['first']} and {test['second']}"


def _warn_missing(tests: Sequence[Mapping[str, Any]]) -> None:
    """Once for each run whose predictions are missing."""
    pairs: dict[str, list[str]] = {}
    for test in tests:
        for folder in test.get("missing", ()):
            pairs.setdefault(folder, []).append(_pair(test))
    for folder, each in pairs.items():
        way = f"trainer evaluate {folder} writes them"
        terminal.warn(f"{', '.join(each)} are not tested: {folder} has no predictions.csv; {way}")


def _warn(pair: str, test: Mapping[str, Any]) -> None:
    """Says what makes a test weaker, or impossible."""
    if "missing" in test:
        return
    first, second = test["pictures"]
    if not test["common"]:
        terminal.warn(f"{pair} are not tested: they were evaluated on no picture in common")
        return
    if not first == second == test["common"]:
        terminal.warn(
            f"{pair} were not evaluated on the same pictures: {test['common']} are common to "
            f"{first} and {second}; the test is on these, the figures above are not"
        )
    if changed := test["other_label"]:
        said = "picture has" if changed == 1 else "pictures have"
        terminal.warn(f"{pair}: {changed} {said} another label now: not tested on")
    if test["other_source"]:
        terminal.warn(f"{pair} have different sources: pictures are taken for the same by path")


# --- what differs -------------------------------------------------------------------------------


def _show_apart(title: str, rows: Mapping[str, list[Any]], every: Sequence[Compared]) -> None:
    if rows:
        terminal.table(
            title,
            ("", *(each.letter for each in every)),
            [(path, *_cells(values)) for path, values in rows.items()],
        )
    else:
        terminal.say(f"{title}: nothing")


def _say_sides(every: Sequence[Compared]) -> None:
    """What their different `data` means, as far as each has its split.csv."""
    splits = [each.run.split for each in every if each.run.split.is_file()]
    if len(splits) == len(every):
        found = {frozenset(row[:2] for row in split_file.read(path)) for path in splits}
        what = "other sides of the same pictures" if len(found) == 1 else "other pictures or labels"
        terminal.say(f"data: {what}")


def _cells(values: Sequence[Any]) -> list[str]:
    """Of lists of different lengths: how long, and what is not in all of them."""
    if all(isinstance(each, list) for each in values):
        lines = [[tree.line(item) for item in each] for each in values]
        shared = set(lines[0]).intersection(*lines[1:])
        own = [[item for item in each if item not in shared] for each in lines]
        return [
            _short(f"{_items(len(whole))}{', with ' * bool(mine)}{', '.join(mine)}")
            for whole, mine in zip(lines, own, strict=True)
        ]
    return ["-" if each is None else _short(tree.line(each)) for each in values]


def _items(count: int) -> str:
    return f"{count} item{'s' * (count != 1)}"


def _short(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


def _show_times(facts: Sequence[Mapping[str, Any]]) -> None:
    rows = [
        ("epochs", *(each["epochs"] or "-" for each in facts)),
        ("best epoch", *(each["best_epoch"] or "-" for each in facts)),
    ]
    for name, title in TIMES.items():
        values = [each["timing"].get(name) for each in facts]
        rows.append((title, *("-" if value is None else f"{value:.1f}" for value in values)))
    waits = [each["timing"].get("input_wait") for each in facts]
    rows.append(("waiting for input", *("-" if w is None else f"{w:.1%}" for w in waits)))
    letters = (each["letter"] for each in facts)
    terminal.table("training, medians of the epochs", ("", *letters), rows)


def _draw(every: Sequence[Compared], path: Path) -> None:
    shown = [each for each in every if each.history]
    if len(shown) < 2:  # an ensemble has none
        return
    names = {each.run.folder.parent.name for each in shown}
    said = [each.run.folder if len(names) == 1 else each.run.folder.parent for each in shown]
    titles = [f"{each.letter}  {path.name}" for each, path in zip(shown, said, strict=True)]
    best = [records.best_epoch(each.run) for each in shown]
    panels = comparison.panels(titles, [each.history for each in shown], best)
    with files.replacing(path) as partial:
        style.save(comparison.draw(panels), partial)
    terminal.say(f"written  {path}")
