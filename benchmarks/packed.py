"""Packed shards: start-up with 1,000,000 pictures, and reading them against reading the files.

    python benchmarks/packed.py [--pictures 1000000] [--rounds 7]
    TRAINER_DATA=my/pictures python benchmarks/packed.py

Start-up: shards of tiny pictures, 100 classes, three sides; from the config to the first batch, in
a process of its own, with the index and without. The imports are shown apart.

Reading: the pictures of TRAINER_DATA (else textured JPEGs of about 40 kB are drawn) as files and
packed, in the random order of a training, by `content` alone. Files and shards take turns in one
process, so that what else the machine does strikes both; CPU time of the process, the kernel's part
included. Warm: out of the page cache. Cold: the system is asked to forget the files before each
turn (posix_fadvise), which it does for what has been written back.

Limits: start-up with the index 5 s; reading 1.0 times the CPU time of the files.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from trainer import files
from trainer.config.data import Folder, Tfrecord
from trainer.data.examples import Examples, Pictures
from trainer.data.split import Sides

CLASSES = 100
START, READ = 5.0, 1.0  # limits: seconds; times the CPU time of files

CONFIG = """
name: packed
data:
  source: {{kind: tfrecord, path: {path}, name: image/filename}}
  image_size: [16, 16]
  split: {{duplicates: ignore}}
model: {{kind: layers, layers: [Flatten, {{Dense: {{units: $classes, activation: softmax}}}}]}}
training: {{epochs: 1, optimizer: {{Adam: {{}}}}}}
"""

STARTED = """
import sys, time
before = time.perf_counter()
from pathlib import Path
from trainer.commands._gather import gather
from trainer.config.load import load
from trainer.data import batches, split_file
from trainer.data.batch import empty
imported = time.perf_counter()
config = load(Path(sys.argv[1]))
sides = gather(config).sides
gathered = time.perf_counter()
batch = empty(batches.shapes(config.data, len(sides.train.classes)))
made = batches.training(sides.train, config.data, config.seed)(0, batch)
assert not made.unreadable and len(sides.train) > len(sides.test) > 0
first = time.perf_counter()
status = dict(line.split(":") for line in open("/proc/self/status"))
peak = int(status["VmHWM"].split()[0]) / 1000
split_file.write(sides, Path(sys.argv[2]))
written = time.perf_counter()
print(imported - before, gathered - imported, first - gathered, written - first, peak)
assert "tensorflow" not in sys.modules
"""


class Tiny(NamedTuple):
    """The same small picture under so many names."""

    first: int
    count: int
    png: bytes

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        """As cameras write them."""
        return f"class_{index % CLASSES:03d}/IMG_{self.first + index:08d}.png"

    def place(self, index: int) -> str:
        """The same."""
        return self.name(index)

    def content(self, index: int) -> bytes:
        """The file."""
        return self.png

    def stamp(self, index: int) -> tuple[int, int]:
        """Nothing ever changes."""
        return len(self.png), 1


def tiny(count: int) -> Sides:
    """So many pictures: 90 % for training, 5 % on each other side."""
    png = cv2.imencode(".png", np.zeros((2, 2, 3), np.uint8))[1].tobytes()
    classes = tuple(f"class_{number:03d}" for number in range(CLASSES))
    found, first = [], 0
    for share in (count - count // 10, count // 20, count // 20):
        labels = (np.arange(share) % CLASSES).astype(np.int32)
        found.append(Examples(Tiny(first, share, png), labels, classes))
        first += share
    return Sides(*found)


def packed(sides: Sides, folder: Path, shard: float = 200e6) -> list[float]:
    """Writes shards and index; the seconds of each."""
    from trainer.data import pack, shard_index, shard_pass

    folder.mkdir(parents=True)
    plan = pack.shards(sides, shard)
    begun = time.perf_counter()
    pack.write(sides, plan, folder, lambda more: None)
    written = time.perf_counter()
    sizes = {each.name: (folder / each.name).stat().st_size for each in sorted(plan)}
    source = Tfrecord(kind="tfrecord", path=str(folder), name=pack.FEATURES.name)
    index = shard_pass.passed(source, str(folder), list(sizes))
    shard_index.write(folder, sizes, pack.FEATURES, index)
    return [written - begun, time.perf_counter() - written]


def started(folder: Path, place: Path) -> list[float]:
    """Seconds of the imports, of gathering, of the first batch and of split.csv; MB at most."""
    (place / "packed.yaml").write_text(CONFIG.format(path=folder))
    command = [sys.executable, "-c", STARTED, str(place / "packed.yaml"), str(place / "split.csv")]
    out = subprocess.run(command, check=True, capture_output=True, text=True, cwd=place).stdout
    return [float(word) for word in out.split()]


def show_start(place: Path, count: int) -> None:
    """Lines on the start-up with so many pictures."""
    folder = place / "tiny"
    writing, indexing = packed(tiny(count), folder, 40e6)
    index = folder / "index"
    print(f"{count:,} tiny pictures in {len(list(folder.glob('*.tfrecord')))} shards")
    print(f"written in {writing:.1f} s, read back and indexed in {indexing:.1f} s")
    print(f"index {files.weight(index) / count:.1f} bytes a picture, of it names")
    print(f"  {sum(map(files.weight, index.glob('called*'))) / count:.1f}")
    print(f"{'':12}{'imports':>9}{'gather':>9}{'batch':>9}{'both, s':>9}{'split.csv':>11}{'MB':>7}")
    for name in ("index", "index", "no index"):
        if name == "no index":
            files.remove(index)
        imports, gathered, batch, csv, peak = started(folder, place)
        verdict = "met" if gathered + batch <= START else "MISSED"
        print(
            f"{name:12}{imports:9.2f}{gathered:9.2f}{batch:9.2f}{gathered + batch:9.2f}{csv:11.2f}"
            f"{peak:7.0f}  {verdict if name == 'index' else ''}",
            flush=True,
        )


def prepared(place: Path, count: int) -> Examples:
    """The pictures to read, as files."""
    from trainer.data.sources.folder import read

    root = os.environ.get("TRAINER_DATA")
    if root is None:
        from inspection import draw

        (place / "drawn").mkdir()
        draw(place / "drawn", count)
        root = str(place / "drawn")
    return read(Folder(kind="folder", path=root))


def cpu(pictures: Pictures, order: np.ndarray, forget: list[Path]) -> float:
    """CPU seconds of reading the pictures in this order, after the files were forgotten."""
    for path in forget:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    before = time.process_time()
    for index in order.tolist():
        pictures.content(index)
    return time.process_time() - before


def show_reading(place: Path, rounds: int, count: int) -> None:
    """Lines on files against shards."""
    from trainer.data.sources import tfrecord

    examples = prepared(place, count)
    none = examples.take(np.arange(0))
    folder = place / "packed"
    packed(Sides(examples, none, none), folder)
    source = Tfrecord(kind="tfrecord", path=str(folder), name="image/filename")
    shards = tfrecord.read(source).pictures
    every = range(len(examples))
    assert all(shards.content(at) == examples.pictures.content(at) for at in every)
    order = np.random.default_rng(0).permutation(len(examples))
    paths = [Path(examples.pictures.place(at)) for at in every]
    sizes = [path.stat().st_size for path in paths]
    print(f"{len(paths):,} files, {np.mean(sizes) / 1000:.0f} kB on average")
    written = sum(path.stat().st_size for path in folder.glob("*.tfrecord"))
    print(f"a record takes {(written - sum(sizes)) / len(paths):.0f} bytes more than its file")
    os.sync()
    print(f"{'':8}{'files, µs':>12}{'shards, µs':>12}{'ratio':>8}{'least':>8}{'most':>8}")
    for name, forgotten in (("warm", False), ("cold", True)):
        pairs: Any = []
        for _ in range(rounds + 1):
            alone = cpu(examples.pictures, order, paths if forgotten else [])
            inside = cpu(shards, order, sorted(folder.glob("*.tfrecord")) if forgotten else [])
            pairs.append((alone, inside))
        files_s, shards_s = np.array(pairs[1:]).T / len(paths) * 1e6  # the first round warms up
        ratios = shards_s / files_s
        middle = statistics.median(ratios.tolist())
        print(
            f"{name:8}{np.median(files_s):12.1f}{np.median(shards_s):12.1f}{middle:8.2f}"
            f"{ratios.min():8.2f}{ratios.max():8.2f}  {'met' if middle <= READ else 'MISSED'}",
            flush=True,
        )


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=1_000_000, help="of the start-up")
    parser.add_argument("--files", type=int, default=2000, help="to draw for reading")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        show_reading(Path(place), options.rounds, options.files)
        show_start(Path(place), options.pictures)


if __name__ == "__main__":
    main()
