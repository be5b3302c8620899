"""`trainer tune search`: tries values of a config and keeps the best."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainer import files, places, terminal
from trainer.commands import _child
from trainer.config import tree
from trainer.config.load import dump, load, located
from trainer.config.search import Search, override
from trainer.errors import Failed, Interrupted, UserError, leaves
from trainer.training import study

SHOWN = 10  # trials in the table
FAILURES = 3  # without any other trial end the search


def run(path: Path, spec: Search) -> None:
    """Trains trial after trial, or goes on with a search of this name, until there are as many as
    `trials` says; shows the best, and writes a config with its values.

    Each trial has a process of its own. Only validation counts: nothing looks at the test split.

    Raises: UserErrors; Failed if not one trial came to a value; Interrupted after a signal.
    """
    place = places.search(spec)
    files.demand_writable(place.lock, "runs")
    with located(spec):
        study.demand(spec)
        with files.alone(place.lock, "trainer tune search", "name") as locks:
            found = _begun(path, spec, place, locks)
            while found.finished() < spec.trials and not found.exhausted and _hope(found):
                _try(spec, found, found.next(), locks)
    if found.exhausted:
        count = f"{found.finished()} of {spec.trials} trials"
        terminal.say(f"stopped  after {count}: nothing else is left to try")
    _conclude(path, spec, place, found)


def _hope(found: study.Study) -> bool:
    """Whether any of the first trials has not failed: else what is wrong is wrong with all."""
    states = [trial.state for trial in found.trials()]
    return len(states) < FAILURES or states.count("fail") < len(states)


def _begun(
    path: Path, spec: Search, place: places.SearchFolder, locks: tuple[int, ...]
) -> study.Study:
    """The study to go on with, or a new one. Raises: UserErrors if it is of another search."""
    if place.database.is_file():
        found = study.Study(place.database, spec)
        _demand_same(path, spec, place, found)
        terminal.say(
            f"search   {place.folder}, {found.finished()} of {spec.trials} trials are finished"
        )
        return found
    terminal.say(f"search   {place.folder}")
    mode = _child.ask("tune._trial", "prepare", {"search": str(path)}, locks=locks).answer
    if mode is None:
        raise Failed("the search could not be prepared; the reason stands above")
    with files.replacing(place.database) as partial:
        study.create(partial, spec, mode, _essential(spec))
    terminal.say(f"watch    trainer tensorboard {place.folder}")
    return study.Study(place.database, spec)


def _essential(spec: Search) -> dict[str, Any]:
    """What may not change while a search goes on: its values would mean something else."""
    return spec.model_dump(mode="json", include={"monitor", "mode", "set", "space"})


def _demand_same(path: Path, spec: Search, place: places.SearchFolder, found: study.Study) -> None:
    another = "write it as it was, or give the search another name"
    mistakes = [
        UserError(where, f"differs from the search to go on with, {place.folder}", another)
        for key, value in _essential(spec).items()
        for where in tree.differences(found.facts[key], value, key)
    ]
    config = load(path.parent / spec.config, spec.overrides())
    if not mistakes and dump(config) != place.base.read_text():
        problem = f"{path.parent / spec.config} has changed since the search began"
        mistakes.append(UserError("config", problem, another))
    if mistakes:
        raise ExceptionGroup("another search", mistakes)


def _try(spec: Search, found: study.Study, trial: study.Trial, locks: tuple[int, ...]) -> None:
    """Trains a trial in a process of its own and keeps what came out."""
    again = ", which was interrupted" if "begun" in trial.facts else ""
    found.note(trial.number, begun=True)
    terminal.say()
    head = f"trial {trial.number} ({found.finished() + 1} of {spec.trials}){again}"
    terminal.say(head, "bold")
    for name, value in _short(trial.values).items():
        terminal.say(f"  {name} {tree.line(_shown(value))}")
    request = {"spec": spec.model_dump(mode="json"), "number": trial.number}
    try:
        ended = _child.ask("tune._trial", "train", request, locks=locks)
    except Interrupted as end:
        going = f"trial {trial.number} is kept and goes on with the same command"
        raise Interrupted(
            f"stopped after {found.finished()} of {spec.trials} trials; {going}", end.code
        ) from None
    except ExceptionGroup as mistakes:
        return _failed(found, trial, str(next(leaves(mistakes))))
    if ended.answer:
        found.note(trial.number, epoch=ended.answer["epoch"], run=ended.answer["run"])
        found.tell(trial.number, ended.answer["value"], ended.answer["pruned"])
        return _say(spec, found.trials()[trial.number])
    deaths = trial.facts.get("deaths", 0) + 1
    if ended.code < 0 and deaths < study.STARTS:  # it may have been the machine; it is run again
        found.note(trial.number, deaths=deaths)
        terminal.warn(f"trial {trial.number} was killed by signal {-ended.code}; once more")
        return None
    why = f"killed by signal {-ended.code}" if ended.code < 0 else "the reason stands above"
    return _failed(found, trial, why)


def _failed(found: study.Study, trial: study.Trial, why: str) -> None:
    found.note(trial.number, why=why)
    found.tell(trial.number, None)
    terminal.warn(f"trial {trial.number} failed: {why}")


def _say(spec: Search, trial: study.Trial) -> None:
    epoch = trial.facts["epoch"]
    match trial.state:
        case "complete":
            said = f"{spec.monitor} {trial.value:.4g} after epoch {epoch}"
        case "pruned":
            value = "NaN" if trial.value is None else f"{trial.value:.4g}"
            said = f"pruned: others were better by then, {spec.monitor} {value}"
        case _:
            said = f"failed: {spec.monitor} was NaN in every epoch"
    terminal.say(f"trial {trial.number}: {said}")


# --- what came out --------------------------------------------------------------------------------


def _conclude(path: Path, spec: Search, place: places.SearchFolder, found: study.Study) -> None:
    trials = found.trials()
    complete = [trial for trial in trials if trial.state == "complete"]
    if not complete:
        raise Failed(f"not one of {len(trials)} trials came to a value; what each says is above")
    complete.sort(key=lambda trial: _order(trial, found.mode))
    counts = {state: sum(each.state == state for each in trials) for state in ("pruned", "fail")}
    rest = f", {counts['pruned']} pruned, {counts['fail']} failed"
    names = _short(spec.space)
    terminal.say()
    terminal.table(
        f"best of {len(trials)} trials ({len(complete)} complete{rest}), by {spec.monitor}",
        ("trial", spec.monitor, "epoch", *names),
        [
            (trial.number, f"{trial.value:.4g}", trial.facts["epoch"], *_cells(spec, trial))
            for trial in complete[:SHOWN]
        ],
    )
    importances = found.importances()
    if importances:
        said = ", ".join(f"{name} {share:.0%}" for name, share in _short(importances).items())
        terminal.say(f"matters  {said} (PED-ANOVA)")
    best = complete[0]
    _write_best(path, spec, place, best)
    texts = [override(name, value) for name, value in best.values.items()]
    terminal.say(f"best     {' '.join(f'--set {shlex.quote(text)}' for text in texts)}")
    terminal.say(f"written  {place.best}; train it with trainer fit {place.best}")
    terminal.say(f"its run  {best.facts['run']}")


def _order(trial: study.Trial, mode: str) -> float:
    assert trial.value is not None
    return trial.value if mode == "min" else -trial.value


def _cells(spec: Search, trial: study.Trial) -> list[str]:
    return [tree.line(_shown(trial.values[path])) for path in spec.space]


def _shown(value: Any) -> Any:
    """Floats to four digits."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _write_best(path: Path, spec: Search, place: places.SearchFolder, best: study.Trial) -> None:
    """The user's config with the best values, without what `set` made of the trials."""
    # Of the real folders: where runs/ is a link, `..` leaves what it points at.
    base = os.path.relpath((path.parent / spec.config).resolve(), place.folder.resolve())
    wanted = {"training.best.monitor": spec.monitor, **best.values}  # what they are the best by
    texts = [override(name, value) for name, value in wanted.items()]
    values = tree.plain(tree.overrides(texts))
    head = f"# The best values of {spec.name}: trial {best.number}, {spec.monitor} {best.value:.4g}"
    files.write_text(place.best, f"{head}\n{tree.dump({'extends': base, **values})}")


def _short(paths: Mapping[str, Any]) -> dict[str, Any]:
    """The same by the shortest ends of the paths that tell them apart: `Dropout.rate`, or `rate`
    where it is the only one."""
    parts = {path: path.split(".") for path in paths}

    def name(path: str) -> str:
        for count in range(1, len(parts[path])):
            end = parts[path][-count:]
            if sum(each[-count:] == end for each in parts.values()) == 1:
                return ".".join(end)
        return path

    return {name(path): value for path, value in paths.items()}
