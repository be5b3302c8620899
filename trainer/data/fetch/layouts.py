"""What is made of a dataset's own files where no source reads them as they are: one function each,
called as the `layout` of the recipe."""

from collections.abc import Callable
from pathlib import Path

from trainer import files
from trainer.errors import UserError


def apply(name: str, folder: Path) -> None:
    """The layout of that name. Raises UserError when the folder is not as it expects."""
    known: dict[str, Callable[[Path], None]] = {"voc": voc}
    known[name](folder)


def voc(folder: Path) -> None:
    """PASCAL VOC's ImageSets/Main/<class>_trainval.txt -> one table, labels.csv: a picture per row,
    a class per column, 1 where an object of the class is in the picture.

    VOC's third value, 0 where all objects of the class are marked difficult, counts as absent.

    Raises: UserError for missing or unreadable lists.
    """
    lists = sorted((folder / "ImageSets" / "Main").glob("*_trainval.txt"))
    if not lists:
        raise UserError(str(folder), "has no lists ImageSets/Main/*_trainval.txt")
    columns = {path.name.removesuffix("_trainval.txt"): _marks(path) for path in lists}
    names = sorted(set().union(*columns.values()))
    rows = (
        [f"JPEGImages/{name}.jpg", *(int(marks.get(name) == "1") for marks in columns.values())]
        for name in names
    )
    files.write_csv(folder / "labels.csv", ["path", *columns], rows)


def _marks(path: Path) -> dict[str, str]:
    """Picture -> `-1`, `0` or `1`."""
    try:
        pairs = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        return dict(pairs)
    except (OSError, ValueError) as error:
        raise UserError(str(path), f"is no list of pictures and marks: {error}") from None
