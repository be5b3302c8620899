"""What callbacks know: patience, the best value so far, the weights to go back to."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

# `params` is of the training at hand; Keras turns the sign of min_delta at the first epoch's end;
# CSVLogger finds out by itself whether its file has a header.
_NOT_STATE = ("params", "min_delta", "append_header")


def of(callbacks: Iterable[keras.callbacks.Callback]) -> list[dict[str, Any]]:
    """The attributes of each that are numbers, flags, text or arrays, or lists, tuples and mappings
    of such."""
    return [
        {
            name: value
            for name, value in vars(callback).items()
            if name not in _NOT_STATE and _can_be_kept(value)
        }
        for callback in callbacks
    ]


def restore(
    callbacks: Iterable[keras.callbacks.Callback], states: Iterable[Mapping[str, Any]]
) -> None:
    """Gives each what `of` found."""
    for callback, attributes in zip(callbacks, states, strict=False):
        vars(callback).update(attributes)


def _can_be_kept(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _can_be_kept(each) for name, each in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return isinstance(value, list | tuple) and all(map(_can_be_kept, value))
    return isinstance(value, bool | int | float | str | np.generic | np.ndarray)
