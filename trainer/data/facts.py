"""Examples -> what a config has to know of them, from a look at some of the pictures.

N pictures, K classes; h, w the sides of a picture as it comes.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.config.draft import Facts
from trainer.data.decode import decode
from trainer.data.examples import SIDES, Examples
from trainer.errors import UserError

LOOKED_AT = 200  # pictures at most
CONTENT = 60 * 2**20  # bytes at most: photos of 12 megapixels take a second for every ten
GREY = 3  # largest difference of two channels of a picture that counts as grey: JPEG rounds


def look(name: str, source: Mapping[str, Any], examples: Examples) -> Facts:
    """What is known of the examples and of a sample of their pictures, spread over the classes.

    Args:
        source: `data.source` as it will be written.

    Raises: UserError if none of the sample can be decoded.
    """
    shapes, grey, read = [], True, 0
    reason = ""
    for index in spread(examples, LOOKED_AT):
        if read > CONTENT:
            break
        try:
            content = examples.pictures.content(index)
            pixels = decode(content)
        except (OSError, ValueError) as error:
            reason = f"{examples.pictures.place(index)}: {error}"
            continue
        read += len(content) if isinstance(content, bytes) else content.nbytes
        shapes.append(pixels.shape[:2])
        grey = grey and is_grey(pixels)
    if not shapes:
        problem = f"not one of {min(len(examples), LOOKED_AT)} pictures can be read, as {reason}"
        raise UserError("data.source", problem, "look at the files: are these pictures?")
    h, w = np.array(shapes, np.float64).T
    narrow, middle, wide = np.quantile(w / h, [0.05, 0.5, 0.95])
    return Facts(
        name=name,
        source=source,
        classes=examples.classes,
        counts=tuple(examples.counts().tolist()),
        pictures=len(examples),
        multi_label=examples.multi_label,
        sides=given_sides(examples),
        looked_at=len(shapes),
        height=int(np.median(h)),
        width=int(np.median(w)),
        ratios=(float(narrow), float(middle), float(wide)),
        grey=grey,
    )


def spread(examples: Examples, count: int) -> list[int]:
    """The positions of `count` examples (or all): evenly from each class, one of each in turn."""
    labels = examples.labels
    if examples.multi_label:  # by combination; so pictures without a label are one too
        _, labels = np.unique(labels, axis=0, return_inverse=True)
    ordered = np.argsort(labels, kind="stable")
    sizes = np.unique(labels, return_counts=True)[1]
    members = np.split(ordered, np.cumsum(sizes)[:-1])
    chosen: list[tuple[int, int]] = []
    for number, each in enumerate(sorted(members, key=len)):  # large ones give what small ones lack
        share = -(-(count - len(chosen)) // (len(members) - number))
        places = np.linspace(0, len(each) - 1, min(len(each), share)).astype(int)
        chosen += enumerate(each[places].tolist())
    return [index for _, index in sorted(chosen)]


def is_grey(pixels: np.ndarray) -> bool:
    """Whether the channels of uint8 [h, w, 3] are nearly equal everywhere."""
    r, g, b = (pixels[..., channel].astype(np.int16) for channel in range(3))
    return max(np.abs(r - g).max(), np.abs(b - g).max()) <= GREY


def given_sides(examples: Examples) -> dict[str, int]:
    """The number of pictures on each side that the source gives; empty if it gives none."""
    if examples.sides is None:
        return {}
    counted = Counter(examples.sides.tolist())
    return {name: counted[number] for number, name in enumerate(SIDES) if counted[number]}
