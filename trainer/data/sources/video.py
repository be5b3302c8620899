"""`kind: video`: every n-th frame of the videos in class folders.

The frames are written as JPEG files on first use, each video in one pass from its beginning, and
read from then on like any pictures. Training wants them in any order, and to reach a frame a
decoder starts at the key frame before it: 7 to 22 ms at 1280 x 720 with key frames close together,
against 2 ms for a JPEG, and it grows with the distance of the key frames. Positions are also less
exact than counting: some formats store no number of frames, others a wrong one.
"""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np

from trainer import files, terminal
from trainer.config.data import Video
from trainer.data.examples import Examples, Files, Texts, is_text, renamed, stamp
from trainer.data.sources.folder import WHERE, existing, layout
from trainer.errors import UserError

SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
VERSION = 1  # raised when the frames change, so that old ones are not taken for new ones
JPEG_QUALITY = 95
MARKER = "frames.json"  # written last, with what the frames depend on


def read(source: Video) -> Examples:
    """The frames of all videos: `class/clip.mp4/000120.jpg` is the frame after 120 others. Those of
    a video are one group. The layout is that of `kind: folder`.

    A video without a readable frame is named and left out.

    Raises: UserError for a missing folder, no videos, or none that can be read, fewer than two
        classes, or a layout that could be meant in two ways.
    """
    root = existing(source.path)
    roots, videos, labels, sides, classes = layout(root, SUFFIXES, "videos")
    if not len(videos):
        kinds = ", ".join(suffix[1:] for suffix in SUFFIXES)
        hint = "put one sub-folder per class in it, with the videos inside"
        raise UserError(WHERE, f"no videos ({kinds}) in the sub-folders of {root}", hint)
    store = _store(root, source)
    found = _extracted(root, videos, store, source.every)
    counts = [len(names) for names in found]
    indices = np.repeat(np.array(labels, np.int32), counts)
    names = [classes[number] for number in np.unique(indices)]
    if len(names) < 2:
        listed = f"{len(names)} class{'es' * (len(names) != 1)} ({', '.join(names)})"
        raise UserError(WHERE, f"the readable videos of {root} have {listed}", "two are needed")
    return Examples(
        Files(str(store), Texts(name for group in found for name in group)),
        *renamed(np.searchsorted(np.unique(indices), indices), names),
        np.repeat(np.array(sides, np.int8), counts) if "" not in roots else None,
        Texts(video for video, count in zip(videos, counts, strict=True) for _ in range(count)),
    )


def _store(root: Path, source: Video) -> Path:
    """The folder for the frames of this folder of videos."""
    key = hashlib.sha256(str(root.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return Path(source.frames).expanduser() / f"{root.resolve().name}-{key}-every{source.every}"


def _extracted(root: Path, videos: Texts, store: Path, every: int) -> list[list[str]]:
    """For each video the paths of its frames below `store`; videos that have not changed since they
    were read are not read again."""
    found: list[list[str]] = []
    fresh = 0
    with terminal.progress(len(videos), "reading videos", "videos") as tick:
        for number, video in enumerate(videos, start=1):
            facts = _facts(root / video, every)
            names = _kept(store / video, facts)
            if names is None:
                names = _extract(root / video, store / video, facts)
                fresh += len(names)
            found.append([f"{video}/{name}" for name in names])
            tick(number, video)
    if fresh:
        terminal.say(f"{fresh} frames of {root} written into {store}")
    return found


def _facts(video: Path, every: int) -> dict[str, int]:
    """What the frames of a video depend on."""
    size, changed = stamp(str(video))
    return {"size": size, "changed_ns": changed, "every": every, "version": VERSION}


def _kept(folder: Path, facts: dict[str, int]) -> list[str] | None:
    """The names of the frames in this folder, if they are there and still those of the video."""
    try:
        noted = json.loads((folder / MARKER).read_text())
        there = {each.name for each in folder.iterdir()}
        whole = noted["facts"] == facts and there.issuperset(noted["frames"])
        return noted["frames"] if whole else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _extract(video: Path, folder: Path, facts: dict[str, int]) -> list[str]:
    """Writes every n-th frame into the folder, whole or not at all; the names of the files."""
    if not is_text(str(video)):  # OpenCV 5.0.0 crashes over such a name
        terminal.warn(f"{video} is left out: its name is not UTF-8")
        return []
    with terminal.silenced():  # the decoder writes what it finds to standard error
        capture = cv2.VideoCapture(str(video))
        claimed = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        good = capture.grab()
    if not good:
        terminal.warn(f"{video} is left out: no frame of it can be decoded")
        return []
    with files.replacing(folder) as partial:
        partial.mkdir()
        with terminal.silenced():
            names, count = _written(capture, partial, facts["every"])
        (partial / MARKER).write_text(json.dumps({"facts": facts, "frames": names}))
    if count < 0.9 * claimed:
        terminal.warn(f"{video} breaks off: {count} of {claimed} frames can be decoded")
    return names


def _written(capture: cv2.VideoCapture, folder: Path, every: int) -> tuple[list[str], int]:
    """Writes every n-th frame, counted from the one just grabbed: the names, and the number of all
    frames. Of those between, none is converted."""
    names, count, more = [], 0, True
    while more:
        if count % every == 0:
            good, pixels = capture.retrieve()  # upright: OpenCV heeds the rotation of phones
            if good:
                names.append(f"{count:06d}.jpg")
                _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
                (folder / names[-1]).write_bytes(encoded.tobytes())
        count += 1
        more = capture.grab()
    capture.release()
    return names, count
