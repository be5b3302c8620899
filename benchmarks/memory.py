"""Peak memory of `trainer fit`: by the number of epochs, and by the number of pictures.

    python benchmarks/memory.py [--rounds 3]

Epochs: 300 JPEGs of 96 px for 2 and for 20 epochs, by threads and by processes, with and without a
cache. Pictures: 1,000 files of 40 px under 1,000 and under 100,000 names (hard links), one epoch,
`duplicates: ignore`; `trainer check` with the same config tells what the manifest takes, which is
the names, labels and sides.

The figure is the sum of the peaks (VmHWM) of the process and of its workers, medians of the rounds;
what they share counts for each that has touched it. Linux alone.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

LIMIT = 50  # MB
EPOCHS = 2, 20
FEW, MANY = 1_000, 100_000

CONFIG = """\
name: memory
data:
  source: {{kind: folder, path: pictures}}
  image_size: {size}
  batch_size: {batch}
  {data}
model:
  kind: layers
  layers:
    - Rescaling: {{scale: 0.00392156862745098}}
    - Conv2D: {{filters: 8, kernel_size: 3, strides: 2}}
    - BatchNormalization
    - ReLU
    - GlobalMaxPooling2D
    - Dropout: {{rate: 0.2}}
    - Dense: {{units: $classes, activation: softmax}}
training:
  epochs: {epochs}
  callbacks: [{{EarlyStopping: {{patience: 99, restore_best_weights: true}}}}]
  checkpoint: {{steps: {steps}}}
"""

AUGMENT = "augment: [HorizontalFlip, {Affine: {rotate: [-20, 20]}}, RandomBrightnessContrast]"


def draw(root: Path, count: int, side: int) -> None:
    """So many JPEGs of noise in two class folders."""
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (side // 4, side // 4, 3), np.uint8)
        path = root / f"class{number % 2}" / f"{number:08d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), cv2.resize(pixels, (side, side)))


def link(root: Path, files: Path, count: int) -> None:
    """The same files under so many names."""
    known = sorted(files.rglob("*.jpg"))
    for number in range(count):
        path = root / f"class{number % 2}" / f"IMG_{number:08d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(known[number % len(known)])


def peak(verb: str, folder: Path, config: str) -> float:
    """MB of all processes of a command in that folder, each at its own peak."""
    (folder / "config.yaml").write_text(config)
    shutil.rmtree(folder / "runs", ignore_errors=True)  # else the split of the last one is kept
    line = [sys.executable, "-m", "trainer", verb, "config.yaml"]
    home = {"XDG_CACHE_HOME": str(folder / ".cache")}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            line, cwd=folder, env=os.environ | home, stdout=said, stderr=said
        )
        peaks: dict[int, int] = {}
        while process.poll() is None:
            for number in family(process.pid):
                peaks[number] = max(peaks.get(number, 0), high_water(number))
            time.sleep(0.02)
        said.seek(0)
        if process.returncode:
            raise SystemExit(said.read().decode())
    return sum(peaks.values()) / 1000


def family(number: int) -> Iterator[int]:
    """The process and its offspring, but for what is about to become another program: until then
    it shares all memory."""
    yield number
    try:
        for thread in Path(f"/proc/{number}/task").iterdir():
            for child in (thread / "children").read_text().split():
                if command(int(child)) != command(number):
                    yield from family(int(child))
    except OSError:
        return  # it has ended


def command(number: int) -> bytes:
    """The command line of a process. Raises: OSError."""
    return Path(f"/proc/{number}/cmdline").read_bytes()


def high_water(number: int) -> int:
    """The most memory that a process has had, in kB; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{number}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def verdict(growth: float) -> str:
    """Whether it is what is allowed."""
    return "met" if growth < LIMIT else "MISSED"


def by_epochs(root: Path, rounds: int) -> None:
    """Prints a line per way to make the batches."""
    draw(root / "pictures", 300, 96)
    peak("check", root, config("workers: threads", [64, 64], 32, 1))  # looks at every picture
    heads = [f"{epochs} epochs, MB" for epochs in EPOCHS]
    print(
        f"{'workers':>8} {'cache':>7} {heads[0]:>14} {heads[1]:>14} {'more, MB':>9}  under {LIMIT}"
    )
    for workers in ("threads", "2"):
        for cache in ("off", "memory", "disk"):
            data = f"workers: {workers}\n  cache: {cache}\n  {AUGMENT}"
            found = [
                [peak("fit", root, config(data, [64, 64], 32, epochs, "5")) for epochs in EPOCHS]
                for _ in range(rounds)
            ]
            few, many = (statistics.median(column) for column in zip(*found, strict=True))
            line = f"{workers:>8} {cache:>7} {few:14.0f} {many:14.0f} {many - few:9.0f}"
            print(f"{line}  {verdict(many - few)}", flush=True)


def by_pictures(root: Path, rounds: int) -> None:
    """Prints a line per command."""
    draw(root / "files", FEW, 40)
    for count in (FEW, MANY):
        link(root / str(count) / "pictures", root / "files", count)
    heads = [f"{count:,}, MB" for count in (FEW, MANY)]
    print(
        f"\n{'command':>16} {heads[0]:>12} {heads[1]:>12} {'more, MB':>9} {'beyond check, MB':>17}"
    )
    allowed = 0.0
    for verb, workers in (("check", "threads"), ("fit", "threads"), ("fit", "2")):
        data = f"workers: {workers}\n  split: {{duplicates: ignore}}"
        text = config(data, [32, 32], 100, 1)
        found = [
            [peak(verb, root / str(count), text) for count in (FEW, MANY)] for _ in range(rounds)
        ]
        few, many = (statistics.median(column) for column in zip(*found, strict=True))
        growth = many - few
        name = verb if verb == "check" else f"fit, {workers}"
        line = f"{name:>16} {few:12.0f} {many:12.0f} {growth:9.0f}"
        if verb == "check":
            allowed = growth
            print(line, flush=True)
        else:
            print(f"{line} {growth - allowed:17.0f}  {verdict(growth - allowed)}", flush=True)


def config(data: str, size: list[int], batch: int, epochs: int, steps: str = "null") -> str:
    """The text of a config; `steps` between checkpoints."""
    return CONFIG.format(data=data, size=size, batch=batch, epochs=epochs, steps=steps)


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "epochs").mkdir()
        by_epochs(Path(place) / "epochs", rounds)
        by_pictures(Path(place) / "pictures", rounds)


if __name__ == "__main__":
    main()
