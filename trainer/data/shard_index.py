"""The index of shards: where every picture lies and what it shows, without opening a shard.

It is the folder `index` beside the shards: arrays that are mapped into memory, not read, so that a
hundred million pictures cost what is looked at, once for all processes of a machine; and
`about.json`, which says what they are of.

S shards, N records, L labels in all.
"""

import io
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainer import files
from trainer.data import storage
from trainer.data.examples import Texts
from trainer.errors import UserError

FOLDER = "index"
ABOUT = "about.json"
VERSION = 2  # of what the files hold; another one is not read
NAMED = 3  # shards, of those that are lost
UNCHECKED = "called"  # the texts of names: as much as all other arrays, and read as they are needed


class Index(NamedTuple):
    """What a pass over shards finds in them."""

    ends: np.ndarray  # int64 [S], the records of a shard and of those before it
    starts: np.ndarray  # int64 [N], of the image in its shard, in bytes
    sizes: np.ndarray  # [N], in bytes; 0 where a record has no image
    counts: np.ndarray  # [N], the labels of a record
    labels: np.ndarray  # [L], record after record: numbers, or the places of texts in `names`
    names: dict[str, int]  # labels that are texts, as met
    texts: dict[int, str]  # beside each number; empty if it is not always the same
    kinds: frozenset[str]  # of the labels: numbers, texts
    called: Texts | None  # N names of pictures, where a feature has them


class Features(NamedTuple):
    """Where a pass looks, by the names of features."""

    image: str
    label: str
    name: str | None


def write(root: Path, shards: Mapping[str, int], features: Features, index: Index) -> None:
    """Writes the index of shards (their sizes in bytes by their paths below the root), whole or
    not at all. Raises UserError when the place is not writable."""
    about = {
        "version": VERSION,
        "features": features._asdict(),
        "shards": dict(shards),
        "records": np.diff(index.ends, prepend=0).tolist(),
        "names": index.names,
        "texts": {str(number): text for number, text in index.texts.items()},
        "kinds": sorted(index.kinds),
    }
    block, ends = index.called.arrays() if index.called is not None else (None, None)
    arrays = {
        "ends": index.ends,
        "starts": index.starts,
        "sizes": _small(index.sizes),
        "counts": _small(index.counts),
        "labels": _small(index.labels),
        "called": block,
        "called_ends": ends,
    }
    there = {name: array for name, array in arrays.items() if array is not None}
    about["checks"] = {name: _check(array) for name, array in there.items() if name != UNCHECKED}
    with files.replacing(root / FOLDER) as partial:
        partial.mkdir()
        for name, array in there.items():
            np.save(partial / f"{name}.npy", array)
        files.write_json(partial / ABOUT, about)


def read(root: str, shards: Mapping[str, int], features: Features, some: bool) -> Index | None:
    """The index beside the shards, if there is one of these features; no shard is opened.

    Args:
        root: a folder, or an address of one.
        shards: those that are there, with their sizes in bytes.
        some: whether these may be some only of those that it knows; then there is none for them.

    Raises: UserError where shards that it knows are lost; ValueError, in words that go on after
        "the index", where it is damaged or of other shards.
    """
    if not storage.exists(_path(root, ABOUT)):
        return None
    try:
        about = json.loads(storage.read(_path(root, ABOUT)))
        if about["version"] != VERSION:
            raise ValueError(f"is of version {about['version']}, not {VERSION}")
        known: dict[str, int] = about["shards"]
        if not some:
            _demand_all(root, dict(zip(known, about["records"], strict=True)), shards)
        wanted = features._replace(name=features.name or about["features"]["name"])
        if wanted._asdict() != about["features"] or (some and shards.keys() < known.keys()):
            return None
        _demand_same(known, shards)
        return _read(root, about, features)
    except (OSError, KeyError, TypeError, EOFError, json.JSONDecodeError) as error:
        raise ValueError(f"is damaged ({error})") from None


def _read(root: str, about: Mapping[str, Any], features: Features) -> Index:
    checks = about["checks"]
    names = None
    if features.name:
        block, ends = _array(root, UNCHECKED, checks), _array(root, "called_ends", checks)
        names = Texts.over(block, ends)
    return Index(
        _array(root, "ends", checks),
        _array(root, "starts", checks),
        _array(root, "sizes", checks),
        _array(root, "counts", checks),
        _array(root, "labels", checks),
        about["names"],
        {int(number): text for number, text in about["texts"].items()},
        frozenset(about["kinds"]),
        names,
    )


def _array(root: str, name: str, checks: Mapping[str, int]) -> np.ndarray:
    """As a plain array: a memmap would be copied, not shared, when it goes to a worker. Raises
    OSError where it is not what was written."""
    path = _path(root, f"{name}.npy")
    try:
        if storage.is_address(path):
            array = np.load(io.BytesIO(storage.read(path)), allow_pickle=False)
        else:
            array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except ValueError as error:
        raise OSError(f"{name}.npy: {error}") from None
    if name != UNCHECKED and _check(array) != checks[name]:
        raise OSError(f"{name}.npy is not what was written")
    return array


def _check(array: np.ndarray) -> int:
    """CRC-32 of the kind, the shape and the values."""
    return zlib.crc32(array.data, zlib.crc32(f"{array.dtype.str} {array.shape}".encode()))


def _demand_all(root: str, records: Mapping[str, int], there: Mapping[str, int]) -> None:
    """Raises UserError if shards are lost: a training from the rest would be another one."""
    lost = sorted(records.keys() - there.keys())
    if lost:
        index = storage.joined(root, FOLDER)
        some = ", ".join(lost[:NAMED]) + ", …" * (len(lost) > NAMED)
        count = sum(records[shard] for shard in lost)
        problem = f"{count} pictures are missing, of shards that {index} knows: {some}"
        hint = "fetch them again or run `trainer data pack` again; to train on the rest, remove "
        raise UserError("data.source.path", problem, hint + index)


def _demand_same(known: Mapping[str, int], there: Mapping[str, int]) -> None:
    """Raises ValueError unless the shards are those of the index, as far as sizes tell."""
    for shard in sorted(there):
        if shard not in known:
            raise ValueError(f"does not know {shard}")
        if known[shard] != there[shard]:
            problem = f"is of another {shard}: of {known[shard]} bytes, not {there[shard]}"
            raise ValueError(problem)


def _path(root: str, name: str) -> str:
    return storage.joined(storage.joined(root, FOLDER), name)


def _small(values: np.ndarray) -> np.ndarray:
    """The same numbers, from 0, in as few bytes as hold the largest; as they are if one is less."""
    if not len(values) or values.min() < 0:
        return values
    return values.astype(np.min_scalar_type(int(values.max())))
