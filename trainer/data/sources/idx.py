"""`kind: idx`: images and labels in MNIST's own format, gzipped or not.

Source of the format: https://yann.lecun.com/exdb/mnist (the page of the MNIST database).
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from trainer.config.data import Idx
from trainer.data.arrays import combined
from trainer.data.examples import Examples
from trainer.data.sources.folder import WHERE, existing
from trainer.errors import UserError

# The format's type codes, of which pictures and labels use the first.
TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read(source: Idx) -> Examples:
    """The arrays of a folder, paired by their names: train-images-idx3-ubyte.gz with
    train-labels-idx1-ubyte.gz; t10k and test are the test side.

    Raises: UserError for a missing folder, a file that breaks off, or images without labels.
    """
    root = existing(source.path)
    files = {
        path.name.removesuffix(".gz"): path
        for path in sorted(root.iterdir())
        if "idx" in path.name and path.is_file() and not path.name.startswith(".")
    }
    if not files:
        hint = "expected files such as train-images-idx3-ubyte.gz"
        raise UserError(WHERE, f"no idx files in {root}", hint)
    arrays = {key: _array(path) for key, path in files.items()}
    return combined(
        arrays, source.classes, str(root), {key: str(path) for key, path in files.items()}
    )


def _array(path: Path) -> np.ndarray:
    """Two zero bytes, type, number of dimensions, their sizes (4 bytes each, big-endian), data."""
    try:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(WHERE, f"{path} is no whole idx file: {error}", "fetch it again") from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES:
        problem = f"{path} is no idx file: it begins with {content[:4].hex(' ') or 'nothing'}"
        raise UserError(WHERE, problem, "expected 00 00 08 03 (images) or 00 00 08 01 (labels)")
    kind, head = np.dtype(TYPES[content[2]]), 4 + 4 * content[3]
    shape = [int.from_bytes(content[at : at + 4], "big") for at in range(4, head, 4)]
    wanted = head + kind.itemsize * math.prod(shape)
    if len(content) != wanted:
        problem = f"{path} has {len(content)} bytes, but its header {shape} means {wanted}"
        raise UserError(WHERE, problem, "fetch it again")
    values = np.frombuffer(content, kind, offset=head).reshape(shape)
    return values.astype(kind.newbyteorder("="), copy=False)
