"""One SQLite file of pictures, by their content: where it lies, how it is opened, what it takes.

SQLite because it is built for what is asked for: several programs at once, and being killed at any
moment. Pictures of 256 x 256 x 3 take 35 µs to read, and 0.5 ms of the processor to add, where
decoding a JPEG of 320 pixels takes 0.3 to 1 ms.
"""

import hashlib
import math
import os
import re
import sqlite3
import time
import zlib
from pathlib import Path

import numpy as np

from trainer.data.cache import Shape

FORMAT = 1
BUSY_SECONDS = 30.0  # how long to wait for another program; adding a picture takes it 1 ms
KEY = 16  # bytes of sha256
LOG = 50 * 10**6  # bytes that may be written but not yet merged

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS settings (text TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS pictures "
    "(key BLOB PRIMARY KEY, checksum INTEGER NOT NULL, pixels BLOB NOT NULL)",
)
_MERGE = "PRAGMA wal_checkpoint(TRUNCATE)"  # gives 1 first if it had to give up
# File systems of other computers: SQLite's log needs memory that all its programs share.
_REMOTE = {
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.ceph", "fuse.glusterfs", "fuse.sshfs", "gpfs",
    "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs",
}  # fmt: skip


class RefusedError(Exception):
    """The file is sound but not for us; the text goes on after its name."""


def described(settings: str, shape: Shape) -> str:
    """All that pixels depend on besides the content."""
    return f"format {FORMAT}\n{' x '.join(map(str, shape))}\n{settings}"


def place(folder: Path, description: str) -> Path:
    """The file of such pictures."""
    return folder / f"{hashlib.sha256(description.encode()).hexdigest()[:16]}.sqlite"


def opened(file: Path, description: str, shape: Shape) -> sqlite3.Connection:
    """A connection that one thread at a time may use; the file is made where it is missing.

    Raises: OSError, sqlite3.Error, RefusedError.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    kind = remote(file)
    if kind:
        raise RefusedError(
            f"lies on a network file system ({kind}), where programs cannot share it"
        )
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return _connected(file, description, shape)
        except sqlite3.OperationalError as error:
            # Of two programs that make the file at once, SQLite turns one away without waiting.
            if _name(error) != "SQLITE_BUSY" or time.monotonic() > end:
                raise
            time.sleep(0.01)


def _connected(file: Path, description: str, shape: Shape) -> sqlite3.Connection:
    connection = sqlite3.connect(
        file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute(f"PRAGMA page_size = {page(shape)}")
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise RefusedError("lies on a file system where programs cannot share it")
        connection.execute("PRAGMA synchronous = NORMAL")  # whole after a power cut, too
        # Not read through mmap: that takes 20 instead of 35 µs, but a bad sector would kill us.
        connection.execute("PRAGMA mmap_size = 0")
        _demand(connection, description)
    except BaseException:
        connection.close()
        raise
    return connection


def _demand(connection: sqlite3.Connection, description: str) -> None:
    """Raises RefusedError where the file is of other settings."""
    tables = "SELECT count(*) FROM sqlite_master WHERE name IN ('settings', 'pictures')"
    if connection.execute(tables).fetchone()[0] < 2:
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            connection.execute(statement)
        if connection.execute("SELECT count(*) FROM settings").fetchone()[0] == 0:
            connection.execute("INSERT INTO settings VALUES (?)", (description,))
        connection.execute("COMMIT")
    if connection.execute("SELECT text FROM settings").fetchone() != (description,):
        raise RefusedError("holds pixels of other settings")


def add(connection: sqlite3.Connection, file: Path, key: bytes, pixels: np.ndarray) -> None:
    """Keeps the pixels unless there are some of that key.

    Raises: sqlite3.Error, OSError; of them TimeoutError when another program reads for too long.
    """
    kept = np.ascontiguousarray(pixels).data
    values = (key, zlib.crc32(kept), kept)
    connection.execute("INSERT OR IGNORE INTO pictures VALUES (?, ?, ?)", values)
    # SQLite merges its log at 1,000 pages, but begins it anew only in a moment when nobody reads:
    # eight processes that never waited for one left a log as large as the file.
    log = file.with_name(f"{file.name}-wal")
    if log.stat().st_size > LOG and connection.execute(_MERGE).fetchone()[0]:
        raise TimeoutError


def reason(error: Exception, adding: bool) -> tuple[str, bool]:
    """What is wrong with a file, in words that go on after its name; and whether it can still be
    read from.

    Args:
        adding: it went wrong when a picture was added.
    """
    match "SQLITE_BUSY" if isinstance(error, TimeoutError) else _name(error):
        case "SQLITE_FULL":
            return "cannot grow, its disk is full", adding
        case "SQLITE_BUSY":
            return f"was locked by another program for {BUSY_SECONDS:.0f} s", adding
        case "SQLITE_READONLY":
            return "cannot be written to", adding
        case "SQLITE_CORRUPT" | "SQLITE_NOTADB":
            return "is damaged and can be deleted", False
        case "SQLITE_IOERR":  # a broken disk, or somebody deleted the log alone
            return f"cannot be used ({error}) and can be deleted", False
    if isinstance(error, RefusedError):
        return str(error), False
    return f"cannot be used: {getattr(error, 'strerror', None) or error}", False


def _name(error: Exception) -> str:
    """`SQLITE_FULL` and so on, without what SQLite adds for details; empty for other errors."""
    return "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])


def remote(file: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """The kind of the network file system that the file lies on; empty if on none, or unknown."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    here, found, kind = file.resolve(), Path(), ""
    for line in lines:
        left, _, right = line.partition(" - ")
        # A blank is \040.
        at = Path(re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), left.split()[4]))
        if here.is_relative_to(at) and len(at.parts) >= len(found.parts):
            found, kind = at, right.split()[0]
    return kind if kind in _REMOTE else ""


# --- room ---------------------------------------------------------------------------------------


def page(shape: Shape) -> int:
    """Bytes of a page. Larger ones are faster for large pictures, and waste more beside small ones:
    with 64 x 64 x 3, 4 % at 4096 and 34 % at 16384."""
    return 16384 if math.prod(shape) >= 2**16 else 4096


def size(count: int, shape: Shape) -> int:
    """Bytes of a file with so many pictures, its log left out.

    Source: https://www.sqlite.org/fileformat2.html, "Cell Payload Overflow Pages".
    """
    usable = page(shape)
    payload = math.prod(shape) + KEY + 10  # the key, the checksum, their types
    most, least = usable - 35, (usable - 12) * 32 // 255 - 23
    inside, outside = payload, 0
    if payload > most:
        inside = least + (payload - least) % (usable - 4)
        inside = inside if inside <= most else least
        outside = -(-(payload - inside) // (usable - 4))
    rows = (usable - 8) // (inside + 14)  # to a page
    index = (KEY + 10) / 0.69  # such pages are filled by two thirds, as keys come in any order
    return math.ceil(count * (usable / rows + outside * usable + index)) + 8 * usable


def held(file: Path) -> int:
    """Bytes that the file has by now, 0 if there is none."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def free(file: Path) -> int:
    """Bytes on its disk for the likes of us. Raises: OSError."""
    found = os.statvfs(file.parent)
    return found.f_bavail * found.f_frsize
