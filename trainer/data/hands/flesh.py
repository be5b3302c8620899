"""What lies around the bones: tapered, round-ended limbs that flow into each other."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from trainer.data.hands.skeleton import KNUCKLES, THUMB_ROOT, Bone, turn

PALM, ARM, SLEEVE = 5, 6, 7  # parts; 0 to 3 are the fingers, 4 is the thumb

FINGER_RADII = (
    (0.101, 0.098, 0.086, 0.068),
    (0.103, 0.101, 0.088, 0.070),
    (0.099, 0.095, 0.083, 0.067),
    (0.086, 0.081, 0.073, 0.058),
)
THUMB_RADII = (0.15, 0.116, 0.106, 0.078)
_FOLDED = 0.45  # distance below which a fingertip is in the palm, or the thumb on a finger
ARM_LENGTH = 6.0  # leaves the picture


class Limb(NamedTuple):
    """A ball that moves from start to end while its radius changes."""

    start: np.ndarray  # [3]
    end: np.ndarray  # [3]
    radii: tuple[float, float]
    part: int
    bone: int = -1  # 3 x finger + phalanx, 12 to 14 for the thumb; -1: none
    joints: bool = False  # whether start and end are joints, with their creases
    cut: bool = False  # flat instead of round at the start


class Shape(NamedTuple):
    """How one person's hand differs from another's."""

    length: float  # of the fingers, a factor
    girth: float  # of the fingers, a factor
    wrist: tuple[float, float]  # degrees that the arm is bent to the thumb, and towards the palm
    sleeve: float  # from the wrist on, at this distance; 0: none


def limbs(chains: list[list[Bone]], shape: Shape) -> list[Limb]:
    """All limbs of a hand whose bones lie so."""
    found = [*_arm(shape), *_palm(chains, shape)]
    for number, chain in enumerate(chains):
        radii = np.array((*FINGER_RADII, THUMB_RADII)[number]) * shape.girth
        for phalanx, bone in enumerate(chain):
            if number == 4 and phalanx == 0:
                continue  # its metacarpal is of the palm
            ends = float(radii[phalanx]), float(radii[phalanx + 1])
            found.append(Limb(bone.start, bone.end, ends, number, 3 * number + phalanx, True))
            if phalanx < 2:
                found.append(_pad(bone, ends, number, 3 * number + phalanx))
        if number < 4 and np.linalg.norm(chain[2].end - chain[0].start) < _FOLDED:
            inner = (chain[0].start + chain[1].start) / 2  # what is pressed together has no hole
            found.append(Limb(inner, chain[1].end, (float(radii[1]), float(radii[2])), number))
    return found


def _pad(bone: Bone, radii: tuple[float, float], part: int, index: int) -> Limb:
    """The flesh between two creases."""
    offset = 0.13 * radii[1] * bone.frame[:, 2]
    along = bone.end - bone.start
    thick = 0.93 * radii[1]
    return Limb(
        bone.start + 0.4 * along + offset,
        bone.end - 0.32 * along + offset,
        (thick, thick),
        part,
        index,
    )


def _arm(shape: Shape) -> list[Limb]:
    aside, raised = shape.wrist
    way = turn("z", -aside) @ turn("x", raised) @ np.array((0.0, -1.0, 0.0))
    across = turn("z", -aside) @ np.array((1.0, 0.0, 0.0))
    found = []
    for side in (-1, 1):
        start = np.array((0.095 * side, 0.06, 0.0))
        end = start + ARM_LENGTH * way + 0.3 * side * across
        found.append(Limb(start, end, (0.155, 0.5), ARM))
    if shape.sleeve:
        cuff = shape.sleeve * way
        loose = 0.40 + 0.04 * shape.sleeve
        found.append(Limb(cuff, ARM_LENGTH * way, (loose, 0.9), SLEEVE, cut=True))
    return found


def _palm(chains: list[list[Bone]], shape: Shape) -> list[Limb]:
    """Metacarpals, the roots of the fingers and the skin between them, the balls of the hand."""
    found = []
    for knuckle in KNUCKLES:
        carpal = np.array((0.58 * knuckle[0] + 0.01, 0.1, 0.0))
        found.append(Limb(carpal, knuckle - (0, 0, 0.01), (0.12, 0.092), PALM))
    roots = [chain[0].start + 0.3 * (chain[0].end - chain[0].start) for chain in chains[:4]]
    for number, root in enumerate(roots):
        radius = FINGER_RADII[number][0] * shape.girth
        found.append(Limb(KNUCKLES[number], root, (0.92 * radius, 0.8 * radius), PALM))
    for one, other in pairwise(roots):
        if np.linalg.norm(one - other) < 0.32:
            found.append(Limb(0.7 * one + 0.3 * other, 0.3 * one + 0.7 * other, (0.05, 0.05), PALM))
    thumb = chains[4][0]
    middle = 0.35 * thumb.start + 0.65 * thumb.end
    for start, end, radii in (
        ((0.2, 0.78, 0.035), (-0.18, 0.7, 0.035), (0.075, 0.075)),  # below the fingers
        ((-0.19, 0.18, 0.05), (-0.26, 0.66, 0.05), (0.11, 0.075)),  # ball of the little finger
        ((-0.05, 0.3, 0.0), (-0.02, 0.75, 0.0), (0.1, 0.1)),
        (THUMB_ROOT, thumb.end, (0.115, 0.088)),
        (
            0.6 * THUMB_ROOT,
            middle + np.array((-0.06, 0.02, 0.0)),
            (0.12, 0.095),
        ),  # ball of the thumb
        (0.45 * THUMB_ROOT + 0.55 * thumb.end, (0.2, 0.68, 0.02), (0.06, 0.06)),  # web
        (middle, (0.12, 0.5, 0.02), (0.07, 0.07)),
    ):
        found.append(Limb(np.asarray(start), np.asarray(end), radii, PALM))
    if np.linalg.norm(chains[4][1].end - chains[0][1].start) < 0.65:  # thumb at the fist
        ball, base = 0.15 * thumb.start + 0.85 * thumb.end, np.array((0.22, 0.82, 0.06))
        found.append(Limb(ball, base, (0.085, 0.085), PALM))
        found.append(Limb(middle, 0.5 * base, (0.09, 0.09), PALM))
    proximal = chains[4][1]
    root = proximal.start + 0.35 * (proximal.end - proximal.start)
    found.append(Limb(thumb.end, root, (0.09, 0.085), PALM))
    return found


def sample(draw: np.random.Generator) -> Shape:
    """Somebody's hand: slender or broad, straight or bent at the wrist, bare or in a sleeve."""
    wrist = draw.normal(0, 9), draw.normal(0, 14)
    sleeve = draw.uniform(0.15, 1.2) if draw.random() < 0.35 else 0.0
    return Shape(draw.uniform(0.92, 1.1), draw.uniform(0.88, 1.12), wrist, sleeve)
