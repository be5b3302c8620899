"""`cache: disk`: pixels in a file, for this run, those beside it and the next.

Pictures go by their content, so that no other file's pixels are ever served. A run reads a source
file once, to know its content; from then on it knows the key by the picture's number.
"""

import hashlib
import math
import sqlite3
import threading
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np

from trainer import terminal
from trainer.data.cache import Content, Make, Shape, database, demand, locked
from trainer.data.cache.block import Block

SPARED = 10**9  # bytes of the disk that are left to the run itself: checkpoints, reports
KEY = database.KEY

_ALL = "pictures are decoded each time"
_LACKING = "pictures that it lacks are decoded each time"

T = TypeVar("T")


class Disk:
    """Keeps N pictures of one shape in a file, beside others that were decoded the same way.

    Whatever goes wrong with the file, there is one warning, and pictures are decoded each time.
    """

    def __init__(self, folder: Path, settings: str, count: int, shape: Shape) -> None:
        """
        Args:
            folder: of the files, one for each kind of settings; made where it is missing.
            settings: all that pixels depend on besides content and shape, such as the versions of
                libraries: what was kept under another text is not seen.

        Raises: OSError if there is no memory for the keys.
        """
        self.count, self.shape = count, shape
        self._described = database.described(settings, shape)
        self.file = database.place(folder.absolute(), self._described)
        # Of each picture, whether its key is known, and the key; then whether a warning was given.
        self._block = Block((count, 1 + KEY), (1,))
        self._start()

    def _start(self) -> None:
        # Not a connection to a thread: to Python, tf.data's threads are new ones at every call.
        self._free: list[sqlite3.Connection] = []
        self._reads = self._adds = True
        self._adding = threading.Lock()  # SQLite would wait by sleeping
        weakref.finalize(self, _drain, self._free)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What a process must inherit."""
        return (self._block.descriptor,)

    def fetch(self, index: int, content: Content, make: Make) -> np.ndarray:
        """See Store. Content that changes while a run goes on is not seen by it."""
        arrays = self._block.arrays()
        if arrays is None or not self._reads:
            return locked(make(content()))
        known = arrays[0][index]
        pixels = self._found(known[1:].tobytes()) if known[0] else None
        if pixels is not None:
            return pixels
        source = content()
        key = _key(source)
        pixels = self._found(key, check=True)
        if pixels is None:
            pixels = locked(make(source))
            demand(pixels, self.shape)
            self._add(key, pixels)
        known[1:] = np.frombuffer(key, np.uint8)
        known[0] = 1  # if another process sees this first, there is no picture of the key it sees
        return pixels

    def close(self) -> None:
        """Closes the file; who still asks gets what `make` makes."""
        self._block.close()
        _drain(self._free)

    def __enter__(self) -> "Disk":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> tuple[int, Shape, str, Path, Block]:
        return self.count, self.shape, self._described, self.file, self._block

    def __setstate__(self, state: tuple[int, Shape, str, Path, Block]) -> None:
        self.count, self.shape, self._described, self.file, self._block = state
        self._start()

    def _found(self, key: bytes, check: bool = False) -> np.ndarray | None:
        """The kept pixels; None if there are none, or damaged ones.

        Args:
            check: compares the checksum, which takes as long as reading: once a run.
        """

        def read(connection: sqlite3.Connection) -> np.ndarray | None:
            query = "SELECT checksum, pixels FROM pictures WHERE key = ?"
            row = connection.execute(query, (key,)).fetchone()
            if row is None:
                return None
            checksum, kept = row
            whole = len(kept) == math.prod(self.shape)
            if whole and not (check and zlib.crc32(kept) != checksum):
                return np.frombuffer(kept, np.uint8).reshape(self.shape)
            connection.execute("DELETE FROM pictures WHERE key = ?", (key,))
            return None

        return self._tried(read) if self._reads else None

    def _add(self, key: bytes, pixels: np.ndarray) -> None:
        def add(connection: sqlite3.Connection) -> None:
            if database.free(self.file) < SPARED:
                self._stop(f"has less than {SPARED / 1e9:.0f} GB left on its disk", reading=True)
                return
            database.add(connection, self.file, key, pixels)

        with self._adding:
            if self._reads and self._adds:
                self._tried(add, adding=True)

    def _tried(self, work: Callable[[sqlite3.Connection], T], adding: bool = False) -> T | None:
        """The result; None if it fails, which it does once."""
        try:
            with self._connected() as connection:
                return work(connection)
        except (sqlite3.Error, OSError, database.RefusedError) as error:
            self._stop(*database.reason(error, adding))
            return None

    def _stop(self, reason: str, reading: bool) -> None:
        """Adds no more, or reads no more either. One warning for all processes of a run."""
        self._adds, self._reads = False, self._reads and reading
        arrays = self._block.arrays()
        if arrays is not None and not arrays[1][0]:
            arrays[1][0] = 1
            terminal.warn(f"data.cache: {self.file} {reason}; {_LACKING if reading else _ALL}")

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._free.pop()
        except IndexError:
            connection = database.opened(self.file, self._described, self.shape)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._free.append(connection)
        if self._block.arrays() is None:  # closed meanwhile
            _drain(self._free)


def _key(source: bytes | np.ndarray) -> bytes:
    """Of the encoded file, or of pixels with their type and shape."""
    if isinstance(source, bytes):
        return hashlib.sha256(source).digest()[:KEY]
    found = hashlib.sha256(f"{source.dtype.str} {source.shape}\n".encode())
    found.update(np.ascontiguousarray(source).reshape(-1).view(np.uint8).data)
    return found.digest()[:KEY]


def _drain(connections: list[sqlite3.Connection]) -> None:
    """Closes them. The last one to be closed merges the log into the file."""
    while connections:
        connections.pop().close()
