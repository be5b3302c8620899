"""What helps where a training waits for its input: the cheapest remedy first."""

from typing import NamedTuple

from trainer.config.data import Data

SLOW = 0.1  # of the time spent waiting: below that nothing is worth changing
SHARE = 0.3  # of a picture's cost: what is less of it is not what to begin with


class Cost(NamedTuple):
    """What pictures took, in CPU seconds."""

    decoding: float  # reading included
    augmenting: float
    pictures: int

    def said(self) -> str:
        """Of one picture."""
        each = [1000 * spent / max(self.pictures, 1) for spent in self[:2]]
        return f"{each[0]:.2g} ms to decode, {each[1]:.2g} ms to augment"


class Room(NamedTuple):
    """What a cache would take, and where it would fit."""

    size: str  # such as 1.2 GB
    memory: bool
    disk: bool


def remedy(
    wait: float, cost: Cost, spec: Data, processes: int, cores: int, room: Room | None
) -> str:
    """One line; empty where there is nothing to do.

    Args:
        wait: the share of the time that is spent waiting for input.
        processes: that make batches, 0 for threads.
        room: for the decoded pictures, None where their sizes differ.
    """
    if wait < SLOW:
        return ""
    total = cost.decoding + cost.augmenting
    said = f"{wait:.0%} of the time waits for input (a picture takes {cost.said()}): "
    return said + _way(cost, cost.decoding > SHARE * total, spec, processes, cores, room)


def _way(
    cost: Cost, decoding: bool, spec: Data, processes: int, cores: int, room: Room | None
) -> str:
    if decoding and spec.cache == "off":
        if room and room.memory:
            return f"data.cache: memory would keep the decoded pictures ({room.size})"
        if not spec.jpeg_scaling and spec.load_size != "original":
            return "data.jpeg_scaling: true decodes large JPEGs faster"
        if room and room.disk:
            return f"data.cache: disk would keep the decoded pictures ({room.size})"
        if spec.load_size == "original":
            return "a data.load_size of [height, width] makes less of large pictures"
    if (
        not processes
        and cores > 1
        and spec.workers == "threads"
        and cost.augmenting > cost.decoding
    ):
        return f"data.workers: {cores} would augment in processes"
    if cost.augmenting > cost.decoding and spec.load_size is not None:
        return "a smaller data.load_size, or fewer and cheaper transforms"
    return f"fewer and cheaper transforms, or more CPU cores than the {cores} there are"
