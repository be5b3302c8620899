"""What the command line names -> pictures as the network sees them: files, folders, patterns,
addresses, videos and a camera.

Nothing is held that is not about to be used: a hundred thousand files are as many names and a few
dozen pictures. H, W, C are the shape that the network takes.
"""

import glob
import os
import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from trainer import files
from trainer.config.data import Presentation
from trainer.data import frames
from trainer.data.decode import decode, present
from trainer.data.examples import Files, Texts
from trainer.data.fetch import download
from trainer.data.sources import folder, video
from trainer.data.workers.choice import cores
from trainer.errors import UserError

CAMERA = "camera:"
ADDRESSES = ("http://", "https://")
THREADS = 8  # at most; more addresses at once would not be polite
AHEAD = 2  # pictures per thread that are read before they are asked for
JPEG_QUALITY = 95  # of frames that are kept

Content = bytes | np.ndarray


class Picture(NamedTuple):
    """One that is still to be read."""

    name: str
    read: Callable[[], Content]  # of a file or of uint8 RGB pixels; raises OSError or ValueError
    file: bool  # whether `name` is the path of a file that holds just this


class Ready(NamedTuple):
    """A picture as the network sees it."""

    name: str
    image: np.ndarray  # uint8 [H, W, C]
    original: bytes | None  # what a copy is made of, if that is wanted and there is no file


class Unreadable(NamedTuple):
    """One that cannot be had, and why."""

    name: str
    reason: str


def is_address(target: str) -> bool:
    """Whether it is looked for in the network."""
    return target.lower().startswith(ADDRESSES)


def is_live(names: Iterable[str]) -> bool:
    """Whether there is a camera among them."""
    return any(name.startswith(CAMERA) for name in names)


def is_video(name: str) -> bool:
    """By its name."""
    return name.lower().endswith(video.SUFFIXES)


def has_pictures(path: Path) -> bool:
    """Whether it is a folder with pictures at any depth."""
    with suppress(OSError):
        return any(folder.below(path))
    return False


def listed(targets: Sequence[str], limited: bool) -> Sequence[str]:
    """The names of all pictures, videos and cameras. A folder stands for its pictures at any depth,
    sorted; a pattern for what it matches, sorted; whatever else for itself.

    Args:
        limited: whether a camera comes to an end.

    Raises: UserError for what is not there, or is no picture by its looks.
    """
    for target, after in pairwise(targets):
        if is_live([target]) and not limited:
            problem = f"goes on without end, so {after} would never be looked at"
            raise UserError(target, problem, "put the camera last, or limit it: --frames 100")
    return Texts(name for target in targets for name in _names(target))


def holder(place: Path, targets: Sequence[str]) -> str | None:
    """The target whose folders are searched for pictures, those in `place` included; None if none
    is."""
    for target in targets:
        for root in _searched(target):
            if place.resolve().is_relative_to(root.resolve()):
                return target
    return None


def pictures(names: Iterable[str], every: int | None, most: int | None) -> Iterator[Picture]:
    """All of them in order, frame by frame where they move.

    Args:
        every: which frames; if not given, all of a video and one a second of a camera.
        most: how many frames at most of each.
    """
    for name in names:
        moving = None
        if name.startswith(CAMERA):
            moving = frames.camera(int(name.removeprefix(CAMERA)), every, most)
        elif is_address(name):
            yield Picture(name, partial(download.content, name), False)
        elif is_video(name):
            moving = frames.video(name, every or 1, most)
        else:
            yield Picture(name, partial(Files("", [name]).content, 0), True)
        try:
            for frame in moving or ():
                yield Picture(frame.name, partial(_rgb, frame.pixels), False)
        except ValueError as error:
            yield Picture(name, partial(_fail, error), False)


def ready(
    pictures: Iterable[Picture], spec: Presentation, *, keep: bool, live: bool
) -> Generator[Ready | Unreadable, None, None]:
    """Every picture in its order. Threads read, decode and bring to size a few of them ahead; a
    live one is never ahead.

    Args:
        keep: whether `original` is wanted.
    """
    threads = min(cores(), THREADS)
    pool = ThreadPoolExecutor(threads)
    waiting: deque[Future[Ready | Unreadable]] = deque()
    try:
        for picture in pictures:
            waiting.append(pool.submit(_ready, picture, spec, keep))
            while len(waiting) > (0 if live else AHEAD * threads):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _ready(picture: Picture, spec: Presentation, keep: bool) -> Ready | Unreadable:
    try:
        content = picture.read()
        image = present(decode(content), spec)
    except (OSError, ValueError) as error:
        return Unreadable(picture.name, getattr(error, "strerror", None) or str(error))
    original = _file(content) if keep and not picture.file else None
    return Ready(picture.name, image, original)


def _file(content: Content) -> bytes:
    """A frame as a JPEG; what a server sent as it is."""
    if isinstance(content, bytes):
        return content
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    return cv2.imencode(".jpg", cv2.cvtColor(content, cv2.COLOR_RGB2BGR), quality)[1].tobytes()


def _rgb(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _fail(error: ValueError) -> Content:
    raise error


def _names(target: str) -> Iterator[str]:
    if is_address(target):
        if is_video(target.partition("?")[0]):
            raise UserError(target, "videos are read from files alone", "download it first")
        yield target
    elif target.startswith(CAMERA):
        if not re.fullmatch(r"[0-9]{1,4}", target.removeprefix(CAMERA)):
            raise UserError(target, "expected the number of a camera", "the first is camera:0")
        yield target
    elif _is_folder(target):
        yield from _demanded(_inside(target), target)
    elif os.path.exists(target):  # noqa: PTH110 (as _is_folder)
        yield _file_name(target)
    elif glob.has_magic(target):
        yield from _demanded(_matching(target), target)
    else:
        near = files.nearly(Path(target))
        raise UserError(target, "no such file or folder", f"did you mean {near}?" if near else "")


def _file_name(path: str) -> str:
    """Plain, but so that a file is not taken for a camera."""
    name = str(Path(path))
    return os.path.join(".", name) if is_live([name]) else name  # noqa: PTH118 (Path drops the .)


def _is_folder(target: str) -> bool:
    return os.path.isdir(target)  # noqa: PTH112 (Path's raises where a folder above is locked)


def _demanded(names: Iterator[str], target: str) -> Iterator[str]:
    """The same. Raises UserError if there are none."""
    first = next(names, None)
    if first is None:
        if not _is_folder(target):
            raise UserError(target, "matches no picture")
        clip = next(folder.below(Path(target), video.SUFFIXES), None)
        hint = f"its videos: '{Path(target, '**', '*')}{Path(clip).suffix}'" if clip else ""
        raise UserError(target, f"has no pictures ({folder.KINDS})", hint)
    yield first
    yield from names


def _inside(target: str) -> Iterator[str]:
    try:
        yield from folder.below(Path(target))
    except OSError as error:
        raise UserError(str(error.filename), f"cannot be read: {error.strerror}") from None


def _matching(target: str) -> Iterator[str]:
    """Files, and the pictures of folders as if the shell had named them; only pictures and videos
    where the pattern names no suffix."""
    suffixes = ("",) if Path(target).suffix else (*folder.SUFFIXES, *video.SUFFIXES)
    deep = "**" in Path(target).parts
    for name in _globbed(target):
        if not _is_folder(name):
            if name.lower().endswith(suffixes):
                yield _file_name(name)
        elif not deep:
            yield from _inside(name)


def _searched(target: str) -> Iterator[Path]:
    """The folders in which a folder or a pattern finds pictures at any depth."""
    parts = Path(target).parts
    if _is_folder(target):
        yield Path(target)
    elif "**" in parts:
        yield from map(Path, _globbed(str(Path(*parts[: parts.index("**")]))))
    elif glob.has_magic(target):
        yield from (Path(name) for name in _globbed(target) if _is_folder(name))


def _globbed(pattern: str) -> list[str]:
    return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (Path's has one root)
