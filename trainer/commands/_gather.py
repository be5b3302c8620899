"""What the verbs share that need pictures: those of the config, checked and split."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainer import places, records, terminal
from trainer import run as runs
from trainer.config import Config
from trainer.config.load import load
from trainer.data import split, split_file
from trainer.data.examples import Examples, demand_names, names
from trainer.data.inspect import duplicates, quarantine, survey
from trainer.data.inspect.look import same_labels
from trainer.errors import UserError
from trainer.parts import part

SHOWN = 10  # pictures of one kind of trouble that are named; the report has them all


class Gathered(NamedTuple):
    """The pictures to train and evaluate with; N of the source, fewer on the sides."""

    examples: Examples  # all N
    found: survey.Survey | None  # of all N, None where duplicates are ignored
    sides: split.Sides
    quarantined: dict[int, str]  # why, by index of `examples`
    apart: list[int]  # left out, because a duplicate is on another side

    def left_out(self) -> dict[str, str]:
        """Why, by the names of the pictures that are on no side."""
        reasons = {
            **dict.fromkeys(self.apart, "a duplicate is on another side"),
            **(self.found.reasons if self.found else {}),
            **{index: f"quarantine: {why}" for index, why in self.quarantined.items()},
        }
        return {self.examples.pictures.name(index): reasons[index] for index in sorted(reasons)}


def read(config: Config) -> Examples:
    """The examples of the config's source.

    Raises: UserError also for labels of several that could not be told apart in split.csv.
    """
    source = config.data.source
    examples: Examples = part("data.sources", source.kind).read(source)
    demand_names(examples.classes)
    for name in examples.classes if examples.multi_label else ():
        if split_file.SEPARATOR in name:
            problem = f"the label '{name}' has a {split_file.SEPARATOR} in its name"
            hint = f"call it otherwise: {split_file.SEPARATOR} stands between several labels"
            raise UserError("data.source", problem, hint)
    return examples


def resumed(config: Config, run: runs.Run) -> split.Sides:
    """The pictures of a run on the sides that they have, whatever came since or is in quarantine.

    Raises: UserError if any is gone.
    """
    sides, gone = split_file.restore(run.split, read(config), records.read_classes(run))
    if gone:
        problem = f"{len(gone)} pictures of the run to resume, {run.folder}, are gone"
        hint = "bring them back, or start a new run without --resume"
        raise UserError("data.source", f"{problem}, such as {gone[0]}", hint)
    return sides


def folds(config: Config) -> list[split.Sides]:
    """The sides as each fold of `data.split.folds` has them. Warns and raises as `gather`, also if
    any fold could not be trained."""
    first = gather(_with_fold(config, 0))
    out = np.zeros(len(first.examples), bool)
    out[list(first.quarantined)] = True
    if first.found:
        out |= ~first.found.records["readable"]
    rest = range(1, config.data.split.folds or 1)
    others = (divide(_with_fold(config, n), first.examples, out, first.found)[0] for n in rest)
    return [first.sides, *others]


def _with_fold(config: Config, number: int) -> Config:
    spec = config.data.split.model_copy(update={"fold": number})
    return config.model_copy(update={"data": config.data.model_copy(update={"split": spec})})


def gather(config: Config) -> Gathered:
    """Reads the source, leaves out what cannot be read or is in quarantine, and splits the rest.

    Warns of what is left out. Raises: UserErrors.
    """
    examples, spec = read(config), config.data.split
    quarantined = _quarantined(config, examples)
    out = np.zeros(len(examples), bool)
    out[list(quarantined)] = True
    found = None
    if spec.duplicates == "together":
        found = survey.survey(examples.pictures, places.surveyed(config))
        _warn_unreadable(examples, {i: why for i, why in found.reasons.items() if not out[i]})
        out |= ~found.records["readable"]
    sides, apart, pairs = divide(config, examples, out, found)
    _warn_conflicts(examples, pairs)
    _warn_apart(examples, apart)
    for side, name in split.gaps(sides):
        terminal.warn(f"no {side} picture of class '{name}', so its {side} figures say nothing")
    return Gathered(examples, found, sides, quarantined, apart.tolist())


def divide(
    config: Config, examples: Examples, out: np.ndarray, found: survey.Survey | None
) -> tuple[split.Sides, np.ndarray, duplicates.Pairs]:
    """The sides of the pictures that are not `out` (bool [N]), the indices of those left out
    because a duplicate is on another side, and the duplicates.

    Args:
        found: of all N; None where duplicates are ignored.

    Raises: UserErrors.
    """
    rest = np.flatnonzero(~out)
    if not len(rest):
        problem = f"not one of {len(examples)} pictures can be used"
        raise UserError("data.source", problem, "look at the warnings above")
    usable = examples.take(rest) if len(rest) < len(examples) else examples
    alike = split.by_name()
    if found is not None:
        records = found.records[rest]
        alike = split.Alike(records["content"], duplicates.find(records, usable.group_numbers()))
    sides, apart = split.split(usable, config.data.split, config.seed, alike, _kept(config, usable))
    first, second, exact = alike.pairs
    return sides, rest[apart], duplicates.Pairs(rest[first], rest[second], exact)


def listing(config: Config) -> Path | None:
    """The quarantine list, which need not be there; None where the config wants none."""
    given = config.data.quarantine
    if given == "none":
        return None
    return places.quarantine(config) if given == "auto" else Path(given)


def _warn_unreadable(examples: Examples, reasons: dict[int, str]) -> None:
    for index in list(reasons)[:SHOWN]:
        terminal.warn(f"{examples.pictures.place(index)} is left out: {reasons[index]}")
    if len(reasons) > SHOWN:
        way = "trainer data inspect CONFIG --json FILE lists them all"
        terminal.warn(f"and {len(reasons) - SHOWN} more; {way}")


def _warn_conflicts(examples: Examples, pairs: duplicates.Pairs) -> None:
    """Equal pictures with different labels."""
    first, second = pairs.first[pairs.exact], pairs.second[pairs.exact]
    wrong = np.flatnonzero(~same_labels(examples, first, second))
    if len(wrong):
        name = examples.pictures.name
        one, other = name(int(first[wrong[0]])), name(int(second[wrong[0]]))
        terminal.warn(
            f"{len(wrong)} pictures equal another one but for the label, such as {one} and "
            f"{other}; trainer data inspect puts them into quarantine"
        )


def _warn_apart(examples: Examples, apart: np.ndarray) -> None:
    if len(apart):
        example = examples.pictures.place(int(apart[0]))
        terminal.warn(
            f"{len(apart)} pictures are left out, because a duplicate is on another side, "
            f"such as {example}"
        )


def _quarantined(config: Config, examples: Examples) -> dict[int, str]:
    """The pictures in the quarantine list, with the reason there."""
    path = listing(config)
    if path is None or (config.data.quarantine == "auto" and not path.exists()):
        return {}
    listed = quarantine.reasons(path)
    here = enumerate(names(examples.pictures))
    found = {index: listed[name] for index, name in here if name in listed}
    if len(found) < len(listed):
        strange = next(iter(listed.keys() - {examples.pictures.name(index) for index in found}))
        terminal.warn(
            f"{len(listed) - len(found)} of {len(listed)} rows of {path} name no picture of the "
            f"source, such as {strange}; paths are relative to the source"
        )
    if found:
        terminal.say(f"left out {len(found)} by the quarantine list {path}")
    return found


def _given(path: Path, examples: Examples) -> dict[str, int]:
    """The sides in a file. Raises UserError if it names no picture of the source."""
    if not path.is_file():
        raise UserError(
            "data.split.keep", f"no such file: {path}", "as in runs/rps/latest/split.csv"
        )
    sides = split_file.kept(path)
    if not any(name in sides for name in names(examples.pictures)):
        problem = f"{path} has {len(sides)} pictures, and none of them is in the source"
        raise UserError("data.split.keep", problem, "paths are relative to the source")
    return sides


def _kept(config: Config, examples: Examples) -> dict[str, int]:
    """The sides of pictures in `data.split.keep`; `auto`: of the latest run with the same source,
    shares and seed, so that a picture that is added cannot move another."""
    spec = config.data.split
    if spec.keep not in ("auto", "none"):
        return _given(Path(spec.keep), examples)
    if spec.keep == "none" or spec.folds or not split.draws(spec, examples):
        return {}
    for run in runs.earlier(config):
        try:
            old = load(run.config)
        except (UserError, ExceptionGroup):
            continue  # of another version
        if run.split.is_file() and _drawn_from(old) == _drawn_from(config):
            return split_file.kept(run.split)
    return {}


def _drawn_from(config: Config) -> tuple[Any, ...]:
    """What a split depends on besides the pictures."""
    source = config.data.source.model_dump()
    if "path" in source:
        source["path"] = os.path.normpath(source["path"])
    return config.seed, source, config.data.split
