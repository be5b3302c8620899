"""From hand coordinates to the picture.

Canvas coordinates: pixels, x to the right, y downwards, z towards the viewer. With the depth
z = -f ln(1 - w / d) of a point w before a plane at the distance d, whatever is small keeps its
shape under perspective, so that a limb of the hand stays a limb, between two projected points.
"""

from typing import NamedTuple

import numpy as np

from trainer.data.hands.flesh import ARM, SLEEVE, Limb
from trainer.data.hands.skeleton import turn

_NEAREST = 0.6  # of the way to the camera; an arm that comes nearer ends there


class View(NamedTuple):
    """A camera before the hand."""

    turn: np.ndarray  # [3, 3], into axes to the right, down and towards the viewer
    middle: np.ndarray  # [3], hand coordinates of what the camera looks at
    distance: float
    scale: float  # pixels per unit at that distance
    shift: np.ndarray  # [2], pixels

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Canvas coordinates [..., 3] of points [..., 3], and pixels per unit there [...]."""
        seen = (points - self.middle) @ self.turn.T
        near = 1 - np.minimum(seen[..., 2] / self.distance, _NEAREST)
        scale = self.scale / near
        depth = -self.scale * self.distance * np.log(near)
        flat = seen[..., :2] * scale[..., None] + self.shift
        return np.concatenate([flat, depth[..., None]], -1), scale


def sample(
    label: str, limbs: list[Limb], side: int, plain: bool, draw: np.random.Generator
) -> View:
    """A view of the hand that shows what it shows, in a picture of `side` pixels.

    Args:
        plain: palm or back to the camera, fingers up.
    """
    rotation = _rotation(label, plain, draw)
    hand = [limb for limb in limbs if limb.part not in (ARM, SLEEVE)]
    points = np.array([end for limb in hand for end in (limb.start, limb.end)])
    radii = np.array([radius for limb in hand for radius in limb.radii])[:, None]
    middle = points.mean(0)
    distance = 1 / draw.uniform(0.05, 0.28)
    view = View(rotation, middle, distance, 1.0, np.zeros(2))
    flat, scale = view.project(points)
    low = (flat[:, :2] - radii * scale[:, None]).min(0)
    high = (flat[:, :2] + radii * scale[:, None]).max(0)
    room = draw.uniform(0.45, 0.85) if label == "rock" else draw.uniform(0.6, 1.0)
    if plain:
        room = max(room, draw.uniform(0.6, 1.0))
    zoom = float(room * side / (high - low).max())
    slack = (side - zoom * (high - low)) / 2
    aside = slack * draw.uniform(-1, 1, 2) * 0.9
    if not plain and draw.random() < 0.2:  # a part of it beyond the border
        aside += draw.uniform(-0.12, 0.12, 2) * side
    shift = side / 2 - zoom * (high + low) / 2 + aside
    return View(rotation, middle, distance, zoom, shift)


def _rotation(label: str, plain: bool, draw: np.random.Generator) -> np.ndarray:
    """Palm, back or side to the camera, fingers up or in any direction, a left or a right hand."""
    facing = draw.random()
    if plain:
        yaw, pitch = draw.normal(180 if facing < 0.6 else 0, 14), draw.normal(0, 9)
    elif label == "rock":
        yaw = draw.normal(180, 30) if facing < 0.4 else draw.uniform(0, 360)
        pitch = draw.normal(0, 24)
    else:
        yaw = draw.normal(180 if facing < 0.55 else 0, 24)
        if facing > 0.9:
            yaw = draw.choice([-1, 1]) * draw.uniform(35, 65)
        pitch = draw.normal(0, 15)
    roll = draw.normal(0, 12) if plain else draw.uniform(0, 360)
    mirror = np.diag([draw.choice([-1.0, 1.0]), -1.0, 1.0])
    return mirror @ turn("z", roll) @ turn("x", pitch) @ turn("y", yaw)
