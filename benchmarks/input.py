"""The input path against the bare library calls, and against others: CPU time per picture.

    python benchmarks/input.py [--rounds 5] [--peers other/venv/bin/python]
    TRAINER_DATA=my/pictures python benchmarks/input.py

JPEGs of 320 x 320 pixels, quality 90, become batches of 32 by RandomResizedCrop to 224 x 224 and
HorizontalFlip. Without TRAINER_DATA textured pictures of about 40 kB are drawn; those of
TRAINER_DATA are resized first. How it is measured stands in served.py, who is compared in
loaders.py. The peers with torch run in another virtual environment (requirements-peers.txt);
`--peers` is its interpreter.

Limits: from files 1.25 times what cv2 and albumentations alone take, from the memory cache 1.15
times what albumentations alone takes.
"""

import argparse
import itertools
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from loaders import BARE, BATCH, LOADED, LOADERS, TORCH
from served import Candidate, ratio, serve

CACHED = "trainer, memory cache"
LIMITS = {"trainer, threads": 1.25, CACHED: 1.15}


def prepare(root: Path, count: int) -> None:
    """So many JPEGs in folders of classes, pictures again and again if there are fewer."""
    import cv2
    from inspection import draw

    from trainer.data.decode import resize
    from trainer.data.sources.folder import SUFFIXES

    source = Path(os.environ.get("TRAINER_DATA") or root / "drawn")
    if "TRAINER_DATA" not in os.environ:
        source.mkdir()
        draw(source, min(count, 1000))
    found = (path for path in sorted(source.rglob("*")) if path.suffix.lower() in SUFFIXES)
    pictures = itertools.cycle(found)
    for number, path in enumerate(itertools.islice(pictures, count)):
        target = root / "pictures" / path.parent.name / f"{number}.jpg"
        target.parent.mkdir(exist_ok=True, parents=True)
        read: Any = cv2.imread(str(path))
        pixels = resize(read, (LOADED, LOADED))
        cv2.imwrite(str(target), pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])


def started(folder: Path, peers: str, names: list[str]) -> dict[str, Candidate]:
    """Those of the names that can be had; a line for each of the others."""
    candidates = {}
    for name in names:
        python = peers if name.startswith(TORCH) else sys.executable
        candidate = Candidate([python, __file__, "--serve", name, "--folder", str(folder)])
        if candidate.state == "ready":
            candidates[name] = candidate
        else:
            print(f"{name:27}{candidate.state}")
    return candidates


def table(candidates: dict[str, Candidate]) -> None:
    """A line per candidate, medians of the rounds."""
    decoding, augmenting = (candidates[name].cpu for name in BARE)
    bare = [sum(pair) for pair in zip(decoding, augmenting, strict=True)]
    print(f"{'':27}{'CPU ms':>8}{'least':>8}{'pictures/s':>12}{'CPU / bare':>12}  limit")
    for name, candidate in candidates.items():
        against = ratio(candidate.cpu, augmenting if name == CACHED else bare)
        limit = LIMITS.get(name)
        said = f"{limit} {'met' if against <= limit else 'MISSED'}" if limit else ""
        cpu, least = statistics.median(candidate.cpu) * 1000, min(candidate.cpu) * 1000
        print(f"{name:27}{cpu:8.3f}{least:8.3f}{candidate.rate:12,.0f}{against:12.2f}  {said}")
    print(f"bare: the first two together; of the {CACHED.partition(', ')[2]}: albumentations")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2048, help="files, whole batches")
    parser.add_argument("--batches", type=int, default=32, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", default=sys.executable, help="interpreter that has torch")
    parser.add_argument("--only", default="", help="words, one of which a row has to contain")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(lambda: LOADERS[options.serve](options.folder))
        return
    words = options.only.split() or [""]
    names = [name for name in LOADERS if name in BARE or any(word in name for word in words)]
    with tempfile.TemporaryDirectory() as place:
        prepare(Path(place), options.pictures // BATCH * BATCH)
        folder = Path(place) / "pictures"
        sizes = [path.stat().st_size for path in folder.rglob("*.jpg")]
        print(f"{len(sizes):,} files, {statistics.mean(sizes) / 1000:.0f} kB on average")
        candidates = started(folder, options.peers, names)
        for _ in range(1 + options.rounds):
            for candidate in candidates.values():
                candidate.ask(options.batches, BATCH)
        table(candidates)
        for candidate in candidates.values():
            candidate.end()


if __name__ == "__main__":
    main()
