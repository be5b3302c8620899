"""`kind: tfrecord`: shards of tf.train.Example with encoded images, read in any order.

One pass finds where every image lies; from then on an image is one read at its place. Shards that
`trainer data pack` wrote have an index beside them instead, and then none is opened before its
first picture is asked for.
"""

import bisect
import glob
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainer import terminal
from trainer.config.data import Tfrecord
from trainer.data import shard_index, storage
from trainer.data.arrays import named
from trainer.data.examples import SIDES, Examples, Texts, multi_hot, renamed, side_of
from trainer.data.shard_index import Features, Index
from trainer.data.shard_pass import WHERE, asked, passed
from trainer.errors import UserError

NO_SHARDS = (".json", ".txt", ".csv", ".md", ".pbtxt", ".idx", ".index")


class Records(NamedTuple):
    """Encoded images inside of shards; called after shard and record: `a.tfrecord#17`, or as their
    records say.

    A shard is opened for every read: that takes 5 µs where decoding takes milliseconds, and a
    thousand shards held open would be more files than a process may have.
    """

    root: str  # a folder, or an address of one
    shards: Sequence[str]  # S paths below the root
    ends: Sequence[int]  # S: the records of a shard and of those before it
    starts: np.ndarray  # int64 [N], of the image in its shard, in bytes
    sizes: np.ndarray  # [N], in bytes; 0 where a record has no image
    called: Texts | None = None  # N names

    def _find(self, index: int) -> tuple[str, int]:
        """The shard, and the number of the record in it."""
        shard = bisect.bisect_right(self.ends, index)
        return self.shards[shard], int(index) - (self.ends[shard - 1] if shard else 0)

    def _path(self, index: int) -> str:
        return storage.joined(self.root, self.shards[bisect.bisect_right(self.ends, index)])

    def __len__(self) -> int:
        return len(self.starts)

    def name(self, index: int) -> str:
        """What its record calls it; else the shard's path below the root, and the record's number
        there."""
        if self.called is not None:
            return self.called[index]
        shard, number = self._find(index)
        return f"{shard}#{number}"

    def place(self, index: int) -> str:
        """The shard's path, the number of the record, and the name if it has one."""
        shard, number = self._find(index)
        name = f": {self.called[index]}" if self.called is not None else ""
        return f"{storage.joined(self.root, shard)}#{number}{name}"

    def content(self, index: int) -> bytes:
        """The bytes of the image. Raises OSError or ValueError."""
        size = int(self.sizes[index])
        if not size:
            raise ValueError("the record has no image")
        content = storage.read(self._path(index), int(self.starts[index]), size)
        if len(content) < size:
            raise ValueError("the shard has become shorter")
        return content

    def stamp(self, index: int) -> tuple[int, int]:
        """Size of the image and time of change of its shard."""
        return int(self.sizes[index]), storage.stamp(self._path(index))[1]


def read(source: Tfrecord) -> Examples:
    """The records of all shards in the order of their paths; train, validation and test as words in
    these are the sides.

    Labels are numbers or texts. Numbers are named by `classes`, else by the texts beside them
    (image/class/text beside image/class/label), else by themselves. If a record has several, the
    examples are multi-label; else those without a label, or with -1, are left out.

    Raises: UserError for missing, compressed or damaged shards, and for features that are missing
        or of another kind.
    """
    with asked(source.path):
        root, shards, some = _shards(source.path)
    return indexed(source, root, shards, some)


def indexed(source: Tfrecord, root: str, shards: Sequence[str], some: bool = True) -> Examples:
    """The records of these shards, given by their paths below the root.

    Args:
        some: whether there may be others beside them.

    Raises: UserError.
    """
    index = _kept(source, root, shards, some) or passed(source, root, shards)
    if not len(index.starts):
        raise UserError(f"{WHERE}.path", f"no records in {source.path}", "is it the right place?")
    pictures = Records(
        root, tuple(shards), tuple(index.ends.tolist()), index.starts, index.sizes, index.called
    )
    sides = _sides(shards, np.diff(index.ends, prepend=0))
    if (index.counts == 1).all() and (
        index.labels >= 0
    ).all():  # the usual case, and no row counted
        return Examples(pictures, *_named(source, index, index.labels), sides)
    rows = np.repeat(np.arange(len(pictures)), index.counts)
    rows, labels = rows[index.labels >= 0], index.labels[index.labels >= 0]
    indices, classes = _named(source, index, labels)
    if (np.diff(rows) == 0).any():
        hot = multi_hot(rows, indices, (len(pictures), len(classes)))
        return Examples(pictures, hot, classes, sides)
    first = pictures.place(int(np.setdiff1d(np.arange(len(pictures)), rows)[0]))
    without = len(pictures) - len(rows)
    terminal.warn(f"{without} records without a label are left out, such as {first}")
    whole = np.zeros(len(pictures), np.int32)
    whole[rows] = indices
    return Examples(pictures, whole, classes, sides).take(rows)


def _kept(source: Tfrecord, root: str, shards: Sequence[str], some: bool) -> Index | None:
    """What the index beside the shards says, if there is one for them; one that does not fit is
    warned of."""
    features = Features(source.image, source.label, source.name)
    try:
        with asked(root):
            sizes = storage.sizes([storage.joined(root, shard) for shard in shards])
            there = dict(zip(shards, sizes, strict=True))
            return shard_index.read(root, there, features, some)
    except ValueError as error:
        way = "the shards are passed over instead, which takes longer"
        terminal.warn(f"the index {storage.joined(root, shard_index.FOLDER)} {error}: {way}")
        return None


def _shards(path: str) -> tuple[str, list[str], bool]:
    """The folder that all shards lie below, their paths below it, sorted, and whether there may be
    others in it. Raises OSError or UserError."""
    if storage.is_address(path):
        far, found = _far(path)
        root, whole, hint = far, far == path.rstrip("/"), ""
    else:
        near, found = _near(Path(path).expanduser())
        root, whole = str(near), Path(path).expanduser().is_dir()
        hint = f"the path is relative to the working directory, {Path.cwd()}"
    if not found:
        what = f"no files called *.tfrecord in {path}" if whole else f"no such file: {path}"
        raise UserError(f"{WHERE}.path", what, hint)
    return root, sorted(found), not whole


def _near(path: Path) -> tuple[Path, list[str]]:
    """Of a folder, a file or a pattern: the folder of the shards, and their paths below it."""
    if path.is_dir():
        root, found = path, [each for each in path.rglob("*") if _is_shard(each.name)]
    elif path.is_file():
        root, found = path.parent, [path]
    else:  # Path.glob takes no absolute patterns
        root = Path(*_fixed(path.parts))
        found = [Path(each) for each in glob.glob(str(path), recursive=True)]  # noqa: PTH207
    found = [each for each in found if each.is_file() and not each.name.startswith(".")]
    return root, [each.relative_to(root).as_posix() for each in found]


def _far(address: str) -> tuple[str, list[str]]:
    """The same of an address. Raises OSError, and UserError for a file system that is not known."""
    scheme = address.partition(storage.FAR)[0]
    if scheme not in storage.schemes():
        known = ", ".join(f"{each}{storage.FAR}" for each in storage.schemes())
        problem = f"TensorFlow knows no {scheme}{storage.FAR} here, only {known}"
        raise UserError(f"{WHERE}.path", problem, "copy the shards, or mount them as a folder")
    if storage.is_folder(address):
        root = address.rstrip("/")
        found = [each for each in storage.below(root) if _is_shard(each.rpartition("/")[2])]
    else:
        root = "/".join(_fixed(address.rpartition("/")[0].split("/")))
        found = [each for each in storage.matching(address) if not storage.is_folder(each)]
    return root, [each.removeprefix(f"{root}/") for each in found]


def _is_shard(name: str) -> bool:
    """Of a file in a folder, by its name."""
    name = name.lower()
    return "tfrec" in name and not name.endswith(NO_SHARDS) and not name.startswith(".")


def _fixed(parts: Sequence[str]) -> Iterator[str]:
    """The folders of a pattern before its first wildcard: what is found cannot move them, so the
    names of records stay when shards are added."""
    return itertools.takewhile(lambda part: not glob.has_magic(part), parts)


def _named(
    source: Tfrecord, index: Index, labels: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """int32 class indices of the labels, and the names."""
    if len(index.kinds) > 1:
        problem = f"the feature '{source.label}' holds numbers in some records and texts in others"
        raise UserError(f"{WHERE}.label", problem, "write the shards again with one of them")
    if "texts" in index.kinds:
        if source.classes:
            problem = f"'{source.label}' holds texts already, such as {min(index.names)}"
            raise UserError(f"{WHERE}.classes", problem, "remove classes")
        return named(labels, tuple(index.names), source.path)
    present, places = _different(labels)
    texts = [index.texts[number] for number in present.tolist()]
    if source.classes or not all(texts) or len(set(texts)) < max(2, len(texts)):
        return named(labels, source.classes, source.path)
    return renamed(places, texts)


def _different(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers among the labels, sorted, and int32 which of them each is. np.unique would sort
    the labels: 20 s for a hundred million."""
    top = int(labels.max(initial=0))
    if top >= max(len(labels), 2**16):  # a table of them would be larger
        present, places = np.unique(labels, return_inverse=True)
        return present, places.astype(np.int32)
    present = np.flatnonzero(np.bincount(labels, minlength=top + 1))
    table = np.zeros(top + 1, np.int32)
    table[present] = np.arange(len(present))
    return present, table[labels]


def _sides(shards: Sequence[str], counts: np.ndarray) -> np.ndarray | None:
    """int8 [N], or None if all are of one side; shards that do not say are for training."""
    sides = [SIDES.index(side_of(shard) or SIDES[0]) for shard in shards]
    return np.repeat(np.array(sides, np.int8), counts) if len(set(sides)) > 1 else None
