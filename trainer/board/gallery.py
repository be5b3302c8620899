"""Pictures with words below them, in a grid, drawn with Pillow's own font.

Pillow, not matplotlib: sixteen pictures take it 10 ms, and axes for each of them 400.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL = 132  # pixels; the longer side of a drawn picture, as near as whole factors allow
GAP, TEXT, LINE = 12, 12, 16  # pixels between cells; of letters, from one line to the next
CARD = 1.7  # width by height of what TensorBoard has for a picture
PAPER, INKS = "#ffffff", ("#1f2328", "#59636e")  # of the first line below a picture, of others


class Cell(NamedTuple):
    """An example: its pictures one above the other, and what is said of it."""

    pictures: Sequence[np.ndarray]  # uint8 [H, W, 1 or 3], all of one size
    lines: Sequence[str]


def draw(cells: Sequence[Cell]) -> np.ndarray:
    """uint8 [H, W, 3]; at least one cell, all with as many pictures and lines."""
    drawn = [[_scaled(each) for each in cell.pictures] for cell in cells]
    height, width = drawn[0][0].shape[:2]
    wide = max(width, CELL)  # room for words below a narrow picture
    deep = (height + 2) * len(drawn[0]) + LINE * len(cells[0].lines) + 2
    columns = _columns(len(cells), wide + GAP, deep + GAP)
    rows = math.ceil(len(cells) / columns)
    size = (columns * (wide + GAP) + GAP, rows * (deep + GAP) + GAP)
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, cell in enumerate(cells):
        x = GAP + number % columns * (wide + GAP)
        y = GAP + number // columns * (deep + GAP)
        for pixels in drawn[number]:
            sheet.paste(Image.fromarray(pixels), (x, y))
            y += height + 2
        for line, text in enumerate(cell.lines):
            ink = INKS[min(line, 1)]
            pen.text((x, y + 1 + line * LINE), _fitting(text, wide), ink, _font())
    return np.asarray(sheet)


def _columns(count: int, wide: int, deep: int) -> int:
    """Of the grid that is largest where TensorBoard shows it small."""
    return max(
        range(1, count + 1),
        key=lambda columns: min(CARD / (columns * wide), 1 / (math.ceil(count / columns) * deep)),
    )


def _scaled(pixels: np.ndarray) -> np.ndarray:
    """Tiny pictures grow by a whole factor, large ones shrink to CELL; grey ones become RGB."""
    height, width = pixels.shape[:2]
    factor = CELL / max(height, width)
    if factor >= 1:
        factor = math.floor(factor)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    method = cv2.INTER_NEAREST if factor >= 1 else cv2.INTER_AREA
    resized = cv2.resize(pixels, size, interpolation=method)
    return np.stack([resized] * 3, axis=2) if resized.ndim == 2 else resized


def _fitting(text: str, width: int) -> str:
    """The text, its end cut off where it is wider."""
    text = text.encode("utf-8", "backslashreplace").decode()
    text = "".join(each if each.isprintable() else "?" for each in text)
    kept = text
    while len(kept) > 2 and _font().getlength(kept) > width:
        kept = f"{kept[:-2]}…"
    return kept


def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(TEXT)  # type: ignore[return-value]
