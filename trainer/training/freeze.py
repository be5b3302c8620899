"""Which layers of a network train, and how fast, by their names."""

import math
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import keras

from trainer.config.training import Stage, UpTo
from trainer.errors import UserError, suggestion


class Leaf(NamedTuple):
    """A layer that is no network itself, and its names: those of the networks around it too."""

    layer: keras.Layer
    names: tuple[str, ...]


def leaves(model: keras.Model, around: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """All layers in the order of the network, those of networks inside it in their place."""
    for layer in model.layers:
        names = (*around, layer.name)
        if isinstance(layer, keras.Model):
            yield from leaves(layer, names)
        else:
            yield Leaf(layer, names)


def flags(model: keras.Model) -> tuple[bool, ...]:
    """Of all that can be frozen by itself, whether it trains: what the config or the user's own
    code has frozen stays so."""
    return tuple(each.trainable for leaf in leaves(model) for each in _switches(leaf))


def apply(
    model: keras.Model, stage: Stage, own: Sequence[bool], backbone: Sequence[str] = ()
) -> None:
    """Sets what trains in a stage.

    Args:
        own: the `flags` that the network was built with.
        backbone: the names of the layers that `frozen: backbone` means.

    Raises: UserError for names that there are not, and if nothing is left to train.
    """
    found = list(leaves(model))
    still = _frozen(found, stage, backbone)
    switches = ((number, each) for number, leaf in enumerate(found) for each in _switches(leaf))
    for (number, each), trains in zip(switches, own, strict=True):
        each.trainable = trains and number not in still
    for layer in _normalizations(found):
        if stage.batch_norm == "frozen":
            layer.trainable = False
        elif stage.batch_norm == "update" and not layer.trainable:
            layer.trainable = True  # Keras moves the statistics of such layers only
            for variable in layer.trainable_variables:
                variable.trainable = False
    if not model.trainable_variables:
        raise UserError(f"{stage.where}.frozen", "nothing is left to train", "freeze fewer layers")


def rates(model: keras.Model, stage: Stage) -> list[tuple[Any, float]]:
    """The variables of the layers in `layer_rates`, with their factors; the first match counts.

    Raises: UserError for a pattern that matches nothing.
    """
    found = list(leaves(model))
    for pattern in stage.layer_rates:
        _matching(found, pattern, f"{stage.where}.layer_rates.{pattern}")
    factors = ((leaf, _first(stage, leaf)) for leaf in found)
    return [
        (variable, factor)
        for leaf, factor in factors
        if factor is not None
        for variable in leaf.layer.variables
    ]


def described(model: keras.Model) -> str:
    """`35 of 92 layers train, 1,234,567 parameters`; layers without weights are not counted."""
    layers = [leaf.layer for leaf in leaves(model) if leaf.layer.weights]
    training = [layer for layer in layers if layer.trainable_variables]
    parameters = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    return f"{len(training)} of {len(layers)} layers train, {parameters:,} parameters"


def _switches(leaf: Leaf) -> list[Any]:
    """The layer, those inside it and their weights, each after what would set it too."""
    return [*leaf.layer._flatten_layers(), *leaf.layer.variables]


def _frozen(found: Sequence[Leaf], stage: Stage, backbone: Sequence[str]) -> set[int]:
    """The numbers of the leaves that do not train."""
    where = f"{stage.where}.frozen"
    match stage.frozen:
        case "none":
            return set()
        case "backbone" if not backbone:
            hint = "write frozen: {up_to: LAYER}, or a list of names"
            raise UserError(where, "this kind of model has no backbone", hint)
        case "backbone":
            return {number for number, leaf in enumerate(found) if {*leaf.names} & {*backbone}}
        case UpTo(up_to=name):
            inside = [number for number, leaf in enumerate(found) if name in leaf.names]
            if not inside:
                raise _unknown(found, name, f"{where}.up_to", f"no layer is called '{name}'")
            return set(range(inside[-1] + 1))
        case patterns:
            numbers: set[int] = set()
            for index, pattern in enumerate(patterns):
                numbers |= _matching(found, pattern, f"{where}[{index}]")
            return numbers


def _matching(found: Sequence[Leaf], pattern: str, where: str) -> set[int]:
    numbers = {number for number, leaf in enumerate(found) if _matches(leaf, pattern)}
    if not numbers:
        raise _unknown(found, pattern, where, f"'{pattern}' matches no layer")
    return numbers


def _matches(leaf: Leaf, pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in leaf.names)


def _first(stage: Stage, leaf: Leaf) -> float | None:
    matching = (rate for pattern, rate in stage.layer_rates.items() if _matches(leaf, pattern))
    return next(matching, None)


def _unknown(found: Sequence[Leaf], name: str, where: str, problem: str) -> UserError:
    known = dict.fromkeys(each for leaf in found for each in leaf.names)
    return UserError(where, problem, suggestion(name, known))


def _normalizations(found: Sequence[Leaf]) -> Iterator[keras.layers.BatchNormalization]:
    """Inside other layers too."""
    for leaf in found:
        for layer in leaf.layer._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                yield layer
