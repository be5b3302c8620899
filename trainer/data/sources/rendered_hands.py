"""`kind: rendered_hands`: drawings of rock, paper and scissors, made on first use."""

from pathlib import Path

import cv2
import numpy as np

from trainer import files, terminal
from trainer.config.data import Folder, RenderedHands
from trainer.data import hands
from trainer.data.examples import Examples
from trainer.data.sources import folder

VERSION = 1  # raised when the drawing changes, so that old pictures are not taken for new ones
JPEG_QUALITY = 92


def read(source: RenderedHands) -> Examples:
    """The drawings as ordinary files, in a folder named by what they depend on.

    `complete.json` is written last: a folder without it is drawn again. The same options give the
    same files, byte for byte.
    """
    name = f"{source.images_per_class}x{source.size}px-seed{source.seed}-v{VERSION}"
    root = Path(source.path) / name
    if not (root / "complete.json").is_file():
        _draw_all(source, root)
    return folder.read(Folder(kind="folder", path=str(root)))


def _draw_all(source: RenderedHands, root: Path) -> None:
    total = len(hands.CLASSES) * source.images_per_class
    terminal.say(f"drawing {total} hands into {root}")
    with terminal.progress(total, "drawing", "pictures") as tick:
        for index in range(total):
            number, label = divmod(index, len(hands.CLASSES))
            generator = np.random.default_rng([source.seed, label, number])
            pixels = hands.draw(hands.CLASSES[label], generator, source.size)
            _, encoded = cv2.imencode(
                ".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
            )
            with files.replacing(root / hands.CLASSES[label] / f"{number:04d}.jpg") as partial:
                partial.write_bytes(encoded.tobytes())
            tick(index + 1, "")
    files.write_json(root / "complete.json", source.model_dump(exclude={"path"}))
