"""What is behind the hand, and the camera that takes the picture.

S: the picture's side in pixels. Colours are sRGB, float32, 0 to 255.
"""

import math

import cv2
import numpy as np

from trainer.backgrounds import background, repeated

# What is behind the hand, and how often.
_GROUNDS = {
    "white": 0.1,
    "green": 0.05,
    "plain": 0.1,
    "gradient": 0.1,
    "wood": 0.15,
    "grain": 0.1,
    "any": 0.4,
}
_PLAIN_GROUNDS = {"white": 0.75, "green": 0.08, "plain": 0.17}


def ground(side: int, plain: bool, draw: np.random.Generator) -> np.ndarray:
    """A sheet of paper, a green screen, a wall, wood, or anything; [S, S, 3].

    Args:
        plain: of one colour.
    """
    shares = _PLAIN_GROUNDS if plain else _GROUNDS
    kind = list(shares)[draw.choice(len(shares), p=list(shares.values()))]
    if kind == "any":
        return background((side, side, 3), draw)
    if kind == "white":
        colour = draw.uniform(215, 256) + draw.normal(0, 4, 3)
    elif kind == "green":
        colour = np.array((draw.uniform(0, 100), draw.uniform(120, 240), draw.uniform(0, 110)))
    else:
        colour = np.clip(draw.uniform(20, 240) + draw.normal(0, 30, 3), 0, 255)
    picture = np.empty((side, side, 3), np.float32)
    picture[:] = colour
    if kind == "wood":
        _grow(picture, draw)
    elif kind == "grain":
        cells = int(draw.integers(8, 100))
        _vary(picture, cells, draw.uniform(3, 25), draw)
    _vary(picture, 2, {"gradient": 40, "white": 6}.get(kind, 12), draw)
    return np.clip(picture, 0, 255)


def _vary(picture: np.ndarray, cells: int, depth: float, draw: np.random.Generator) -> None:
    """Make it darker and lighter in places, in place."""
    cloud = draw.normal(0, depth, (cells, cells)).astype(np.float32)
    wide = cv2.resize(cloud, picture.shape[:2], interpolation=cv2.INTER_CUBIC)
    picture += wide[..., None]


def _grow(picture: np.ndarray, draw: np.random.Generator) -> None:
    """Rings of wood, cut along the trunk, in boards; in place."""
    side = len(picture)
    colour = np.array((draw.uniform(90, 230), 0, 0))
    colour[1:] = colour[0] * draw.uniform(0.65, 0.85), colour[0] * draw.uniform(0.35, 0.65)
    angle = draw.uniform(0, math.pi)
    line = np.linspace(-0.5, 0.5, side, dtype=np.float32)
    along = line * np.float32(math.cos(angle)) - line[:, None] * np.float32(math.sin(angle))
    across = line * np.float32(math.sin(angle)) + line[:, None] * np.float32(math.cos(angle))
    boards = draw.uniform(1, 5)
    board = np.floor(across * boards + 10)
    wave = cv2.resize(draw.standard_normal((4, 4), np.float32), (side, side))
    rings = np.sin(
        across * draw.uniform(40, 160) + draw.uniform(1, 4) * wave + along * 3 + 7 * board
    )
    fibres = cv2.resize(draw.standard_normal((side // 2, side // 2), np.float32), (side, side))
    shade = 1 + draw.uniform(0.02, 0.12) * rings + 0.03 * fibres + 0.06 * np.sin(board * 2.3)
    gap = np.abs(across * boards + 10 - board - 0.5) > 0.5 - draw.uniform(0.005, 0.02)
    shade[gap] *= 0.6
    picture[:] = shade[..., None] * colour.astype(np.float32)


def cast(
    cover: np.ndarray, direction: np.ndarray, unit: float, draw: np.random.Generator
) -> np.ndarray:
    """What the hand leaves of the light on the ground behind it, 0 to 1; float32 [S, S, 1]."""
    side = len(cover)
    gap = draw.uniform(0.1, 0.8) * unit
    x, y, z = direction.tolist()
    shift = np.array([[1, 0, -gap * x / max(z, 0.3)], [0, 1, -gap * y / max(z, 0.3)]])
    moved = cv2.warpAffine(cover, shift, (side, side), borderMode=cv2.BORDER_REPLICATE)
    width = (2 * round(1.22 * max(0.6, gap * draw.uniform(0.08, 0.35))) + 1,) * 2
    soft = cv2.blur(cv2.blur(moved, width), width)
    return 1 - np.float32(draw.uniform(0.15, 0.6)) * soft[..., None]


def photograph(picture: np.ndarray, plain: bool, draw: np.random.Generator) -> np.ndarray:
    """Exposure, blur, noise, JPEG artefacts of a camera, a good one if plain; uint8 [S, S, 3]."""
    side = len(picture)
    contrast = draw.uniform(0.8, 1.1)
    gains = contrast * draw.uniform(0.8, 1.12) * (1 + draw.normal(0, 0.03, 3))
    mixing = np.diag([*gains, 0])[:3]
    mixing[:, 3] = 128 * (1 - contrast)
    picture = cv2.transform(picture, mixing)  # by channel; NumPy is slow along a short last axis
    picture = cv2.GaussianBlur(
        picture, (0, 0), side / 200 * (0.4 if plain else draw.uniform(0.3, 1.3))
    )
    noise = draw.standard_normal(picture.shape[:2], np.float32) * draw.uniform(0, 1 if plain else 7)
    picture += repeated(noise, 3)
    pixels = cv2.convertScaleAbs(np.maximum(picture, 0))  # to the nearest of 0 to 255
    if not plain and draw.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(draw.integers(25, 85))]
        pixels = np.asarray(
            cv2.imdecode(cv2.imencode(".jpg", pixels, quality)[1], cv2.IMREAD_COLOR)
        )
    return pixels
