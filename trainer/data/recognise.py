"""What lies at a path -> the section `data.source` that reads it. `trainer init` asks.

A table counts as understood when its columns are found and its first files are there.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from trainer.config.data import Csv, Folder, Idx, Npz, Source, Tfrecord, Video
from trainer.data.examples import SIDE_WORDS
from trainer.data.sources import csv, folder, tfrecord, video
from trainer.errors import UserError

FOLDER = "FOLDER"  # the argument of the command, where errors belong
TABLES = (".csv", ".tsv")
SEPARATORS = "|;,"  # between the labels of a cell
DEPTH = 2  # folders below the table in which its files are looked for
KINDS = "class folders with pictures or videos, a CSV table, idx, npz or tfrecord files"

# (image, label) features that are in use besides the usual names, which are tried first.
FEATURES = (("image", "label"), ("image_raw", "label"), ("image/encoded", "label"))


def recognise(path: str) -> Source:
    """The source that reads a folder, a file, or a pattern of tfrecord shards.

    Raises: UserError if there is nothing, or what could be meant in two ways.
    """
    _demand_utf8(path, path)
    root = Path(path).expanduser()
    if root.is_dir():
        return _folder(path, root)
    if not root.exists() and "*" not in path:
        hint = f"the path is relative to the working directory, {Path.cwd()}"
        raise UserError(FOLDER, f"no such folder or file: {path}", hint)
    if root.suffix.lower() in TABLES:
        return _table(path)
    if root.suffix.lower() == ".npz":
        return Npz(kind="npz", path=path)
    if "tfrec" in root.name.lower():
        return _shards(path)
    if "idx" in root.name:
        raise UserError(FOLDER, f"{path} is one idx file of several", f"give {root.parent}")
    raise UserError(FOLDER, f"{path} is no dataset that is known", f"known are {KINDS}")


def _folder(path: str, root: Path) -> Source:
    """By what is in it; class folders and one table with the same classes are the same."""
    try:
        classes = _classes(root, folder.SUFFIXES)
        names = sorted(each.name for each in root.iterdir() if not each.name.startswith("."))
    except OSError as error:
        raise UserError(FOLDER, f"{error.filename} cannot be read: {error.strerror}") from None
    tables = [name for name in names if name.lower().endswith(TABLES)]
    if tables:
        found = _of_tables(path, tables, classes)
        if found:
            return found
    if len(classes) >= 2:
        return Folder(kind="folder", path=path)
    if any("idx" in name and (root / name).is_file() for name in names):
        return Idx(kind="idx", path=path)
    if any(name.endswith(".npz") for name in names):
        return Npz(kind="npz", path=path)
    if any("tfrec" in name.lower() for name in names):
        return _shards(path)
    if len(_classes(root, video.SUFFIXES)) >= 2:
        return Video(kind="video", path=path)
    sides = [each.name for each in _folders(root) if each.name in SIDE_WORDS]
    if any(next(folder.below(root / name), None) for name in sides):
        problem = f"{path} has pictures in {_few(sides)}, but no class folders there"
        raise UserError(FOLDER, problem, "put one sub-folder per class in each of them")
    return Folder(kind="folder", path=path)  # its message fits best


def _classes(root: Path, suffixes: tuple[str, ...]) -> list[str]:
    """The names of the folders, below split roots too, in which a file of these lies."""
    roots = [each for each in _folders(root) if each.name in folder.ROOTS]
    inside = [root] if not any(_folders(each) for each in roots) else roots
    return sorted(
        {
            each.name
            for base in inside
            for each in _folders(base)
            if each.name not in SIDE_WORDS and next(folder.below(each, suffixes), None)
        }
    )


# --- tables -------------------------------------------------------------------------------------


def _of_tables(path: str, tables: Sequence[str], classes: Sequence[str]) -> Source | None:
    """The one table of a folder that is understood, or None where the class folders do without.

    Raises: UserError if several are, if none is and there are no class folders, or if the table
        says other classes than the folders.
    """
    found, errors = {}, []
    for name in tables:
        try:
            found[name] = _table(os.path.join(path, name))  # noqa: PTH118 (the path as given)
        except UserError as error:
            errors.append(error)
    if len(found) > 1:
        names = " and ".join(found)
        raise UserError(FOLDER, f"{path} has several tables, {names}", "give one of them")
    if not found and len(classes) < 2:
        raise errors[0]
    for name, source in found.items():
        if len(classes) < 2:
            return source
        if list(csv.read(source).classes) != classes:
            problem = f"{path} has the class folders {_few(classes)} and also the table {name}"
            hint = f"give the table, {source.path}, or put it elsewhere"
            raise UserError(FOLDER, problem, hint)
    return None


def _table(path: str) -> Csv:
    """The columns, folder and separator of a table, written out.

    Raises: UserError where they cannot be found.
    """
    table = Path(path).expanduser()
    header, rows = csv.head(table)
    _demand_utf8("".join(header), f"the header of {path}", "save it as CSV in UTF-8")
    cells = {name: [row.cells[n].strip() for row in rows] for n, name in enumerate(header) if name}
    column, place = _paths(table, cells)
    source = Csv(kind="csv", path=path, column=column)
    source = source.model_copy(update={"label": _label(source, header, rows, cells)})
    columns = csv.find_columns(source, table, header, rows)
    known: dict[str, object] = {"column": column}
    if columns.label is not None:
        known["label"] = header[columns.label]
    else:
        known["labels"] = tuple(header[number] for number in columns.hot)
    for key in ("split", "group"):
        number = getattr(columns, key)
        if number is not None:
            known[key] = header[number]
    if place != ".":
        known["folder"] = place
    return _separated(Csv.model_validate({"kind": "csv", "path": path, **known}))


def _paths(table: Path, cells: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """The column of paths, and the folder that they start in, seen from the table: the first column
    of a usual name, or else with names of pictures, whose files are there.

    Raises: UserError if there is no such column, or no such files.
    """
    lower = {name.lower(): name for name in cells}
    fit = [lower[name] for name in csv.PATHS if name in lower]
    fit += [n for n in cells if all(cell.lower().endswith(folder.SUFFIXES) for cell in cells[n])]
    if not fit:
        _demand_one([], "paths of pictures", table, cells)
    for name in fit:
        for place in _places(table.parent):
            if any((place / path).is_file() for path in cells[name]):
                return name, os.path.relpath(place, table.parent)
    problem = f"{table} names pictures that are not there, such as {cells[fit[0]][0]}"
    hint = "looked for in its folder, in those below and in the one above"
    raise UserError(FOLDER, problem, hint)


def _label(
    source: Csv,
    header: Sequence[str],
    rows: Sequence[csv.Row],
    cells: Mapping[str, Sequence[str]],
) -> str | None:
    """The column of labels if it has no usual name: the one whose values come again. None for a
    usual one, and for 0/1 columns.

    Raises: UserError if several could be meant, or none.
    """
    table = Path(source.path)
    with suppress(UserError):
        csv.find_columns(source, table, header, rows)
        return None
    others = [n for n in cells if n != source.column and n.lower() not in ("split", "group")]
    fit = [n for n in others if 2 <= len(set(cells[n])) <= len(rows) / 2 and all(cells[n])]
    return _demand_one(fit, "labels", table, cells)


def _demand_one(fit: Sequence[str], what: str, table: Path, columns: Iterable[str]) -> str:
    if len(fit) == 1:
        return fit[0]
    problem = f"{table} has no column that must be the {what}; it has {', '.join(columns)}"
    if fit:
        problem = f"{table} has several columns that could be the {what}: {', '.join(fit)}"
    raise UserError(FOLDER, problem, "call the columns path and label")


def _places(root: Path) -> Iterator[Path]:
    """The folder, those below it, nearest first, and the one above."""
    level = [root]
    for _ in range(DEPTH + 1):
        yield from level
        level = [below for each in level for below in _folders(each)]
    yield root / ".."


def _separated(source: Csv) -> Csv:
    """With the separator, if cells of the label column hold several labels: then a part of one cell
    stands in another one too; of a comma, as the whole cell, for "dog, black" and "dog, white" may
    be names."""
    cells = csv.read(source).classes if source.label else ()
    for separator in SEPARATORS:
        several = [cell for cell in cells if separator in cell]
        parts = [part.strip() for cell in several for part in cell.split(separator)]
        twice = separator != "," and len(parts) > len(set(parts))
        if twice or not set(parts).isdisjoint(cells):  # else it may be part of a name
            return source.model_copy(update={"separator": separator})
    return source


# --- others -------------------------------------------------------------------------------------


def _shards(path: str) -> Tfrecord:
    """With the features that the first record has."""
    usual = Tfrecord(kind="tfrecord", path=path)
    try:
        tfrecord.read(usual)
    except UserError as error:
        if not error.where.endswith((".image", ".label")):
            raise
        for image, label in FEATURES:
            other = Tfrecord(kind="tfrecord", path=path, image=image, label=label)
            with suppress(UserError):
                tfrecord.read(other)
                return other
        raise
    return usual


def _folders(root: Path) -> list[Path]:
    return sorted(each for each in root.iterdir() if each.is_dir() and each.name[0] != ".")


def _demand_utf8(text: str, what: str, hint: str = "rename it") -> None:
    """Raises UserError for what no YAML file can name."""
    if text != text.encode("utf-8", "ignore").decode():
        raise UserError(FOLDER, f"{what} is not UTF-8", hint)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + ", …" * (len(names) > 5)
