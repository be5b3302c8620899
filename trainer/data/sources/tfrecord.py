"""`kind: tfrecord`: shards of tf.train.Example with encoded images, read in any order.

One pass finds where every image lies; from then on an image is one read at its place. The pass
steps over the images, so that it costs by the record and not by the byte: 100,000 records take
1.5 s on one core, 3.7 s with eight more features in each. Shards that `trainer data pack` wrote
have an index beside them, and then none is opened before its first picture is asked for.
"""

import bisect
import glob
import itertools
import mmap
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainer import terminal
from trainer.config.data import Tfrecord
from trainer.data import records, shard_index, storage
from trainer.data.arrays import named
from trainer.data.examples import SIDES, Examples, Texts, multi_hot, renamed, side_of
from trainer.data.shard_index import Features, Index
from trainer.errors import UserError

WHERE = "data.source"
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


class Pass:
    """What a pass over the shards gathers: an Index that still grows."""

    def __init__(self) -> None:
        self.ends, self.starts, self.sizes = array("q"), array("q"), array("q")
        self.counts, self.labels = array("q"), array("q")
        self.names: dict[str, int] = {}
        self.texts: dict[int, str] = {}
        self.kinds: set[str] = set()
        self.called, self.called_ends = bytearray(), array("q", [0])

    def index(self, called: bool) -> Index:
        """All of it; with the names of pictures, if they were looked for."""
        names = None
        if called:
            block = np.frombuffer(bytes(self.called), np.uint8)
            names = Texts.over(block, np.array(self.called_ends, np.int64))
        return Index(
            np.array(self.ends, np.int64),
            np.array(self.starts, np.int64),
            np.array(self.sizes, np.int64),
            np.array(self.counts, np.int64),
            np.array(self.labels, np.int64),
            self.names,
            self.texts,
            frozenset(self.kinds),
            names,
        )


def read(source: Tfrecord) -> Examples:
    """The records of all shards in the order of their paths; train, validation and test as words in
    these are the sides.

    Labels are numbers or texts. Numbers are named by `classes`, else by the texts beside them
    (image/class/text beside image/class/label), else by themselves. If a record has several, the
    examples are multi-label; else those without a label, or with -1, are left out.

    Raises: UserError for missing, compressed or damaged shards, and for features that are missing
        or of another kind.
    """
    with _asked(source.path):
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


def passed(source: Tfrecord, root: str, shards: Sequence[str]) -> Index:
    """What a pass over these shards finds. Raises UserError."""
    found = Pass()
    for shard in shards:
        _gather(source, root, shard, found)
    index = found.index(source.name is not None)
    if index.called is not None:
        _demand_different(str(source.name), index.called)
    return index


def _kept(source: Tfrecord, root: str, shards: Sequence[str], some: bool) -> Index | None:
    """What the index beside the shards says, if there is one for them; one that does not fit is
    warned of."""
    features = Features(source.image, source.label, source.name)
    try:
        with _asked(root):
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


@contextmanager
def _asked(path: str) -> Iterator[None]:
    """Around whatever asks for files: what cannot be had is the user's to mend."""
    try:
        yield
    except OSError as error:
        named = error.filename or path
        raise UserError(f"{WHERE}.path", f"{named} cannot be read: {error.strerror}") from None


def _gather(source: Tfrecord, root: str, shard: str, found: Pass) -> None:
    """Adds the records of a shard to what was found."""
    path = storage.joined(root, shard)
    before = len(found.starts)
    try:
        with _asked(path), _content(path) as data:
            for record in records.records(data):
                called = f"{shard}#{len(found.starts) - before}"
                _add(source, path, data, record, found, called)
    except ValueError as error:
        packed = "compressed" in str(error)
        hint = "write it without compression" if packed else "fetch or write it again"
        raise UserError(f"{WHERE}.path", f"{path} {error}", hint) from None
    found.ends.append(len(found.starts))


@contextmanager
def _content(path: str) -> Iterator[records.Data]:
    """All of a shard: mapped, or fetched from its address. Raises OSError."""
    if storage.is_address(path):
        yield storage.read(path)
        return
    with open(path, "rb") as file:  # noqa: PTH123
        if not os.fstat(file.fileno()).st_size:  # an empty file cannot be mapped
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


def _add(
    source: Tfrecord,
    path: str,
    data: records.Data,
    record: records.Span,
    found: Pass,
    called: str,
) -> None:
    """Adds a record, which is called so if no feature says otherwise. Raises UserError if the first
    lacks what all should have."""
    features = records.features(data, record)
    if not found.starts:
        _demand(source, path, data, features)
    images, _ = records.values(data, features.get(source.image, (0, 0)))
    start, end = images[0] if images else (0, 0)
    found.starts.append(start)
    found.sizes.append(end - start)
    _add_labels(source.label, data, features, found)
    if source.name:
        spans, _ = records.values(data, features.get(source.name, (0, 0)))
        found.called.extend(data[slice(*spans[0])] if spans else os.fsencode(called))
        found.called_ends.append(len(found.called))


def _add_labels(
    label: str, data: records.Data, features: Mapping[str, records.Span], found: Pass
) -> None:
    """Adds the labels of a record, and the texts beside them."""
    spans, numbers = records.values(data, features.get(label, (0, 0)))
    names = [_text(data, span) for span in spans]
    labels = numbers or [found.names.setdefault(name, len(found.names)) for name in names]
    if labels:
        found.kinds.add("numbers" if numbers else "texts")
    different = dict.fromkeys(labels)
    found.labels.extend(different)
    found.counts.append(len(different))
    spans, _ = records.values(data, features.get(_beside(label), (0, 0)))
    texts = [_text(data, span) for span in spans]
    for at, number in enumerate(numbers):
        text = texts[at] if len(texts) == len(numbers) else ""
        if found.texts.setdefault(number, text) != text:
            found.texts[number] = ""


def _demand(
    source: Tfrecord, path: str, data: records.Data, found: Mapping[str, records.Span]
) -> None:
    """Raises UserError if the first record has no image, or its label is of another kind."""
    for key, name in (("image", source.image), ("label", source.label), ("name", source.name)):
        if name and name not in found:
            problem = f"the first record of {path} has no feature '{name}'"
            hint = f"it has {', '.join(sorted(found)) or 'none'}; name one: {key}: …"
            raise UserError(f"{WHERE}.{key}", problem, hint)
    if len(records.values(data, found[source.image])[0]) != 1:
        problem = f"the feature '{source.image}' of the first record of {path} is no file's content"
        raise UserError(f"{WHERE}.image", problem, "expected one text of bytes, such as a JPEG's")
    if records.floats(data, found[source.label]):
        problem = f"the feature '{source.label}' of the first record of {path} holds floats"
        raise UserError(f"{WHERE}.label", problem, "expected whole numbers or texts")


def _demand_different(feature: str, called: Texts) -> None:
    """Raises UserError if two pictures are called the same."""
    met: set[str] = set()
    for name in called:
        if name in met:
            problem = f"the feature '{feature}' calls two pictures '{name}'"
            hint = "leave name out: then they are called by shard and record"
            raise UserError(f"{WHERE}.name", problem, hint)
        met.add(name)


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


def _beside(label: str) -> str:
    """The feature with the text of a label."""
    return f"{label.removesuffix('/label')}/text" if label.endswith("/label") else ""


def _text(data: records.Data, span: records.Span) -> str:
    return data[span[0] : span[1]].decode("utf-8", "replace")
