"""How a surface looks in some light.

h, w: the window of the picture that the hand covers.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np

from trainer.data.hands.skin import Material
from trainer.data.hands.surface import Surface

_STEPS = 7  # of the way to the light that are looked at for what stands in it


class Light(NamedTuple):
    """A lamp, and what comes from everywhere else."""

    direction: np.ndarray  # [3] of length 1, canvas axes, to the lamp
    lamp: np.ndarray  # RGB [3], linear
    sky: np.ndarray  # RGB [3], linear
    hardness: float  # of its shadows, 0 to 1


def sample(plain: bool, draw: np.random.Generator) -> Light:
    """From a dull day to a lamp at the side, more often from above; if plain, soft."""
    angle = draw.normal(-math.pi / 2, 1.0) if draw.random() < 0.6 else draw.uniform(0, 2 * math.pi)
    lean = draw.uniform(0.1, 0.95)
    direction = np.array((lean * math.cos(angle), lean * math.sin(angle), math.sqrt(1 - lean**2)))
    ambient = draw.uniform(0.45 if plain else 0.2, 0.75)
    warmth, other = draw.normal(0, 0.08, 2)
    brightness = draw.uniform(0.75, 1.35)
    lamp = brightness * (1 - ambient) * 1.5 * np.array((1 + warmth, 1, 1 - warmth))
    sky = brightness * ambient * np.array((1 + other, 1, 1 - other))
    return Light(direction, lamp, sky, draw.uniform(0.2, 1))


def shade(surface: Surface, material: Material, light: Light) -> np.ndarray:
    """The lit surface as a camera gives it: sRGB float32 [h, w, 3], 0 to 255 and above."""
    solid = surface.cover > 0.5
    floor = float(surface.depth[solid].min()) if solid.any() else 0.0
    depth = np.where(solid, surface.depth, np.float32(floor))
    normal = _roughened(surface.normal, material.height)
    lambert = sum(part * float(way) for part, way in zip(normal, light.direction, strict=True))
    open_ = 1 - light.hardness * _shadow(depth, light.direction, surface.unit)
    hollow = _hollow(depth, solid, surface.unit)
    half = light.direction + np.array((0, 0, 1))
    half /= np.linalg.norm(half)
    mirrored = sum(part * float(way) for part, way in zip(normal, half, strict=True))
    shine = material.gloss * open_ * _peak(mirrored)
    upward = hollow * (0.7 + 0.15 * normal[2] - 0.15 * normal[1])
    planes = []
    # Light wanders through skin, red light furthest: it softens the shadow's edge, and warms it.
    for colour, lamp, sky, wrap in zip(
        material.colour, light.lamp.tolist(), light.sky.tolist(), (0.32, 0.16, 0.12), strict=True
    ):
        lit = lambert + wrap
        np.maximum(lit, 0, out=lit)
        lit *= open_ + (0.5 * wrap) * (1 - open_)
        lit *= lamp / (1 + wrap)
        lit += upward * sky
        lit *= colour
        lit += lamp * shine
        spared = lit * (1.4 * 255**2) / (1 + 0.4 * lit)  # highlights, as by a camera
        planes.append(cv2.sqrt(spared, spared))
    return cv2.merge(planes)


def _peak(mirrored: np.ndarray) -> np.ndarray:
    """A broad highlight with a sharp one in it, powers 24 and 96, by multiplying alone."""
    some = mirrored.clip(0.5, 1)  # smaller ones become denormal numbers, which are slow
    third = some * some * some
    sixth = third * third
    broad = np.square(np.square(sixth))
    return 0.7 * broad + 0.5 * np.square(np.square(broad))


def _roughened(normal: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Normals tilted by the slopes of the height (bump mapping, Blinn 1978)."""
    tilted = normal.copy()
    tilted[0] -= cv2.Sobel(height, -1, 1, 0, scale=0.125)
    tilted[1] -= cv2.Sobel(height, -1, 0, 1, scale=0.125)
    return tilted * (1 / np.sqrt((tilted * tilted).sum(0) + 1e-6))


def _shadow(depth: np.ndarray, direction: np.ndarray, unit: float) -> np.ndarray:
    """What of the lamp is hidden by the hand itself, 0 to 1; float32 [h, w]."""
    x, y, z = direction.tolist()
    flat = math.hypot(x, y)
    hidden = np.zeros_like(depth)
    if flat < 0.05:
        return hidden
    height, width = depth.shape
    for step in range(1, _STEPS + 1):
        reach = unit * 0.75 * (step / _STEPS) ** 1.6
        dx, dy = round(reach * x / flat), round(reach * y / flat)
        rise = math.hypot(dx, dy) * z / flat
        if abs(dx) >= width or abs(dy) >= height or not (dx or dy):
            continue
        here = hidden[max(-dy, 0) : height - max(dy, 0), max(-dx, 0) : width - max(dx, 0)]
        there = depth[max(dy, 0) : height + min(dy, 0), max(dx, 0) : width + min(dx, 0)]
        own = depth[max(-dy, 0) : height - max(dy, 0), max(-dx, 0) : width - max(dx, 0)]
        over = (there - own - (rise + 0.03 * unit)) * (1 / (0.05 * unit + 0.25 * reach))
        np.maximum(here, over, out=here)
    np.minimum(hidden, 1, out=hidden)
    soft = 2 * int(0.02 * unit) + 1
    return cv2.blur(hidden, (soft, soft))


def _hollow(depth: np.ndarray, solid: np.ndarray, unit: float) -> np.ndarray:
    """How open to the sky a pixel is, 0 to 1: by how much nearer what is around it is; [h, w]."""
    openness = np.ones_like(depth)
    inside = solid.astype(np.float32)
    size = depth.shape[::-1]
    half = [-(-side // 2) for side in size]  # what is blurred can be small
    full = depth * inside, inside
    small = [cv2.resize(each, half, interpolation=cv2.INTER_AREA) for each in full]
    for reach, strength in ((0.07, 5.0), (0.22, 2.0)):
        width = (2 * round(reach * unit / 2) + 1,) * 2
        if width == (1, 1):  # nothing is around in a picture as small as this
            continue
        near, weight = (cv2.blur(cv2.blur(each, width), width) for each in small)
        around = cv2.resize(near / np.maximum(weight, 1e-3), size)
        openness /= 1 + np.maximum(around - depth, 0) * (strength / unit)
    return openness
