"""One look at every picture: can it be read, what is it, and what does it resemble?

`data inspect` reports what is found, the split keeps duplicates together by it. What was found is
kept in a file, so a picture is decoded again only when its size or time of change differ.

N pictures, n of them at once; h, w the sides of a picture as it comes.
"""

import hashlib
import io
import itertools
import json
import os
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from trainer import files, terminal
from trainer.data.decode import decode, jpeg
from trainer.data.examples import Pictures
from trainer.errors import UserError

VERSION = 2  # of the records; another one is not read
SMALL = 32  # pixels, height and width of the grey picture that hash and thumb are made of
THUMB = 16
LARGE = 2**24  # pixels; such pictures are decoded one at a time, so that threads do not add up
CHUNK = 256  # pictures between two ticks of the bar
TASKS = 16  # per chunk: handing one over to a thread costs as much as a small picture
PIXELS = "pixels"  # instead of a format, of arrays
TINT = 3  # of 255: channels that differ by less, as JPEG makes them, are grey

RECORD = np.dtype(
    [
        ("size", "i8"),  # bytes, -1 where there is no file
        ("changed", "i8"),  # ns
        ("content", "u8"),  # first 8 bytes of the sha256
        ("readable", "?"),
        ("height", "i4"),  # h, w, upright
        ("width", "i4"),
        ("format", "U8"),  # as Pillow calls it, or PIXELS; empty where it does not know
        ("orientation", "u1"),  # of EXIF, 1 to 8; 0 without
        ("alpha", "?"),
        ("deep", "?"),  # more than 8 bits per channel
        ("grey", "?"),  # no colour at 256 points
        ("animated", "?"),
        ("spread", "f4"),  # standard deviation of the SMALL picture, 0 to 127
        ("hash", "u8"),  # perceptual, 64 bits
        ("mirrored", "u8"),  # the same of the mirror image
        ("thumb", "u1", (THUMB, THUMB)),  # grey
    ]
)


class Survey(NamedTuple):
    """What was found."""

    records: np.ndarray  # [N] of RECORD
    reasons: dict[int, str]  # why a picture is not readable, by its index


def survey(pictures: Pictures, kept: Path) -> Survey:
    """Looks at every picture that `kept` does not know as it is now, in as many threads as there
    are CPUs, with a bar; writes `kept`, also when it is interrupted."""
    records = np.zeros(len(pictures), RECORD)
    reasons: dict[int, str] = {}
    todo = _known(pictures, kept, records)
    if not len(todo):
        return Survey(records, reasons)
    try:
        with (
            terminal.silenced(),  # libpng and libjpeg talk about broken files
            terminal.progress(len(todo), "looking at the pictures", "pictures") as tick,
            ThreadPoolExecutor(os.cpu_count()) as pool,
        ):
            for start in range(0, len(todo), CHUNK):
                chunk = todo[start : start + CHUNK]
                reasons |= _looked(pictures, chunk, records, pool)
                tick(start + len(chunk), "")
    finally:
        if records["readable"][todo].any():
            _keep(pictures, kept, records, np.flatnonzero(records["readable"]))
    return Survey(records, reasons)


class Views(NamedTuple):
    """What is left of n pictures once they were decoded."""

    grey: np.ndarray  # uint8 [n, SMALL, SMALL], averages
    points: np.ndarray  # uint8 [n, THUMB, THUMB, 3], RGB


def _looked(
    pictures: Pictures, chunk: np.ndarray, records: np.ndarray, pool: ThreadPoolExecutor
) -> dict[int, str]:
    """Fills the records at the n indices; returns why pictures cannot be read, by their index."""
    found, count = records[chunk], len(chunk)
    views = Views(
        np.zeros((count, SMALL, SMALL), np.uint8), np.zeros((count, THUMB, THUMB, 3), np.uint8)
    )

    def look(rows: np.ndarray) -> list[str]:
        return [_look(pictures, chunk[row], found[row], views, row) for row in rows]

    rows = np.array_split(np.arange(count), TASKS)
    reasons = itertools.chain.from_iterable(pool.map(look, rows))
    by_index = {int(index): why for index, why in zip(chunk, reasons, strict=True) if why}
    _describe_views(views, found)
    records[chunk] = found
    return by_index


_one_large = threading.Lock()


def _look(pictures: Pictures, index: int, record: np.ndarray, views: Views, row: int) -> str:
    """Fills what needs the file into the record, and the row of the views; returns why the picture
    cannot be read, or an empty text."""
    record["size"], record["changed"] = pictures.stamp(index)
    try:
        content = pictures.content(index)
        claimed = 0
        if isinstance(content, bytes):
            record["content"] = _digest(content)
            claimed = _describe_header(content, record)
        else:
            record["content"] = _digest(np.ascontiguousarray(content).tobytes())
            record["format"] = PIXELS
        with _one_large if claimed > LARGE else nullcontext():
            pixels = decode(content)
            record["height"], record["width"] = pixels.shape[:2]
            views.grey[row] = _shrunk(pixels)
            views.points[row] = cv2.resize(pixels, (THUMB, THUMB), interpolation=cv2.INTER_NEAREST)
    except (OSError, ValueError, cv2.error) as error:
        return getattr(error, "strerror", None) or str(error)
    record["readable"] = True
    return ""


def _digest(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "little")


def _describe_header(content: bytes, record: np.ndarray) -> int:
    """What only the header of a file knows goes into the record; returns the number of pixels that
    it claims, or LARGE + 1 where Pillow does not know the format."""
    header = jpeg(content)
    if header and header.plain and header.height * header.width:
        record["format"] = "JPEG"
        return header.height * header.width
    try:
        with Image.open(io.BytesIO(content)) as picture:
            record["format"] = picture.format or ""
            record["orientation"] = picture.getexif().get(0x0112, 0) % 256
            record["alpha"] = picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
            record["deep"] = ";16" in picture.mode or _sixteen_bits(content)
            record["animated"] = record["format"] != "MPO" and getattr(
                picture, "is_animated", False
            )
            return picture.width * picture.height
    except Exception:  # Pillow raises whatever; whether it can be read, OpenCV says
        record["format"] = _by_magic(content)
        return LARGE + 1


def _by_magic(content: bytes) -> str:
    """The format of what OpenCV or an extra can read and Pillow, without one, cannot."""
    if content.startswith(b"\x89PNG"):
        return "PNG"
    return "HEIF" if content[4:8] == b"ftyp" else ""


def _sixteen_bits(content: bytes) -> bool:
    """Of PNG, whose RGB Pillow calls 8 bits deep."""
    return content.startswith(b"\x89PNG") and content[24:25] == b"\x10"


def _shrunk(pixels: np.ndarray) -> np.ndarray:
    """uint8 [SMALL, SMALL] grey averages of RGB [h, w, 3].

    Halving, then one bilinear step, then averaging costs a fifth of averaging at once and finds
    the same duplicates (docs/log.md).
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    while max(grey.shape) >= 8 * SMALL:
        h, w = grey.shape
        down, across = 1 + (h >= 8 * SMALL), 1 + (w >= 8 * SMALL)
        whole = grey[: h // down * down, : w // across * across]
        size = (w // across, h // down)
        grey = cv2.resize(whole, size, interpolation=cv2.INTER_AREA)
    if min(grey.shape) >= 2 * SMALL:
        grey = cv2.resize(grey, (4 * SMALL, 4 * SMALL), interpolation=cv2.INTER_LINEAR)
        grey = cv2.resize(grey, (2 * SMALL, 2 * SMALL), interpolation=cv2.INTER_AREA)
    return cv2.resize(grey, (SMALL, SMALL), interpolation=cv2.INTER_AREA)


COSINES = cv2.dct(np.eye(SMALL, dtype=np.float32), flags=cv2.DCT_ROWS).T[:8]  # of 8 frequencies
MIRROR = np.array([1, -1] * 4, np.float32)  # what mirroring does to them


def _describe_views(views: Views, records: np.ndarray) -> None:
    """What the views of n pictures tell goes into their records.

    The perceptual hash are the signs of the lowest 8 x 8 frequencies, the mean left out (pHash,
    Zauner 2010); the thumb is there to look twice.
    """
    small = views.grey.astype(np.float32)
    frequencies = COSINES @ small @ COSINES.T
    records["spread"] = small.std(axis=(1, 2))
    quarters = (small[:, row::2, column::2] for row in (0, 1) for column in (0, 1))
    records["thumb"] = np.round(sum(quarters) / 4)  # a tenth of what mean(axis=(2, 4)) takes
    records["hash"] = _bits(frequencies)
    records["mirrored"] = _bits(frequencies * MIRROR)
    red, green, blue = np.moveaxis(views.points, 3, 0)
    tint = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    records["grey"] = records["readable"] & (tint.max(axis=(1, 2)) <= TINT)


def _bits(frequencies: np.ndarray) -> np.ndarray:
    """uint64 [n] of float32 [n, 8, 8]."""
    values = frequencies.reshape(-1, 64)
    signs = values > np.median(values[:, 1:], axis=1, keepdims=True)
    signs[:, 0] = False  # the mean brightness
    return np.packbits(signs, axis=1).view(np.uint64)[:, 0]


# --- what is kept -------------------------------------------------------------------------------


def _known(pictures: Pictures, kept: Path, records: np.ndarray) -> np.ndarray:
    """Fills in what is known of pictures that have not changed; returns the indices of the rest.

    What could not be read is not kept but tried again: its decoder may have been installed since.
    """
    old, names = _read(kept)
    todo = []
    for index in range(len(pictures)):
        number, stamp = names.get(pictures.name(index)), pictures.stamp(index)
        if number is None or stamp != (old[number]["size"], old[number]["changed"]):
            todo.append(index)
        else:
            records[index] = old[number]
    return np.array(todo, np.int64)


def _read(kept: Path) -> tuple[np.ndarray, dict[str, int]]:
    try:
        with np.load(kept, allow_pickle=False) as archive:
            records = archive["records"]
            about = json.loads(archive["about"].tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError):
        return np.zeros(0, RECORD), {}
    if about["version"] != VERSION or records.dtype != RECORD:
        return np.zeros(0, RECORD), {}
    return records, {name: number for number, name in enumerate(about["names"])}


def _keep(pictures: Pictures, kept: Path, records: np.ndarray, indices: np.ndarray) -> None:
    about = {
        "version": VERSION,
        "names": [pictures.name(index) for index in indices.tolist()],
    }
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    try:
        with files.replacing(kept) as partial, partial.open("wb") as file:
            np.savez(file, records=records[indices], about=text)
    except UserError as error:
        way = "the pictures are looked at again next time; XDG_CACHE_HOME names another place"
        terminal.warn(f"{error.problem}: {way}")
