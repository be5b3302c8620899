"""Threads against two worker processes, and what `data.workers: auto` says: two pipelines.

    python benchmarks/workers.py [--rounds 5]
    TRAINER_DATA=my/pictures python benchmarks/workers.py

Pictures as in input.py, cropped to 224 x 224 and flipped; the heavy pipeline goes on with five
transforms of albumentations that are loops in Python. How it is measured stands in served.py.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from input import prepare
from loaders import BATCH, LIGHT, Batches, opened, ours
from served import Candidate, ratio, serve

SLOW = ("RandomFog", "GlassBlur", "GridDropout", "CoarseDropout", "RandomGridShuffle")
PIPELINES: dict[str, tuple[list[Any], int]] = {  # transforms, batches of a round
    "light": (LIGHT, 64),
    "heavy": ([*LIGHT, *({name: {"p": 1.0}} for name in SLOW)], 4),
}
WORKERS: dict[str, int | str] = {"threads": "threads", "2 processes": 2}


def batches(name: str, folder: Path) -> Batches:
    """Of `light, threads` and the like, without an end."""
    pipeline, workers = name.split(", ")
    transforms, _ = PIPELINES[pipeline]
    return ours(folder, load_size="original", augment=transforms, workers=WORKERS[workers])


def compared(pipeline: str, folder: Path, rounds: int) -> None:
    """A line for threads, one for processes, and what `auto` says."""
    candidates = {}
    for workers in WORKERS:
        command = ["--serve", f"{pipeline}, {workers}", "--folder", str(folder)]
        candidates[workers] = Candidate([sys.executable, __file__, *command])
    transforms, count = PIPELINES[pipeline]
    for _ in range(1 + rounds):
        for candidate in candidates.values():
            candidate.ask(count, BATCH)
    threads = candidates["threads"]
    for workers, candidate in candidates.items():
        cpu = statistics.median(candidate.cpu) * 1000
        gain = ratio(threads.wall, candidate.wall)
        print(f"{pipeline:8}{workers:14}{cpu:9.3f}{candidate.rate:12,.0f}{gain:14.2f}", flush=True)
        candidate.end()
    with opened(folder, load_size="original", augment=transforms, workers="auto") as feed:
        print(f"{'':8}auto: {feed.maker.reason}", flush=True)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=1024, help="files")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(lambda: batches(options.serve, options.folder))
        return
    with tempfile.TemporaryDirectory() as place:
        prepare(Path(place), options.pictures)
        print(f"{'':22}{'CPU ms':>9}{'pictures/s':>12}{'of threads':>14}")
        for pipeline in PIPELINES:
            compared(pipeline, Path(place) / "pictures", options.rounds)


if __name__ == "__main__":
    main()
