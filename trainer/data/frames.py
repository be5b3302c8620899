"""Frames of a video file or of a camera, one after another, each with its time in the name."""

import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from trainer import terminal
from trainer.data.examples import is_text
from trainer.errors import UserError

RATE = 30  # frames a second of a camera that does not say

_camera: Callable[[int], cv2.VideoCapture] = cv2.VideoCapture  # tests put a file in its place


class Frame(NamedTuple):
    """What a video shows at one moment."""

    name: str  # `clip.mp4#01:02.040`: minutes, seconds; from an hour on `#1:01:02.040`
    pixels: np.ndarray  # uint8 BGR [h, w, 3], upright


def video(path: str, every: int = 1, most: int | None = None) -> Iterator[Frame]:
    """Every n-th frame, the first one included, `most` at most. Warns of a video that breaks off.

    Raises: ValueError if not one frame can be decoded.
    """
    # FFmpeg takes what stands before the colon of a bare `12:30.mp4` for a protocol.
    whole = str(Path(path).absolute())
    if not is_text(whole):  # OpenCV 5.0.0 crashes over such a name
        raise ValueError("its name is not UTF-8")
    capture = cv2.VideoCapture(whole)
    try:
        claimed = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        count = yield from _frames(
            capture, path, every, most, lambda: capture.get(cv2.CAP_PROP_POS_MSEC)
        )
    finally:
        capture.release()
    if not count:
        raise ValueError("no frame of it can be decoded")
    if most is None and count < 0.9 * claimed:
        terminal.warn(f"{path} breaks off: {count} of {claimed:.0f} frames can be decoded")


def camera(number: int, every: int | None = None, most: int | None = None) -> Iterator[Frame]:
    """Frames as they come, named after the time since the first, without end unless `most` says so.

    Args:
        every: which of the frames; one a second if not given.

    Raises: UserError if there is no such camera. ValueError if it shows nothing.
    """
    name = f"camera:{number}"
    capture = _camera(number)
    try:
        if not capture.isOpened():
            raise UserError(name, "there is no such camera, or another program uses it")
        rate = capture.get(cv2.CAP_PROP_FPS)
        step = every or (max(1, round(rate)) if 0 < rate < 1000 else RATE)
        begun = time.monotonic()
        count = yield from _frames(
            capture, name, step, most, lambda: 1000 * (time.monotonic() - begun)
        )
    finally:
        capture.release()
    if not count:
        raise ValueError("it shows nothing")
    if most is None:
        terminal.warn(f"{name} shows nothing any more")


def _frames(
    capture: cv2.VideoCapture,
    name: str,
    every: int,
    most: int | None,
    clock: Callable[[], float],  # ms
) -> Generator[Frame, None, int]:
    """The frames, and in the end how many there were, 0 if not one could be had. Those between are
    not converted."""
    count = taken = 0
    before = -1.0
    while taken != most and capture.grab():
        if count % every == 0:
            now = clock()
            # Some files know no times: there the number of the frame has to do.
            moment = _written(now) if now > before else f"frame{count}"
            before = max(before, now)
            good, pixels = capture.retrieve()  # upright: OpenCV heeds the rotation of phones
            if good:
                taken += 1
                yield Frame(f"{name}#{moment}", pixels)
        count += 1
    return count if taken else 0


def _written(milliseconds: float) -> str:
    seconds, rest = divmod(round(milliseconds), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{f'{hours}:' if hours else ''}{minutes:02}:{seconds:02}.{rest:03}"
