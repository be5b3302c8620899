"""Heat over the picture that it explains."""

import cv2
import numpy as np

STRENGTH = 0.8  # of the hottest colour over the picture
PALE = 0.35  # of the picture's own colours, so that those of the heat are told from them


def overlaid(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The picture, paled, under its heat: uint8 RGB [H, W, 3]. The colours go from dark violet to
    yellow (matplotlib's inferno), which the colour-blind tell apart too; where there is no heat the
    picture shows.

    Args:
        image: uint8 [H, W, 1 or 3].
        heat: [h, w], 0 to 1; it is brought to the picture's size.
    """
    height, width = image.shape[:2]
    heat = cv2.resize(heat.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    heat = heat.clip(0, 1)
    rgb = np.broadcast_to(image, (height, width, 3)).astype(np.float32)
    grey = rgb.mean(axis=2, keepdims=True)
    pale = grey + PALE * (rgb - grey)
    levels = np.rint(255 * heat).astype(np.uint8)
    coloured = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]
    share = (STRENGTH * heat)[..., None]
    return np.rint(pale + share * (coloured - pale)).astype(np.uint8)
