"""Drawn backgrounds: surfaces that look like nothing real, in enough variety that the real ones are
one more variation (domain randomisation, Tobin et al. 2017).

H, W, C: a picture's pixels, C 1 or 3; colours are float32, 0 to 255.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np


def background(shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    """A drawn background: one surface, or two that meet in a line, often with things on it.

    Returns: float32 [H, W, C], 0 to 255.
    """
    ground = surface(shape, draw)
    if draw.random() < 0.3:
        other, side = surface(shape, draw), _ramp(shape, draw)
        part = (side > draw.uniform(-0.35, 0.35)).astype(np.float32)
        ground += repeated(part, shape[2]) * (other - ground)
    if draw.random() < 0.25:
        ground = _with_shapes(ground, draw)
    if draw.random() < 0.6:
        ground = cv2.GaussianBlur(ground, (0, 0), shape[1] * draw.uniform(0.004, 0.04))
    return np.clip(ground, 0, 255).reshape(shape)


def surface(shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    """One kind of surface in unequal light; float32 [H, W, C]."""
    paint = _SURFACES[int(draw.integers(len(_SURFACES)))]
    ground = paint(shape, draw)
    light = 1 + draw.uniform(-0.5, 0.5, (2, 2)) * draw.random()
    ground *= field(np.stack([light] * shape[2], 2), shape)
    if draw.random() < 0.5:
        grain = draw.standard_normal(shape[:2], np.float32) * draw.uniform(0, 15)
        ground += repeated(grain, shape[2])
    return ground


def _palette(count: int, channels: int, draw: np.random.Generator) -> np.ndarray:
    """Colours of any hue, saturation and brightness; float32 [count, C]."""
    value, colourful = draw.uniform(20, 255, (count, 1)), draw.random((count, 1))
    if channels == 1:
        return value.astype(np.float32)
    hue = np.abs((6 * draw.random((count, 1)) + (0, 4, 2)) % 6 - 3) - 1
    return (value * (1 - colourful * (1 - np.clip(hue, 0, 1)))).astype(np.float32)


def repeated(plane: np.ndarray, count: int) -> np.ndarray:
    """[H, W] repeated to [H, W, C], since NumPy broadcasts along a short last axis slowly."""
    return cv2.merge([plane] * count).reshape(*plane.shape, count)


def _between(plane: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """From the first of two colours [2, C] (where the plane is 0) to the other; [H, W, C]."""
    blends = [one + plane * (other - one) for one, other in colours.T]
    return cv2.merge(blends).reshape(*plane.shape, -1)


def field(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A few values [h, w, C] spread smoothly over the picture; float32 [H, W, C]."""
    wide = cv2.resize(np.float32(values), (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return wide.reshape(*shape[:2], -1)


def _ramp(shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    """Distance from a line through the middle, in widths; float32 [H, W]."""
    angle = draw.uniform(0, 2 * math.pi)
    y = np.linspace(-0.5, 0.5, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, shape[1], dtype=np.float32)
    return x * np.float32(math.cos(angle)) + y * np.float32(math.sin(angle))


def _plain(shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    return field(_palette(1, shape[2], draw)[None], shape)


def _gradient(shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    return field(_palette(4, shape[2], draw).reshape(2, 2, -1), shape)


def _noise(shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    """Sum of octaves, 0 to 1; float32 [H, W]."""
    total = np.zeros(shape[:2], np.float32)
    cells, strength, fading = int(draw.integers(2, 8)), 1.0, draw.uniform(0.4, 0.9)
    for _ in range(4):
        total += field(draw.uniform(-strength, strength, (cells, cells)), shape)[..., 0]
        cells, strength = 2 * cells, strength * fading
    return 1 / (1 + np.exp(-np.float32(draw.uniform(1, 6)) * total))


def _clouds(shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    return _between(_noise(shape, draw), _palette(2, shape[2], draw))


def _stripes(shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    """Stripes, straight to wavy like wood, soft to hard."""
    bent = _ramp(shape, draw) + np.float32(draw.uniform(0, 0.3)) * _noise(shape, draw)
    wave = np.sin(bent * np.float32(2 * math.pi * draw.uniform(2, 20)))
    wave = np.clip(wave * np.float32(draw.uniform(0.5, 5)), -1, 1)
    depth = np.float32(draw.random())
    return _between((0.5 + 0.5 * wave) * depth, _palette(2, shape[2], draw))


def _tiles(shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    """A grid of patches, turned; a few colours or many."""
    height, width, channels = shape
    cells = int(draw.integers(3, 16))
    few = _palette(int(draw.integers(2, 6)), channels, draw)
    patches = few[draw.integers(0, len(few), (cells, cells))]
    size = draw.uniform(1.0, 2.5) * max(height, width) / cells
    angle = draw.uniform(0, math.pi)
    a, b = size * math.cos(angle), size * math.sin(angle)
    middle = (cells - 1) / 2
    matrix = np.array(
        [
            [a, -b, width / 2 - a * middle + b * middle],
            [b, a, height / 2 - b * middle - a * middle],
        ],
        np.float32,
    )
    tiles = cv2.warpAffine(
        patches, matrix, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_WRAP
    )
    return tiles.reshape(shape)


def _with_shapes(ground: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Ellipses, polygons and bars of any colour laid on it: things that lie about."""
    ground = np.ascontiguousarray(ground, np.float32)
    height, width, channels = ground.shape
    colours = _palette(int(draw.integers(3, 25)), channels, draw).tolist()
    for colour in colours:
        size = width * draw.uniform(0.02, 0.3)
        middle = draw.uniform(0, 1, 2) * (width, height)
        points = middle + draw.normal(0, size, (int(draw.integers(2, 6)), 2))
        if len(points) == 2:
            start, end = points.astype(int).tolist()
            cv2.line(ground, start, end, colour, max(1, int(size / 2)), cv2.LINE_AA)
        elif len(points) == 3:
            axes = np.abs(points[0] - middle).astype(int).tolist()
            place = middle.astype(int).tolist()
            cv2.ellipse(ground, place, axes, draw.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
        else:
            cv2.fillPoly(ground, [points.astype(np.int32)], colour, cv2.LINE_AA)
    return ground


_SURFACES: tuple[Callable[[tuple[int, ...], np.random.Generator], np.ndarray], ...] = (
    *(_plain, _plain, _gradient, _gradient, _clouds, _clouds),  # more common than the others
    *(_stripes, _tiles),
)
