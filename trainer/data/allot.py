"""Units -> pieces of given shares, stratified by class, whatever the order of the listing.

Every unit draws a number between 0 and 1 by a hash of the seed and its content, and the shares cut
that line into pieces. So units that are added move no other. The price is that shares hold on
average; where a class gets less than a third or more than twice its share in a piece, which is rare
but for a handful of pictures, the units with the nearest numbers change places.

N pictures in U units, K classes, S pieces.
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Contents(NamedTuple):
    """What is in the units: unit[i] has weight[i] pictures of class label[i]."""

    unit: np.ndarray
    label: np.ndarray
    weight: np.ndarray
    classes: int  # K


class Balance(NamedTuple):
    """Pictures by piece and class, float64 [S, K]: how many there are and may be."""

    now: np.ndarray
    low: np.ndarray
    high: np.ndarray


def key(text: str) -> int:
    """64 bits of the sha256 of a name."""
    content = text.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little")


def draws(key_N: np.ndarray, unit_N: np.ndarray, seed: int) -> np.ndarray:
    """float64 [N] in [0, 1), the same within a unit: by the smallest key of its pictures, mixed
    with the seed by the finaliser of SplitMix64 (Steele et al. 2014)."""
    smallest_N = np.full(len(key_N), np.iinfo(np.uint64).max)
    np.minimum.at(smallest_N, unit_N, key_N)
    z = smallest_N[unit_N] + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))) / 2.0**64


def allot(
    draw_N: np.ndarray,
    unit_N: np.ndarray,
    labels: np.ndarray,
    shares: Sequence[float],
    there_SK: np.ndarray,
) -> np.ndarray:
    """int64 [N]: the piece of each picture; every class has between a third and twice its share
    in every piece, and at least one picture, as far as whole units allow.

    Args:
        labels: class indices [N], or multi-hot [N, K].
        shares: of the S pieces; they add up to 1.
        there_SK: pictures that are in the pieces already, and count towards the shares.
    """
    share_S = np.array(shares)
    _, first, member_N = np.unique(unit_N, return_index=True, return_inverse=True)
    draw_U = draw_N[first]
    piece_U = np.searchsorted(np.cumsum(share_S)[:-1], draw_U, side="right")
    start_S = np.cumsum(share_S) - share_S
    away_US = np.maximum(start_S - draw_U[:, None], draw_U[:, None] - start_S - share_S)
    _even_out(piece_U, away_US, share_S, _contents(member_N, labels, there_SK.shape[1]), there_SK)
    return piece_U[member_N]


def _contents(unit_N: np.ndarray, labels: np.ndarray, classes: int) -> Contents:
    row, label = np.nonzero(labels) if labels.ndim == 2 else (np.arange(len(labels)), labels)
    place, weight = np.unique(unit_N[row] * classes + label, return_counts=True)
    return Contents(*np.divmod(place, classes), weight, classes)


def _even_out(
    piece_U: np.ndarray,
    away_US: np.ndarray,
    share_S: np.ndarray,
    contents: Contents,
    there_SK: np.ndarray,
) -> None:
    """Moves units, for the rarest classes first (as Sechidis et al. 2011 do), each once per class.

    Args:
        piece_U: changed in place.
        away_US: how far the number of a unit lies from a piece.
    """
    unit, label, weight, classes = contents
    total_K = np.bincount(label, weight, classes) + there_SK.sum(axis=0)
    wanted_SK = share_S[:, None] * total_K
    low_SK = np.maximum(1, np.floor(wanted_SK / 3))
    high_SK = np.maximum(low_SK, np.ceil(wanted_SK * 2))
    balance = Balance(there_SK.astype(np.float64), low_SK, high_SK)
    np.add.at(balance.now, (piece_U[unit], label), weight)
    uneven_K = np.any((balance.now < low_SK) | (balance.now > balance.high), axis=0)
    for name in np.argsort(total_K, kind="stable"):
        if not total_K[name] or not uneven_K[name]:
            continue
        mine = np.flatnonzero(label == name)
        free = np.ones(len(mine), bool)
        while move := _move(
            name, piece_U[unit[mine]], away_US[unit[mine]], weight[mine], free, balance
        ):
            chosen, target = move
            free[chosen] = False
            its = unit == unit[mine[chosen]]
            its_K = np.bincount(label[its], weight[its], classes)
            balance.now[piece_U[unit[mine[chosen]]]] -= its_K
            balance.now[target] += its_K
            piece_U[unit[mine[chosen]]] = target


def _move(
    name: int,
    piece_M: np.ndarray,
    away_MS: np.ndarray,
    weight_M: np.ndarray,
    free_M: np.ndarray,
    balance: Balance,
) -> tuple[int, int] | None:
    """(which of the M units of a class, to which piece), or None where nothing fits or helps."""
    count_S, low_S, high_S = (each[:, name] for each in balance)
    for source, target in _directions(count_S, low_S, high_S):
        room = count_S[source] - (1 if count_S[target] < 1 else low_S[source])
        if count_S[target] >= low_S[target]:
            room = min(room, high_S[target] - count_S[target])
        fits_M = free_M & (piece_M == source) & (weight_M <= room)
        if fits_M.any():
            return int(np.where(fits_M, away_MS[:, target], np.inf).argmin()), target
    return None


def _directions(
    count_S: np.ndarray, low_S: np.ndarray, high_S: np.ndarray
) -> list[tuple[int, int]]:
    """(from, to) that would help a class, the best first: to a piece that has nothing, then to the
    one that lacks most, or from the one that has most too much. Empty if all is well."""
    lack_S, over_S = low_S - count_S, count_S - high_S
    if lack_S.max() > 0:
        order = np.argsort(lack_S, kind="stable").tolist()
        lacking = [piece for piece in reversed(order) if lack_S[piece] > 0]
        lacking.sort(key=lambda piece: bool(count_S[piece] >= 1))
        return [(source, target) for target in lacking for source in order if source != target]
    if over_S.max() > 0:
        source = int(over_S.argmax())
        fullest = np.argsort(count_S / high_S).tolist()
        return [(source, target) for target in fullest if target != source]
    return []
