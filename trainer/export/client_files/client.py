"""Labels pictures with the model.onnx that lies one folder up.

pip install numpy pillow onnxruntime
python client.py PICTURE ...     the label and probability of each
python client.py --check         compares with golden.json; exits with 1 if it is not met

Labels, size and all else come from the metadata of the file. Pictures are shrunk and stretched as
OpenCV's cv2.resize does, to the bit: INTER_AREA in float32, INTER_LINEAR with weights of 11 bits.
h, w are the sides of a picture as it comes; H, W, C the shape that the network takes; K labels.
"""

import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

HERE = Path(__file__).parent
MODEL = HERE.parent / "model.onnx"

Taps = list[list[tuple[int, float]]]  # for each pixel of the result: which count, how much


def load(path: Path) -> tuple[onnxruntime.InferenceSession, dict[str, Any]]:
    """The network, and what its file says of itself."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    return session, {key: json.loads(value) for key, value in metadata.items()}


def decode(path: Path) -> np.ndarray:
    """uint8 RGB [h, w, 3], upright; 16 bits become 8, alpha is dropped."""
    with Image.open(path) as picture:
        upright = ImageOps.exif_transpose(picture)
        if upright.mode.startswith("I"):  # 16 bits of grey; Pillow's own way to RGB would cut them
            grey = (np.asarray(upright).astype(np.int64) >> 8).astype(np.uint8)
            return np.stack([grey] * 3, axis=2)
        return np.asarray(upright.convert("RGB"))


def present(pixels: np.ndarray, about: dict[str, Any]) -> np.ndarray:
    """uint8 [H, W, C] of RGB [h, w, 3]: `crop` cuts the longer side equally at both ends, `pad`
    adds black there, `stretch` changes the shape."""
    (h, w), (height, width) = pixels.shape[:2], about["image_size"]
    inner = height, width
    if about["fit"] == "crop":
        ratio = height / width
        rows, columns = min(h, max(1, round(w * ratio))), min(w, max(1, round(h / ratio)))
        top, left = (h - rows) // 2, (w - columns) // 2
        pixels = pixels[top : top + rows, left : left + columns]
    if about["fit"] == "pad":
        scale = min(height / h, width / w)
        inner = max(1, min(height, round(h * scale))), max(1, min(width, round(w * scale)))
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    result = np.zeros((height, width, 3), np.uint8)
    result[top : top + inner[0], left : left + inner[1]] = resize(pixels, inner, about["resize"])
    if about["channels"] == 1:
        weighed = result.astype(np.int32) @ (9798, 19235, 3735)  # of 32768: 0.299, 0.587, 0.114
        return ((weighed + 16384) >> 15).astype(np.uint8)[:, :, None]
    return result


def resize(pixels: np.ndarray, size: tuple[int, int], method: str) -> np.ndarray:
    """Stretched to size (H, W); `area` is for pictures that shrink, others are bilinear."""
    (h, w), (height, width) = pixels.shape[:2], size
    if (h, w) == (height, width):
        return pixels
    down, across = 1 / (height / h), 1 / (width / w)
    whole = down == int(down) and across == int(across)
    if method == "area" and height <= h and width <= w:
        if whole:
            return blocks(pixels, int(down), int(across))
        wide = blend(pixels.astype(np.float32).swapaxes(0, 1), cells(w, width)).swapaxes(0, 1)
        return np.rint(blend(wide, cells(h, height))).clip(0, 255).astype(np.uint8)
    if whole and down == across == 2:
        return blocks(pixels, 2, 2)
    (left, right), (least, most) = neighbours(w, width, True)
    wide = pixels[:, left] * least[:, None] + pixels[:, right] * most[:, None]
    (left, right), (least, most) = neighbours(h, height, False)
    above = (wide[left] >> 4) * least[:, None, None] >> 16
    below = (wide[right] >> 4) * most[:, None, None] >> 16
    return (above + below + 2 >> 2).clip(0, 255).astype(np.uint8)


def blocks(pixels: np.ndarray, down: int, across: int) -> np.ndarray:
    """Means of whole blocks of pixels."""
    h, w = pixels.shape[:2]
    parts = pixels.reshape(h // down, down, w // across, across, 3)
    sums = parts.sum(axis=(1, 3), dtype=np.int32)
    if down == across == 2:
        return (sums + 2 >> 2).astype(np.uint8)
    return np.rint(sums.astype(np.float32) * np.float32(1 / (down * across))).astype(np.uint8)


def cells(count: int, size: int) -> Taps:
    """How much each of `count` pixels covers of each of `size` cells."""

    def covered(cell: int) -> Iterator[tuple[int, float]]:
        scale = 1 / (size / count)
        start, end = cell * scale, cell * scale + scale
        width = min(scale, count - start)
        last = min(math.floor(end), count - 1)
        first = min(math.ceil(start), last)
        if first - start > 1e-3:
            yield first - 1, (first - start) / width
        for index in range(first, last):
            yield index, 1 / width
        if end - last > 1e-3:
            yield last, min(end - last, 1, width) / width

    return [list(covered(cell)) for cell in range(size)]


def blend(rows: np.ndarray, taps: Taps) -> np.ndarray:
    """Weighted sums of rows float32 [count, ...], added in OpenCV's order."""
    result = np.zeros((len(taps), *rows.shape[1:]), np.float32)
    for nth in range(max(map(len, taps))):
        index, weight = zip(*(tap[nth] if nth < len(tap) else (0, 0.0) for tap in taps))  # noqa: B905
        result += rows[list(index)] * np.array(weight, np.float32)[:, None, None]
    return result


def neighbours(count: int, size: int, across: bool) -> tuple[np.ndarray, np.ndarray]:
    """The two pixels that each pixel lies between, and their weights of 2048; int64 [2, size]."""
    place = ((np.arange(size) + 0.5) * (1 / (size / count)) - 0.5).astype(np.float32)
    first = np.floor(place)
    part = place - first
    if across:  # OpenCV lets go of the fraction at the sides, at top and bottom it does not
        part[(first < 0) | (first >= count - 1)] = 0
    index = np.stack([first, first + 1]).clip(0, count - 1).astype(np.int64)
    return index, np.rint(np.stack([1 - part, part]) * 2048).astype(np.int64)


def label(probabilities_K: np.ndarray, about: dict[str, Any]) -> str:
    """The most probable label; where several may hold, all from their thresholds on."""
    if about["task"] == "single_label":
        return about["labels"][int(probabilities_K.argmax())]
    pairs = zip(probabilities_K, about["thresholds"], about["labels"])  # noqa: B905
    return "|".join(name for value, threshold, name in pairs if value >= threshold) or "-"


def check(session: onnxruntime.InferenceSession, about: dict[str, Any]) -> bool:
    """Whether pixels differ by at most one grey level from golden.json's (decoders and OpenCV's
    own builds may), and probabilities by at most its tolerance."""
    golden, good = json.loads((HERE / "golden.json").read_text(encoding="utf-8")), True
    for each in golden["pictures"]:
        pixels = present(decode(HERE / each["picture"]), about)
        [scores_NK] = session.run(["probabilities"], {"image": pixels[None]})
        with Image.open(HERE / each["pixels"]) as picture:
            apart = int(
                np.abs(np.asarray(picture).reshape(pixels.shape) - pixels.astype(int)).max()
            )
        difference = float(np.abs(scores_NK[0] - each["probabilities"]).max())
        met = apart <= 1 and difference <= golden["tolerance"]
        print(
            f"{each['picture']}  {label(scores_NK[0], about)}  pixels differ by {apart},"
            f" probabilities by {difference:.1e}{'' if met else '  NOT MET'}"
        )
        good = good and met
    return good


def main() -> None:
    """The command line."""
    names = sys.argv[1:]
    if not names or names[0] in ("-h", "--help"):
        print(__doc__)
        sys.exit(0 if names else 2)
    session, about = load(MODEL)
    if names == ["--check"]:
        sys.exit(0 if check(session, about) else 1)
    unreadable = 0
    for name in names:
        try:
            pixels = present(decode(Path(name)), about)
        except Exception as error:  # Pillow raises whatever a broken file makes it stumble over
            print(f"{name}: {error}", file=sys.stderr)
            unreadable += 1
            continue
        [scores_NK] = session.run(["probabilities"], {"image": pixels[None]})
        print(f"{name}  {label(scores_NK[0], about)}  {scores_NK[0].max():.4f}")
    sys.exit(1 if unreadable else 0)


if __name__ == "__main__":
    main()
