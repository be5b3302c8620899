"""`kind: folder`: one sub-folder per class, or split roots with such sub-folders each."""

import os
from collections.abc import Iterator
from pathlib import Path

from trainer import terminal
from trainer.config.data import Folder
from trainer.data.examples import Examples, one_hot
from trainer.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif")
KINDS = ", ".join(suffix.removeprefix(".") for suffix in SUFFIXES)
WHERE = "data.source.path"
ROOTS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}


def read(source: Folder) -> Examples:
    """The pictures below the folder, sorted by class and path.

    Sub-folders named train, validation (or val) and test are split roots if `train` is among them
    and has folders; the classes are then the union over the roots.

    Raises: UserError for a missing or empty folder, fewer than two classes, or a layout that could
        be meant in two ways.
    """
    root = Path(source.path).expanduser()
    if not root.is_dir():
        problem = f"{root} is a file, not a folder" if root.exists() else f"no such folder: {root}"
        hint = f"the path is relative to the working directory, {Path.cwd()}"
        raise UserError(WHERE, problem, hint)
    try:
        roots = _split_roots(root) or {"": root}
        found = [(side, *picture) for side, base in roots.items() for picture in _pictures(base)]
    except OSError as error:
        raise UserError(WHERE, f"{error.filename} cannot be read: {error.strerror}") from None
    classes = tuple(sorted({name for _, name, _ in found}))
    _demand_classes(root, classes, found[0][2] if found else None)
    _demand_sides(roots, {side for side, _, _ in found})
    index = {name: number for number, name in enumerate(classes)}
    labels = [index[name] for _, name, _ in found]
    sides = [side for side, _, _ in found] if "" not in roots else None
    return Examples([path for _, _, path in found], one_hot(labels, len(classes)), classes, sides)


def below(folder: Path) -> Iterator[str]:
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
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield os.path.join(base, name)  # noqa: PTH118 (1 M of them: text is enough)


def _split_roots(root: Path) -> dict[str, Path]:
    """Side -> folder, or nothing if the sub-folders are classes."""
    folders = _folders(root)
    named = [path for path in folders if path.name in ROOTS]
    if "train" not in [path.name for path in named] or not _folders(root / "train"):
        return {}
    found = {ROOTS[path.name]: path for path in named}
    if len(found) < len(named):
        raise UserError(WHERE, f"{root} has both val and validation", "keep one of them")
    others = [path.name for path in folders if path not in named]
    if others:
        problem = f"{root} has train/ with sub-folders and also {others[0]}/"
        raise UserError(WHERE, problem, "put either split roots or classes in it")
    return found


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _pictures(root: Path) -> Iterator[tuple[str, str]]:
    """(class, path) of every picture below the class folders of `root`."""
    for folder in _folders(root):
        if len(folder.name.splitlines()) > 1:
            raise UserError(WHERE, f"the class {folder.name!r} has a line break in its name")
        paths = list(below(folder))
        if not paths:
            terminal.warn(f"{folder} has no pictures, so '{folder.name}' is no class")
        yield from ((folder.name, path) for path in paths)


def _demand_classes(root: Path, classes: tuple[str, ...], example: str | None) -> None:
    layout = "put one sub-folder per class in it, with the pictures inside"
    if not classes:
        loose = sum(path.suffix.lower() in SUFFIXES for path in root.iterdir())
        problem = f"no pictures ({KINDS}) in the sub-folders of {root}"
        if loose:
            problem = f"{root} has {loose} pictures but no class folders"
        raise UserError(WHERE, problem, layout)
    if len(classes) == 1:
        raise UserError(WHERE, f"{root} has one class only, '{classes[0]}': {example}", layout)


def _demand_sides(roots: dict[str, Path], found: set[str]) -> None:
    for side, path in roots.items():
        if side not in found:
            hint = "fill it, or remove it to split its pictures off the training ones"
            raise UserError(WHERE, f"{path} has no pictures", hint)
