"""Files on this machine, and wherever else tf.io.gfile reaches: `gs://bucket/shards`.

TensorFlow is imported for addresses alone. A worker process that meets one imports it with its
first picture, which costs it seconds and the memory; from disk it stays without.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from trainer import terminal
from trainer.data.examples import stamp as local_stamp

REQUESTS = 32  # at once, to ask for the sizes of files behind addresses
FAR = "://"


def is_address(path: str) -> bool:
    """Whether it names a file system, as `gs://…` does."""
    return FAR in path


def read(path: str, start: int = 0, size: int = -1) -> bytes:
    """So many bytes of a file, fewer where it ends; -1: all that follow. Raises OSError."""
    if is_address(path):
        with _translated(path), _tensorflow().io.gfile.GFile(path, "rb") as far:
            far.seek(start)
            return bytes(far.read(size))
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (called for every picture)
        file.seek(start)
        return file.read(size)


def exists(path: str) -> bool:
    """Whether there is such a file. Raises OSError where the address cannot be asked."""
    if is_address(path):
        with _translated(path):
            return bool(_tensorflow().io.gfile.exists(path))
    return Path(path).is_file()


def sizes(paths: Sequence[str]) -> list[int]:
    """Of files, in bytes; nothing is opened. Raises OSError."""
    if not any(map(is_address, paths)):
        return [os.stat(path).st_size for path in paths]  # noqa: PTH116
    with ThreadPoolExecutor(REQUESTS) as pool:
        return [size for size, _ in pool.map(_far_stamp, paths)]


def stamp(path: str) -> tuple[int, int]:
    """Size in bytes and time of change in ns of a file; (-1, -1) if there is none. An address is
    asked once, since every picture of a shard asks again."""
    if not is_address(path):
        return local_stamp(path)
    try:
        return _far_stamp(path)
    except OSError:
        return -1, -1


def schemes() -> list[str]:
    """The file systems that TensorFlow knows here, as `gs`."""
    return sorted(filter(None, _tensorflow().io.gfile.get_registered_schemes()))


def is_folder(address: str) -> bool:
    """Whether there is such a folder. Raises OSError."""
    with _translated(address):
        return bool(_tensorflow().io.gfile.isdir(address))


def below(address: str) -> Iterator[str]:
    """The files of a folder at any depth, by their addresses. Raises OSError."""
    with _translated(address):
        for top, _, names in _tensorflow().io.gfile.walk(address):
            yield from (joined(top, name) for name in names)


def matching(pattern: str) -> list[str]:
    """The files and folders that an address with * and ? means. Raises OSError."""
    with _translated(pattern):
        return [str(each) for each in _tensorflow().io.gfile.glob(pattern)]


def joined(root: str, name: str) -> str:
    """The path of a file below a folder, wherever that is."""
    return os.path.join(root, name)  # noqa: PTH118 (Path makes one slash of ://)


@lru_cache(maxsize=2**16)
def _far_stamp(path: str) -> tuple[int, int]:
    with _translated(path):
        found = _tensorflow().io.gfile.stat(path)
    return int(found.length), int(found.mtime_nsec)


@lru_cache(maxsize=1)
def _tensorflow() -> Any:
    with terminal.silenced():
        import tensorflow as tf
    return tf


@contextmanager
def _translated(path: str) -> Iterator[None]:
    """TensorFlow's errors come out as the OSErrors that those of a disk are."""
    tf = _tensorflow()
    try:
        yield
    except tf.errors.NotFoundError:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
    except tf.errors.OpError as error:
        raise OSError(errno.EIO, str(error.message).partition("\n")[0], path) from None
