"""Examples -> training, validation and test examples.

A unit, that is a picture with its duplicates or a group, stays together. What the source or an
earlier run has decided stays; the rest is allotted by content, so that neither the listing nor
pictures that are added matter.

N pictures, K classes.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from trainer.config.data import Split
from trainer.data import allot
from trainer.data.examples import SIDES, Examples, names
from trainer.data.inspect.duplicates import Pairs, groups
from trainer.errors import UserError

TRAIN, VALIDATION, TEST = range(3)
UNKNOWN, OUT = -1, -2  # not decided yet; left out, because a duplicate is on another side


class Sides(NamedTuple):
    """The three sides; test may be empty."""

    train: Examples
    validation: Examples
    test: Examples


class Alike(NamedTuple):
    """What pictures are recognised by: keys uint64 [N] of their content, or None: of their names,
    which are asked for only if a side is drawn; and the duplicates."""

    keys: np.ndarray | None
    pairs: Pairs


def by_name() -> Alike:
    """Recognises pictures by their names alone, and no duplicates."""
    none = np.zeros(0, np.int64)
    return Alike(None, Pairs(none, none, none.astype(bool)))


def draws(spec: Split, examples: Examples) -> bool:
    """Whether the source leaves any side to be drawn."""
    return len(_pieces(spec, examples.sides)) > 1


def split(
    examples: Examples, spec: Split, seed: int, alike: Alike, kept: Mapping[str, int] | None = None
) -> tuple[Sides, np.ndarray]:
    """The sides, and the indices of pictures left out because a duplicate is on another side.

    Duplicates and groups stay together. Sides given by the source stay, and those that it does not
    give are taken from its training pictures.

    Args:
        kept: sides (index in SIDES) of pictures that have one from an earlier run, by their names.

    Raises: UserError when a class has too few pictures, or the source puts a group on two sides.
    """
    unit_N = _units(examples, alike)
    side_N = _given(examples, spec, unit_N, alike.pairs)
    _keep(side_N, examples, unit_N, alike.pairs, kept or {})
    pieces = _pieces(spec, examples.sides)
    if UNKNOWN in side_N:
        _draw(side_N, examples, unit_N, allot.draws(_keys(examples, alike), unit_N, seed), spec)
    sides = Sides(*(examples.take(np.flatnonzero(side_N == side)) for side in range(3)))
    _demand_pictures(sides, {side for _, side in pieces}, examples, unit_N, spec.folds)
    return sides, np.flatnonzero(side_N == OUT)


def gaps(sides: Sides) -> list[tuple[str, str]]:
    """(side, class) where a side that is not empty has no picture of a class."""
    return [
        (name, side.classes[index])
        for name, side in zip(SIDES, sides, strict=True)
        for index in np.flatnonzero(side.counts() == 0)
        if len(side)
    ]


def _draw(
    side_N: np.ndarray, examples: Examples, unit_N: np.ndarray, draw_N: np.ndarray, spec: Split
) -> None:
    """Puts the pictures whose side is UNKNOWN on one."""
    pieces = _pieces(spec, examples.sides)
    open_N = np.flatnonzero(side_N == UNKNOWN)
    there_SK = [examples.take(np.flatnonzero(side_N == side)).counts() for _, side in pieces]
    drawn_N = allot.allot(
        draw_N[open_N],
        unit_N[open_N],
        examples.labels[open_N],
        [share for share, _ in pieces],
        np.array(there_SK) * (not spec.folds),  # several folds are one side
    )
    side_N[open_N] = np.array([side for _, side in pieces])[drawn_N]


# --- who belongs together -----------------------------------------------------------------------


def _units(examples: Examples, alike: Alike) -> np.ndarray:
    """int64 [N]: the smallest index among the pictures that must stay together."""
    first_N = examples.group_numbers()
    others = np.flatnonzero(first_N != np.arange(len(examples)))
    pairs = alike.pairs
    return groups(len(examples), (pairs.first, pairs.second), (first_N[others], others))


def _keys(examples: Examples, alike: Alike) -> np.ndarray:
    """uint64 [N]: what a picture is drawn by, its group or else itself."""
    if alike.keys is None:
        found = map(allot.key, names(examples.pictures))
        key_N = np.fromiter(found, np.uint64, len(examples))
    else:
        key_N = alike.keys.copy()
    for index, group in enumerate(examples.groups or ()):
        if group:
            key_N[index] = allot.key(f"group {group}")
    return key_N


def _given(examples: Examples, spec: Split, unit_N: np.ndarray, pairs: Pairs) -> np.ndarray:
    """int8 [N]: the sides that the source gives; OUT for what a duplicate on another side forbids
    (test counts most, then validation), UNKNOWN for what is still to be drawn."""
    if examples.sides is None:
        return np.full(len(examples), UNKNOWN, np.int8)
    side_N = examples.sides.astype(np.int8)
    if spec.folds:
        side_N[side_N == VALIDATION] = TRAIN
    _demand_whole_groups(examples, side_N)
    out = _lesser(side_N, pairs)
    if len(_pieces(spec, examples.sides)) > 1:  # something is drawn from the training pictures
        best_N = np.full(len(examples), TRAIN, np.int8)
        np.maximum.at(best_N, unit_N, side_N)
        out = np.concatenate([out, np.flatnonzero((side_N == TRAIN) & (best_N[unit_N] > TRAIN))])
        side_N[side_N == TRAIN] = UNKNOWN
    side_N[out] = OUT
    return side_N


def _lesser(side_N: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Indices of pictures on a side with a duplicate on a greater one: test counts most, then
    validation. Of equal pictures `pairs` names each with the first only, so these act as one."""
    copied_N = groups(len(side_N), (pairs.first[pairs.exact], pairs.second[pairs.exact]))
    best_N = np.full(len(side_N), UNKNOWN, np.int8)
    np.maximum.at(best_N, copied_N, side_N)
    one, other = copied_N[pairs.first], copied_N[pairs.second]
    most_N = best_N.copy()
    np.maximum.at(most_N, one, best_N[other])
    np.maximum.at(most_N, other, best_N[one])
    return np.flatnonzero((side_N >= 0) & (side_N < most_N[copied_N]))


def _keep(
    side_N: np.ndarray,
    examples: Examples,
    unit_N: np.ndarray,
    pairs: Pairs,
    kept: Mapping[str, int],
) -> None:
    """Puts pictures that are `kept` on their side, and new ones of the same unit with them; new
    ones that would connect two sides become OUT, and so do known ones that are duplicates now."""
    if not kept:
        return
    before = (kept.get(name, UNKNOWN) for name in names(examples.pictures))
    old_N = np.fromiter(before, np.int8, len(side_N))
    old_N = np.where(side_N == UNKNOWN, old_N, side_N)
    least, most = np.full(len(old_N), TEST, np.int8), np.full(len(old_N), UNKNOWN, np.int8)
    known = old_N >= 0
    np.minimum.at(least, unit_N[known], old_N[known])
    np.maximum.at(most, unit_N[known], old_N[known])
    least, most = least[unit_N], most[unit_N]
    new = (old_N == UNKNOWN) & (most != UNKNOWN)
    old_N[new] = np.where(least == most, most, OUT)[new]
    old_N[_lesser(old_N, pairs)] = OUT
    side_N[:] = old_N


def _demand_whole_groups(examples: Examples, side_N: np.ndarray) -> None:
    first: dict[str, int] = {}
    for group, side in zip(examples.groups or (), side_N.tolist(), strict=False):
        if group and first.setdefault(group, side) != side:
            where = f"{SIDES[first[group]]} and {SIDES[side]}"
            hint = "a group stays on one side: change its split or its group"
            raise UserError("data.source", f"group '{group}' is on two sides, {where}", hint)


def _pieces(spec: Split, given: np.ndarray | None) -> list[tuple[float, int]]:
    """(share, side) of what the training pictures are cut into; the shares add up to 1."""
    there = {side for side in range(3) if given is not None and (given == side).any()}
    test = 0.0 if TEST in there else spec.test
    if spec.folds:
        rest = (1 - test) / spec.folds
        pieces = [(rest, VALIDATION if i == spec.fold else TRAIN) for i in range(spec.folds)]
    else:
        validation = 0.0 if VALIDATION in there else spec.validation
        pieces = [(validation, VALIDATION), (1 - test - validation, TRAIN)]
    return [(share, side) for share, side in [(test, TEST), *pieces] if share]


def _demand_pictures(
    sides: Sides, drawn: set[int], examples: Examples, unit_N: np.ndarray, folds: int | None
) -> None:
    """Raises UserError where a class cannot be trained, or was too small to be drawn from."""
    if examples.sides is not None and TRAIN not in examples.sides:
        hint = "most should be: a network learns from these alone"
        raise UserError("data.source", "no picture is for training", hint)
    for side in sorted(drawn):
        for index in np.flatnonzero(sides[side].counts() == 0):
            if side == TRAIN or not examples.multi_label:
                _too_few(int(index), drawn, examples, unit_N, folds)
    if not len(sides.validation):
        problem = f"of {len(examples)} pictures none is left for validation"
        hint = (
            "are they duplicates of test pictures?" if VALIDATION not in drawn else "add pictures"
        )
        raise UserError("data.split", problem, hint)


def _too_few(
    index: int, drawn: set[int], examples: Examples, unit_N: np.ndarray, folds: int | None
) -> None:
    name = examples.classes[index]
    labels = examples.labels
    mine = np.flatnonzero(labels[:, index] if examples.multi_label else labels == index)
    if examples.sides is not None:
        mine = mine[examples.sides[mine] == TRAIN]
    if examples.sides is None and not len(mine):
        problem = f"class '{name}' has no picture that can be used"
        raise UserError(
            "data.source", problem, "the warnings above say why, or it is in quarantine"
        )
    if len(drawn) < 2 or not len(mine):
        hint = "add pictures of the class or remove it from the other sides"
        raise UserError("data.source", f"class '{name}' has no training picture", hint)
    units = len(np.unique(unit_N[mine]))
    known = f"{len(mine)} picture{'s' * (len(mine) != 1)}"
    if units < len(mine):
        known += f" in {units} group{'s' * (units != 1)} that stay together (duplicates do)"
    needs = [f"1 for {SIDES[each]}" for each in sorted(drawn - {TRAIN})]
    problem = f"class '{name}' has {known}, too few to split: {', '.join(needs)}"
    hint = "add pictures of the class or remove it"
    if folds:
        each = " and 1 for test" * (TEST in drawn)
        problem = f"class '{name}' has {known}, too few for {folds} folds: 1 in each{each}"
        raise UserError("data.split.folds", problem, f"{hint}, or make fewer folds")
    raise UserError("data.split", f"{problem} and at least 1 to train on", hint)
