"""The bones of a right hand, and where they lie when its joints are bent.

Hand coordinates: x towards the thumb, y from the wrist (0) to the fingertips, z out of the palm.
The unit is the distance from the wrist to the knuckle of the middle finger, about 9 cm. Angles are
in degrees; 0 is a flat hand, and bending a joint turns what follows it into the palm.
"""

from typing import NamedTuple

import cv2
import numpy as np


class Finger(NamedTuple):
    """Angles of the joints of a finger."""

    spread: float  # of the knuckle, towards the thumb
    knuckle: float
    middle: float
    end: float


class Thumb(NamedTuple):
    """Angles of the joints of the thumb; the first three are those of its root."""

    spread: float  # away from the fingers, in the plane of the palm
    lift: float  # out of that plane
    roll: float  # of its pad: 0 faces as the palm does, 90 the fingers, 180 the back of the hand
    knuckle: float
    end: float


class Pose(NamedTuple):
    """All that moves; fingers from the index to the little one."""

    fingers: tuple[Finger, ...]
    thumb: Thumb


class Bone(NamedTuple):
    """A phalanx, or the metacarpal of the thumb."""

    start: np.ndarray  # [3]
    end: np.ndarray  # [3]
    frame: np.ndarray  # [3, 3], columns: across, along, towards the pad


FINGER_LIMITS = Finger(-25, -25, 0, -8), Finger(25, 95, 112, 85)
THUMB_LIMITS = Thumb(-10, -20, 20, -10, -25), Thumb(75, 70, 160, 65, 85)

KNUCKLES = np.array(
    [(0.31, 0.97, 0.0), (0.11, 1.0, -0.03), (-0.10, 0.96, -0.02), (-0.29, 0.86, 0.03)]
)
PHALANGES = np.array(
    [(0.44, 0.27, 0.19), (0.49, 0.31, 0.20), (0.45, 0.29, 0.20), (0.36, 0.21, 0.17)]
)
THUMB_ROOT = np.array((0.21, 0.13, 0.07))
THUMB_BONES = (0.46, 0.35, 0.26)


def within(pose: Pose) -> Pose:
    """The pose with every angle inside the limits of its joint."""
    fingers = tuple(Finger(*np.clip(finger, *FINGER_LIMITS)) for finger in pose.fingers)
    return Pose(fingers, Thumb(*np.clip(pose.thumb, *THUMB_LIMITS)))


def bones(pose: Pose, length: float = 1.0) -> list[list[Bone]]:
    """Forward kinematics.

    Args:
        pose: angles; those beyond the limits of a joint stop there.
        length: of the fingers, as a factor.

    Returns:
        Three bones per finger, index to little finger, then those of the thumb.
    """
    pose = within(pose)
    found = []
    for finger, knuckle, phalanges in zip(pose.fingers, KNUCKLES, PHALANGES, strict=True):
        frame = turn("z", -finger.spread)
        found.append(_chain(knuckle, frame, finger[1:], length * phalanges))
    spread, lift, roll, *bends = pose.thumb
    frame = turn("z", -spread) @ turn("x", lift) @ turn("y", -roll)
    found.append(_chain(THUMB_ROOT, frame, (0.0, *bends), THUMB_BONES))
    return found


def turn(axis: str, degrees: float) -> np.ndarray:
    """Rotation matrix [3, 3] about `x`, `y` or `z`, right-handed."""
    return cv2.Rodrigues(np.radians(degrees) * np.eye(3)["xyz".index(axis)])[0]


def _chain(start: np.ndarray, frame: np.ndarray, bends: tuple, lengths: tuple) -> list[Bone]:
    found = []
    for bend, length in zip(bends, lengths, strict=True):
        frame = frame @ turn("x", bend)
        end = start + length * frame[:, 1]
        found.append(Bone(start, end, frame))
        start = end
    return found
