"""Archives -> files in a folder. Nothing that an archive claims is believed: names lead nowhere
else, what is no plain file or folder is refused, and what is written is counted.
"""

import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from trainer import files
from trainer.errors import UserError

MAX_MEMBERS = 1_000_000  # three quarters of a gigabyte of tar headers in memory
BLOCK = 1 << 20
# What the standard library raises for a damaged, encrypted or unknown archive.
DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError, ValueError, OSError),
)


class _Member(NamedTuple):
    name: str
    kind: str  # file, folder, or what it is instead
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, kind: str, folder: Path, most: int, take: str = "") -> int:
    """Writes what lies in the archive into the folder; returns the bytes written.

    Args:
        kind: zip, or tar, which may be compressed by gzip, bzip2 or xz.
        most: bytes that may be written.
        take: only this folder of the archive, its own name left out.

    Raises: UserError for an archive that is damaged, larger than that, without the folder `take`,
        or with a member that is absolute, leads out of the folder, is a link or a device.
    """
    written = count = 0
    members = _zip(archive) if kind == "zip" else _tar(archive)
    for number, member in enumerate(_readable(archive, members), start=1):
        if number > MAX_MEMBERS:
            raise _refused(archive, f"has more than {MAX_MEMBERS:,} members")
        inside = _inside(archive, member, take)
        if inside is None:
            continue
        count += 1
        if member.kind == "folder":
            _make_folder(archive, member, folder / inside)
        else:
            written += _write(archive, member, folder / inside, most - written)
    if take and not count:
        raise _refused(archive, f"has no folder {take!r}")
    return written


def _zip(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            mode = info.external_attr >> 16
            kind = "folder" if info.is_dir() else "file"
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                kind = "link" if stat.S_ISLNK(mode) else "device"
            yield _Member(info.filename, kind, partial(opened.open, info))


def _tar(archive: Path) -> Iterator[_Member]:
    with tarfile.open(archive) as opened:
        for info in opened:
            kind = "file" if info.isreg() else "folder" if info.isdir() else "device"
            if info.issym() or info.islnk():
                kind = "link"
            yield _Member(info.name, kind, partial(opened.extractfile, info))
        rest = opened.fileobj
        while rest and rest.read(BLOCK):
            pass  # gzip compares its checksum at the very end only


def _readable(archive: Path, members: Iterator[_Member]) -> Iterator[_Member]:
    """The members; a damaged archive is the user's news, not a traceback."""
    while True:
        try:
            member = next(members, None)
        except DAMAGED as error:
            raise _damaged(archive, error) from None
        if member is None:
            return
        yield member


def _inside(archive: Path, member: _Member, take: str) -> PurePosixPath | None:
    """The path to write the member to, or None if it is not taken. Raises UserError."""
    path = PurePosixPath(member.name)
    absolute = path.is_absolute() or "\\" in member.name or member.name[1:2] == ":"
    if absolute or ".." in path.parts or "\0" in member.name:
        raise _refused(archive, f"has a member that leads out of the folder, {member.name!r}")
    if member.kind not in ("file", "folder"):
        raise _refused(archive, f"has a {member.kind}, {member.name!r}")
    if not path.is_relative_to(take):
        return None
    return path.relative_to(take)


def _make_folder(archive: Path, member: _Member, path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise _twice(archive, member) from None
    except OSError as error:
        raise files.not_writable(path, error) from None


def _write(archive: Path, member: _Member, path: Path, most: int) -> int:
    """Writes one file; returns its size, counted."""
    _make_folder(archive, member, path.parent)
    written = 0
    try:
        with path.open("xb") as target:
            for block in _content(archive, member):
                written += len(block)
                if written > most:
                    raise _refused(archive, "holds more than the recipe says is in it")
                target.write(block)
    except (FileExistsError, IsADirectoryError):
        raise _twice(archive, member) from None
    except OSError as error:
        raise files.not_writable(path, error) from None
    return written


def _content(archive: Path, member: _Member) -> Iterator[bytes]:
    try:
        with member.open() or _nothing(member) as source:
            while block := source.read(BLOCK):
                yield block
    except DAMAGED as error:
        raise _damaged(archive, error) from None


def _nothing(member: _Member) -> IO[bytes]:
    raise ValueError(f"{member.name} has no content")


def _damaged(archive: Path, error: Exception) -> UserError:
    hint = "the recipe may name the wrong `unpack`, or the publisher's file is damaged"
    return UserError(str(archive), f"cannot be unpacked: {error or type(error).__name__}", hint)


def _twice(archive: Path, member: _Member) -> UserError:
    return _refused(archive, f"has two members for one place, {member.name!r}")


def _refused(archive: Path, problem: str) -> UserError:
    return UserError(str(archive), problem, "nothing was put in place; such an archive is refused")
