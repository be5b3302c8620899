"""Files that are whole or not there: what is half-written never has its final name."""

import csv
import errno
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from trainer.errors import UserError, nearest

DATA = ".data"  # after the name of a file: the part of it that lies beside it, being too large


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` to write a file or folder to; it takes the place of `path` when
    the block ends well and vanishes when it does not.

    A symbolic link is followed; what is no ordinary file, such as /dev/stdout, is written directly.

    Raises: UserError when the place is not writable.
    """
    try:
        path = path.resolve() if path.is_symlink() else path
        special = path.exists() and not path.is_file() and not path.is_dir()
    except OSError as error:  # a folder above cannot be entered
        raise not_writable(path, error) from None
    if special:
        yield path
        return
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if path.is_dir():
            aside = partial.with_suffix(".old")
            path.rename(aside)
            partial.rename(path)
            shutil.rmtree(aside)
        else:
            partial.replace(path)
    except OSError as error:
        raise not_writable(path, error) from None
    finally:
        if partial.parent.is_dir():
            remove(partial)


@contextmanager
def adding(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    """Yields a path to write a file to. When the block ends well, the file gets the first of the
    names that is free in the folder; nothing is ever overwritten.

    Raises: UserError when the place is not writable.
    """
    partial = folder / f".{uuid.uuid4().hex}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield partial
        next(name for name in names if _given(partial, folder / name))
    except OSError as error:
        raise not_writable(folder, error) from None
    finally:
        with suppress(OSError):
            partial.unlink()


def _given(partial: Path, path: Path) -> bool:
    """Whether the file got that name; False if there is one already."""
    try:
        os.link(partial, path)  # unlike a renaming, it fails where a file is
    except FileExistsError:
        return False
    except OSError:  # a disk without links, as memory cards are: an empty file holds the name
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            return False
        partial.replace(path)
    return True


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Yields a path of the same name in a folder of its own, to write a file or folder to, and what
    belongs to it beside it (`model.onnx.data`). When the block ends well, all of it takes its place
    beside `path`, `path` itself last; if it does not, all of it vanishes.

    What is several files cannot be replaced at once: then there is none of them for a moment.

    Raises: UserError when the place is not writable.
    """
    stage = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        stage.mkdir(parents=True)
        yield stage / path.name
        parts = sorted(stage.iterdir(), key=lambda part: part.name == path.name)
        if len(parts) > 1 or path.is_dir() or path.with_name(path.name + DATA).exists():
            remove(path)
            remove(path.with_name(path.name + DATA))
        for part in parts:
            part.replace(path.with_name(part.name))
    except OSError as error:
        raise not_writable(path, error) from None
    finally:
        if stage.parent.is_dir():
            remove(stage)


@contextmanager
def alone(lock: Path, who: str, where: str) -> Iterator[tuple[int, ...]]:
    """As `locked`. Raises UserError at `where` if another `who`, as in `trainer fit`, is at work in
    the folder of the lock."""
    with ExitStack() as stack:
        try:
            held = stack.enter_context(locked(lock))
        except BlockingIOError:
            problem = f"another {who} is at work in {lock.parent}"
            raise UserError(where, problem, "wait for its end, or stop it") from None
        yield held


@contextmanager
def locked(path: Path) -> Iterator[tuple[int, ...]]:
    """The file at `path` is ours inside the block, and no longer when the process ends in whatever
    way. Nothing is locked where there are no such locks (Windows, some network disks).

    Yields the descriptors that hold it: processes that inherit them share the lock.

    Raises: BlockingIOError if it is another's; UserError if it cannot be opened.
    """
    try:
        import fcntl
    except ImportError:
        yield ()
        return
    try:
        opened = path.open("a")
    except OSError as error:
        raise not_writable(path, error) from None
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            pass
        yield (file.fileno(),)


def not_writable(path: Path, error: OSError, where: str = "") -> UserError:
    """The error for an output that cannot be written."""
    problem = f"{path} cannot be written: {error.strerror or error}"
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = "make room there" if full else "choose another place or make it writable"
    return UserError(where, problem, hint)


def demand_writable(path: Path, where: str) -> None:
    """Raises UserError now rather than after the work."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder")
        with tempfile.NamedTemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise not_writable(path, error, where) from None


def demand_folder(path: Path, where: str) -> None:
    """Makes the folder. Raises UserError if files cannot be written into it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path):
            pass
    except OSError as error:
        raise not_writable(path, error, where) from None


def remove(path: Path) -> None:
    """The file or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_partial(folder: Path) -> None:
    """What a process left there that was killed while it wrote."""
    for path in folder.glob(".*.partial*"):
        remove(path)


def weight(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    parts = path.rglob("*") if path.is_dir() else [path]
    return sum(part.stat().st_size for part in parts if part.is_file())


def size(count: int) -> str:
    """Bytes for people, in powers of 1000: `230 MB`."""
    value = float(count)
    for unit in ("bytes", "kB", "MB"):
        if value < 999.5:
            return (
                f"{value:.0f} {unit}" if value >= 10 or unit == "bytes" else f"{value:.1f} {unit}"
            )
        value /= 1000
    return f"{value:.1f} GB"


def nearly(path: Path) -> Path | None:
    """What is there and is called nearly so, where the first missing part of the path is mistyped;
    None if nothing is."""
    with suppress(OSError):  # too long for a name, or in a folder that is locked
        every = (*reversed(path.parents), path)
        missing = next((each for each in every if not each.exists()), None)
        if missing is None:
            return None
        name = nearest(missing.name, (each.name for each in missing.parent.iterdir()))
        meant = missing.with_name(name) / path.relative_to(missing) if name else path
        return meant if meant.exists() else None
    return None


def write_text(path: Path, text: str) -> None:
    """The text as UTF-8, atomically."""
    with replacing(path) as partial, _opened(partial) as file:
        file.write(text)


def write_json(path: Path, value: Any) -> None:
    """The value as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A header and rows, atomically."""
    with replacing(path) as partial, _opened(partial) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """One after another as they come, atomically."""
    with replacing(path) as partial, _opened(partial) as file:
        file.writelines(f"{line}\n" for line in lines)


def _opened(path: Path) -> TextIO:
    """For writing UTF-8; file names that are none come out as the bytes they are."""
    return path.open("w", newline="", encoding="utf-8", errors="surrogateescape")
