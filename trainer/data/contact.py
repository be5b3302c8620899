"""A contact sheet: pictures in a grid with heads and captions, drawn with Pillow's own font.

H, W, C: uint8 pixels of a picture, C 1 or 3.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL = 144  # pixels; the longer side of a drawn picture, as near as whole factors allow
GAP, MARGIN, GROUP = 6, 24, 18  # between pictures, around the sheet, after the first column
LABEL = 190  # pixels for the captions at most
TEXT, SMALL = 15, 12  # pixels
PAPER, INK, PALE, EMPTY, LINE = "#ffffff", "#1f2328", "#6e7781", "#f3f4f6", "#d8dee4"


class Row(NamedTuple):
    """Pictures of one example."""

    caption: str
    note: str  # smaller, below the caption
    pictures: Sequence[np.ndarray | None]  # [H, W, C] each


def draw(heads: Sequence[str], rows: Sequence[Row], missing: str) -> Image.Image:
    """The sheet: a head over each column, the caption left of each row, more room after the first
    column. All pictures have one size, and are scaled alike.

    Args:
        missing: stands in the cells that have no picture.
    """
    first = next(cell for row in rows for cell in row.pictures if cell is not None)
    height, width = drawn_size(first.shape[0], first.shape[1])
    top, start = MARGIN + TEXT + 12, MARGIN + _label_width(rows) + GROUP
    lefts = [start + n * (width + GAP) + (GROUP if n else 0) for n in range(len(heads))]
    size = lefts[-1] + width + MARGIN, top + len(rows) * (height + GAP) - GAP + MARGIN
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    for left, head in zip(lefts, heads, strict=True):
        pen.text((left, MARGIN), head, INK, _font(TEXT))
    for number, row in enumerate(rows):
        y = top + number * (height + GAP)
        _write_caption(pen, row, y)
        for left, pixels in zip(lefts, row.pictures, strict=True):
            if pixels is None:
                pen.rectangle((left, y, left + width - 1, y + height - 1), EMPTY)
                pen.text((left + width // 2, y + height // 2), missing, PALE, _font(SMALL), "mm")
            else:  # the line shows where a white picture ends
                pen.rectangle((left - 1, y - 1, left + width, y + height), outline=LINE)
                sheet.paste(Image.fromarray(scaled(pixels)), (left, y))
    return sheet


def drawn_size(height: int, width: int) -> tuple[int, int]:
    """Tiny pictures grow by a whole factor, large ones shrink to CELL."""
    longer = max(height, width)
    if longer <= CELL:
        return height * (CELL // longer), width * (CELL // longer)
    return max(1, round(height * CELL / longer)), max(1, round(width * CELL / longer))


def scaled(pixels: np.ndarray) -> np.ndarray:
    """uint8 RGB of the drawn size: every pixel a square, or averaged where it shrinks."""
    height, width = drawn_size(*pixels.shape[:2])
    if pixels.shape[2] == 1:
        pixels = pixels.repeat(3, axis=2)
    method = cv2.INTER_NEAREST if height >= pixels.shape[0] else cv2.INTER_AREA
    return cv2.resize(pixels, (width, height), interpolation=method)


def _write_caption(pen: ImageDraw.ImageDraw, row: Row, y: int) -> None:
    for text, ink, size, down in ((row.caption, INK, TEXT, 0), (row.note, PALE, SMALL, TEXT + 7)):
        pen.text((MARGIN, y + down), fitting(text, size), ink, _font(size))


def _label_width(rows: Sequence[Row]) -> int:
    texts = [pair for row in rows for pair in ((row.caption, TEXT), (row.note, SMALL))]
    return math.ceil(max(_font(size).getlength(fitting(text, size)) for text, size in texts))


def fitting(text: str, size: int) -> str:
    """The text in letters of `size`, cut in the middle where it is wider than LABEL."""
    text = text.encode("utf-8", "backslashreplace").decode()
    text = "".join(each if each.isprintable() else "?" for each in text)
    kept = text
    for count in range(len(text), 1, -1):
        if _font(size).getlength(kept) <= LABEL:
            break
        kept = f"{text[: count // 2]}…{text[len(text) - (count - 1) // 2 :]}"
    return kept


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)  # type: ignore[return-value]
