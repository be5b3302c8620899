"""Whether a cache fits: what it will take, and what there is."""

import math
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from trainer.data.cache import Shape, database
from trainer.data.cache.disk import Disk
from trainer.errors import UserError
from trainer.files import size

Kind = Literal["memory", "disk"]

SHARE = 0.8  # of what is free: the rest is for the training, which takes its part afterwards
_HINTS = {
    "memory": "write data.cache: disk, a smaller data.load_size, or off",
    "disk": "make room there, or write a smaller data.load_size or data.cache: off",
}


def predicted(kind: Kind, count: int, shape: Shape) -> int:
    """Bytes of a cache that holds so many pictures of a shape."""
    if kind == "disk":
        return database.size(count, shape)
    return count * (math.prod(shape) + 1)


def described(sizes: Sequence[tuple[int, Shape]]) -> str:
    """Counts and shapes for people: `61,000 pictures of 256 x 256 x 3`."""
    return " and ".join(
        f"{count:,} {'pictures ' if number == 0 else ''}of {' x '.join(map(str, shape))}"
        for number, (count, shape) in enumerate(sizes)
    )


def demand(
    kind: Kind, needed: int, path: Path | None = None, already: int = 0, of: str = ""
) -> None:
    """Raises UserError for a cache that would not fit. What cannot be found out fits.

    Args:
        needed: bytes, as predicted.
        path: the file of a cache on disk, which need not exist.
        already: bytes that this file has.
        of: as `described` says it, for the message.
    """
    free = available_memory() if path is None else available_disk(path)
    if free is None or max(0, needed - already) <= SHARE * free:
        return
    had = f", {size(already)} of which are there" if already else ""
    problem = (
        f"{kind}: {size(needed)} for {of or 'the pictures'}{had}, but {size(free)} are free"
        f"{f' for {path.parent}' if path else ''}; a cache may take {SHARE:.0%} of that"
    )
    raise UserError("data.cache", problem, _HINTS[kind])


def demand_disk(stores: Sequence[Disk]) -> int:
    """The bytes of these caches, which lie on one disk. Raises UserError if they would not fit.

    A file may hold pictures of other data that were decoded the same way; they count as had.
    """
    wanted: dict[Path, int] = {}  # two stores of equal settings share a file
    for each in stores:
        more = predicted("disk", each.count, each.shape)
        wanted[each.file] = wanted.get(each.file, 0) + more
    had = sum(min(database.held(file), needed) for file, needed in wanted.items())
    of = described([(each.count, each.shape) for each in stores])
    demand("disk", sum(wanted.values()), stores[0].file, had, of)
    return sum(wanted.values())


# --- what there is ------------------------------------------------------------------------------


def available_disk(path: Path) -> int:
    """Free bytes of the disk where the path is or would be."""
    every = (path, *path.absolute().parents)
    there = next(each for each in every if os.path.exists(each))  # noqa: PTH110 (False where Path's
    # raises: in a folder that cannot be entered)
    return shutil.disk_usage(there).free


def available_memory(
    meminfo: Path = Path("/proc/meminfo"),
    groups: Path = Path("/proc/self/cgroup"),
    root: Path = Path("/sys/fs/cgroup"),
) -> int | None:
    """Bytes that this process may still take: of the machine, and of the container if it is in one.
    None where that cannot be found out."""
    machine = _numbers(meminfo).get("MemAvailable:")
    found = [] if machine is None else [machine * 1024]  # it says kB and means KiB
    return min([*found, *_left_to_groups(groups, root)], default=None)


def _left_to_groups(groups: Path, root: Path) -> Iterator[int]:
    """Bytes left to each control group that holds this process."""
    for line in _lines(groups):
        number, controllers, name = line.split(":", 2)
        if number == "0":  # version 2
            top, limit, usage, of_files = root, "memory.max", "memory.current", ""
        elif "memory" in controllers.split(","):
            top, of_files = root / "memory", "total_"
            limit, usage = "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        inner = top / name.lstrip("/")
        for folder in (inner, *inner.parents):  # in a container, the inner ones may be invisible
            if folder.is_relative_to(top):
                most, used = (_lines(folder / file) for file in (limit, usage))
                if most and used and most[0].isdecimal():
                    counted = _numbers(folder / "memory.stat")
                    # Files that were read are counted too, and given up when memory is needed.
                    files = sum(
                        counted.get(f"{of_files}{kind}_file", 0) for kind in ("active", "inactive")
                    )
                    yield max(0, int(most[0]) - int(used[0]) + files)


def _numbers(file: Path) -> dict[str, int]:
    """The first number of each line, by the word before it."""
    parts = (line.split() for line in _lines(file))
    return {part[0]: int(part[1]) for part in parts if len(part) > 1 and part[1].isdecimal()}


def _lines(file: Path) -> list[str]:
    """None where there is no such file."""
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
