"""Training data as one endless, seekable stream.

Position k is example `permutation(seed, k // N)[k % N]`, and its augmentation draws from a
generator keyed by (seed, k). So an epoch is a number of steps, resuming is starting at another k,
and neither threads nor batches change what is drawn. N examples.
"""

import random
from functools import lru_cache

import numpy as np

# Two purposes of one seed must not draw the same numbers.
_ORDER, _AUGMENTATION = 0, 1


@lru_cache(maxsize=4)  # batches that straddle two passes, prepared by several threads
def permutation(seed: int, turn: int, count: int) -> np.ndarray:
    """The order of pass number `turn` over `count` examples: int64 [N]."""
    order = np.random.default_rng([_ORDER, seed, turn]).permutation(count)
    order.flags.writeable = False
    return order


def example(seed: int, position: int, count: int) -> int:
    """The index of the example at a position of the stream."""
    turn, offset = divmod(position, count)
    return int(permutation(seed, turn, count)[offset])


def generators(seed: int, position: int) -> tuple[np.random.Generator, random.Random]:
    """The generators of a position, numpy's and Python's: albumentations draws from both."""
    generator = np.random.default_rng([_AUGMENTATION, seed, position])
    return generator, random.Random(int(generator.integers(2**63)))
