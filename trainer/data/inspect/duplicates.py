"""Which pictures are the same, or nearly: copies, re-encoded, resized, slightly changed, mirrored.

Two pictures are near duplicates when their perceptual hashes differ in at most BITS of 64 and their
thumbs correlate by at least ALIKE, or ALIKE_SMALL where one of them has few pixels: those resemble
each other by chance. What that finds, and what not, was measured (docs/log.md).

N pictures, P pairs.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

BITS = 6
ALIKE = 0.98
ALIKE_SMALL = 0.995
FEW = 64  # pixels of the shorter side
CHECKED = 2**14  # pairs at once: 30 MB
BANDS = BITS + 1  # by the pigeonhole principle near hashes agree in one of so many bands
MANY = 100_000  # pictures; with more, only BANDS_OF_MANY are tried, a tenth of the work:
NEIGHBOURS = 1000
BANDS_OF_MANY = 5  # of pairs that differ in all 6 bits it misses one in nine


class Pairs(NamedTuple):
    """P pairs of indices, first < second."""

    first: np.ndarray  # int64 [P]
    second: np.ndarray
    exact: np.ndarray  # bool [P]: the same bytes (or pixels, of arrays)


def find(records: np.ndarray, group_N: np.ndarray) -> Pairs:
    """The duplicates among readable pictures; of equal ones, each with the first of them only.

    Args:
        records: [N] of survey.RECORD.
        group_N: int64; near duplicates of one group are not looked for, since it stays together:
            an hour of video from one place would have a hundred million.
    """
    readable = np.flatnonzero(records["readable"])
    _, leaders, inverse = np.unique(
        records["content"][readable], return_index=True, return_inverse=True
    )
    leader_N = readable[leaders[inverse]]
    copies = readable != leader_N
    unique = np.sort(readable[leaders])
    # Without any contrast there is no shape to compare: such pictures are alike only when equal.
    near = _near(records, unique[records["spread"][unique] >= 1], group_N)
    first = np.concatenate([leader_N[copies], near[0]])
    second = np.concatenate([readable[copies], near[1]])
    exact = np.arange(len(first)) < copies.sum()
    order = np.lexsort((second, first))
    return Pairs(first[order], second[order], exact[order])


def groups(count: int, *edges: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """int64 [N]: for each picture the smallest index it is connected with through the edges."""
    parent = np.arange(count)

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for first, second in edges:
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            one, other = root(one), root(other)
            parent[max(one, other)] = min(one, other)
    while not np.array_equal(parent, parent[parent]):
        parent = parent[parent]
    return parent


def _near(
    records: np.ndarray, indices: np.ndarray, group_N: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """first < second of the near duplicates among the pictures at the sorted indices."""
    plain, mirrored = records["hash"][indices], records["mirrored"][indices]
    group = group_N[indices]
    near = np.zeros(0, np.int64)  # first * N + second
    for band in _bands(plain, mirrored):
        found = [near]
        for one, other in _equal(band):
            one, other = one % len(plain), other % len(plain)
            distance = np.minimum(
                np.bitwise_count(plain[one] ^ plain[other]),
                np.bitwise_count(plain[one] ^ mirrored[other]),
            )
            close = (distance <= BITS) & (group[one] != group[other])
            low, high = np.minimum(one, other)[close], np.maximum(one, other)[close]
            found.append(low * len(plain) + high)
        near = np.sort(np.concatenate(found))  # np.unique takes four times as long
        near = near[np.diff(near, prepend=-1) > 0]
    first, second = np.divmod(near, max(1, len(plain)))
    first, second = indices[first], indices[second]
    alike = [
        _alike(records[first[start : start + CHECKED]], records[second[start : start + CHECKED]])
        for start in range(0, len(first), CHECKED)
    ]
    sure = np.concatenate([np.zeros(0, bool), *alike])
    return first[sure], second[sure]


def _bands(plain: np.ndarray, mirrored: np.ndarray) -> Iterator[np.ndarray]:
    """Every so many-th bit of every hash as a number, first of the plain then of the mirrored ones.

    Bits that lie apart, because frequencies next to each other are alike in alike pictures.
    """
    hashes = np.concatenate([plain, mirrored])
    bits = np.unpackbits(hashes.view(np.uint8).reshape(-1, 8), axis=1)
    count = BANDS if len(plain) <= MANY else BANDS_OF_MANY
    for number in range(count):
        band = bits[:, number::count]
        yield band @ (1 << np.arange(band.shape[1]))


def _equal(keys: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of positions with equal keys, at most NEIGHBOURS apart in the order of keys, those next
    to each other first: of ten thousand frames of one scene not all need to meet."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    left = np.arange(len(keys))
    for step in range(1, min(len(keys), NEIGHBOURS)):
        left = left[: np.searchsorted(left, len(keys) - step)]
        left = left[keys[left] == keys[left + step]]
        if not len(left):
            return
        yield order[left], order[left + step]


def _alike(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """bool [P]: whether the thumbs of the records are alike, as they are or mirrored."""
    one, other = _normal(first["thumb"]), _normal(second["thumb"])
    plain = np.einsum("phw,phw->p", one, other)
    mirrored = np.einsum("phw,phw->p", one, other[:, :, ::-1])
    sides = [record[side] for record in (first, second) for side in ("height", "width")]
    least = np.where(np.min(sides, axis=0) < FEW, ALIKE_SMALL, ALIKE)
    return np.maximum(plain, mirrored) >= least


def _normal(thumbs: np.ndarray) -> np.ndarray:
    """float32 [P, 16, 16] of mean 0 and length 1."""
    values = thumbs.astype(np.float32)
    values -= values.mean(axis=(1, 2), keepdims=True)
    return values / np.maximum(np.sqrt((values**2).sum(axis=(1, 2), keepdims=True)), 1e-6)
