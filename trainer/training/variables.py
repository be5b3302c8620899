"""Variables as what each replica has of them."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from trainer.training.peers import Peers

SUM = "sum"  # the name of a variable that is added up over the replicas when it is used


def parts(variable: Any) -> Sequence[Any]:
    """One per replica of this worker. Read as a whole, the running sums of several replicas could
    not be taken apart again."""
    return getattr(variable.value, "values", None) or (variable.value,)


def values(variables: Iterable[Any], peers: Peers | None = None) -> list[list[np.ndarray]]:
    """Of each variable, the content of its parts, of all workers."""
    here = [[part.numpy() for part in parts(variable)] for variable in variables]
    if peers is None or peers.workers == 1:
        return here
    everywhere = peers.gather(*(part for held in here for part in held))
    each = [iter(worker) for worker in everywhere]
    return [[next(worker) for worker in each for _ in held] for held in here]


def assign(
    variables: Iterable[Any], contents: Iterable[Sequence[np.ndarray]], peers: Peers | None = None
) -> None:
    """Gives each variable what `values` found, on as many replicas or on others."""
    index, workers = (peers.worker, peers.workers) if peers else (0, 1)
    for variable, held in zip(variables, contents, strict=False):
        places = parts(variable)
        found = _spread(held, workers * len(places), _is_sum(variable))
        mine = found[index * len(places) : (index + 1) * len(places)]
        for part, value in zip(places, mine, strict=True):
            part.assign(value)


def _spread(held: Sequence[np.ndarray], replicas: int, is_sum: bool) -> Sequence[np.ndarray]:
    """What so many replicas would hold: of a sum the whole at the first, of statistics the mean, of
    counters and seeds what the first had."""
    if len(held) == replicas:
        return held
    if is_sum:
        whole = np.sum(held, axis=0, dtype=held[0].dtype)
        return [whole, *[np.zeros_like(whole)] * (replicas - 1)]
    if held[0].dtype.kind == "f":
        return [np.mean(held, axis=0, dtype=held[0].dtype)] * replicas
    return [held[0]] * replicas


def _is_sum(variable: Any) -> bool:
    return variable.name == SUM or getattr(variable, "aggregation", None) == "sum"


def count_of(variable: Any) -> int:
    """What all replicas have of a counter."""
    return int(parts(variable)[0].numpy())
