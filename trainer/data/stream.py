"""Training data as one endless, seekable stream.

Position k of a shuffled stream is example `permutation(seed, k // N)[k % N]`, and its augmentation
draws from a generator keyed by (seed, k). So an epoch is a number of steps, resuming is starting at
another k, and neither threads nor batches change what is drawn. N examples, K classes.
"""

import random
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

# Two purposes of one seed must not draw the same numbers.
_ORDER, _AUGMENTATION = 0, 1

Order = Callable[[int], int]  # position -> index of the example there, in constant time


def permutation(seed: int, turn: int, count: int, member: int = 0) -> np.ndarray:
    """The order of pass number `turn` over `count` examples (of class `member`): int64 [N]."""
    order = np.random.default_rng([_ORDER, seed, turn, member]).permutation(count)
    order.flags.writeable = False
    return order


def shuffled(seed: int, count: int) -> Order:
    """Every example once, then every one again in another order, and so on."""
    ordered = lru_cache(maxsize=4)(permutation)  # batches straddle two passes, in several threads

    def order(position: int) -> int:
        turn, offset = divmod(position, count)
        return int(ordered(seed, turn, count)[offset])

    return order


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


def generators(seed: int, position: int) -> tuple[np.random.Generator, random.Random]:
    """The generators of a position, numpy's and Python's: albumentations draws from both."""
    generator = np.random.default_rng([_AUGMENTATION, seed, position])
    return generator, random.Random(int(generator.integers(2**63)))
