"""The visible surface of limbs that flow into each other, seen along z.

Limbs are joined by a smooth minimum of their distances, the log of summed exponentials: softly
those of palm and arm, all others so little that it softens a contact. Each pixel's depth starts
before the nearest limb and follows the distance to the surface (sphere tracing, Hart 1996; with
Newton's steps). h, w: the window of the picture that the limbs cover.

Most of the time of a drawing is spent here. So arrays are reused, and no number is so small that it
is denormal: for such a result `cv2.exp` takes 300 times as long.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike

from trainer.data.hands.flesh import ARM, PALM, Limb
from trainer.data.hands.view import View

_SOFT, _HARD = 0.034, 0.009  # how softly limbs join, in units
_STEPS = 2  # a third changes one pixel of 600 visibly
_TIE = 0.05  # pixels; two limbs are equally near around their joint, and one of them is seen
_PASSED = 0.6  # pixels; a line of sight that comes no closer goes on to the limbs behind
_GRAZING = 0.25  # slope of the distance below which a line of sight is taken to pass
_FAR = -1e6  # depth where nothing is
_NONE = 1e-9  # the sum where no limb is; its fourth power is still no denormal number
_LEAST = -_HARD * math.log(_NONE)  # units; no limb is further away than this by the sum
_MOST = 1e30  # above every number here; clipping at both ends is faster than np.maximum

Window = tuple[slice, slice]  # rows, columns


class Surface(NamedTuple):
    """What is seen in a window of the picture; float32 [h, w] but for `limb`."""

    window: Window
    unit: float  # pixels per unit
    cover: np.ndarray  # 0 to 1
    depth: np.ndarray  # pixels towards the viewer; undefined where the cover is 0
    normal: np.ndarray  # [3, h, w], of length 1
    limb: np.ndarray  # index of the one that is seen, uint8 [h, w]; 255: none
    along: np.ndarray  # 0 at its start, 1 at its end

    def of(self, values: ArrayLike) -> np.ndarray:
        """One value of each limb, where that limb is seen, and 0 or False where none is; [h, w]."""
        each = np.asarray(values)
        table = np.zeros(256, np.uint8 if each.dtype == bool else np.float32)
        table[: len(each)] = each
        seen = cv2.LUT(self.limb, table)
        return seen.view(bool) if each.dtype == bool else seen


class _Flat(NamedTuple):
    """A limb on the canvas, and what of its distance does not depend on the depth; in pixels."""

    number: int  # of the limb
    window: Window
    start: float  # its depth there
    way: tuple[float, float, float]  # to its end, of length 1
    length: float
    radii: tuple[float, float]
    x: np.ndarray  # from the start [w]
    y: np.ndarray  # from the start [h, 1]
    aside: np.ndarray  # squared distance from the start in the plane [h, w]
    ahead: np.ndarray  # part of the dot product with `way` in the plane [h, w]
    blend: float
    soft: bool
    cut: bool


def trace(limbs: list[Limb], view: View, side: int) -> Surface:
    """The surface of the limbs in a picture of side x side pixels."""
    window, flats = _flatten(limbs, view, side)
    bare, around = np.full((2, *(part.stop - part.start for part in window)), _FAR, np.float32)
    for flat in flats:
        _front(bare, flat, 0.0)
        if flat.soft:
            _front(around, flat, 1.2 * flat.blend)
    closest, depth = _approach(flats, view.scale, bare, np.maximum(bare, around))
    distance, normal, limb, along = _touch(flats, view.scale, depth)
    closest = cv2.min(closest, np.abs(distance))
    closest[closest > 0.9 * _LEAST * view.scale] = _MOST
    cover = np.where(bare > _FAR, np.float32(1), (1.25 - closest).clip(0, 1))
    return Surface(window, view.scale, cover, depth, normal, limb, along)


def _flatten(limbs: list[Limb], view: View, side: int) -> tuple[Window, list[_Flat]]:
    """The window that all limbs cover, and them in it."""
    ends, scales = view.project(np.array([(limb.start, limb.end) for limb in limbs]))
    radii = np.array([limb.radii for limb in limbs]) * scales
    soft = np.array([limb.part in (PALM, ARM) for limb in limbs])
    blends = np.where(soft, _SOFT, _HARD) * view.scale
    reach = (radii + 3.0 * blends[:, None])[..., None]
    lows = np.floor((ends[..., :2] - reach).min(1))
    highs = np.ceil((ends[..., :2] + reach).max(1)) + 1
    lows, highs = np.clip(lows, 0, side).astype(int), np.clip(highs, 0, side).astype(int)
    seen = (highs > lows).all(1)
    corner, stop = lows[seen].min(0), highs[seen].max(0)
    starts = ends[:, 0] - (*corner, 0)
    ways = ends[:, 1] - ends[:, 0]
    lengths = np.maximum(np.linalg.norm(ways, axis=1), 1e-3)
    ways /= lengths[:, None]
    flats = []
    for i in np.flatnonzero(seen).tolist():
        (left, top), (right, bottom) = (lows[i] - corner).tolist(), (highs[i] - corner).tolist()
        (first, second, depth), way = starts[i].tolist(), ways[i].tolist()
        x = np.arange(left, right, dtype=np.float32) - first
        y = np.arange(top, bottom, dtype=np.float32)[:, None] - second
        flats.append(
            _Flat(
                i,
                (slice(top, bottom), slice(left, right)),
                depth,
                tuple(way),
                float(lengths[i]),
                tuple(radii[i].tolist()),
                x,
                y,
                x * x + y * y,
                x * way[0] + y * way[1],
                float(blends[i]),
                bool(soft[i]),
                limbs[i].cut,
            )
        )
    (left, top), (right, bottom) = corner.tolist(), stop.tolist()
    return (slice(top, bottom), slice(left, right)), flats


def _front(depth: np.ndarray, flat: _Flat, more: float) -> None:
    """Bring the depth forward to this limb, thicker by `more`, in place."""
    first, last = (radius + more for radius in flat.radii)
    dx, dy, dz = flat.way
    lean = max(math.hypot(dx, dy), 1e-3)
    length, rise = lean * flat.length, dz / lean
    growth = (last - first) / length
    along = flat.ahead * (1 / lean)
    room = along.clip(0, length)
    room *= growth
    room += first
    room *= room
    room -= flat.aside
    room += along * along
    # The ball that is highest over a pixel lies further up the slope than the pixel itself.
    ball = cv2.sqrt(room.clip(0, _MOST))
    ball *= rise / math.hypot(1, rise)
    ball += along
    ball.clip(0, length, out=ball)
    along -= ball
    along *= along
    room -= along
    height = cv2.sqrt(room.clip(0, _MOST))
    ball *= rise
    height += ball
    height += flat.start
    if flat.cut:
        room[flat.ahead < 0] = -1
    np.copyto(height, _FAR, where=room < 0)
    below = depth[flat.window]
    cv2.max(below, height, below)


def _approach(
    flats: list[_Flat], unit: float, bare: np.ndarray, depth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How close to the surface the lines of sight came, in pixels, and the depth of the surface."""
    closest = np.full_like(depth, _MOST)
    for _ in range(_STEPS):
        distance, slope = _distance(flats, unit, depth)
        cv2.min(closest, np.abs(distance), closest)
        passed = (distance > _PASSED) & (slope < _GRAZING) & (bare > _FAR)
        distance /= slope.clip(0.3, 1)
        depth -= distance
    cv2.max(depth, bare, depth)
    np.copyto(depth, bare, where=passed)
    return closest, depth


def _parts(
    flat: _Flat, depth: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What a limb is to the points at this depth, in pixels; [h, w] of its window.

    Returns:
        How far they are above its start, how far along it, how far from its axis and from its
        surface, and what it adds to the sum.
    """
    first, last = flat.radii
    above = depth[flat.window].copy()
    above -= flat.start
    ahead = above * flat.way[2]
    ahead += flat.ahead
    along = ahead.clip(0, flat.length)
    twice = ahead - along
    twice += ahead
    twice *= along
    room = above * above
    room += flat.aside
    room -= twice
    room.clip(1e-3, _MOST, out=room)
    axis = cv2.sqrt(room, room)
    distance = axis - first
    if last != first:
        distance -= along * ((last - first) / flat.length)
    if flat.cut:
        cv2.max(distance, -flat.ahead, distance)
    weight = distance * (-1 / flat.blend)
    weight.clip(-60, _MOST, out=weight)
    return above, along, axis, distance, cv2.exp(weight, weight)


def _distance(flats: list[_Flat], unit: float, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From the joint surface, in pixels, below 0 inside, and how it grows with the depth."""
    sums = np.full((2, *depth.shape), _NONE, np.float32)
    slopes = np.zeros((2, *depth.shape), np.float32)
    for flat in flats:
        above, along, axis, _, weight = _parts(flat, depth)
        along *= flat.way[2]
        above -= along
        above /= axis
        cv2.accumulate(weight, sums[int(flat.soft)][flat.window])
        cv2.accumulateProduct(weight, above, slopes[int(flat.soft)][flat.window])
    return _joined(sums, slopes, unit)


def _joined(sums: np.ndarray, slopes: np.ndarray, unit: float) -> tuple[np.ndarray, np.ndarray]:
    """The distance from what hard and soft limbs are together, and its slope or gradient.

    Args:
        sums: of the weights of hard and of soft limbs [2, h, w]; used up.
        slopes: sums of the weighted slopes [2, ..., h, w]; used up.
    """
    (hard, soft), (own, softly) = sums, slopes
    cv2.log(soft, soft)
    soft *= _SOFT / _HARD - 1
    power = cv2.exp(soft)  # of the sum; it weighs the soft limbs among the hard ones
    soft *= _SOFT / (_SOFT - _HARD)
    hard += cv2.exp(soft, soft)
    softly *= power
    own += softly
    own /= hard
    return cv2.log(hard, hard) * (-_HARD * unit), own


def _touch(
    flats: list[_Flat], unit: float, depth: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What the joint surface is at this depth.

    Returns:
        Distance from it, its normals [3, h, w], the nearest limb and the place along it.
    """
    shape = depth.shape
    sums = np.full((2, *shape), _NONE, np.float32)
    normals = np.zeros((2, 3, *shape), np.float32)
    nearest, place = np.full(shape, _MOST, np.float32), np.zeros(shape, np.float32)
    limb = np.full(shape, 255, np.uint8)
    for flat in flats:
        above, along, axis, distance, weight = _parts(flat, depth)
        cv2.accumulate(weight, sums[int(flat.soft)][flat.window])
        weight /= axis
        normal = normals[int(flat.soft)][:, *flat.window]
        for way, offset, part in zip(flat.way, (flat.x, flat.y, above), normal, strict=True):
            cv2.accumulateProduct(weight, offset - along * way, part)
        closer = distance < nearest[flat.window] - _TIE
        np.copyto(nearest[flat.window], distance, where=closer)
        np.copyto(place[flat.window], along * (1 / flat.length), where=closer)
        np.copyto(limb[flat.window], flat.number, where=closer)
    distance, normal = _joined(sums, normals, unit)
    normal *= 1 / np.sqrt((normal * normal).sum(0) + 1e-30)
    return distance, normal, limb, place
