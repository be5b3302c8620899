"""The time from Examples to the first training batch, by the number of pictures.

    python benchmarks/first_batch.py

The same 1,000 JPEG files under 1,000 to 1,000,000 names, 100 classes, `duplicates: ignore`. Medians
of five; the split and its file are shown apart, they are made once per run.
"""

import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from trainer.config.data import Data
from trainer.data import feed, split, split_file
from trainer.data.examples import Chosen, Examples, Files, Texts
from trainer.data.pipeline import Faults

FILES, REPEATS = 1000, 5


class Named(Chosen):
    """Pictures of others, each under a name of its own."""

    def name(self, index: int) -> str:
        return f"{index:08d}.jpg"


def draw(root: Path) -> Files:
    """JPEG files of 160 x 160 pixels."""
    for number in range(FILES):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 20, 3), np.uint8)
        cv2.imwrite(str(root / f"{number}.jpg"), cv2.resize(pixels, (160, 160)))
    return Files(str(root), Texts(f"{number}.jpg" for number in range(FILES)))


def first_batch(examples: Examples, spec: Data) -> float:
    """Seconds."""
    start = time.perf_counter()
    batches = feed.training(examples, spec, 1, Faults({}, []))
    next(iter(batches))
    return time.perf_counter() - start


def main() -> None:
    """Prints a line per number of pictures."""
    source = {"kind": "folder", "path": "unused"}
    spec = Data.model_validate({"source": source, "image_size": [128, 128]})
    print(f"{'pictures':>10} {'split, s':>10} {'split.csv, s':>14} {'first batch, s':>16}")
    with tempfile.TemporaryDirectory() as place:
        files = draw(Path(place))
        for count in (1_000, 10_000, 100_000, 1_000_000):
            pictures = Named(files, np.arange(count) % FILES)
            classes = tuple(f"class_{number:02d}" for number in range(100))
            examples = Examples(pictures, (np.arange(count) % 100).astype(np.int32), classes)
            start = time.perf_counter()
            alike = split.by_name()
            sides, _ = split.split(examples, spec.split, 1, alike)
            drawn = time.perf_counter()
            split_file.write(sides, Path(place) / "split.csv")
            written = time.perf_counter()
            first_batch(sides.train, spec)  # TensorFlow's own first call
            batch = statistics.median(first_batch(sides.train, spec) for _ in range(REPEATS))
            print(f"{count:10,} {drawn - start:10.2f} {written - drawn:14.2f} {batch:16.3f}")


if __name__ == "__main__":
    main()
