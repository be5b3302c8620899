"""What a source returns: pictures with their labels.

N pictures, K classes.
"""

import array
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, overload

import numpy as np

from trainer.errors import UserError

SIDES = ("train", "validation", "test")

# Words for them in the names of files and arrays, and in tables.
SIDE_WORDS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "t10k": "test",  # MNIST's own
}


# Of file names, as os.fsdecode has it.
ENCODING = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


class Pictures(Protocol):
    """N pictures, wherever they lie: files, rows of an array, records, frames.

    Threads share them, and they can be pickled. `content` raises OSError or ValueError where there
    is nothing to read.
    """

    def __len__(self) -> int:
        """N."""

    def name(self, index: int) -> str:
        """Unique, and the same wherever the source lies: `split.csv` knows pictures by it."""

    def place(self, index: int) -> str:
        """What a user can look at, for messages."""

    def content(self, index: int) -> "bytes | np.ndarray":
        """The encoded file, or pixels uint8 [H, W] (grey) or [H, W, 3] (RGB)."""

    def stamp(self, index: int) -> tuple[int, int]:
        """Size in bytes and time of change in ns: while they stay, so does what was found out."""


@dataclass(frozen=True)
class Examples:
    """Pictures with their labels, in an order that does not depend on the machine."""

    pictures: Pictures
    labels: np.ndarray  # int32 [N], the class of each; multi-label: uint8 [N, K], 1 where it holds
    classes: tuple[str, ...]  # K names, sorted
    sides: np.ndarray | None = None  # int8 [N], index in SIDES, where the source says so
    groups: Sequence[str] | None = None  # N names: pictures of one group never part

    @property
    def multi_label(self) -> bool:
        """Whether a picture may have several labels, or none."""
        return self.labels.ndim == 2

    def __len__(self) -> int:  # the pictures, not the fields
        return len(self.pictures)

    def take(self, indices: np.ndarray) -> "Examples":
        """The examples at these positions, in this order."""
        return Examples(
            chosen(self.pictures, indices),
            self.labels[indices],
            self.classes,
            None if self.sides is None else self.sides[indices],
            None if self.groups is None else Texts(self.groups[index] for index in indices),
        )

    def targets(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """float32 [n, K], one-hot or multi-hot, of the examples at these n positions."""
        if self.multi_label:
            return self.labels[indices].astype(np.float32)
        return np.eye(len(self.classes), dtype=np.float32)[self.labels[indices]]

    def counts(self) -> np.ndarray:
        """int64 [K]: the pictures of each class."""
        if self.multi_label:
            return self.labels.sum(axis=0, dtype=np.int64)
        return np.bincount(self.labels, minlength=len(self.classes))

    def group_numbers(self) -> np.ndarray:
        """int64 [N]: the first picture of each picture's group; itself where it has none."""
        if self.groups is None:
            return np.arange(len(self))
        first: dict[str, int] = {}
        return np.fromiter(
            (first.setdefault(each, at) if each else at for at, each in enumerate(self.groups)),
            np.int64,
            len(self),
        )

    def names_of(self, index: int) -> list[str]:
        """The labels of one picture."""
        if self.multi_label:
            return [self.classes[number] for number in np.flatnonzero(self.labels[index])]
        return [self.classes[self.labels[index]]]


class Texts(Sequence[str]):
    """Texts in one block of memory: a million paths take 60 MB, not 150, and processes that are
    given them share it. File names that are no UTF-8 stay what they are."""

    def __init__(self, texts: Iterable[str]) -> None:
        block, ends = bytearray(), array.array("q", [0])
        for text in texts:
            block += os.fsencode(text)
            ends.append(len(block))
        # An item of a memoryview costs a third of one of a numpy array.
        self._block, self._ends = memoryview(bytes(block)), memoryview(ends)

    @classmethod
    def over(cls, block: np.ndarray, ends: np.ndarray) -> "Texts":
        """Over what `arrays` has given, which may be mapped from a file."""
        texts = cls(())
        texts._block, texts._ends = block.data, ends.data
        return texts

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """All of it: the bytes, uint8, and where each text begins and ends there, int64 [N + 1]."""
        return np.frombuffer(self._block, np.uint8), np.frombuffer(self._ends, np.int64)

    def __reduce__(self) -> tuple[Any, ...]:
        return Texts.over, self.arrays()

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if index < 0:
            index += len(self)
        if not 0 <= index < len(self):
            raise IndexError(index)
        return str(self._block[self._ends[index] : self._ends[index + 1]], *ENCODING)


def _without_waiting(path: str, flags: int) -> int:
    """A pipe that is called like a picture is empty, rather than never there."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


@dataclass(frozen=True)
class Files:
    """Files by their paths below `root`, with `/` between the parts."""

    root: str
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """The path below the root."""
        return self.names[index]

    def place(self, index: int) -> str:
        """The path."""
        return os.path.join(self.root, self.names[index])  # noqa: PTH118 (called a million times)

    def content(self, index: int) -> bytes:
        """The bytes of the file."""
        with open(self.place(index), "rb", opener=_without_waiting) as file:
            return file.read()

    def stamp(self, index: int) -> tuple[int, int]:
        """Of the file."""
        return stamp(self.place(index))


@dataclass(frozen=True)
class Arrays:
    """Pixels in memory, [N, H, W] or [N, H, W, C] uint8 in blocks, as idx and npz files hold them.

    A picture is called after its block and its number there: `train/17`.
    """

    path: str  # of the file or folder they came from
    blocks: dict[str, np.ndarray]
    files: Mapping[str, str] = field(default_factory=dict)  # of each block, if `path` is a folder

    def _find(self, index: int) -> tuple[str, int]:
        for name, block in self.blocks.items():
            if index < len(block):
                return name, index
            index -= len(block)
        raise IndexError(index)

    def __len__(self) -> int:
        return sum(map(len, self.blocks.values()))

    def name(self, index: int) -> str:
        """Block and number."""
        block, number = self._find(index)
        return f"{block}/{number}"

    def place(self, index: int) -> str:
        """The file, block and number."""
        return f"{self.path}: {self.name(index)}"

    def content(self, index: int) -> np.ndarray:
        """The pixels."""
        block, number = self._find(index)
        return self.blocks[block][number]

    def stamp(self, index: int) -> tuple[int, int]:
        """Of the file that holds the block: that of its folder stays when it is written over."""
        return stamp(self.files.get(self._find(index)[0], self.path))


@dataclass(frozen=True)
class Chosen:
    """Some pictures of others, in an order of their own."""

    pictures: Pictures
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    def name(self, index: int) -> str:
        """As there."""
        return self.pictures.name(self.indices[index])

    def place(self, index: int) -> str:
        """As there."""
        return self.pictures.place(self.indices[index])

    def content(self, index: int) -> "bytes | np.ndarray":
        """As there."""
        return self.pictures.content(self.indices[index])

    def stamp(self, index: int) -> tuple[int, int]:
        """As there."""
        return self.pictures.stamp(self.indices[index])


def chosen(pictures: Pictures, indices: np.ndarray) -> Chosen:
    """The pictures at these positions; of pictures that were chosen themselves, straight from where
    they come."""
    if isinstance(pictures, Chosen):
        return Chosen(pictures.pictures, pictures.indices[indices])
    return Chosen(pictures, indices)


def names(pictures: Pictures) -> Iterator[str]:
    """Of all of them, in order: at half of what they cost one by one, each by a number of numpy."""
    if isinstance(pictures, Chosen):
        return map(pictures.pictures.name, pictures.indices.tolist())
    return map(pictures.name, range(len(pictures)))


def stamp(path: str) -> tuple[int, int]:
    """Size in bytes and time of change in ns of a file; (-1, -1) if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):  # ValueError: no file can be called so
        return -1, -1
    return found.st_size, found.st_mtime_ns


def is_text(name: str) -> bool:
    """Whether a name is UTF-8; other bytes stand in it as surrogates."""
    return name == name.encode("utf-8", "ignore").decode()


def demand_names(classes: Iterable[str]) -> None:
    """Raises UserError for a name of several lines: `classes.txt` has one line for each."""
    for name in classes:
        if name and name.splitlines() != [name]:
            raise UserError("data.source", f"the class {name!r} has a line break in its name")


def side_of(name: str) -> str:
    """The side that the last telling word of a name means; empty if none does."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    return next((SIDE_WORDS[word] for word in reversed(words) if word in SIDE_WORDS), "")


def labelled(labels: Iterable[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """int32 [N] class indices of N class names, and the K names, sorted."""
    first: dict[str, int] = {}
    met = np.fromiter((first.setdefault(label, len(first)) for label in labels), np.int32)
    return renamed(met, tuple(first))


def renamed(indices: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The same classes, with names in sorted order: indices int32 [N] (or multi-hot [N, K])."""
    order = sorted(range(len(names)), key=lambda number: names[number])
    classes = tuple(names[number] for number in order)
    if indices.ndim == 2:
        return indices[:, order], classes
    place = np.empty(len(names), np.int32)
    place[order] = np.arange(len(names))
    return place[indices], classes


def multi_hot(rows: np.ndarray, labels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """uint8 [N, K] with 1 at every (row, label) of the two arrays of equal length."""
    hot = np.zeros(shape, np.uint8)
    hot[rows, labels] = 1
    return hot
