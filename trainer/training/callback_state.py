"""What callbacks know: patience, the best value so far, the weights to go back to."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np

# `params` is of the training at hand; Keras turns the sign of min_delta when it makes monitor_op,
# at the first epoch's end; CSVLogger finds out by itself whether its file has a header.
_NOT_STATE = ("params", "min_delta", "monitor_op", "append_header", "writer")


def of(callbacks: Iterable[keras.callbacks.Callback]) -> list[dict[str, Any]]:
    """The attributes of each that are numbers, flags, text, arrays or nothing, or lists, tuples and
    mappings of such."""
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
    if type(value) is dict:
        return all(type(name) is str and _can_be_kept(each) for name, each in value.items())
    if type(value) in (list, tuple):
        return all(map(_can_be_kept, value))
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "biufU"
    return value is None or type(value) in (bool, int, float, str)
