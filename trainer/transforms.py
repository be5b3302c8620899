"""Transforms of our own, for what albumentations does not offer; in YAML by their dotted names.

H, W, C: a picture's pixels, C 1 or 3. float32 colours are 0 to 255 as well.
"""

import functools
from typing import Annotated, Any, NamedTuple

import albumentations
import cv2
import numpy as np
from albumentations.core.pydantic import check_range_bounds, nondecreasing
from albumentations.core.transforms_interface import BaseTransformInitSchema
from pydantic import AfterValidator, Field

from trainer.backgrounds import background, field, repeated, surface

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
            "sleeve": (draw.uniform(0.1, 0.7), surface(shape, draw)) if sleeve else None,
        }

    def apply(self, img: np.ndarray, cutout: Cutout | None, **params: Any) -> np.ndarray:
        """The picture with another background; uint8 as before."""
        if cutout is None:
            return img
        width, channels = cutout.colours.shape[1:]
        colours, cover = cutout.colours * field(params["lights"], img.shape), cutout.cover
        if params["sleeve"]:
            length, cloth = params["sleeve"]
            sleeve = _sleeve(cover, length)
            colours = np.where(repeated(sleeve, channels) > 0, cloth, colours)
            cover = np.maximum(cover, sleeve)
        dark = _shifted(cover, params["offset"] * width, params["softness"] * width)
        ground = params["ground"] * repeated(1 - params["shadow"] * dark, channels)
        ground += repeated(cover, channels) * (colours - ground)
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
    around = cv2.blur(picture * repeated(weight, picture.shape[2]), (9, 9))
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
