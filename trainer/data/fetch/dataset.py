"""A recipe -> the folder it describes: there as a whole, or not at all.

Downloads and unpacked files gather in a folder beside, `.<folder>.fetching`. A marker,
`complete.json`, is written into it last, and then the whole takes its place.
"""

import fcntl
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

from trainer import files, terminal
from trainer.config.recipe import Recipe
from trainer.data.fetch import download, layouts
from trainer.data.fetch.unpack import unpack
from trainer.errors import UserError

MARKER = "complete.json"
MEGABYTE = 1_000_000


def is_there(recipe: Recipe, folder: Path) -> bool:
    """Whether the folder holds what the recipe describes.

    Raises: UserError for a folder with anything else in it: it is not ours to replace.
    """
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise UserError(str(folder), "is a file, not a folder", "choose another place with --into")
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        marker = None
    if marker is None and any(folder.iterdir()):
        hint = "choose another place with --into, or move the folder away"
        problem = f"is there already and has no {MARKER}, so it was not fetched"
        raise UserError(str(folder), problem, hint)
    if marker is not None and marker != _marker(recipe):
        problem = f"was fetched by another recipe, or another version of {recipe.name}"
        hint = "remove the folder to fetch it anew, or choose another place with --into"
        raise UserError(str(folder), problem, hint)
    return marker is not None


def fetch(recipe: Recipe, folder: Path) -> None:
    """Downloads, verifies, unpacks and puts into place. What an earlier call downloaded is kept.

    Raises: UserError for what stands in the way: disk, network, wrong files, hostile archives, a
        second process at the same work.
    """
    beside = staging(folder)
    with _writable(beside), _alone(beside):
        if not is_there(recipe, folder):
            download.demand_space(beside, recipe.bytes - _arrived(recipe, beside) + recipe.unpacked)
            _download(recipe, beside)
            whole = _unpacked(recipe, beside)
            files.write_json(whole / MARKER, _marker(recipe))
            whole.replace(folder.resolve())
        files.remove(beside)


def staging(folder: Path) -> Path:
    """Where what belongs into the folder gathers."""
    folder = folder.resolve()
    return folder.with_name(f".{folder.name}.fetching")


def _marker(recipe: Recipe) -> dict[str, Any]:
    parts = [file.model_dump(include={"url", "bytes", "sha256"}) for file in recipe.files]
    return {"recipe": recipe.name, "files": parts}


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise files.not_writable(Path(error.filename or path), error) from None


@contextmanager
def _alone(beside: Path) -> Iterator[None]:
    """Makes the folder and holds its lock, which the system takes back however the process ends."""
    beside.mkdir(parents=True, exist_ok=True)
    with (beside / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            problem = "another process is fetching into it"
            raise UserError(str(beside), problem, "wait for it, then call again") from None
        yield


def _arrived(recipe: Recipe, beside: Path) -> int:
    """Bytes that an interrupted call left of the downloads."""
    names = [name for file in recipe.files for name in (file.name, f"{file.name}.partial")]
    return sum(path.stat().st_size for name in names if (path := beside / name).exists())


def _download(recipe: Recipe, beside: Path) -> None:
    total, before = ceil(recipe.bytes / MEGABYTE), 0
    with terminal.progress(total, "download", "MB") as tick:

        def show(name: str, before: int, held: int) -> None:
            tick((before + held) // MEGABYTE, name)

        for file in recipe.files:
            download.fetch(file, beside / file.name, partial(show, file.name, before))
            before += file.bytes


def _unpacked(recipe: Recipe, beside: Path) -> Path:
    """The folder with everything in it, made anew: what an interrupted call left has no end."""
    whole = beside / "whole"
    files.remove(whole)
    left = recipe.unpacked
    for file in recipe.files:
        target = whole / file.into
        target.mkdir(parents=True, exist_ok=True)
        if file.unpack == "none":
            shutil.copyfile(beside / file.name, target / file.name)
            left -= file.bytes
        else:
            left -= unpack(beside / file.name, file.unpack, target, left, file.take)
    if recipe.layout:
        layouts.apply(recipe.layout, whole)
    return whole
