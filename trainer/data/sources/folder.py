"""`kind: folder`: one sub-folder per class, or split roots with such sub-folders each."""

import os
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from trainer import terminal
from trainer.config.data import Folder
from trainer.data.examples import SIDES, Examples, Files, Texts, demand_names, is_text, renamed
from trainer.errors import UserError

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".webp", ".gif"),
    *(".tif", ".tiff", ".avif", ".heic", ".heif", ".mpo", ".jp2"),
)
KINDS = "jpg, png, bmp, webp, gif, tif, avif, heic"
WHERE = "data.source.path"
ROOTS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}


def read(source: Folder) -> Examples:
    """The pictures below the folder, sorted by path.

    Sub-folders named train, validation (or val) and test are split roots if `train` is among them
    and has folders; the classes are then the union over the roots.

    Raises: UserError for a missing or empty folder, fewer than two classes, or a layout that could
        be meant in two ways.
    """
    root = existing(source.path)
    roots, names, labels, sides, classes = layout(root, SUFFIXES)
    _demand_classes(root, sorted(classes), str(root / names[0]) if len(names) else None)
    _demand_sides(roots, sides)
    indices, sorted_classes = renamed(np.array(labels, np.int32), classes)
    given = np.array(sides, np.int8) if "" not in roots else None
    return Examples(Files(str(root), names), indices, sorted_classes, given)


def existing(path: str) -> Path:
    """The folder of that path. Raises UserError."""
    root = Path(path).expanduser()
    if not root.is_dir():
        problem = f"{root} is a file, not a folder" if root.exists() else f"no such folder: {root}"
        hint = f"the path is relative to the working directory, {Path.cwd()}"
        raise UserError(WHERE, problem, hint)
    return root


def layout(
    root: Path, suffixes: tuple[str, ...], what: str = "pictures"
) -> tuple[dict[str, Path], Texts, array, array, list[str]]:
    """What lies below the root: its split roots (side -> folder, or "" -> root), the names of the
    files, the class (index) and side (index in SIDES) of each, and the classes as met.

    Raises: UserError for a folder that cannot be read or could be meant in two ways.
    """
    labels, sides = array("i"), array("b")
    first: dict[str, int] = {}
    roots = _split_roots(root) or {"": root}

    def names() -> Iterator[str]:
        for side, base in roots.items():
            for name, path in _files(base, suffixes, what):
                labels.append(first.setdefault(name, len(first)))
                sides.append(SIDES.index(side or SIDES[0]))
                yield path[len(prefix) :]
            if first:
                _warn_loose(base, suffixes, what)

    prefix = "" if root == Path() else os.path.join(root, "")  # noqa: PTH118 (ends in a separator)
    try:
        found = Texts(names())
    except OSError as error:
        raise UserError(WHERE, f"{error.filename} cannot be read: {error.strerror}") from None
    return roots, found, labels, sides, list(first)


def _warn_loose(base: Path, suffixes: tuple[str, ...], what: str) -> None:
    loose = sorted(
        entry.name
        for entry in os.scandir(base)
        if entry.name.lower().endswith(suffixes) and entry.is_file() and entry.name[0] != "."
    )
    if loose:
        terminal.warn(
            f"{len(loose)} {what} beside the class folders of {base} are of no class and left out, "
            f"such as {loose[0]}"
        )


def below(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> Iterator[str]:
    """The pictures at any depth, sorted folder by folder; hidden ones are left out.

    Symbolic links are followed, each real folder once. Raises OSError for an unreadable folder.
    """

    def fail(error: OSError) -> None:
        raise error

    seen: set[str] = set()
    for base, folders, names in os.walk(folder, followlinks=True, onerror=fail):
        real = os.path.realpath(base)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(suffixes) and not name.startswith("."):
                yield os.path.join(base, name)  # noqa: PTH118 (1 M of them: text is enough)


def _split_roots(root: Path) -> dict[str, Path]:
    """Side -> folder, or nothing if the sub-folders are classes."""
    folders = _folders(root)
    named = [path for path in folders if path.name in ROOTS]
    if "train" not in [path.name for path in named] or not _folders(root / "train"):
        return {}
    found = {ROOTS[path.name]: path for path in named}
    if len(found) < len(named):
        raise UserError(WHERE, f"{root} has both val/ and validation/", "keep one of them")
    others = [path.name for path in folders if path not in named]
    if others:
        problem = f"{root} has train/ with sub-folders and also {others[0]}/"
        raise UserError(WHERE, problem, "put either split roots or classes in it")
    return found


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _files(root: Path, suffixes: tuple[str, ...], what: str) -> Iterator[tuple[str, str]]:
    """(class, path) of every file below the class folders of `root`."""
    for folder in _folders(root):
        demand_names([folder.name])
        if not is_text(folder.name):
            problem = f"the class {os.fsencode(folder.name)!r} has a name that is not UTF-8"
            raise UserError(WHERE, problem, "rename the folder")
        count = 0
        for count, path in enumerate(below(folder, suffixes), start=1):  # noqa: B007
            yield folder.name, path
        if not count:
            terminal.warn(f"{folder} has no {what}, so '{folder.name}' is no class")


def _demand_classes(root: Path, classes: list[str], example: str | None) -> None:
    layout = "put one sub-folder per class in it, with the pictures inside"
    if not classes:
        loose = sum(path.suffix.lower() in SUFFIXES for path in root.iterdir())
        problem = f"no pictures ({KINDS}) in the sub-folders of {root}"
        if loose:
            problem = f"{root} has {loose} pictures but no class folders"
        raise UserError(WHERE, problem, layout)
    if len(classes) == 1:
        raise UserError(WHERE, f"{root} has one class only, '{classes[0]}': {example}", layout)


def _demand_sides(roots: dict[str, Path], sides: array) -> None:
    found = set(sides)
    for side, path in roots.items():
        if side and SIDES.index(side) not in found:
            hint = "fill it, or remove it to split its pictures off the training ones"
            raise UserError(WHERE, f"{path} has no pictures", hint)
