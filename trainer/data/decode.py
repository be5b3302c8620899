"""Bytes of a picture file -> pixels of the model's size. The one preprocessing of the project.

Training, evaluation and prediction call it; the exported files begin where it ends.
"""

import io

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError


def decode(content: bytes, image_size: tuple[int, int]) -> np.ndarray:
    """uint8 RGB [H, W, 3] of the file's content, upright and stretched to image_size (H, W).

    EXIF orientation is applied, grey and palette become RGB, CMYK is converted, 16 bits become 8,
    alpha is dropped (as Pillow's `convert("RGB")` does), of an animation the first frame is taken.

    Raises: ValueError if it is no picture that OpenCV can decode completely.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:  # no bytes at all, or more pixels than the limit
        pixels = None
    if pixels is None:
        raise ValueError(_reason(content))
    return resize(pixels, image_size)


def resize(pixels: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    """Stretched to image_size (H, W): by area where both sides shrink, so that nothing aliases,
    bilinear otherwise."""
    height, width = image_size
    if pixels.shape[:2] == (height, width):
        return pixels
    shrinks = height <= pixels.shape[0] and width <= pixels.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(pixels, (width, height), interpolation=method)


def _reason(content: bytes) -> str:
    """Why OpenCV, which does not say, could not decode the file: what Pillow finds."""
    if not content:
        return "empty file"
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
    except UnidentifiedImageError:
        return "no picture of a known format"
    except Exception as error:  # Pillow raises whatever a broken file makes it stumble over
        return str(error) or type(error).__name__
    return "damaged, or of a variant that OpenCV cannot decode"
