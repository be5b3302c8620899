"""Whether a cache fits: what machine, container and disk have left, and what is said."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.data.cache.helpers import SHAPE, Source, new
from trainer.data.cache import room
from trainer.errors import UserError

PICTURES = (61_000, (256, 256, 3))
GB = 10**9


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def written(folder: Path, files: dict[str, str]) -> dict[str, Path]:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return {"meminfo": folder / "meminfo", "groups": folder / "groups", "root": folder / "fs"}


MEMINFO = {"meminfo": "MemTotal:  16000000 kB\nMemFree:  1000 kB\nMemAvailable:  8000000 kB\n"}
MACHINE = 8_000_000 * 1024
V2 = {
    "groups": "0::/user/me\n",
    "fs/user/memory.max": "4000000000\n",
    "fs/user/memory.current": "3000000000\n",
    "fs/user/memory.stat": "anon 1\nactive_file 500000000\ninactive_file 200000000\nfile 9\n",
    "fs/user/me/memory.max": "max\n",
    "fs/user/me/memory.current": "100\n",
}
V1 = {
    "groups": "9:name=systemd:/\n4:cpu,memory:/docker/abc\n0::/\n",
    "fs/memory/memory.limit_in_bytes": "2000000000\n",
    "fs/memory/memory.usage_in_bytes": "1500000000\n",
    "fs/memory/memory.stat": "active_file 7\ntotal_active_file 50000000\ntotal_inactive_file 1\n",
}
V1_FREE = {
    "groups": "4:memory:/\n",
    "fs/memory/memory.limit_in_bytes": "9223372036854771712\n",
    "fs/memory/memory.usage_in_bytes": "1500000000\n",
}
OVER = {
    "groups": "0::/\n",
    "fs/memory.max": "1000\n",
    "fs/memory.current": "1001\n",
}


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, None),
        (MEMINFO, MACHINE),
        ({"meminfo": "MemTotal: 5 kB\n"}, None),
        (MEMINFO | V2, 1_700_000_000),
        (V2, 1_700_000_000),
        (MEMINFO | V1, 550_000_001),
        (MEMINFO | V1_FREE, MACHINE),
        (MEMINFO | OVER, 0),
    ],
)
def test_memory_that_is_left(tmp_path: Path, files: dict[str, str], left: int | None) -> None:
    assert room.available_memory(**written(tmp_path, files)) == left


def test_memory_that_is_left_here() -> None:
    left = room.available_memory()
    assert left is None or left > 10**6


def test_disk_that_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def usage(path: Path) -> Usage:
        asked.append(path)
        return Usage(10, 3, 7)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert room.available_disk(tmp_path / "not" / "yet.sqlite") == 7
    assert asked == [tmp_path]


def test_what_is_predicted() -> None:
    assert room.predicted("memory", 10, (2, 3, 1)) == 70
    assert room.predicted("memory", *PICTURES) == 61_000 * (256 * 256 * 3 + 1)
    pixels = 61_000 * 256 * 256 * 3
    assert 1.01 * pixels < room.predicted("disk", *PICTURES) < 1.02 * pixels


def test_what_does_not_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = room.predicted("memory", *PICTURES)
    monkeypatch.setattr(room, "available_memory", lambda: int(9.8 * GB))
    with pytest.raises(UserError) as error:
        room.demand("memory", needed, of=room.described([PICTURES, (5000, (224, 224, 3))]))
    assert str(error.value) == (
        "data.cache: memory: 12.0 GB for 61,000 pictures of 256 x 256 x 3 and 5,000 of "
        "224 x 224 x 3, but 9.8 GB are free; a cache may take 80% of that\n"
        "  write data.cache: disk, a smaller data.load_size, or off"
    )


@pytest.mark.parametrize(("free", "fits"), [(None, True), (1000, True), (999, False)])
def test_four_fifths_of_what_is_free(
    free: int | None, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "available_memory", lambda: free)
    if fits:
        room.demand("memory", 800)
    else:
        with pytest.raises(UserError, match="800 bytes for the pictures, but 999 bytes are free"):
            room.demand("memory", 800)


def test_what_does_not_fit_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "available_disk", lambda _: 2000)
    small, large = new("disk", tmp_path), new("disk", tmp_path, count=10**6, settings="other")
    with small as one, large as two:
        with pytest.raises(UserError) as error:
            room.demand_disk([one, two])
        assert str(error.value) == (
            "data.cache: disk: 1.1 GB for 10 pictures of 16 x 20 x 3 and 1,000,000 of 16 x 20 x 3, "
            f"but 2.0 kB are free for {tmp_path}; a cache may take 80% of that\n"
            "  make room there, or write a smaller data.load_size or data.cache: off"
        )


def test_what_is_there_counts_as_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with new("disk", tmp_path, count=1000) as store:
        for index in range(400):
            Source().fetch(store, index)
    had, all_of_it = store.file.stat().st_size, room.predicted("disk", 1000, SHAPE)
    free: dict[str, Any] = {"": int((all_of_it - had) / 0.8) + 2}
    monkeypatch.setattr(room, "available_disk", lambda _: free[""])
    assert room.demand_disk([store]) == all_of_it
    free[""] -= 3
    with pytest.raises(UserError, match=r"1\.1 MB for 1,000 .*, 4\d\d kB of which are there, but"):
        room.demand_disk([store])
    with pytest.raises(UserError, match=r"2\.2 MB for .*, 4\d\d kB of which are there, but"):
        room.demand_disk([store, store])  # one file, counted once
