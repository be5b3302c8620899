"""Sources of 1,000,000 pictures: time and memory from the path to Examples.

    python benchmarks/listing.py [--pictures 1000000]

A folder of empty files (1000 per sub-folder, 100 classes) and a CSV table with path, label, split
and group are made in a temporary place and read, each in a process of its own. The peak of memory
is that of the process, interpreter and numpy included; the files have just been written, so their
names come out of the system's cache.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

PER_FOLDER, CLASSES = 1000, 100
LIMITS = 20, 1000  # seconds, MB

READ = """
import resource, sys, time
from trainer.config import data
from trainer.parts import part

kind, path = sys.argv[1:]
source = {"folder": data.Folder, "csv": data.Csv}[kind](kind=kind, path=path)
wall, cpu = time.perf_counter(), time.process_time()
examples = part("data.sources", kind).read(source)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
print(len(examples), len(examples.classes), wall, cpu, peak, "tensorflow" in sys.modules)
"""


def names(pictures: int) -> Iterator[str]:
    """Paths as cameras and crawlers write them, class by class."""
    for number in range(pictures):
        folder = number // PER_FOLDER
        yield f"class_{folder % CLASSES:03d}/{folder:04d}/IMG_{number:08d}.jpg"


def make_folder(root: Path, pictures: int) -> None:
    """Empty files of these names."""
    for number, name in enumerate(names(pictures)):
        path = root / name
        if number % PER_FOLDER == 0:
            path.parent.mkdir(parents=True)
        path.touch()


def make_csv(root: Path, pictures: int) -> Path:
    """A table of these names; the first file is there."""
    first = root / next(names(pictures))
    first.parent.mkdir(parents=True, exist_ok=True)
    first.touch()
    sides = ("train", "validation", "test")
    with (root / "table.csv").open("w") as file:
        file.write("path,label,split,group\n")
        for number, name in enumerate(names(pictures)):
            file.write(f"{name},{name[:9]},{sides[number % 3]},patient_{number // 20}\n")
    return root / "table.csv"


def measured(kind: str, path: Path, pictures: int) -> str:
    """A line of the table."""
    command = [sys.executable, "-c", READ, kind, str(path)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    assert int(out[0]) == pictures, out
    assert out[5] == "False", "reading a listing needs no TensorFlow"
    wall, cpu, peak = map(float, out[2:5])
    verdict = "met" if wall <= LIMITS[0] and peak <= LIMITS[1] else "MISSED"
    return f"{kind:8} {pictures:10,} {wall:10.1f} {cpu:10.1f} {peak:10.0f}   {verdict}"


def main() -> None:
    """Prints a line per source."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=1_000_000)
    pictures = parser.parse_args().pictures
    print(f"{'source':8} {'pictures':>10} {'wall, s':>10} {'CPU, s':>10} {'peak, MB':>10}   limits")
    with tempfile.TemporaryDirectory() as place:
        make_folder(Path(place) / "folder", pictures)
        print(measured("folder", Path(place) / "folder", pictures), flush=True)
    with tempfile.TemporaryDirectory() as place:
        print(measured("csv", make_csv(Path(place), pictures), pictures))


if __name__ == "__main__":
    main()
