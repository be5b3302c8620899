"""Variables as what each replica has of them."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def parts(variable: Any) -> Sequence[Any]:
    """One per replica. Read as a whole, the running sums of several replicas could not be taken
    apart again."""
    return getattr(variable.value, "values", None) or (variable.value,)


def values(variables: Iterable[Any]) -> list[list[np.ndarray]]:
    """Of each variable, the content of its parts."""
    return [[part.numpy() for part in parts(variable)] for variable in variables]


def assign(variables: Iterable[Any], contents: Iterable[Sequence[np.ndarray]]) -> None:
    """Gives each variable what `values` found."""
    for variable, held in zip(variables, contents, strict=False):
        for part, value in zip(parts(variable), held, strict=False):
            part.assign(value)


def count_of(variable: Any) -> int:
    """What all replicas have of a counter."""
    return int(parts(variable)[0].numpy())
