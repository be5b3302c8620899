"""What the surface of a hand is made of: skin with its creases, and nails.

h, w: the window of the picture that the hand covers. Colours are linear light, 0 to 1.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike

from trainer.data.hands.flesh import PALM, Limb
from trainer.data.hands.skeleton import Bone
from trainer.data.hands.surface import Surface
from trainer.data.hands.view import View

_TONES = np.array(  # sRGB, light to dark
    [
        *((250, 218, 198), (238, 192, 162), (222, 170, 132), (188, 132, 96)),
        *((140, 92, 66), (98, 64, 48), (64, 42, 34)),
    ]
)
_PALE = (226, 166, 138)  # what a palm of any colour tends to
_NAIL = (246, 205, 196)
_FOLD = 0.016  # half the width of a crease, in units

# Heart, head and life line of the palm: x, y.
_LINES = (
    ((-0.36, 0.66), (-0.16, 0.69), (0.04, 0.77), (0.16, 0.88)),
    ((0.36, 0.66), (0.14, 0.60), (-0.06, 0.52), (-0.22, 0.42)),
    ((0.34, 0.64), (0.15, 0.52), (0.05, 0.36), (0.02, 0.18)),
)


class Material(NamedTuple):
    """What each pixel shows; float32."""

    colour: np.ndarray  # [3, h, w]
    gloss: np.ndarray  # strength of the mirrored light, 0 to 1 [h, w]
    height: np.ndarray  # of what is too fine for the surface, in pixels [h, w]


class _Place(NamedTuple):
    """Where on its own limb each pixel lies; [h, w]."""

    across: np.ndarray  # how far its normal points to the limb's side, -1 to 1
    pad: np.ndarray  # and to the palm (1) or to the back (-1)
    start: np.ndarray  # from the start of the limb, in units
    end: np.ndarray  # from its end, in units
    beyond: np.ndarray  # where beyond the end (above 0) or before it, in units


def linear(colour: ArrayLike) -> np.ndarray:
    """sRGB of 0 to 255 as linear light, by a gamma of 2; float32."""
    return np.square(np.asarray(colour, np.float32) / 255)


def noise(shape: tuple[int, ...], cell: float, draw: np.random.Generator) -> np.ndarray:
    """Smooth noise about 0, of deviation 1 in cells of so many pixels; float32 [h, w]."""
    cells = [max(2, round(side / max(cell, 1.0))) for side in shape]
    coarse = draw.standard_normal(cells, np.float32)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)


def paint(
    surface: Surface,
    limbs: list[Limb],
    chains: list[list[Bone]],
    view: View,
    draw: np.random.Generator,
) -> Material:
    """The skin of somebody, light or dark, smooth or wrinkled."""
    place = _place(surface, limbs, chains, view)
    shape, unit = surface.depth.shape, surface.unit
    width = (2 * int(0.05 * unit) + 1,) * 2  # limbs that meet face different ways
    palmar = cv2.blur(cv2.blur(np.clip(0.5 + 0.9 * place.pad, 0, 1), width), width)
    back, palm = _tones(draw)
    colour = np.stack([one + palmar * (other - one) for one, other in zip(back, palm, strict=True)])
    colour *= 1 + draw.uniform(0.02, 0.08) * noise(shape, unit / 6, draw)
    tip = surface.of([limb.bone >= 0 and limb.bone % 3 == 2 for limb in limbs])
    flush = draw.uniform(0, 0.5) * np.where(tip, np.clip(palmar + 0.2, 0, 1), 0)
    height = 0.001 * unit * draw.random() * noise(shape, unit / 45, draw)
    crease = _creases(surface, place, limbs, view, draw)
    height -= 0.028 * unit * crease
    for plane, in_crease, flushed in zip(colour, (0.25, 0.5, 0.55), (0, 0.3, 0.2), strict=True):
        plane *= cv2.exp(-in_crease * crease - flushed * flush)
    gloss = np.full(shape, draw.uniform(0.02, 0.16), np.float32)
    material = Material(colour, gloss, height)
    _nails(material, surface, place, limbs, back, draw)
    return material


def _tones(draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Linear colours [3] of the back of the hand and of the palm, which tans little."""
    darkness = draw.uniform(0, len(_TONES) - 1)
    tone = np.array([np.interp(darkness, range(len(_TONES)), channel) for channel in _TONES.T])
    tone = np.clip(tone + draw.normal(0, 3, 3) + draw.normal(0, 6), 12, 255)
    share = draw.uniform(0.2, 0.6) * darkness / len(_TONES)
    return linear(tone), linear((tone + share * (_PALE - tone)) * (1.0, 0.97, 0.96))


def _place(surface: Surface, limbs: list[Limb], chains: list[list[Bone]], view: View) -> _Place:
    bones = [bone for chain in chains for bone in chain]
    frames = [bones[limb.bone].frame if limb.bone >= 0 else np.eye(3) for limb in limbs]
    axes = (view.turn @ np.array(frames)).astype(np.float32)  # columns as of a bone
    across, ahead, pad = (
        sum(surface.of(axes[:, i, column]) * surface.normal[i] for i in range(3))
        for column in range(3)
    )
    length = surface.of(np.linalg.norm([limb.end - limb.start for limb in limbs], axis=1))
    start = surface.along * length
    radius = surface.of([limb.radii[1] for limb in limbs])
    return _Place(across, pad, start, length - start, start - length + ahead * radius)


def _creases(
    surface: Surface, place: _Place, limbs: list[Limb], view: View, draw: np.random.Generator
) -> np.ndarray:
    """Folds of skin at the joints and in the palm, 0 to 1; float32 [h, w]."""
    opens = surface.of([limb.joints and limb.bone % 3 > 0 for limb in limbs])
    ends = surface.of([limb.joints and limb.bone % 3 < 2 for limb in limbs])
    joint = np.minimum(np.where(opens, place.start, 0.5), np.where(ends, place.end, 0.5))
    # No denormal numbers, which are slow: not further from a joint than 9 times the width.
    fold = cv2.exp(-np.square(np.minimum(joint / _FOLD, 9))) * np.clip(2 * place.pad, 0, 1)
    knuckle = cv2.exp(-np.square(joint / 0.06)) * np.clip(-2 * place.pad - 0.4, 0, 1)
    fold += knuckle * (0.16 + 0.2 * np.cos(joint * 170))
    palm = surface.of([limb.part == PALM for limb in limbs]) & (place.pad > 0.3)
    fold += np.where(palm, _lines(surface, view, draw), 0)
    return fold * np.float32(draw.uniform(0.3, 1.0))


def _lines(surface: Surface, view: View, draw: np.random.Generator) -> np.ndarray:
    """The lines of the palm, as if nothing were before them; float32 [h, w]."""
    canvas = np.zeros(surface.depth.shape, np.uint8)
    rows, columns = surface.window
    width = max(1, round(0.018 * view.scale))
    for line in _LINES:
        points = np.column_stack([np.array(line), np.full(len(line), 0.12)])
        flat, _ = view.project(points + draw.normal(0, 0.015, points.shape))
        points = np.rint(8 * (flat[:, :2] - (columns.start, rows.start))).astype(np.int32)
        cv2.polylines(canvas, [points], False, 255, width, cv2.LINE_AA, 3)
    return cv2.blur(canvas, (3, 3)) * np.float32(0.5 / 255)


def _nails(
    material: Material,
    surface: Surface,
    place: _Place,
    limbs: list[Limb],
    tone: np.ndarray,
    draw: np.random.Generator,
) -> None:
    """Paint them on the last phalanges, in place; some are long or polished."""
    colour = 0.5 * tone + 0.5 * min(1, 0.35 + float(tone.max())) * linear(_NAIL)
    polished = draw.random() < 0.15
    if polished:
        colour = linear(draw.uniform(0, 255, 3))
    longer = draw.uniform(0, 0.025) if polished or draw.random() < 0.2 else 0.0
    tip = surface.of([limb.joints and limb.bone % 3 == 2 for limb in limbs])
    where = np.nonzero(tip & (place.pad < -0.1))
    radius = surface.of([limb.radii[1] for limb in limbs])[where]
    along = (place.beyond[where] - longer) / (0.92 * radius + longer)
    form = np.abs(place.across[where] / 0.72) ** 3 + np.abs(along) ** 3  # 1 at its edge
    share = np.clip((1 - form) * 3, 0, 1)
    rim = 1 - 0.25 * np.exp(-np.square((form - 1) * 2.2))
    for plane, own in zip(material.colour, colour.tolist(), strict=True):
        plane[where] = rim * (plane[where] + share * (own - plane[where]))
    material.gloss[where] += share * (0.35 - material.gloss[where])
