"""Examples on their sides -> shards of tf.train.Example, with the encoded bytes as they are.

A side is cut into shards of as many pictures each, in the order of the source, so a training from
them draws the same batches. A shard is written beside its place and renamed: it is whole or not
there, and the same pictures make the same bytes.
"""

import csv
import errno
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import tensorflow as tf

from trainer import files
from trainer.data import split_file
from trainer.data.examples import SIDES, Examples
from trainer.data.shard_index import Features, Index
from trainer.data.split import Sides
from trainer.data.workers.choice import cores

# As TensorFlow's own datasets and Model Garden call them.
FEATURES = Features("image/encoded", "image/class/label", "image/filename")
TEXT = "image/class/text"

VERSION = 1  # of what is written: shards of another version are not gone on with
SAMPLED = 256  # pictures per side that are looked at to know how large they are
TICK = 64  # pictures between two ticks of the bar

Tick = Callable[[int], None]  # so many pictures more


class Shard(NamedTuple):
    """A file that is to be, and its pictures: those at `rows` of its side."""

    name: str
    side: int  # index in SIDES
    rows: range


class Row(NamedTuple):
    """A picture as a CSV says it, in texts."""

    path: str
    label: str
    split: str
    bytes: str
    changed: str  # time of change in ns


class Stopped(Exception):
    """The writing was given up because another shard failed, or by Ctrl-C."""


def shards(sides: Sides, size: float) -> list[Shard]:
    """The shards of about `size` bytes that the pictures make: `train-00000-of-00010.tfrecord`."""
    found = []
    for number, (side, examples) in enumerate(zip(SIDES, sides, strict=True)):
        if not len(examples):
            continue
        count = min(len(examples), max(1, round(len(examples) * _weight(examples) / size)))
        cuts = np.linspace(0, len(examples), count + 1).astype(int).tolist()
        for at in range(count):
            name = f"{side}-{at:05d}-of-{count:05d}.tfrecord"
            found.append(Shard(name, number, range(cuts[at], cuts[at + 1])))
    return found


def fingerprint(sides: Sides, plan: Sequence[Shard]) -> str:
    """Of all that decides what is written: the pictures by names, sizes and times of change, their
    labels and sides, the cuts."""
    digest = hashlib.sha256()
    whole = [VERSION, sides.train.classes, [(shard.name, len(shard.rows)) for shard in plan]]
    digest.update(json.dumps(whole).encode())
    for examples in sides:
        pictures = examples.pictures
        digest.update(np.ascontiguousarray(examples.labels).tobytes())
        for index in range(len(examples)):
            size, changed = pictures.stamp(index)
            digest.update(os.fsencode(f"{size} {changed} {pictures.name(index)}\n"))
    return digest.hexdigest()[:32]


def rows(sides: Sides) -> Iterator[Row]:
    """What `fingerprint` is of, picture by picture."""
    stamps = (side.pictures.stamp(index) for side in sides for index in range(len(side)))
    for row, stamp in zip(split_file.rows(sides), stamps, strict=True):
        yield Row(*row, *map(str, stamp))


def read_rows(path: Path) -> list[Row]:
    """The rows as they were written. Raises OSError or ValueError."""
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return [Row(*row) for row in csv.reader(file)][1:]
    except (TypeError, csv.Error) as error:
        raise ValueError(str(error)) from None


def difference(before: Iterable[Row], after: Iterable[Row]) -> str:
    """How shards of the pictures before are not shards of those after, in words that go on after
    "shards"; empty if only times of change differ."""
    old, new = ({row.path: row for row in some} for some in (before, after))
    for path in new:
        if path not in old:
            return f"of other pictures: {path} is new"
    for path in old:
        if path not in new:
            return f"of other pictures: {path} is gone"
    pairs = [(one, new[path]) for path, one in old.items()]
    for one, other in pairs:
        if one.bytes != other.bytes:
            return f"of other pictures: {one.path} had {one.bytes} bytes and has {other.bytes}"
    for one, other in pairs:
        if one.label != other.label:
            return f"with other labels: {one.path} was '{one.label}' and is '{other.label}'"
    for one, other in pairs:
        if one.split != other.split:
            return f"otherwise split: {one.path} was in {one.split} and is in {other.split}"
    return "" if list(old) == list(new) else "of the same pictures in another order"


def write(sides: Sides, plan: Sequence[Shard], folder: Path, tick: Tick) -> None:
    """Writes these shards, as many at once as there are cores. Pictures that cannot be read have no
    record.

    Raises: UserError when the disk is full or the place not writable. Whatever ends it, half a
        shard is never left.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(cores()) as pool:
        jobs = [
            pool.submit(_write, sides[shard.side], shard.rows, folder / shard.name, stop, tick)
            for shard in plan
        ]
        try:
            for job in as_completed(jobs):
                error = job.exception()
                if error and not isinstance(error, Stopped):
                    raise error
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)


def missing(sides: Sides, plan: Sequence[Shard], index: Index) -> list[tuple[str, str]]:
    """(name, why) of the pictures that were to be written but have no record.

    Args:
        index: of the shards of the plan, sorted by their names.

    Raises: ValueError, with the name of the shard that has other records.
    """
    found, begin = [], 0
    for shard, end in zip(sorted(plan), index.ends.tolist(), strict=True):
        pictures = sides[shard.side].pictures
        there = iter(range(begin, end))
        at, begin = next(there, None), end
        for row in shard.rows:
            name = pictures.name(row)
            if at is not None and index.called is not None and index.called[at] == name:
                at = next(there, None)
            else:
                found.append((name, _reason(sides[shard.side], row)))
        if at is not None:
            raise ValueError(shard.name)
    return found


def example(examples: Examples, index: int) -> bytes:
    """A tf.train.Example of one picture; pixels become a PNG. Raises OSError or ValueError where it
    cannot be read."""
    content = examples.pictures.content(index)
    labels = (
        np.flatnonzero(examples.labels[index]) if examples.multi_label else [examples.labels[index]]
    )
    texts = [text.encode("utf-8", "surrogateescape") for text in examples.names_of(index)]
    found = tf.train.Example()
    features = found.features.feature
    features[FEATURES.image].bytes_list.value.append(_encoded(content))
    features[FEATURES.label].int64_list.value.extend(map(int, labels))
    features[TEXT].bytes_list.value.extend(texts)
    features[str(FEATURES.name)].bytes_list.value.append(os.fsencode(examples.pictures.name(index)))
    return bytes(found.SerializeToString(deterministic=True))


def _write(
    examples: Examples, rows: Sequence[int], path: Path, stop: threading.Event, tick: Tick
) -> None:
    """One shard; what ends it ends the others too."""
    try:
        with files.replacing(path) as partial:
            with _translated(), tf.io.TFRecordWriter(str(partial)) as writer:
                for number, row in enumerate(rows, 1):
                    if stop.is_set():
                        raise Stopped
                    with suppress(OSError, ValueError):  # `missing` says why
                        record = example(examples, row)
                        writer.write(record)
                    if number % TICK == 0 or number == len(rows):
                        tick(number % TICK or TICK)
            with partial.open("rb") as file:  # on the disk before it has its name
                os.fsync(file.fileno())
    except BaseException:
        stop.set()
        raise


@contextmanager
def _translated() -> Iterator[None]:
    """TensorFlow's errors come out as the OSErrors that they were."""
    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
    except tf.errors.OpError as error:
        raise OSError(errno.EIO, str(error.message).rpartition("; ")[2]) from None


def _weight(examples: Examples) -> float:
    """Bytes of a picture, on the average of some."""
    some = np.unique(np.linspace(0, len(examples) - 1, SAMPLED).astype(int)).tolist()
    sizes = []
    for index in some:
        try:
            sizes.append(len(_encoded(examples.pictures.content(index))))
        except (OSError, ValueError):
            continue
    return float(np.mean(sizes)) if sizes else 0.0


def _encoded(content: bytes | np.ndarray) -> bytes:
    if isinstance(content, bytes):
        return content
    colour = content.ndim == 3 and content.shape[2] == 3
    pixels = cv2.cvtColor(content, cv2.COLOR_RGB2BGR) if colour else content
    return bytes(cv2.imencode(".png", pixels)[1])


def _reason(examples: Examples, index: int) -> str:
    """Why a picture cannot be read."""
    try:
        examples.pictures.content(index)
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return "could not be read when its shard was written"
