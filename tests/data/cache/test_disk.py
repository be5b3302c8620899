"""The cache on disk: by content, under two runs at once, after a kill, and with a file that fails."""

import math
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.cache.helpers import Source, child, ended, new, pixels
from trainer import terminal
from trainer.data.cache import database
from trainer.data.cache import disk as disk_module
from trainer.data.cache.disk import Disk

EVERY = range(10)


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All warnings."""
    said: list[str] = []
    monkeypatch.setattr(terminal, "warn", said.append)
    return said


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A file with pictures 0 to 9, that nobody has open."""
    with new("disk", tmp_path) as store:
        fetched(store)
    assert [each.name for each in tmp_path.iterdir()] == [store.file.name]
    return store.file


def fetched(store: Any, indices: Any = EVERY) -> Source:
    source = Source()
    for index in indices:
        source.fetch(store, index)
    return source


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets each new connection begin with a pragma that makes it fail as a disk would."""

    def let(pragma: str) -> None:
        def opened(*arguments: Any) -> sqlite3.Connection:
            connection = original(*arguments)
            connection.execute(f"PRAGMA {pragma}")
            return connection

        monkeypatch.setattr(database, "opened", opened)

    original = database.opened
    return let


def altered(file: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    assert connection.execute(statement, values).rowcount == 1
    connection.close()


# --- by content ---------------------------------------------------------------------------------


def test_the_next_run_reads_but_makes_nothing(filled: Path) -> None:
    with new("disk", filled.parent) as store:
        again = fetched(store)
        assert (again.read, again.made) == ([*EVERY], [])
        assert fetched(store).read == []


def test_numbers_and_counts_do_not_matter(filled: Path) -> None:
    with new("disk", filled.parent, count=3) as store:
        source = Source()
        source.changed = {0: 7, 2: 5}
        for index in (0, 2):
            source.fetch(store, index)
        assert source.made == []


def test_changed_content_is_not_served_stale(filled: Path) -> None:
    source = Source()
    source.changed[4] = 44
    with new("disk", filled.parent) as store:
        for index in (4, 5, 4):
            source.fetch(store, index)
    assert source.made == [44]


def test_arrays_go_by_type_and_shape_too(tmp_path: Path) -> None:
    contents = [
        np.arange(12, dtype=np.uint8).reshape(3, 4),
        np.arange(12, dtype=np.uint8).reshape(4, 3),
        np.arange(12, dtype=np.uint8).reshape(4, 3).T,
        np.arange(12, dtype=np.int8).reshape(3, 4),
        np.arange(12, dtype=np.uint8).tobytes(),
    ]
    with new("disk", tmp_path) as store:
        for number, content in enumerate(contents):
            store.fetch(number, lambda c=content: c, lambda _, n=number: pixels(n))
    with new("disk", tmp_path) as store:
        for number, content in enumerate(contents):
            found = store.fetch(number, lambda c=content: c, lambda _: pixels(99))
            assert np.array_equal(found, pixels(number))


def test_other_settings_and_shapes_do_not_see_it(filled: Path, warned: list[str]) -> None:
    with new("disk", filled.parent, settings="other") as store:
        assert store.file != filled
        assert fetched(store).made == [*EVERY]
    with Disk(filled.parent, "some", 10, (20, 16, 3)) as store:
        assert store.file != filled
    assert not warned


def test_a_file_with_the_name_of_other_settings_is_not_used(
    filled: Path, warned: list[str]
) -> None:
    altered(filled, "UPDATE settings SET text = 'mine'")
    with new("disk", filled.parent) as store:
        assert fetched(store, [0, 1, 0]).made == [0, 1, 0]
    assert warned == [
        f"data.cache: {filled} holds pixels of other settings; pictures are decoded each time"
    ]


# --- at once, and killed ------------------------------------------------------------------------


def test_two_runs_at_once(tmp_path: Path) -> None:
    """They make the file at once, and fill it with the same pictures in the same order."""
    stores = [new("disk", tmp_path, count=60) for _ in range(4)]
    children = [child(store, [*range(60)]) for store in stores]
    for process in children:
        found, said = ended(process)
        assert (found["read"], said) == ([*range(60)], "")
    with new("disk", tmp_path, count=60) as store:
        assert fetched(store, range(60)).made == []
    connection = sqlite3.connect(store.file)
    assert connection.execute("SELECT count(*) FROM pictures").fetchone() == (60,)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    for each in stores:
        each.close()


def test_sqlite_turns_one_away_that_makes_the_file_at_the_same_moment(
    tmp_path: Path, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def turned_away(*_: Any) -> sqlite3.Connection:
        monkeypatch.setattr(database, "_connected", original)
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorname = "SQLITE_BUSY"
        raise error

    original = database._connected
    monkeypatch.setattr(database, "_connected", turned_away)
    with new("disk", tmp_path) as store:
        assert fetched(store, [0, 0]).made == [0]
    assert not warned


@pytest.mark.parametrize("lines", [1, 40, 300])
def test_a_kill_damages_nothing(tmp_path: Path, lines: int) -> None:
    with new("disk", tmp_path, count=3000) as store:
        process = child(store, [*range(3000)])
        assert process.stdout
        for _ in range(lines):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with new("disk", tmp_path, count=3000) as store:
        again = fetched(store, range(3000))
        assert again.read == [*range(3000)]
        kept = 3000 - len(again.made)
        assert kept >= lines
        assert again.made == [*range(kept, 3000)]


def test_the_log_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "LOG", 100_000)
    with new("disk", tmp_path, count=300) as store:
        log = store.file.with_name(store.file.name + "-wal")
        for index in range(300):  # 288 kB of pixels, and twelve times that of the index
            Source().fetch(store, index)
            assert log.stat().st_size < 130_000


def test_warnings_are_shared_by_processes(filled: Path, warned: list[str]) -> None:
    filled.write_bytes(b"no database" * 1000)
    with new("disk", filled.parent) as store:
        fetched(store)
        assert ended(child(store, [0, 1])) == ({"read": [0, 1], "made": [0, 1]}, "")
    assert len(warned) == 1


# --- files that fail ----------------------------------------------------------------------------


def test_a_damaged_file_can_be_deleted(filled: Path, warned: list[str]) -> None:
    filled.write_bytes(b"no database" * 1000)
    with new("disk", filled.parent) as store:
        assert fetched(store, [0, 1, 0]).made == [0, 1, 0]
    assert warned == [
        f"data.cache: {filled} is damaged and can be deleted; pictures are decoded each time"
    ]
    filled.unlink()
    with new("disk", filled.parent) as store:
        assert fetched(store, [0, 1, 0]).made == [0, 1]
    assert len(warned) == 1


def test_damage_behind_the_first_page(
    filled: Path, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted(*arguments: Any) -> sqlite3.Connection:
        opened.append(arguments)
        return original(*arguments)

    opened: list[Any] = []
    original = database.opened
    monkeypatch.setattr(database, "opened", counted)
    content = bytearray(filled.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    filled.write_bytes(content)
    with new("disk", filled.parent) as store:
        assert fetched(store).made == [*EVERY]
    assert len(opened) == 1  # and not once a picture
    assert warned == [
        f"data.cache: {filled} is damaged and can be deleted; pictures are decoded each time"
    ]


@pytest.mark.parametrize(
    "damage",
    [
        pixels(4).tobytes()[:-1],  # too short
        b"",
        pixels(5).tobytes(),  # another
    ],
)
def test_a_damaged_picture_is_made_anew(filled: Path, damage: bytes, warned: list[str]) -> None:
    altered(filled, "UPDATE pictures SET pixels = ? WHERE rowid = 5", damage)
    for made in ([4], []):
        with new("disk", filled.parent) as store:
            assert fetched(store).made == made
    assert not warned


def test_a_picture_damaged_meanwhile_is_made_anew(filled: Path, warned: list[str]) -> None:
    with new("disk", filled.parent) as store:
        fetched(store)
        altered(filled, "UPDATE pictures SET pixels = x'00' WHERE rowid = 5")
        assert fetched(store).made == [4]
        assert fetched(store).read == []
    assert not warned


def test_a_full_disk(tmp_path: Path, warned: list[str], failing: Callable[[str], None]) -> None:
    failing("max_page_count = 10")
    with new("disk", tmp_path, count=60) as store:
        first = fetched(store, range(60))
        again = fetched(store, range(60))
    assert first.made == [*range(60)]
    assert 0 < len(again.made) < 60  # those that were kept before are served
    assert warned == [
        f"data.cache: {store.file} cannot grow, its disk is full; "
        "pictures that it lacks are decoded each time"
    ]


def test_some_of_the_disk_is_left(
    filled: Path, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "free", lambda _: disk_module.SPARED - 1)
    with new("disk", filled.parent, count=20) as store:
        assert fetched(store, range(12)).made == [10, 11]
        assert fetched(store, range(12)).made == [10, 11]
    assert warned == [
        f"data.cache: {filled} has less than 1 GB left on its disk; "
        "pictures that it lacks are decoded each time"
    ]


def test_a_file_that_cannot_be_written_to(
    filled: Path, warned: list[str], failing: Callable[[str], None]
) -> None:
    failing("query_only = 1")
    with new("disk", filled.parent, count=20) as store:
        assert fetched(store, range(12)).made == [10, 11]
        assert fetched(store, range(12)).made == [10, 11]
    assert warned == [
        f"data.cache: {filled} cannot be written to; pictures that it lacks are decoded each time"
    ]


def test_a_folder_that_cannot_be_made(tmp_path: Path, warned: list[str]) -> None:
    (tmp_path / "file").touch()
    with new("disk", tmp_path / "file" / "pixels") as store:
        assert fetched(store, [0, 1, 0]).made == [0, 1, 0]
    assert warned == [
        f"data.cache: {store.file} cannot be used: Not a directory; pictures are decoded each time"
    ]


def test_a_folder_that_nothing_can_be_made_in(
    tmp_path: Path, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> sqlite3.Connection:
        return original(tmp_path / "missing" / "file")  # root may write anywhere else

    original = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", refused)
    with new("disk", tmp_path) as store:
        assert fetched(store, [0, 1, 0]).made == [0, 1, 0]
    assert warned == [
        f"data.cache: {store.file} cannot be used: unable to open database file; "
        "pictures are decoded each time"
    ]


def test_a_folder_deleted_meanwhile(tmp_path: Path, warned: list[str]) -> None:
    folder = tmp_path / "pixels"
    with new("disk", folder, count=20) as store:
        fetched(store)
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        assert fetched(store, [*range(12)] * 2).made[:2] == [10, 11]
    assert warned == [
        f"data.cache: {store.file} cannot be used: No such file or directory; "
        "pictures are decoded each time"
    ]


def test_a_program_that_keeps_it_locked(
    filled: Path, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    other = sqlite3.connect(filled, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with new("disk", filled.parent, count=20) as store:
        assert fetched(store, range(12)).made == [10, 11]
        assert fetched(store, range(12)).made == [10, 11]
    other.close()
    assert warned == [
        f"data.cache: {filled} was locked by another program for 0 s; "
        "pictures that it lacks are decoded each time"
    ]


def test_a_program_that_never_stops_reading(
    filled: Path, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr(database, "LOG", 0)
    other = sqlite3.connect(filled, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT count(*) FROM pictures").fetchone()
    with new("disk", filled.parent, count=20) as store:
        assert fetched(store, range(12)).made == [10, 11]
        assert fetched(store, range(12)).made == [11]
    other.close()
    assert warned == [
        f"data.cache: {filled} was locked by another program for 0 s; "
        "pictures that it lacks are decoded each time"
    ]


MOUNTS = """\
24 23 0:22 / /net/my\\040höme/scratch rw - xfs /dev/sdb rw
23 22 0:21 / /net/my\\040höme rw,relatime shared:1 master:2 - nfs4 server:/home rw,vers=4.2
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/net/my höme/me/x.sqlite", "nfs4"),
        ("/net/my höme/scratch/x.sqlite", ""),
        ("/net/my hömes/x.sqlite", ""),
        ("/var/x.sqlite", ""),
    ],
)
def test_network_file_systems_are_known(tmp_path: Path, path: str, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert database.remote(Path(path), mounts) == kind
    assert database.remote(Path(path), tmp_path / "missing") == ""


def test_a_network_file_system(
    tmp_path: Path, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "remote", lambda _: "nfs4")
    with new("disk", tmp_path) as store:
        assert fetched(store, [0, 1, 0]).made == [0, 1, 0]
    assert not store.file.exists()
    assert warned == [
        f"data.cache: {store.file} lies on a network file system (nfs4), where programs cannot "
        "share it; pictures are decoded each time"
    ]


# --- its size -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "most"),  # bytes on disk per byte of pixels
    [((28, 28, 1), 1.37), ((64, 64, 3), 1.05), ((100, 100, 1), 1.04), ((150, 150, 3), 1.02)],
)
def test_the_predicted_size(tmp_path: Path, shape: tuple[int, int, int], most: float) -> None:
    count = 10**7 // math.prod(shape)
    with Disk(tmp_path, "", count, shape) as store:
        for index in range(count):
            store.fetch(index, lambda i=index: str(i).encode(), lambda _: np.zeros(shape, np.uint8))
    predicted = database.size(count, shape)
    assert (
        0.75 * predicted < database.held(store.file) <= predicted < most * math.prod(shape) * count
    )
