"""The visible surface of limbs that flow into each other, seen along z.

Limbs are joined by a smooth minimum of their distances, the log of summed exponentials: softly
those of palm and arm, all others so little that it softens a contact. Each pixel's depth starts
before the nearest limb and follows the distance (sphere tracing, Hart 1996; with secant steps) to
the surface. h, w: the window of the picture that the limbs cover.
"""

import math
from typing import NamedTuple

import numpy as np

from trainer.data.hands.flesh import ARM, PALM, Limb
from trainer.data.hands.view import View

_SOFT, _HARD = 0.034, 0.009  # how softly limbs join, in units
_STEPS = 3  # the fourth changes three pixels of 10,000
_TIE = 0.05  # pixels; two limbs are equally near around their joint, and one of them is seen
_PASSED = 0.6  # pixels; a line of sight that comes no closer goes on to the limbs behind
_FAR = -1e6  # depth where nothing is

Window = tuple[slice, slice]  # rows, columns


class Surface(NamedTuple):
    """What is seen in a window of the picture; float32 [h, w] but for `limb`."""

    window: Window
    unit: float  # pixels per unit
    cover: np.ndarray  # 0 to 1
    depth: np.ndarray  # pixels towards the viewer; undefined where the cover is 0
    normal: np.ndarray  # [3, h, w], of length 1
    limb: np.ndarray  # index of the one that is seen, int8 [h, w]
    along: np.ndarray  # 0 at its start, 1 at its end


class _Flat(NamedTuple):
    """A limb on the canvas, and what of its distance does not depend on the depth."""

    number: int  # of the limb
    window: Window
    start: float  # its depth there
    way: tuple[float, float, float]  # to its end
    square: float  # of the way
    radii: tuple[float, float]
    x: np.ndarray  # from the start [w]
    y: np.ndarray  # from the start [h, 1]
    aside: np.ndarray  # squared distance from the start in the plane [h, w]
    ahead: np.ndarray  # part of the dot product with `way` in the plane [h, w]
    blend: float  # pixels
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
    closest, depth = _approach(flats, view.scale, np.maximum(bare, around))
    depth = np.where((bare > depth) | (bare > _FAR) & (closest > _PASSED), bare, depth)
    normal, limb, along = _touch(flats, depth)
    cover = np.where(bare > _FAR, np.float32(1), np.clip(1.25 - closest, 0, 1))
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
    corner = lows[seen].min(0)
    stop = highs[seen].max(0)
    flats = []
    for i in np.flatnonzero(seen):
        (left, top), (right, bottom) = (lows[i] - corner).tolist(), (highs[i] - corner).tolist()
        start = ends[i, 0] - (*corner, 0)
        way = ends[i, 1] - ends[i, 0]
        x = np.arange(left, right, dtype=np.float32) - float(start[0])
        y = np.arange(top, bottom, dtype=np.float32)[:, None] - float(start[1])
        flats.append(
            _Flat(
                int(i),
                (slice(top, bottom), slice(left, right)),
                float(start[2]),
                tuple(way.tolist()),
                max(sum(each * each for each in way.tolist()), 1e-6),
                tuple(radii[i].tolist()),
                x,
                y,
                x * x + y * y,
                x * float(way[0]) + y * float(way[1]),
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
    length = max(math.hypot(dx, dy), 1e-3)
    rise, growth = dz / length, (last - first) / length
    along = flat.ahead * (1 / length)
    room = _between(along.copy(), length)
    room *= growth
    room += first
    room *= room
    room -= flat.aside
    room += along * along
    # The ball that is highest over a pixel lies further up the slope than the pixel itself.
    ball = np.sqrt(np.maximum(room, 0)) * (rise / math.hypot(1, rise))
    ball += along
    ball = _between(ball, length)
    along -= ball
    room -= along * along
    height = np.sqrt(np.maximum(room, 0))
    height += rise * ball + flat.start
    if flat.cut:
        room[flat.ahead < 0] = -1
    height[room < 0] = _FAR
    below = depth[flat.window]
    np.maximum(below, height, out=below)


def _approach(flats: list[_Flat], unit: float, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How close to the surface the line of sight of each pixel comes, in pixels, and where."""
    distance = _distance(flats, unit, depth)
    closest, where = np.abs(distance), depth.copy()
    slope: np.ndarray | float = 1.0
    for step in range(_STEPS):
        move = distance / slope
        depth = depth - move
        last, distance = distance, _distance(flats, unit, depth)
        near = np.abs(distance)
        closer = near < closest
        np.copyto(closest, near, where=closer)
        np.copyto(where, depth, where=closer)
        if step + 1 < _STEPS:
            move += np.copysign(np.float32(1e-4), move)
            slope = np.clip((last - distance) / move, 0.3, 1)
    return closest, where


def _parts(flat: _Flat, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance from a limb at this depth, place along it (0 to 1), and depth from its start."""
    first, last = flat.radii
    above = depth[flat.window] - flat.start
    ahead = above * flat.way[2]
    ahead += flat.ahead
    along = _between(ahead * (1 / flat.square), 1)
    ahead *= 2
    ahead -= flat.square * along
    ahead *= along
    room = above * above
    room += flat.aside
    room -= ahead
    np.maximum(room, 1e-3, out=room)
    distance = np.sqrt(room, out=room)
    if last != first:
        distance -= along * (last - first)
    distance -= first
    if flat.cut:
        np.maximum(distance, flat.ahead * (-1 / math.sqrt(flat.square)), out=distance)
    return distance, along, above


def _weight(distance: np.ndarray, blend: float) -> np.ndarray:
    """What a limb adds to the sum; never a denormal number, which are slow."""
    scaled = distance * (-1 / blend)
    return np.exp(np.maximum(scaled, -60, out=scaled), out=scaled)


def _between(values: np.ndarray, high: float) -> np.ndarray:
    """The values, in place, at least 0 and at most `high`; np.clip takes 5 µs longer."""
    np.maximum(values, 0, out=values)
    return np.minimum(values, high, out=values)


def _distance(flats: list[_Flat], unit: float, depth: np.ndarray) -> np.ndarray:
    """From the joint surface, in pixels, below 0 inside; float32 [h, w]."""
    hard, soft = np.full((2, *depth.shape), 1e-25, np.float32)
    for flat in flats:
        distance, _, _ = _parts(flat, depth)
        (soft if flat.soft else hard)[flat.window] += _weight(distance, flat.blend)
    return np.log(hard + np.exp(np.log(soft) * (_SOFT / _HARD))) * (-_HARD * unit)


def _touch(flats: list[_Flat], depth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normals [3, h, w] of the joint surface at this depth, the nearest limb and place along it."""
    shape = depth.shape
    hard, soft = np.zeros((2, 3, *shape), np.float32)
    total = np.full(shape, 1e-25, np.float32)
    nearest, place = np.full(shape, 1e9, np.float32), np.zeros(shape, np.float32)
    limb = np.full(shape, -1, np.int8)
    for flat in flats:
        distance, along, above = _parts(flat, depth)
        weight = _weight(distance, flat.blend)
        if flat.soft:
            total[flat.window] += weight
        outward = weight / (distance + along * (flat.radii[1] - flat.radii[0]) + flat.radii[0])
        normal = (soft if flat.soft else hard)[:, *flat.window]
        for axis, offset in enumerate((flat.x, flat.y, above)):
            normal[axis] += outward * (offset - along * flat.way[axis])
        closer = distance < nearest[flat.window] - _TIE
        np.copyto(nearest[flat.window], distance, where=closer)
        np.copyto(place[flat.window], along, where=closer)
        np.copyto(limb[flat.window], flat.number, where=closer)
    normal = hard + soft * np.exp(np.log(total) * (_SOFT / _HARD - 1))
    normal *= 1 / np.sqrt(np.maximum((normal * normal).sum(0), 1e-30))
    return normal, limb, place
