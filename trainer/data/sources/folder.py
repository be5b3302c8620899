"""`kind: folder`: one sub-folder per class, or split roots with such sub-folders each."""

import os
from collections.abc import Iterator
from pathlib import Path

from trainer.config.data import Folder
from trainer.data.examples import Examples, one_hot
from trainer.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif")
ROOTS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}


def read(source: Folder) -> Examples:
    """The pictures below the folder, sorted by class and path.

    Sub-folders named train, validation (or val) and test are split roots if `train` is among them
    and has folders; the classes are then the union over the roots.

    Raises: UserError for a missing or empty folder or fewer than two classes.
    """
    root = Path(source.path)
    if not root.is_dir():
        problem = f"{root} is a file, not a folder" if root.exists() else f"no such folder: {root}"
        hint = f"the path is relative to the working directory, {Path.cwd()}"
        raise UserError("data.source.path", problem, hint)
    roots = _split_roots(root) or {"": root}
    found = [(side, *picture) for side, base in roots.items() for picture in _pictures(base)]
    classes = tuple(sorted({name for _, name, _ in found}))
    _demand_classes(root, classes, found[0][2] if found else None)
    labels = [classes.index(name) for _, name, _ in found]
    sides = [side for side, _, _ in found] if "" not in roots else None
    return Examples([path for _, _, path in found], one_hot(labels, len(classes)), classes, sides)


def _split_roots(root: Path) -> dict[str, Path]:
    found = {ROOTS[path.name]: path for path in _folders(root) if path.name in ROOTS}
    return found if "train" in found and _folders(found["train"]) else {}


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _pictures(root: Path) -> Iterator[tuple[str, str]]:
    """(class, path) of every picture at any depth below the class folders of `root`."""
    for folder in _folders(root):
        for base, folders, files in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                    yield folder.name, os.path.join(base, name)  # noqa: PTH118 (1 M of them: text is enough)


def _demand_classes(root: Path, classes: tuple[str, ...], example: str | None) -> None:
    where, layout = (
        "data.source.path",
        "put one sub-folder per class in it, with the pictures inside",
    )
    if not classes:
        kinds = ", ".join(suffix.removeprefix(".") for suffix in SUFFIXES)
        loose = sum(path.suffix.lower() in SUFFIXES for path in root.iterdir())
        problem = (
            f"{root} has {loose} pictures but no class folders"
            if loose
            else (f"no pictures ({kinds}) in the sub-folders of {root}")
        )
        raise UserError(where, problem, layout)
    if len(classes) == 1:
        raise UserError(where, f"{root} has one class only, '{classes[0]}': {example}", layout)
