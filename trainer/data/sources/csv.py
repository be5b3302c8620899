"""`kind: csv`: a table with one picture per row, of one class each or of several (multi-label)."""

import csv
import itertools
import os
import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainer.config.data import Csv
from trainer.data.arrays import named
from trainer.data.examples import (
    SIDE_WORDS,
    SIDES,
    Examples,
    Files,
    Texts,
    is_text,
    multi_hot,
)
from trainer.errors import UserError, received, suggestion

WHERE = "data.source"

# The usual names of columns, in lower case; the first that is there counts.
PATHS = ("path", "file", "filename", "filenames", "file_name", "image", "image_path", "img")
LABELS = ("label", "labels", "class", "class_name", "category", "tags", "target")
HOLDS = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False, "": False}
LOOKED_AT = 100  # rows, to find the 0/1 columns and to see whether the files are there


class Columns(NamedTuple):
    """What stands where in a row: numbers of columns, None or empty where there is none."""

    path: int
    label: int | None
    hot: tuple[int, ...]  # one column per class, 0 or 1
    split: int | None
    group: int | None


class Row(NamedTuple):
    """The cells of a row, and `file:line` of it."""

    cells: list[str]
    place: str


def read(source: Csv) -> Examples:
    """The rows in their order; paths start in the folder of the table, or in `folder` beside it.

    With 0/1 columns or a separator the examples are multi-label.

    Raises: UserError for a missing table or column, for files that are not there, and for a cell
        that makes no sense, with the line of the table.
    """
    table = Path(source.path).expanduser()
    header, sample = head(table)
    columns = find_columns(source, table, header, sample)
    root = table.parent / Path(source.folder).expanduser()
    _demand_files(root, [row.cells[columns.path].strip() for row in sample], table)
    met = {header[number]: index for index, number in enumerate(columns.hot)}
    rows, labels, sides = array("q"), array("i"), array("b")
    groups: list[str] = []

    def paths() -> Iterator[str]:
        seen: set[str] = set()
        for index, row in enumerate(_rows(table, len(header))):
            for name in _labels(row, columns, source.separator, header):
                rows.append(index)
                labels.append(met.setdefault(name, len(met)))
            if columns.split is not None:
                sides.append(_side(row, row.cells[columns.split]))
            if columns.group is not None:
                groups.append(sys.intern(row.cells[columns.group].strip()))
            yield _path(row, columns, seen)

    names = Texts(paths())
    _demand_text(table, met)
    indices = np.array(labels, np.int32)
    if columns.hot or source.separator:
        indices = multi_hot(np.array(rows), indices, (len(names), len(met)))
    return Examples(
        Files(str(root), names),
        *named(indices, tuple(met), str(table)),
        np.array(sides, np.int8) if columns.split is not None else None,
        Texts(groups) if columns.group is not None else None,
    )


def column(source: Csv, name: str, where: str) -> dict[str, str]:
    """The cells of a column by the paths of the pictures. Raises UserError at `where` if there is
    no such column."""
    table = Path(source.path).expanduser()
    header, sample = head(table)
    if name not in header:
        raise UserError(where, f"{table} has no column '{name}'", suggestion(name, header))
    path, wanted = find_columns(source, table, header, sample).path, header.index(name)
    rows = _rows(table, len(header))
    return {row.cells[path].strip(): row.cells[wanted].strip() for row in rows}


def find_columns(source: Csv, table: Path, header: Sequence[str], sample: Sequence[Row]) -> Columns:
    """The columns that the source names, or else those of a usual name. Raises UserError."""
    lower = [name.lower() for name in header]

    def column(key: str, usual: Sequence[str]) -> int | None:
        name = getattr(source, key)
        if name is None:
            return next((lower.index(each) for each in usual if each in lower), None)
        if name not in header:
            problem = f"{table} has no column '{name}'"
            raise UserError(f"{WHERE}.{key}", problem, suggestion(name, header))
        return list(header).index(name)

    path, label = column("column", PATHS), column("label", LABELS)
    split, group = column("split", ("split",)), column("group", ("group",))
    if path is None:
        problem = f"{table} has no column of paths; its columns are {', '.join(header)}"
        raise UserError(f"{WHERE}.column", problem, "name it: column: …")
    hot: tuple[int, ...] = ()
    if source.labels is not None:
        _demand_columns(source.labels, table, header)
        hot, label = tuple(list(header).index(name) for name in source.labels), None
    elif label is None:
        hot = tuple(
            number
            for number, name in enumerate(header)
            if name
            and number not in (path, split, group)
            and _is_hot([row.cells[number].strip().lower() for row in sample])
        )
    if label is None and len(hot) < 2:
        found = f"only one 0/1 column, '{header[hot[0]]}'" if hot else "no 0/1 columns"
        problem = f"{table} has no label column and {found}: {', '.join(header)}"
        raise UserError(f"{WHERE}.label", problem, "name it: label: …, or labels: […, …]")
    return Columns(path, label, hot, split, group)


def _demand_columns(names: Sequence[str], table: Path, header: Sequence[str]) -> None:
    """Raises UserError unless these are two columns or more, and there."""
    for name in names:
        if name not in header:
            problem = f"{table} has no column '{name}'"
            raise UserError(f"{WHERE}.labels", problem, suggestion(name, header))
        if names.count(name) > 1:
            raise UserError(f"{WHERE}.labels", f"'{name}' stands there twice", "remove one")
    if len(names) < 2:
        problem = f"expected two 0/1 columns or more, received {received(names)}"
        hint = "where a picture has one class, name the column of it: label: …"
        raise UserError(f"{WHERE}.labels", problem, hint)


@contextmanager
def _opened(table: Path) -> Iterator[Iterator[tuple[int, list[str]]]]:
    """(line, cells) of the rows that are not empty; the separator is the header's most frequent of
    comma, semicolon and tab."""
    try:
        with table.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            first = file.readline()
            if "\0" in first:  # UTF-16, or no text at all
                problem = f"{table} is no CSV table in UTF-8"
                raise UserError(f"{WHERE}.path", problem, "save it as one")
            file.seek(0)
            delimiter = max(",;\t", key=first.count)
            reader = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
            yield ((reader.line_num, cells) for cells in reader if cells)
    except OSError as error:
        problem = f"{table} cannot be read: {error.strerror}"
        hint = f"the path is relative to the working directory, {Path.cwd()}"
        raise UserError(f"{WHERE}.path", problem, hint) from None
    except csv.Error as error:
        raise UserError(f"{WHERE}.path", f"{table} is no CSV table: {error}") from None


def _rows(table: Path, width: int) -> Iterator[Row]:
    """The rows below the header. Raises UserError for one that is shorter or longer."""
    with _opened(table) as lines:
        next(lines)
        for line, cells in lines:
            if len(cells) != width:
                problem = f"{len(cells)} cells, but the header has {width}"
                raise UserError(WHERE, problem, "", f"{table}:{line}")
            yield Row(cells, f"{table}:{line}")


def head(table: Path) -> tuple[list[str], list[Row]]:
    """The header and the first rows. Raises UserError if there are none."""
    with _opened(table) as lines:
        header = [name.strip() for name in next(lines, (0, []))[1]]
    for name in header:
        if name and header.count(name) > 1:
            raise UserError(f"{WHERE}.path", f"{table} has two columns '{name}'", "rename one")
    sample = list(itertools.islice(_rows(table, len(header)), LOOKED_AT)) if header else []
    if not sample:
        hint = "write a header such as path,label and one row per picture"
        raise UserError(f"{WHERE}.path", f"{table} has no rows", hint)
    return header, sample


def _is_hot(cells: Sequence[str]) -> bool:
    return all(cell in HOLDS for cell in cells) and any(cells)


def _path(row: Row, columns: Columns, seen: set[str]) -> str:
    """The path of a row, which joins those that were seen."""
    path = row.cells[columns.path].strip()
    if not path:
        raise UserError(f"{WHERE}.column", "no path", "fill it or remove the row", row.place)
    if path in seen:
        problem = f"{path} stands here for the second time"
        hint = "one row per picture; several labels stand in one cell with a separator: …"
        raise UserError(WHERE, problem, hint, row.place)
    seen.add(path)
    return path


def _labels(
    row: Row, columns: Columns, separator: str | None, header: Sequence[str]
) -> Iterator[str]:
    """The class names of a row."""
    if columns.label is None:
        for number in columns.hot:
            cell = row.cells[number].strip().lower()
            if cell not in HOLDS:
                problem = f"expected 0 or 1 in column '{header[number]}', received '{cell}'"
                raise UserError(f"{WHERE}.labels", problem, "", row.place)
            if HOLDS[cell]:
                yield header[number]
        return
    cell = row.cells[columns.label].strip()
    if separator:
        yield from dict.fromkeys(name.strip() for name in cell.split(separator) if name.strip())
    elif cell:
        yield cell
    else:
        problem = f"no label in column '{header[columns.label]}'"
        raise UserError(f"{WHERE}.label", problem, "fill it or remove the row", row.place)


def _side(row: Row, cell: str) -> int:
    """Index in SIDES; an empty cell is for training."""
    side = SIDE_WORDS.get(cell.strip().lower() or "train")
    if side is None:
        problem = f"expected train, validation or test, received '{cell}'"
        raise UserError(f"{WHERE}.split", problem, "", row.place)
    return SIDES.index(side)


def _demand_text(table: Path, classes: Iterable[str]) -> None:
    """Raises UserError for names that are no text."""
    for name in classes:
        if not is_text(name):
            problem = f"{table} is not UTF-8: a class is called {os.fsencode(name)!r}"
            raise UserError(f"{WHERE}.path", problem, "save it as UTF-8")


def _demand_files(root: Path, paths: Sequence[str], table: Path) -> None:
    """Raises UserError if none of the first files is there: then the folder is another."""
    if any((root / path).is_file() for path in paths):
        return
    problem = f"no such file: {root / paths[0]}, nor any other of the first {len(paths)} of {table}"
    near = sorted(each.name for each in table.parent.iterdir() if (each / paths[0]).is_file())
    hint = "paths start in the folder of the table; folder: … says where else"
    raise UserError(
        f"{WHERE}.folder", problem, f"did you mean folder: {near[0]}?" if near else hint
    )
