"""Pictures whose pixels tell who they are, and other processes that read them."""

import json
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainer.data.cache import Store
from trainer.data.cache.disk import Disk
from trainer.data.cache.memory import Memory

SHAPE = (16, 20, 3)


def pixels(index: int) -> np.ndarray:
    """uint8 [16, 20, 3], another for each index."""
    return np.random.default_rng(index).integers(0, 256, SHAPE, np.uint8)


class Source:
    """Pictures that count how often they are read and made; `broken` raises."""

    def __init__(self) -> None:
        self.read: list[int] = []
        self.made: list[int] = []
        self.broken: set[int] = set()
        self.changed: dict[int, int] = {}  # index -> the picture that is there instead

    def content(self, index: int) -> bytes:
        self.read.append(index)
        if index in self.broken:
            raise OSError(f"picture {index} is gone")
        return str(self.changed.get(index, index)).encode()

    def make(self, content: "bytes | np.ndarray") -> np.ndarray:
        assert isinstance(content, bytes)
        self.made.append(int(content))
        return pixels(int(content))

    def fetch(self, store: Store, index: int) -> np.ndarray:
        """Checks that it is the right one."""
        found = store.fetch(index, lambda: self.content(index), self.make)
        assert np.array_equal(found, pixels(self.changed.get(index, index)))
        assert (found.shape, found.dtype) == (SHAPE, np.uint8)
        return found


def new(kind: str, folder: Path, count: int = 10, settings: str = "some") -> Memory | Disk:
    """An empty store; on disk, the one that is there."""
    return Memory(count, SHAPE) if kind == "memory" else Disk(folder, settings, count, SHAPE)


_CHILD = """\
import json, pickle, sys
from tests.data.cache.helpers import Source
store, indices = pickle.load(sys.stdin.buffer)
source = Source()
for index in indices:
    source.fetch(store, index)
    print(index, flush=True)
print(json.dumps({"read": source.read, "made": source.made}))
store.close()
"""


def child(store: Store, indices: Sequence[int]) -> subprocess.Popen:
    """A process that fetches these pictures and says so, line by line."""
    process = subprocess.Popen(
        [sys.executable, "-c", _CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=store.descriptors,
    )
    assert process.stdin
    process.stdin.write(pickle.dumps((store, indices)))
    process.stdin.close()
    process.stdin = None
    return process


def ended(process: subprocess.Popen) -> tuple[dict[str, list[int]], str]:
    """What the process read and made, and its standard error."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    return json.loads(out.splitlines()[-1]), err.decode()
