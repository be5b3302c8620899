"""The drawn hands of `kind: rendered_hands`: how long they take, and that they come out the same.

    python benchmarks/drawing.py [--pictures 3000] [--size 300]

All are drawn twice, with all cores as on first use: seconds of the clock and of CPU time of all
processes, and whether every file is the same byte for byte.

Limit: 60 s for 3,000 pictures of 300 x 300 on two cores.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from trainer.config.data import RenderedHands
from trainer.data import hands
from trainer.data.sources import rendered_hands
from trainer.data.workers.choice import cores

LIMIT = 60.0  # seconds


def drawn(source: RenderedHands, root: Path, processes: int) -> tuple[float, float]:
    """Draws all; seconds of the clock, and of CPU time of all processes."""
    before, begun = os.times(), time.perf_counter()
    rendered_hands.draw_all(source, root, processes)
    took, after = time.perf_counter() - begun, os.times()
    return took, sum(after[:4]) - sum(before[:4])


def main() -> None:
    """Prints both rounds, and the comparison."""
    reader = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    reader.add_argument("--pictures", type=int, default=3000)
    reader.add_argument("--size", type=int, default=300)
    reader.add_argument("--cores", type=int, default=cores())
    options = reader.parse_args()
    each = options.pictures // len(hands.CLASSES)
    source = RenderedHands(kind="rendered_hands", images_per_class=each, size=options.size)
    count = len(hands.CLASSES) * each
    with tempfile.TemporaryDirectory() as folder:
        roots = [Path(folder) / name for name in ("once", "twice")]
        for root in roots:
            took, spent = drawn(source, root, options.cores)
            print(
                f"{count} pictures of {options.size} x {options.size} on {options.cores} cores: "
                f"{took:.1f} s (limit for 3,000 of 300 on two: {LIMIT:.0f}), CPU {spent:.1f} s, "
                f"{1000 * spent / count:.1f} ms each"
            )
        names = [sorted(path.relative_to(root) for path in root.rglob("*.jpg")) for root in roots]
        same = names[0] == names[1] and all(
            (roots[0] / name).read_bytes() == (roots[1] / name).read_bytes() for name in names[0]
        )
    print(f"drawn twice: {'the same' if same else 'NOT the same'}, byte for byte")
    sys.exit(not same)


if __name__ == "__main__":
    main()
