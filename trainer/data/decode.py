"""Bytes of a picture file -> pixels of the model's size. The one preprocessing of the project.

Training, evaluation and prediction call it; the exported files begin where it ends.
"""

import cv2
import numpy as np


def decode(content: bytes, image_size: tuple[int, int]) -> np.ndarray:
    """uint8 RGB [H, W, 3] of the file's content, upright and stretched to image_size (H, W).

    EXIF orientation is applied, grey and palette become RGB, CMYK is converted, 16 bits become 8,
    alpha is dropped (as Pillow's `convert("RGB")` does), of an animation the first frame is taken.

    Raises: ValueError if it is no picture that OpenCV can decode completely.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:  # no bytes at all, or more pixels than the limit
        raise ValueError("empty file" if not content else error.err or str(error)) from None
    if pixels is None:
        raise ValueError("not a complete picture of a known format")
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
