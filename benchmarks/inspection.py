"""`trainer data inspect` against decoding the pictures once: CPU time of all threads.

    python benchmarks/inspection.py [--pictures 10000] [--rounds 3]
    TRAINER_DATA=my/pictures python benchmarks/inspection.py

Without TRAINER_DATA, textured pictures of about 320 px and 45 kB are made in a temporary folder. A
round is one plain loop of `cv2.imdecode` over the files and one inspection that knows nothing of
them yet, in turns within one process. Printed are CPU seconds (user and system) of every round and
their ratio: noise of the machine hits both alike.
"""

import argparse
import contextlib
import io
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

import trainer.terminal
from trainer.commands.data import inspect
from trainer.config import Config
from trainer.data.sources import folder

CLASSES = 4
SIDE = 320  # pixels, about


def draw(root: Path, count: int) -> None:
    """So many JPEGs in CLASSES folders: patches of colour, and texture over them."""
    for number in range(count):
        generator = np.random.default_rng(number)
        height, width = generator.integers(SIDE - 40, SIDE + 40, 2).tolist()
        patches = generator.integers(0, 255, (7, 9, 3)).astype(np.float32)
        pixels = cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)
        texture = generator.normal(0, 22, (height // 2, width // 2, 1)).astype(np.float32)
        pixels += cv2.resize(texture, (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
        pixels += generator.normal(0, 9, (height, width, 1))
        path = root / f"class{number % CLASSES}" / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), pixels.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])


def decode(root: Path) -> None:
    """Every file once, in one thread."""
    for path in root.rglob("*"):
        if path.suffix.lower() in folder.SUFFIXES:
            content = np.frombuffer(path.read_bytes(), np.uint8)
            cv2.imdecode(content, cv2.IMREAD_COLOR_RGB)


def look(root: Path) -> None:
    """An inspection from scratch."""
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
        os.environ["XDG_CACHE_HOME"] = place
        inspect.run(config(root, place), None)


def config(root: Path, runs: str) -> Config:
    """Of pictures at the root; the network does not matter."""
    layers = ["Flatten", {"Dense": {"units": "$classes", "activation": "softmax"}}]
    return Config.model_validate(
        {
            "name": "benchmark",
            "runs": runs,
            "data": {"source": {"kind": "folder", "path": str(root)}, "image_size": [128, 128]},
            "model": {"kind": "layers", "layers": layers},
            "training": {"epochs": 1},
        }
    )


def cpu_seconds(work: Callable[[Path], None], root: Path) -> float:
    """User and system time of all threads of the process."""
    before = os.times()
    work(root)
    after = os.times()
    return after.user + after.system - before.user - before.system


def main() -> None:
    """Prints a line per round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    trainer.terminal.console.quiet = True
    with tempfile.TemporaryDirectory() as made:
        root = Path(os.environ.get("TRAINER_DATA") or made)
        if root == Path(made):
            draw(root, options.pictures)
        sizes = [path.stat().st_size for path in root.rglob("*") if path.is_file()]
        print(f"{len(sizes):,} files, {statistics.mean(sizes) / 1000:.0f} kB on average")
        print(f"{'round':>5} {'cv2.imdecode, CPU s':>20} {'inspect, CPU s':>15} {'ratio':>6}")
        ratios = []
        for number in range(1, options.rounds + 1):
            plain, ours = cpu_seconds(decode, root), cpu_seconds(look, root)
            ratios.append(ours / plain)
            print(f"{number:>5} {plain:>20.2f} {ours:>15.2f} {ratios[-1]:>6.2f}", flush=True)
        print(f"{'median':>42} {statistics.median(ratios):>6.2f}")


if __name__ == "__main__":
    main()
