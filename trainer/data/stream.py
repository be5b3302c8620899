"""Training data as one endless, seekable stream.

Position k of a shuffled stream is example `permutation(seed, k // N)[k % N]`, and its augmentation
draws from a generator keyed by (seed, k). So an epoch is a number of steps, resuming is starting at
another k, and neither threads, processes nor batches change what is drawn. N examples, K classes.
"""

import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

# Purposes of one seed must not draw the same numbers.
_ORDER, _AUGMENTATION, _BATCH = 0, 1, 2

Order = Callable[[int], int]  # position -> index of the example there, in constant time


class Shard(NamedTuple):
    """The part of every batch that is made here, where several machines share the work: rows beside
    each other, as MirroredStrategy gives them to its replicas, and one more for the first workers
    where they cannot be as many for each."""

    worker: int = 0
    workers: int = 1

    def rows(self, size: int) -> range:
        """Its rows of a batch of `size`."""
        fewest, more = divmod(size, self.workers)
        start = self.worker * fewest + min(self.worker, more)
        return range(start, start + fewest + (self.worker < more))


WHOLE = Shard()


def positions(step: int, size: int, shard: Shard = WHOLE) -> range:
    """Those that make the batch of a step, `size` in all, or a part of it."""
    rows = shard.rows(size)
    return range(step * size + rows.start, step * size + rows.stop)


def permutation(seed: int, turn: int, count: int, member: int = 0) -> np.ndarray:
    """The order of pass number `turn` over `count` examples (of class `member`): int64 [N]."""
    order = _of_order(seed, turn, member).permutation(count)
    order.flags.writeable = False
    return order


def sequential(count: int) -> Order:
    """The examples in the order of the source, again and again."""
    return lambda position: position % count


def shuffled(seed: int, count: int) -> Order:
    """Every example once, then every one again in another order, and so on."""
    ordered = lru_cache(maxsize=4)(permutation)  # batches straddle two passes, in several threads
    return lambda position: int(ordered(seed, position // count, count)[position % count])


def weighted(seed: int, weights: np.ndarray) -> Order:
    """Passes of N positions in which an example of weight w, of a sum of W, stands N w / W times on
    average, and never a whole time more or less than that.

    Systematic sampling (Madow 1949): N equidistant points, moved by one random number per pass, on
    the examples laid end to end in random order, each as long as its weight; then shuffled. With
    equal weights this is `shuffled`: every example once.

    Args:
        weights: float [N], at least 0, with a sum above 0.
    """
    count = len(weights)

    @lru_cache(maxsize=4)
    def drawn(turn: int) -> np.ndarray:
        generator = _of_order(seed, turn)
        order = generator.permutation(count)
        ends = np.cumsum(weights[order], dtype=np.float64)
        points = (np.arange(count) + generator.random()) * (ends[-1] / count)
        # Rounding may put the last point on the very end, where nothing follows.
        last = int(np.searchsorted(ends, ends[-1]))
        found = np.minimum(np.searchsorted(ends, points, side="right"), last)
        return generator.permutation(order[found])

    return lambda position: int(drawn(position // count)[position % count])


def balanced(seed: int, members: Sequence[np.ndarray]) -> Order:
    """Every class equally often, exactly: each K positions hold every class once, in an order of
    their own, and each class goes through its examples in shuffled passes.

    Args:
        members: for each of K classes the indices of its examples, at least one.
    """
    classes = len(members)
    turns = lru_cache(maxsize=64)(permutation)
    passes = lru_cache(maxsize=2 * classes + 2)(permutation)

    def order(position: int) -> int:
        turn, slot = divmod(position, classes)
        member = int(turns(seed, turn, classes)[slot])
        count = len(members[member])
        number, offset = divmod(turn, count)
        return int(members[member][passes(seed, number, count, member + 1)[offset]])

    return order


class Draws:
    """The generators that augmentation draws from, numpy's and Python's: albumentations uses both.

    Philox is a function of a key and a counter (Salmon et al. 2011), so that every position has a
    stream of its own, reached by setting the key. That and seeding Python's generator take 5 µs;
    two new generators per picture took 14, an eighth of cropping and flipping it. For one thread.
    """

    def __init__(self, seed: int) -> None:
        self._philox = np.random.Philox(0)
        self._state = self._philox.state
        self._state["state"]["counter"][:] = (0, 0, 0, _AUGMENTATION)
        self._key = self._state["state"]["key"]
        self._key[:] = (seed, 0)
        self.generator = np.random.Generator(self._philox)
        self.python = random.Random()

    def at(self, position: int) -> None:
        """Brings both to a position of the stream, whatever was drawn before."""
        self._key[1] = position
        self._philox.state = self._state
        self.python.seed(self._philox.random_raw())


def of_batch(seed: int, step: int) -> np.random.Generator:
    """For what is drawn for the batch of a step as a whole."""
    return np.random.default_rng([_BATCH, seed, step])


def _of_order(seed: int, turn: int, member: int = 0) -> np.random.Generator:
    return np.random.default_rng([_ORDER, seed, turn, member])
