"""The terminal: text, tables, progress. The only file that imports rich.

On a terminal progress is a live bar; anywhere else (a pipe, a log file) it is plain lines.
"""

import io
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from trainer.errors import UserError

NUMBER = r"[ %\-.,0-9()e]*[kMGT]?"
CONTROL = r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"  # all but tabs and ends of lines
PLAIN_SECONDS = 30  # between two plain lines of one piece of work


class _Console(Console):
    """Goes on when nobody reads any more: Ctrl-C ends `tee` of `trainer fit | tee log` as well, and
    the checkpoint is still to be written."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)


# A pipe has no width: wide enough that no table is folded there.
_width = None if sys.stdout.isatty() else 160
_plainly: dict[str, Any] = {"highlight": False, "emoji": False}  # `:cat:` in a name is no cat
console = _Console(width=_width, soft_wrap=_width is not None, **_plainly)
errors = _Console(stderr=True, soft_wrap=True, **_plainly)


def say(text: str = "", style: str | None = None) -> None:
    """One line to standard output."""
    console.print(_printable(text), style=style, markup=False)


def is_read() -> bool:
    """Whether somebody still reads standard output, as far as the last line has shown."""
    return not console.quiet


@contextmanager
def apart() -> Iterator[Callable[[Path], None]]:
    """What is said inside the block is kept, and goes to a file once the function that is yielded
    is called with its path. An error that ends the block is said as ever."""
    kept: TextIO = io.StringIO()

    def follow(path: Path) -> None:
        nonlocal kept
        before, kept = kept, path.open("a", buffering=1, encoding="utf-8", errors="replace")
        assert isinstance(before, io.StringIO)
        kept.write(before.getvalue())
        console.file = errors.file = kept

    sinks = console.file, errors.file
    console.file = errors.file = kept
    try:
        yield follow
    finally:
        console.file, errors.file = sinks
        kept.close()


def say_parts(first: str, second: str) -> None:
    """One line, or two where the terminal is too narrow for one."""
    if len(first) + len(second) + 2 <= console.width:
        say(f"{first}  {second}")
    else:
        say(first)
        say(f"  {second}")


def warn(text: str) -> None:
    """One line to standard error, above a live bar if there is one."""
    target = console if console.is_terminal and not console.quiet else errors
    target.print(f"warning: {_printable(text)}", style="yellow", markup=False)


def fail(text: str) -> None:
    """An error, to standard error."""
    errors.print(f"error: {_printable(text)}", style="red", markup=False)


@contextmanager
def muted(yes: bool = True) -> Iterator[None]:
    """Drops what is said inside the block, tables too; not warnings and errors."""
    before, console.quiet = console.quiet, console.quiet or yes
    try:
        yield
    finally:
        console.quiet = before


def _printable(text: str) -> str:
    """File names that are not UTF-8 with their bytes as \\x..; so with control characters, which a
    terminal would obey, whoever named the file or answered for a server."""
    plain = text.encode("utf-8", "backslashreplace").decode()
    return re.sub(CONTROL, lambda found: f"\\x{ord(found[0]):02x}", plain)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table; columns whose cells are numbers stand to the right."""
    say(title, style="bold")  # rich would fold it to the width of the table
    grid = Table()
    for index, name in enumerate(columns):
        right = all(re.fullmatch(NUMBER, str(row[index])) for row in rows)
        grid.add_column(Text(name), justify="right" if right and rows else "left")
    for row in rows:
        grid.add_row(*(Text(_printable(str(cell))) for cell in row))  # Text: no [markup] in names
    console.print(grid, soft_wrap=False)


Tick = Callable[[int, str], None]


@contextmanager
def progress(total: int, what: str, unit: str) -> Iterator[Tick]:
    """A bar over `total` units; yields `tick(done, note)`, `done` counted from the start.

    The bar vanishes at the end: what is worth keeping is said by the caller.
    """
    if not console.is_terminal:
        yield _plain(total, what, unit)
        return
    rest = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # a narrow terminal cuts the note
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn(f"{unit} "),
        TimeRemainingColumn(compact=True),
        TextColumn("left "),
        TextColumn("{task.fields[note]}", table_column=rest),
    )
    options: dict[str, Any] = {"transient": True, "refresh_per_second": 4, "expand": True}
    with Progress(*columns, console=console, **options) as bar:
        task = bar.add_task(what, total=total, note="")
        yield lambda done, note: bar.update(task, completed=done, note=note)


def _plain(total: int, what: str, unit: str) -> Tick:
    said = time.monotonic()

    def tick(done: int, note: str) -> None:
        nonlocal said
        if time.monotonic() - said >= PLAIN_SECONDS:
            said = time.monotonic()
            say(f"{what}  {done}/{total} {unit}  {note}".rstrip())

    return tick


@contextmanager
def silenced() -> Iterator[None]:
    """Drops what native code writes to standard error; said after all if the block fails, but for a
    UserError, which says itself what is wrong.

    TensorFlow's import writes six lines about oneDNN and CUDA there, whatever its log level.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        except UserError:
            raise
        except Exception:
            sink.seek(0)
            os.write(kept, sink.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
