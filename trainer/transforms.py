"""Transforms of our own, for what albumentations does not offer; in YAML by their dotted names.

H, W, C: a picture's pixels, C 1 or 3. float32 colours are 0 to 255 as well.
"""

import functools
import math
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import albumentations
import cv2
import numpy as np
from albumentations.core.pydantic import check_range_bounds, nondecreasing
from albumentations.core.transforms_interface import BaseTransformInitSchema
from pydantic import AfterValidator, Field

_EDGE_SHARE = 0.55  # of the picture's edge that has to be background; an arm may cross the rest
_SPECK = 1 / 200  # of the picture; smaller things are noise

Range = tuple[float, float]


class Cutout(NamedTuple):
    """What stands before a one-coloured background."""

    colours: np.ndarray  # float32 [H, W, C]; at its edge as further inside, so without background
    cover: np.ndarray  # float32 [H, W], 0 to 1


class RandomBackground(albumentations.ImageOnlyTransform):
    """Lays the object of a picture with a one-coloured background on a drawn background.

    Backgrounds are surfaces with gradients, clouds, stripes, tiles and shapes, in any colours, one
    or two of them, blurred or sharp: domain randomisation (Tobin et al. 2017) for objects that were
    rendered or photographed on white. Pictures whose edge is not nearly one colour stay as they
    are. An object that touches the edge ends there, so it is moved and scaled before, with edges
    repeated: `Affine: {…, border_mode: 1}`.

    Args:
        tolerance: grey levels (0 to 255) by which background may differ from the colour of the
            edge; five times as much where it is only darker or lighter, as shadows are.
        light: range of the factor that brightens the object; from side to side it changes within
            this range too.
        tint: largest part by which one colour channel of the object gains or loses, 0 to 1.
        shadow: range of the part of the light that the object takes from the background, 0 to 1.
        sleeve: probability that the object gets a sleeve where it crosses the edge, 0 to 1.
        p: probability of the whole, 0 to 1.
    """

    class InitSchema(BaseTransformInitSchema):
        """What albumentations checks the arguments with."""

        tolerance: Annotated[float, Field(ge=0, le=255)]
        light: Annotated[
            Range, AfterValidator(check_range_bounds(0)), AfterValidator(nondecreasing)
        ]
        tint: Annotated[float, Field(ge=0, le=1)]
        shadow: Annotated[
            Range, AfterValidator(check_range_bounds(0, 1)), AfterValidator(nondecreasing)
        ]
        sleeve: Annotated[float, Field(ge=0, le=1)]

    def __init__(
        self,
        tolerance: float = 5,
        light: Range = (0.4, 1.3),
        tint: float = 0.15,
        shadow: Range = (0.0, 0.6),
        sleeve: float = 0.2,
        p: float = 0.5,
    ) -> None:
        super().__init__(p=p)
        self.tolerance, self.light, self.tint = tolerance, light, tint
        self.shadow, self.sleeve = shadow, sleeve

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """All draws; `cutout` is None for a picture whose background is not of one colour."""
        cutout = cut_out(data["image"], self.tolerance)
        if cutout is None:
            return {"cutout": None}
        draw, shape = self.random_generator, cutout.colours.shape
        sleeve = draw.random() < self.sleeve
        tints = 1 + draw.uniform(-self.tint, self.tint, shape[2])
        return {
            "cutout": cutout,
            "ground": background(shape, draw),
            "lights": draw.uniform(*self.light, (2, 2, 1)) * tints,
            "shadow": draw.uniform(*self.shadow),
            "offset": draw.normal(0, 0.04, 2),  # of the shadow, in widths
            "softness": draw.uniform(0.005, 0.05),  # of its edge, in widths
            "sleeve": (draw.uniform(0.1, 0.7), _surface(shape, draw)) if sleeve else None,
        }

    def apply(self, img: np.ndarray, cutout: Cutout | None, **params: Any) -> np.ndarray:
        """The picture with another background; uint8 as before."""
        if cutout is None:
            return img
        width, channels = cutout.colours.shape[1:]
        colours, cover = cutout.colours * _field(params["lights"], img.shape), cutout.cover
        if params["sleeve"]:
            length, cloth = params["sleeve"]
            sleeve = _sleeve(cover, length)
            colours = np.where(_channels(sleeve, channels) > 0, cloth, colours)
            cover = np.maximum(cover, sleeve)
        dark = _shifted(cover, params["offset"] * width, params["softness"] * width)
        ground = params["ground"] * _channels(1 - params["shadow"] * dark, channels)
        ground += _channels(cover, channels) * (colours - ground)
        return np.clip(np.rint(ground), 0, 255).astype(np.uint8).reshape(img.shape)


def cut_out(pixels: np.ndarray, tolerance: float) -> Cutout | None:
    """Separates an object from a background of nearly one colour, that of the picture's edge.

    A pixel is background where it is that colour, or lighter or darker by a factor. Specks are
    noise, and holes of one pixel highlights of the object. Pixels at its edge are mixtures: their
    share of background is solved for with the object's colour from two pixels further inside.

    Args:
        pixels: uint8 [H, W, C] or [H, W].
        tolerance: see RandomBackground.

    Returns: None if less than 55 % of the edge are one colour, or nothing or nearly all is object.
    """
    picture = pixels.reshape(*pixels.shape[:2], -1).astype(np.float32)
    edge = _edge(picture)
    colour = np.sort(edge, axis=0)[len(edge) // 2]
    other = _differs(picture, colour, tolerance) > 0
    if np.count_nonzero(_edge(other)) > (1 - _EDGE_SHARE) * len(edge):
        return None
    solid = _without_small(other, _SPECK * other.size)
    solid = ~_without_small(~solid, 2)  # a single pixel is a highlight, two a gap between fingers
    if not 0.02 < np.count_nonzero(solid) / solid.size < 0.9:
        return None
    return _unmixed(picture, solid, colour)


def background(shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    """A drawn background: one surface, or two that meet in a line, often with things on it.

    Returns: float32 [H, W, C], 0 to 255.
    """
    ground = _surface(shape, draw)
    if draw.random() < 0.3:
        other, side = _surface(shape, draw), _ramp(shape, draw)
        part = (side > draw.uniform(-0.35, 0.35)).astype(np.float32)
        ground += _channels(part, shape[2]) * (other - ground)
    if draw.random() < 0.25:
        ground = _with_shapes(ground, draw)
    if draw.random() < 0.6:
        ground = cv2.GaussianBlur(ground, (0, 0), shape[1] * draw.uniform(0.004, 0.04))
    return np.clip(ground, 0, 255).reshape(shape)


def _edge(picture: np.ndarray) -> np.ndarray:
    """The pixels along its four sides; [2 H + 2 W - 4, …]."""
    return np.concatenate([picture[0], picture[-1], picture[1:-1, 0], picture[1:-1, -1]])


def _differs(picture: np.ndarray, colour: np.ndarray, tolerance: float) -> np.ndarray:
    """Above 0 where the picture is not the colour in another light; float32 [H, W]."""
    colour = np.maximum(colour, 1)
    planes = cv2.split(picture)  # NumPy reduces an axis of 3 ten times slower
    parts = colour / colour.dot(colour)
    factor = sum(plane * part for plane, part in zip(planes, parts, strict=True))
    shade = np.abs(factor - 1) * colour.mean() - 5 * tolerance
    others = (np.abs(plane - factor * own) for plane, own in zip(planes, colour, strict=True))
    return functools.reduce(np.maximum, others, shade + tolerance) - tolerance


def _without_small(mask: np.ndarray, least: float) -> np.ndarray:
    """The mask without its connected parts of less than so many pixels; bool [H, W]."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    keep = stats[:, cv2.CC_STAT_AREA] >= least
    keep[0] = False  # label 0 is what the mask leaves out
    return keep[labels]


def _unmixed(picture: np.ndarray, solid: np.ndarray, colour: np.ndarray) -> Cutout:
    """The object without what its edge has of the background's colour."""
    square, whole = np.ones((3, 3), np.uint8), solid.astype(np.uint8)
    core = cv2.erode(whole, square, borderValue=1)
    inner = cv2.erode(core, square, borderValue=1)
    # As far inside as there is something: thin fingers are all edge.
    weight = (inner + np.float32(1e-3) * core + np.float32(1e-6) * whole).astype(np.float32)
    around = cv2.blur(picture * _channels(weight, picture.shape[2]), (9, 9))
    rim = solid & (inner == 0)
    own = around.reshape(picture.shape)[rim] / cv2.blur(weight, (9, 9))[rim, None]
    away = own - colour
    share = ((picture[rim] - colour) * away).sum(1) / np.maximum((away * away).sum(1), 1)
    colours, cover = picture.copy(), solid.astype(np.float32)
    colours[rim] = own
    cover[rim] = np.clip(share, 0, 1)
    return Cutout(colours, cover)


def _sleeve(cover: np.ndarray, length: float) -> np.ndarray:
    """Where a sleeve is: about the object, from the edge that it crosses; float32 [H, W].

    Args:
        length: of the way from that edge to the middle of the object, 0 to 1.
    """
    solid = cover > 0.5
    height, width = solid.shape
    rows, columns = np.nonzero(solid)
    at_edge = (rows % (height - 1) == 0) | (columns % (width - 1) == 0)
    if not at_edge.any():
        return np.zeros_like(cover)
    points = np.stack([columns, rows], 1).astype(np.float32)
    start = points[at_edge].mean(0)
    way = points.mean(0) - start
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    along = ((x - start[0]) * way[0] + (y - start[1]) * way[1]) / max(float(way @ way), 1.0)
    wide = 2 * (width // 40) + 1
    round_ = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (wide, wide))
    thick = cv2.dilate(solid.astype(np.float32), round_)
    return cv2.blur(np.where(along < length, thick, np.float32(0)), (3, 3))


def _shifted(cover: np.ndarray, offset: np.ndarray, sigma: float) -> np.ndarray:
    """The cover as the shadow that it casts; float32 [H, W]."""
    height, width = cover.shape
    matrix = np.array([[1, 0, offset[0]], [0, 1, offset[1]]], np.float32)
    moved = cv2.warpAffine(cover, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return cv2.GaussianBlur(moved, (0, 0), max(sigma, 0.3))


def _surface(shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    """One kind of surface in unequal light; float32 [H, W, C]."""
    paint = _SURFACES[int(draw.integers(len(_SURFACES)))]
    ground = paint(shape, draw)
    light = 1 + draw.uniform(-0.5, 0.5, (2, 2)) * draw.random()
    ground *= _field(np.stack([light] * shape[2], 2), shape)
    if draw.random() < 0.5:
        grain = draw.standard_normal(shape[:2], np.float32) * draw.uniform(0, 15)
        ground += _channels(grain, shape[2])
    return ground


def _palette(count: int, channels: int, draw: np.random.Generator) -> np.ndarray:
    """Colours of any hue, saturation and brightness; float32 [count, C]."""
    value, colourful = draw.uniform(20, 255, (count, 1)), draw.random((count, 1))
    if channels == 1:
        return value.astype(np.float32)
    hue = np.abs((6 * draw.random((count, 1)) + (0, 4, 2)) % 6 - 3) - 1
    return (value * (1 - colourful * (1 - np.clip(hue, 0, 1)))).astype(np.float32)


def _channels(plane: np.ndarray, count: int) -> np.ndarray:
    """[H, W] repeated to [H, W, C], since NumPy broadcasts along a short last axis slowly."""
    return cv2.merge([plane] * count).reshape(*plane.shape, count)


def _between(plane: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """From the first of two colours [2, C] (where the plane is 0) to the other; [H, W, C]."""
    blends = [one + plane * (other - one) for one, other in colours.T]
    return cv2.merge(blends).reshape(*plane.shape, -1)


def _field(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
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
    return _field(_palette(1, shape[2], draw)[None], shape)


def _gradient(shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    return _field(_palette(4, shape[2], draw).reshape(2, 2, -1), shape)


def _noise(shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray:
    """Sum of octaves, 0 to 1; float32 [H, W]."""
    total = np.zeros(shape[:2], np.float32)
    cells, strength, fading = int(draw.integers(2, 8)), 1.0, draw.uniform(0.4, 0.9)
    for _ in range(4):
        total += _field(draw.uniform(-strength, strength, (cells, cells)), shape)[..., 0]
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
