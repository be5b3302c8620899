"""Drawn pictures of hands that show rock, paper or scissors.

They let a newcomer without pictures or a network train a first model. A hand is a skeleton of
tapered, round-ended limbs. The limbs are drawn as a relief, the height of the hand above the paper
at each pixel, and the slope of the relief gives the light and the creases.

Hand coordinates, for a right hand: x towards the thumb, y from the wrist (0) to the fingertips,
z out of the palm. The unit is the distance from the wrist to the knuckle of the middle finger.
Canvas coordinates: pixels, x to the right, y downwards, z towards the viewer.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

CLASSES = ("paper", "rock", "scissors")

_OVERSAMPLING = 2
_PAPER = np.float32(-1e6)  # the relief where there is no hand, below any limb
_FOREARM = 2  # limbs, side by side since it is broader than thick
_ARM_LENGTH = 5.0  # leaves the picture at any size and tilt of the hand

# Index to little finger: knuckle (x, y), lengths of the three phalanges, radius at the knuckle.
_FINGERS = (
    ((0.32, 0.95), (0.44, 0.26, 0.18), 0.102),
    ((0.11, 1.00), (0.48, 0.30, 0.19), 0.105),
    ((-0.10, 0.95), (0.44, 0.28, 0.19), 0.099),
    ((-0.29, 0.84), (0.35, 0.20, 0.17), 0.086),
)
_THINNING = (0.94, 0.95, 0.87, 0.77)  # of a finger's radius, from the knuckle to the tip
_STRETCHED, _FOLDED = (4.0, 8.0, 5.0), (84.0, 104.0, 72.0)  # bend of the three joints in degrees
_FAN = (1.0, 0.25, -0.45, -1.2)  # share of each finger in the spread

_THUMB_ROOT = (0.22, 0.14, 0.08)
_THUMB_RADII = (0.15, 0.115, 0.105, 0.08)
# The thumb's knuckle, joint and tip.
_THUMB_BESIDE = ((0.44, 0.52, 0.13), (0.52, 0.84, 0.13), (0.51, 1.06, 0.11))
_THUMB_AWAY = ((0.52, 0.44, 0.15), (0.78, 0.66, 0.17), (0.93, 0.84, 0.16))
_THUMB_OVER_INDEX = ((0.43, 0.49, 0.27), (0.38, 0.71, 0.52), (0.13, 0.77, 0.60))
_THUMB_OVER_RING = ((0.28, 0.52, 0.32), (0.12, 0.72, 0.56), (-0.12, 0.76, 0.60))

_SKIN = np.array(  # RGB, light to dark
    [(252, 220, 196), (240, 194, 160), (222, 168, 126), (190, 130, 90), (140, 88, 58), (92, 58, 40)]
)
_FURROW = np.array((0.84, 0.74, 0.7), np.float32)  # of the skin tone
_NAIL = np.array((245, 205, 195), np.float32)


class _Limb(NamedTuple):
    """A ball that moves from start to end while its radius changes."""

    start: np.ndarray
    end: np.ndarray
    radii: tuple[float, float]
    blend: float  # how softly it joins what is there already
    creases: tuple[float, float] = (0.0, 0.0)  # depth of the fold of skin at start and end
    cut: bool = False  # flat instead of round at the start


class _Mark(NamedTuple):
    """Points [n, 3] that outline a nail or follow a line of the palm, and where they face."""

    points: np.ndarray
    facing: np.ndarray


# Heart, head and life line.
_PALM_LINES = [
    _Mark(np.array(points), np.array((0.0, 0.0, 1.0)))
    for points in (
        [(-0.36, 0.66, 0.12), (-0.16, 0.69, 0.13), (0.04, 0.77, 0.13), (0.16, 0.88, 0.12)],
        [(0.36, 0.66, 0.12), (0.14, 0.60, 0.13), (-0.06, 0.52, 0.13), (-0.22, 0.42, 0.14)],
        [(0.34, 0.64, 0.12), (0.15, 0.52, 0.13), (0.05, 0.36, 0.15), (0.02, 0.18, 0.16)],
    )
]


class _View(NamedTuple):
    """Takes hand coordinates to canvas coordinates: turn @ point * scale + shift."""

    turn: np.ndarray
    scale: float
    shift: np.ndarray

    def __call__(self, point: np.ndarray) -> np.ndarray:
        return self.turn @ point * self.scale + self.shift


def draw(label: str, generator: np.random.Generator, size: int) -> np.ndarray:
    """Draw one hand.

    Args:
        label: what the hand shows, one of `CLASSES`.
        generator: the only source of chance; the same state gives the same bytes.
        size: width and height in pixels, at least 16.

    Returns:
        RGB image, uint8 [size, size, 3], 0 to 255.

    Raises:
        ValueError: `label` is not in `CLASSES`, or `size` is below 16.
    """
    if label not in CLASSES:
        raise ValueError(f"label must be one of {CLASSES}, got {label!r}")
    if size < 16:
        raise ValueError(f"size must be at least 16, got {size}")
    palm, fingers, nails = _hand(label, generator)
    side = size * _OVERSAMPLING
    view = _place(label, palm + fingers, side, generator)
    relief = np.full((side, side), _PAPER, np.float32)
    for limb in palm:
        _raise(relief, limb, view)
    _soften(relief, size, 0.07 * view.scale / _OVERSAMPLING)
    for limb in fingers:
        _raise(relief, limb, view)
    tone = _skin_tone(generator)
    painted = [
        (_mask(relief, nails, view, filled=True), 0.6 * tone + 0.4 * _NAIL),
        (_mask(relief, _PALM_LINES, view, filled=False), tone * _FURROW),
    ]
    if generator.random() < 0.4:
        sleeve = _dress(relief, palm[:_FOREARM], view, generator)
        painted.append((sleeve, generator.uniform(20, 240, 3)))
    cover = _shrink(relief > _PAPER, size)[..., None]
    hand = np.full((size, size, 3), tone, np.float32)
    for mask, colour in painted:
        hand += _shrink(mask, size)[..., None] * (colour.astype(np.float32) - hand)
    hand *= _light(relief, view, size, generator)
    ground = _background(size, tone, generator)
    if generator.random() < 0.5:
        ground *= _shadow(cover, generator)
    return _photograph(ground + cover * (hand - ground), generator)


def _hand(
    label: str, generator: np.random.Generator
) -> tuple[list[_Limb], list[_Limb], list[_Mark]]:
    """The limbs of forearm and palm, those of the fingers, and the nails."""
    stretched = {"paper": 4, "rock": 0, "scissors": 2}[label]
    openness = generator.uniform()
    spread = {"paper": 15 * openness - 1, "rock": 0.0, "scissors": 9 + 11 * openness}[label]
    girth, length = generator.uniform(0.9, 1.1), generator.uniform(0.92, 1.1)
    fingers = [
        _finger(number, number < stretched, spread, length, generator) for number in range(4)
    ]
    thumb = _thumb(label, openness, generator)
    limbs: list[_Limb] = []
    nails = []
    for joints, (_, _, radius) in zip(fingers, _FINGERS, strict=True):
        folded = joints[3, 2] > 0.2
        radii = [radius * girth * share * (1.1 if folded else 1.0) for share in _THINNING]
        limbs += _chain(joints, radii)
        if folded:  # the flesh of a bent finger leaves no hole in the middle
            limbs.append(_Limb(joints[3], (joints[0] + joints[1]) / 2, (radii[0], radii[0]), 0.0))
        nails.append(_nail(joints, np.array([1.0, 0.0, 0.0]), radii[-1]))
    limbs += _chain(thumb[1:], _THUMB_RADII[1:])
    if label != "paper":
        limbs.append(_Limb(thumb[2], thumb[1] + (-0.15, 0.15, 0), (0.1, 0.1), 0.04))
    faces = (0.6, -0.3, -0.7) if label == "paper" else (0.1, 0.3, 1.0)
    nails.append(_nail(thumb, np.cross(faces, thumb[3] - thumb[2]), _THUMB_RADII[-1]))
    return _palm(fingers, thumb, generator), limbs, nails


def _finger(
    number: int, stretched: bool, spread: float, length: float, generator: np.random.Generator
) -> np.ndarray:
    """Knuckle, two joints and tip of a finger [4, 3]."""
    (x, y), phalanges, _ = _FINGERS[number]
    aside = np.radians((spread if stretched else 0.0) * _FAN[number] + generator.normal(0, 1))
    bends = np.array(_STRETCHED if stretched else _FOLDED) + generator.normal(0, 3, 3)
    joints = [np.array([x, y, 0.0])]
    for bend, phalanx in zip(np.radians(bends.cumsum()), phalanges, strict=True):
        forward = np.cos(bend) * length * phalanx
        step = (forward * np.sin(aside), forward * np.cos(aside), np.sin(bend) * length * phalanx)
        joints.append(joints[-1] + step)
    return np.array(joints)


def _thumb(label: str, openness: float, generator: np.random.Generator) -> np.ndarray:
    """Root, knuckle, joint and tip of the thumb [4, 3]."""
    if label == "paper":
        joints = np.array(_THUMB_BESIDE) * (1 - openness) + np.array(_THUMB_AWAY) * openness
    else:
        joints = np.array(_THUMB_OVER_INDEX if label == "rock" else _THUMB_OVER_RING)
    return np.vstack([_THUMB_ROOT, joints + generator.normal(0, 0.015, (3, 3))])


def _palm(
    fingers: list[np.ndarray], thumb: np.ndarray, generator: np.random.Generator
) -> list[_Limb]:
    """Forearm, palm, ball of the thumb and the skin between the fingers."""
    sideways, raised = generator.normal(0, 0.15, 2)
    elbow = _ARM_LENGTH * np.array([sideways, -1.0, raised])
    limbs = []
    for x in np.linspace(-0.11, 0.11, _FOREARM):
        wrist = np.array([x, 0.0, 0.0])
        limbs.append(_Limb(wrist, wrist + elbow + (3 * x, 0, 0), (0.17, 0.4), 0.15))
    for knuckle in (joints[0] for joints in fingers):
        limbs.append(_Limb(np.array([0.6 * knuckle[0], 0.12, 0.0]), knuckle, (0.16, 0.12), 0.06))
    root, thumb_knuckle = thumb[:2]
    for start, end, radii in (
        ((-0.15, 0.2, 0.04), (-0.26, 0.6, 0.03), (0.15, 0.12)),
        (root, thumb_knuckle, _THUMB_RADII[:2]),
        (0.5 * root, 0.6 * thumb_knuckle + (0.1, 0.2, 0.0), (0.15, 0.12)),
        (0.2 * root + 0.8 * thumb_knuckle, (0.26, 0.68, 0.02), (0.08, 0.1)),
    ):
        limbs.append(_Limb(np.asarray(start), np.asarray(end), radii, 0.1))
    webs = [joints[0] + 0.25 * (joints[1] - joints[0]) for joints in fingers]
    for one, other in pairwise(webs):
        limbs.append(_Limb(one, other, (0.075, 0.075), 0.03))
    return limbs


def _chain(joints: np.ndarray, radii: Sequence[float]) -> list[_Limb]:
    """The limbs from joint to joint, with a crease at each joint between two of them."""
    depths = [0.0] + [0.018] * (len(joints) - 2) + [0.0]
    return [
        _Limb(joints[i], joints[i + 1], (radii[i], radii[i + 1]), 0.04, (depths[i], depths[i + 1]))
        for i in range(len(joints) - 1)
    ]


def _nail(joints: np.ndarray, across: np.ndarray, radius: float) -> _Mark:
    """The nail on the last limb, facing away from the plane of that limb and `across`."""
    along = (joints[-1] - joints[-2]) / np.linalg.norm(joints[-1] - joints[-2])
    across = across - along * (across @ along)
    across /= np.linalg.norm(across)
    facing = np.cross(along, across)
    angles = np.linspace(0, 2 * math.pi, 20, endpoint=False)[:, None]
    ellipse = np.cos(angles) * along + 0.7 * np.sin(angles) * across
    return _Mark(joints[-1] + radius * (0.9 * facing + ellipse), facing)


def _place(label: str, limbs: list[_Limb], side: int, generator: np.random.Generator) -> _View:
    """A view of the hand, turned and of a size that lets all but the forearm fit the canvas."""
    pick = generator.uniform()
    roll, tilt = generator.normal(0, 15), generator.normal(0, 12)
    if label == "rock" and pick < 0.4:
        roll -= 60
    elif pick > (0.8 if label == "rock" else 0.6):
        roll += 180
        tilt += 15 if label == "rock" else 0
    turn = np.diag([generator.choice([-1.0, 1.0]), -1.0, 1.0])  # left or right hand
    for axis, degrees in ((2, generator.uniform(0, 360)), (0, tilt), (1, roll)):
        turn = turn @ cv2.Rodrigues(np.radians(degrees) * np.eye(3)[axis])[0]
    points = np.array([limb.end for limb in limbs[_FOREARM:]]) @ turn.T
    low, high = points.min(0) - 0.12, points.max(0) + 0.12
    room = generator.uniform(0.5, 0.75) if label == "rock" else generator.uniform(0.65, 0.92)
    scale = float(room * side / (high - low)[:2].max())
    slack = (side - scale * (high - low)) / 2
    shift = side / 2 - scale * (high + low) / 2 + slack * generator.uniform(-0.8, 0.8, 3)
    return _View(turn, scale, shift)


def _raise(relief: np.ndarray, limb: _Limb, view: _View) -> None:
    """Add a limb to the relief [side, side], in place."""
    first, last = (radius * view.scale for radius in limb.radii)
    start, end = view(limb.start), view(limb.end)
    low = np.minimum(start - first, end - last)[:2]
    high = np.maximum(start + first, end + last)[:2] + 1
    (left, top), (right, bottom) = np.clip([low, high], 0, len(relief)).astype(int).tolist()
    if left >= right or top >= bottom:
        return
    (x, y, z), (dx, dy, dz) = start.tolist(), (end - start).tolist()
    length = max(math.hypot(dx, dy), 1e-3)
    ux, uy, rise = dx / length, dy / length, dz / length
    right_of = np.arange(left, right, dtype=np.float32) - x
    under = np.arange(top, bottom, dtype=np.float32)[:, None] - y
    along = right_of * ux + under * uy
    radius = np.clip(along, 0, length) * ((last - first) / length) + first
    room = radius**2 - (under * ux - right_of * uy) ** 2
    # The ball that is highest over a pixel lies further up the slope than the pixel itself.
    ball = np.sqrt(np.maximum(room, 0)) * (rise / math.hypot(1, rise))
    ball += along
    np.clip(ball, 0, length, out=ball)
    room -= (along - ball) ** 2
    outside = room < 0
    if limb.cut:
        outside |= along < 0
    height = np.sqrt(np.maximum(room, 0, out=room), out=room)
    height += rise * ball + z
    for depth, distance in zip(limb.creases, (ball, length - ball), strict=True):
        if depth:
            height -= depth * view.scale * np.exp(-((distance / (0.025 * view.scale)) ** 2))
    np.copyto(height, 2 * _PAPER, where=outside)
    below = relief[top:bottom, left:right]
    if limb.blend:
        blend = limb.blend * view.scale
        height -= below
        share = np.clip(height * (0.5 / blend) + 0.5, 0, 1)
        below += share * (height + blend * (1 - share))
    else:
        np.maximum(below, height, out=below)


def _soften(relief: np.ndarray, size: int, reach: float) -> None:
    """Smooth the relief inside its outline, in place; `reach` in pixels of the picture."""
    cover = relief > _PAPER
    width = (2 * round(reach) + 1,) * 2
    total, weight = (cv2.blur(_shrink(part, size), width) for part in (relief * cover, cover))
    smooth = cv2.resize(total / np.maximum(weight, 1e-6), relief.shape)
    np.copyto(relief, smooth, where=cover)


def _skin_tone(generator: np.random.Generator) -> np.ndarray:
    """RGB [3], 0 to 255."""
    darkness = generator.uniform(0, len(_SKIN) - 1)
    tone = [np.interp(darkness, range(len(_SKIN)), channel) for channel in _SKIN.T]
    return np.clip(tone + generator.normal(0, 5, 3), 0, 255).astype(np.float32)


def _mask(relief: np.ndarray, marks: list[_Mark], view: _View, filled: bool) -> np.ndarray:
    """1 on the marks that face the viewer with nothing before them; uint8 [side, side]."""
    mask = np.zeros(relief.shape, np.uint8)
    for mark in marks:
        points = mark.points @ view.turn.T * view.scale + view.shift
        column, row = np.clip(points.mean(0)[:2], 0, len(relief) - 1).astype(int)
        open_to_view = relief[row, column] < points[:, 2].max() + 0.05 * view.scale
        if open_to_view and (view.turn @ mark.facing)[2] > 0.25:
            outline = [np.rint(points[:, :2]).astype(np.int32)]
            if filled:
                cv2.fillPoly(mask, outline, 1)
            else:
                cv2.polylines(mask, outline, False, 1, max(1, round(0.018 * view.scale)))
    return mask


def _dress(
    relief: np.ndarray, arm: list[_Limb], view: _View, generator: np.random.Generator
) -> np.ndarray:
    """Put a sleeve over the forearm, in place, and say where: bool [side, side]."""
    start = np.mean([limb.start for limb in arm], axis=0)
    end = np.mean([limb.end for limb in arm], axis=0)
    cuff = start + generator.uniform(0.05, 0.13) * (end - start)
    bare = relief.copy()
    _raise(relief, _Limb(cuff, end, (generator.uniform(0.36, 0.44), 0.9), 0.0, cut=True), view)
    return relief > bare


def _shrink(canvas: np.ndarray, size: int) -> np.ndarray:
    """The mean of the canvas [side, side] in each pixel of the picture; float32 [size, size]."""
    return cv2.resize(canvas.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)


def _light(
    relief: np.ndarray, view: _View, size: int, generator: np.random.Generator
) -> np.ndarray:
    """Light from one side, with dark hollows; float32 [size, size, 3], 0 to 1."""
    # A bottom near the hand keeps its heights exact in the sums of the blur.
    solid = _shrink(np.maximum(relief - np.float32(view.shift[2]), -view.scale), size)
    right, down = (cv2.Sobel(solid, -1, x, 1 - x, scale=0.125 / _OVERSAMPLING) for x in (1, 0))
    upright = 1 / np.sqrt(1 + right**2 + down**2)
    angle, lean = generator.uniform(0, 2 * math.pi), generator.uniform(0.2, 0.6)
    slope = lean * (math.cos(angle) * right + math.sin(angle) * down)
    lambert = np.maximum((math.sqrt(1 - lean**2) - slope) * upright, 0)
    ambient = generator.uniform(0.35, 0.6)
    shade = (ambient + (1 - ambient) * lambert) * (0.7 + 0.3 * upright)
    for reach, strength in ((0.06, 4.0), (0.2, 1.5)):
        width = 2 * int(reach * view.scale / _OVERSAMPLING) + 1
        around = cv2.blur(cv2.blur(solid, (width, width)), (width, width))
        shade /= 1 + np.maximum(around - solid, 0) * (strength / view.scale)
    # Skin lets red light through, so that its shadows are warm.
    return cv2.merge([cv2.pow(shade, power) for power in (0.85, 1.05, 1.15)])


def _background(size: int, tone: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A surface that stands out from the skin; float32 [size, size, 3], 0 to 255."""
    candidates = generator.uniform(50, 240, (2, 1)) + generator.normal(0, 40, (2, 3))
    colour = candidates[np.abs(candidates - tone).sum(1).argmax()]
    kind = generator.choice(["white", "plain", "gradient", "texture", "clutter"])
    if kind == "white":
        colour = generator.uniform(225, 255) + generator.normal(0, 3, 3)
    ground = np.empty((size, size, 3), np.float32)
    ground[:] = colour
    if kind == "clutter":
        for _ in range(generator.integers(4, 12)):
            ink = tuple(0.6 * colour + 0.4 * generator.uniform(0, 255, 3))
            a, b = generator.integers(0, size, (2, 2)).tolist()
            if generator.random() < 0.5:
                cv2.line(ground, a, b, ink, int(generator.integers(1, 1 + size // 10)), cv2.LINE_AA)
            else:
                axes = generator.integers(1, 1 + size // 5, 2).tolist()
                cv2.ellipse(ground, a, axes, b[0], 0, 360, ink, -1, cv2.LINE_AA)
    cells = {"gradient": 2, "texture": int(generator.integers(8, 50))}.get(str(kind), 3)
    depth = 35 if kind == "gradient" else 12
    cloud = generator.normal(0, depth, (cells, cells)).astype(np.float32)
    ground += cv2.resize(cloud, (size, size), interpolation=cv2.INTER_CUBIC)[..., None]
    return np.clip(ground, 0, 255)


def _shadow(cover: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """What the hand leaves of the light on the background; float32 [size, size, 1], 0 to 1."""
    size = len(cover)
    x, y = generator.uniform(-0.06, 0.06, 2) * size
    moved = cv2.warpAffine(cover, np.array([[1, 0, x], [0, 1, y]]), (size, size))
    soft = cv2.GaussianBlur(moved, (0, 0), size * generator.uniform(0.01, 0.03))
    return 1 - np.float32(generator.uniform(0.2, 0.5)) * soft[..., None]


def _photograph(picture: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A slight blur, brightness and noise; uint8 [size, size, 3]."""
    picture = cv2.GaussianBlur(picture, (0, 0), generator.uniform(0.2, 0.8))
    noise = generator.standard_normal(picture.shape[:2], np.float32)[..., None]
    picture = picture * np.float32(generator.uniform(0.85, 1.05))
    picture += noise * np.float32(generator.uniform(0, 5))
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)
