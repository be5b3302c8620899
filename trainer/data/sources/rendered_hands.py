"""`kind: rendered_hands`: drawings of rock, paper and scissors, made on first use."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from trainer import files, terminal
from trainer.config.data import Folder, RenderedHands
from trainer.data import hands
from trainer.data.examples import Examples
from trainer.data.sources import folder
from trainer.data.workers.choice import cores

VERSION = 3  # raised when the drawing changes, so that old pictures are not taken for new ones
JPEG_QUALITY = 92
JPEG_END = b"\xff\xd9"  # lacking where the machine lost power before the bytes were on the disk
WORTH = 100  # pictures that take longer to draw than a process to start

# As for the workers: the parent's path, and nothing from the working directory.
COMMAND = "import sys; sys.path[:] = {path}; from trainer.data.sources import rendered_hands; "
COMMAND += "rendered_hands.help_with({source!r}, {root!r}, {start}, {step}, {parent})"


def read(source: RenderedHands) -> Examples:
    """The drawings as ordinary files, in a folder named by what they depend on.

    `complete.json` is written last: in a folder without it, what is missing is drawn. The same
    options give the same files, byte for byte, by however many processes.
    """
    name = f"{source.images_per_class}x{source.size}px-seed{source.seed}-v{VERSION}"
    root = Path(source.path) / name
    if not (root / "complete.json").is_file():
        draw_all(source, root, cores())
    return folder.read(Folder(kind="folder", path=str(root)))


def draw_all(source: RenderedHands, root: Path, processes: int) -> None:
    """Write all pictures into the folder, with so many processes where that is worth it."""
    _keep_memory()
    total = len(hands.CLASSES) * source.images_per_class
    count = max(1, min(processes, total // WORTH))
    terminal.say(f"drawing {total} hands into {root}")
    with (
        terminal.progress(total, "drawing", "pictures") as tick,
        _helpers(source, root, count) as others,
    ):
        for index in range(0, total, count):
            _draw(source, root, index)
            tick(index, "")
        for start, other in enumerate(others, start=1):
            if other.wait():  # it ended for whatever reason: what it has not drawn is drawn here
                for index in range(start, total, count):
                    _draw(source, root, index)
    files.write_json(root / "complete.json", source.model_dump(exclude={"path"}))


def help_with(source: str, root: str, start: int, step: int, parent: int) -> None:
    """In a process of its own: every `step`-th picture from `start` on, while the parent lives."""
    cv2.setNumThreads(1)
    _keep_memory()
    options = RenderedHands.model_validate_json(source)
    for index in range(start, len(hands.CLASSES) * options.images_per_class, step):
        if os.getppid() != parent:
            return
        _draw(options, Path(root), index)


@contextmanager
def _helpers(
    source: RenderedHands, root: Path, count: int
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that draw all but the first share, while the block runs."""
    path = [os.path.abspath(each) for each in sys.path]  # noqa: PTH100 ('' is where we are)
    others = []
    try:
        for start in range(1, count):
            command = COMMAND.format(
                path=path,
                source=source.model_dump_json(),
                root=str(root),
                start=start,
                step=count,
                parent=os.getpid(),
            )
            others.append(
                subprocess.Popen(
                    [sys.executable, "-P", "-c", command],
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is the parent's
                )
            )
        yield others
    finally:
        for other in others:
            other.kill()
            other.wait()


def _keep_memory() -> None:
    """Lets glibc keep what is freed instead of giving it back: 1,200 page faults a picture less, a
    tenth of the time. It does so once a larger block has been freed (mallopt(3), "dynamic")."""
    np.empty(30_000_000, np.uint8)


def _draw(source: RenderedHands, root: Path, index: int) -> None:
    """Write picture number `index`, unless it is there; its generator has a key of its own."""
    number, label = divmod(index, len(hands.CLASSES))
    path = root / hands.CLASSES[label] / f"{number:04d}.jpg"
    if path.is_file() and path.read_bytes().endswith(JPEG_END):
        return
    generator = np.random.Generator(np.random.Philox(key=(source.seed, index)))
    pixels = hands.draw(hands.CLASSES[label], generator, source.size)
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, encoded = cv2.imencode(".jpg", pixels[:, :, ::-1], quality)
    with files.replacing(path) as partial:
        partial.write_bytes(encoded.tobytes())
