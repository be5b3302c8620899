"""`trainer fit`, killed at random moments and resumed each time, against one that nobody disturbed.

    python benchmarks/kills.py [--kills 20] [--signal KILL|TERM|INT|mixed] [--seed 1]
                               [--workers 2] [--set …]

Two small trainings with Dropout, BatchNormalization, AdamW, augmentation and callbacks that know
something, a checkpoint every three steps. Each runs once undisturbed, then in folders of its own,
where it is killed and resumed until it ends; then all that the runs hold is compared to the bit. A
third of the moments is uniform over the time that an undisturbed run takes, start included; a third
comes soon after the training has begun or gone on, and a third as soon as a file is being written.

Of SIGTERM and SIGINT the exit code counts too, of all that no process and no file stays behind.
Exits with 1 if anything is not as it should be. A kill takes about 10 s: TensorFlow starts anew.
With --workers the signal goes to any one of them, not to the launcher.
"""

import argparse
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import h5py
import numpy as np

CLASSES, PER_CLASS, SIDE = ("blue", "green", "red"), 100, 40  # pixels

CONFIG = """\
name: kills
data:
  source: {{kind: folder, path: "{pictures}"}}
  image_size: [32, 32]
  load_size: [36, 36]
  batch_size: 10
  augment:
    - RandomCrop: {{height: 32, width: 32}}
    - HorizontalFlip
    - OneOf:
        transforms: [{{GaussianBlur: {{blur_limit: [3, 5], p: 1}}}}, {{GaussNoise: {{p: 1}}}}]
        p: 0.5
    - RandomBrightnessContrast
    - CoarseDropout: {{p: 0.5}}
  {data}
model:
  kind: layers
  layers:
    - Rescaling: {{scale: 0.00392156862745098}}
    - Conv2D: {{filters: 16, kernel_size: 3, use_bias: false}}
    - BatchNormalization
    - ReLU
    - GaussianNoise: {{stddev: 0.1}}
    - MaxPooling2D
    - Conv2D: {{filters: 32, kernel_size: 3, use_bias: false}}
    - BatchNormalization
    - ReLU
    - Flatten
    - Dropout: {{rate: 0.4}}
    - Dense: {{units: $classes, activation: softmax}}
training:
  epochs: 16
  {training}
  callbacks:
    - phases.Phases
    - ModelCheckpoint:
        filepath: own.keras
        monitor: val_categorical_accuracy
        save_best_only: true
    {callbacks}
  checkpoint: {{steps: 3}}
"""

KINDS = {
    "plateau": {
        "data": "workers: threads",
        "training": "optimizer: {AdamW: {learning_rate: 0.01}}",
        "callbacks": "- EarlyStopping: {patience: 30, restore_best_weights: true}\n"
        "    - ReduceLROnPlateau: {patience: 1, factor: 0.7, min_delta: 0.2}",
    },
    "schedule": {
        "data": "workers: 2\n  cache: memory\n  sampling: balanced",
        "training": "optimizer: {AdamW: {learning_rate: {CosineDecay: "
        "{initial_learning_rate: 0.01, decay_steps: $total_steps}}}}",
        # No epoch is better by 99 than the first, so this ends the training after the twelfth.
        "callbacks": "- EarlyStopping: {patience: 11, min_delta: 99, restore_best_weights: true}",
    },
}

# What the process is doing, for the table.
PHASES = """\
from pathlib import Path
import keras

class Phases(keras.callbacks.Callback):
    def on_train_begin(self, logs=None): Path("phase").write_text("training")
    def on_epoch_begin(self, epoch, logs=None): Path("phase").write_text("training")
    def on_test_begin(self, logs=None): Path("phase").write_text("validation")
    def on_test_end(self, logs=None): Path("phase").write_text("epoch's end")
    def on_train_end(self, logs=None): Path("phase").write_text("evaluation")
"""

# Exit codes besides 128 + n, which are right while the handlers are not there: before the training
# and after it.
PLAIN = {signal.SIGTERM: -signal.SIGTERM, signal.SIGINT: -signal.SIGINT}
TIMEOUT = 600.0  # seconds for one life
NOTICE = 30.0  # seconds in which workers end that have lost one


class Kill(NamedTuple):
    """One life of a process and its end."""

    signal: str
    moment: str  # how it was chosen
    phase: str
    after: float  # seconds since its start
    ending: float  # seconds from the signal to the end
    code: int
    reached: str  # what the next one says
    wrong: tuple[str, ...]


class Place(NamedTuple):
    """A folder in which a training runs, undisturbed or not."""

    folder: Path
    workers: int

    def start(self, *options: str) -> subprocess.Popen:
        """`trainer fit` there; what it says goes to out.txt and err.txt."""
        (self.folder / "phase").write_text("start-up")
        command = [sys.executable, "-m", "trainer", "fit", "config.yaml", *options]
        command += ["--workers", str(self.workers)]
        home = {"XDG_CACHE_HOME": str(self.folder / ".cache")}
        with (self.folder / "out.txt").open("w") as out, (self.folder / "err.txt").open("w") as err:
            return subprocess.Popen(
                command, cwd=self.folder, env=os.environ | home, stdout=out, stderr=err
            )

    def text(self, name: str) -> str:
        """The content of a file."""
        return (self.folder / name).read_text()

    def runs(self) -> list[Path]:
        """The folders of the runs."""
        every = [path.parent for path in self.folder.glob("runs/kills/*/config.yaml")]
        return sorted(path for path in every if not path.is_symlink())

    def half(self) -> set[Path]:
        """Checkpoints that are not whole."""
        return set(self.folder.glob("runs/kills/*/checkpoints/.*.partial*"))

    def processes(self) -> list[int]:
        """Those that run there."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if (entry / "cwd").readlink() == self.folder:
                    found.append(int(entry.name))
            except OSError:
                continue  # has ended, or is another's
        return found


class Life(NamedTuple):
    """A process that is going to be killed."""

    where: Place
    process: subprocess.Popen
    begun: float
    before: set[Path]  # half-written by those before

    def lasts(self) -> bool:
        """Whether it has not ended yet."""
        if time.monotonic() > self.begun + TIMEOUT:
            raise SystemExit(f"{self.where.folder} takes more than {TIMEOUT:g} s")
        return self.process.poll() is None

    def writing(self) -> bool:
        """Whether it is writing a checkpoint."""
        return bool(self.where.half() - self.before)


def draw(root: Path) -> None:
    """Noise around a colour of the class's own, hard enough to tell apart for a few epochs."""
    for index, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for number in range(PER_CLASS):
            pixels = np.random.default_rng([index, number]).integers(0, 230, (SIDE, SIDE, 3))
            pixels[..., index] += 20
            cv2.imwrite(str(root / name / f"{number:03d}.png"), pixels.astype(np.uint8))


def place(root: Path, kind: str, name: str, workers: int) -> Place:
    """A new folder with the config; the same text everywhere."""
    folder = root / f"{kind}_{name}"
    folder.mkdir()
    config = CONFIG.format(pictures=root / "pictures", **KINDS[kind])
    (folder / "config.yaml").write_text(config)
    (folder / "phases.py").write_text(PHASES)
    return Place(folder, workers)


def begin(where: Place, *options: str) -> Life:
    """Starts the next process there."""
    before, begun = where.half(), time.monotonic()
    return Life(where, where.start(*options), begun, before)


def wait(life: Life, seconds: float, drawn: random.Random) -> str:
    """Until the moment to kill it, or its end; tells how the moment was chosen."""
    kind, share = drawn.choice(("any", "soon", "writing")), drawn.random()
    from_now = share * seconds
    if kind != "any":
        while life.lasts() and life.where.text("phase") == "start-up":
            time.sleep(0.005)
        from_now = share * (3 if kind == "soon" else seconds / 2)
    until = time.monotonic() + from_now
    while life.lasts() and time.monotonic() < until:
        time.sleep(0.002)
    while kind == "writing" and life.lasts() and not life.writing():
        time.sleep(0.0005)
    return kind


def kill(life: Life, number: signal.Signals, moment: str, drawn: random.Random) -> Kill:
    """Sends the signal, to any of several workers, and waits for the end."""
    phase, sent = life.where.text("phase"), time.monotonic()
    phase = "writing" if life.writing() else phase
    os.kill(drawn.choice(children(life)), number)
    code = life.process.wait(TIMEOUT)
    ended = time.monotonic()
    name = number.name.removeprefix("SIG")
    faults = list(wrong(life, number, phase, code))
    if ended - sent > NOTICE:
        faults.append("too late")
    return Kill(name, moment, phase, sent - life.begun, ended - sent, code, "", tuple(faults))


def children(life: Life) -> list[int]:
    """The workers that run, or the process itself if it is alone or none has begun."""
    listed = Path(f"/proc/{life.process.pid}/task/{life.process.pid}/children")
    found = listed.read_text().split() if life.where.workers > 1 and listed.exists() else []
    return [int(each) for each in found] or [life.process.pid]


def wrong(life: Life, number: signal.Signals, phase: str, code: int) -> Iterator[str]:
    """What should be otherwise after a kill."""
    several = life.where.workers > 1  # then the launcher says how
    expected = {-number} if number == signal.SIGKILL and not several else {128 + number}
    if phase in ("start-up", "evaluation"):
        expected |= {PLAIN.get(number, -number)}
    if code not in expected:
        yield f"exit code {code}"
    if number != signal.SIGKILL and life.writing():
        yield "a half-written file"
    errors = life.where.text("err.txt")
    if "Traceback" in errors and phase != "start-up":
        yield f"a traceback: {errors.strip().splitlines()[-1]}"
    until = time.monotonic() + 10
    while (alive := life.where.processes()) and time.monotonic() < until:
        time.sleep(0.05)
    if alive:
        yield f"{len(alive)} processes live on"


def disturbed(
    where: Place, signals: list[signal.Signals], seconds: float, drawn: random.Random, *more: str
) -> list[Kill]:
    """Runs to the end, killed by these signals at most, each taken from the list."""
    kills: list[Kill] = []
    while True:
        life = begin(where, *more, *["--resume"] * bool(kills))
        moment = wait(life, seconds, drawn) if signals else ""
        end = kill(life, signals.pop(), moment, drawn) if moment and life.lasts() else None
        code, out, err = life.process.wait(TIMEOUT), where.text("out.txt"), where.text("err.txt")
        if kills:
            lines = [line for line in out.splitlines() if line[:9] in ("resumed  ", "finished ")]
            kills[-1] = kills[-1]._replace(reached=(lines or [""])[0].removeprefix("resumed  "))
        kills += [end] if end else []
        if code == 0:
            return kills
        if not end:
            raise SystemExit(f"trainer fit failed:\n{out}{err}")


def contents(where: Place) -> dict[str, Any]:
    """All that two equal runs have in common: bytes, arrays, JSON."""
    [run] = [run for run in where.runs() if (run / "metrics.json").exists()]
    found: dict[str, Any] = {}
    for name in ("config.yaml", "classes.txt", "data.json", "split.csv", "history.csv"):
        found[name] = (run / name).read_bytes()
    found["metrics.json"] = json.loads((run / "metrics.json").read_text())
    paths = [run / "checkpoints" / f"{name}.keras" for name in ("last", "previous", "best")]
    for path in (*paths, where.folder / "own.keras"):
        with zipfile.ZipFile(path) as archive:
            found |= {f"{path.name}/{name}": value for name, value in members(archive)}
    return found


def members(archive: zipfile.ZipFile) -> Iterator[tuple[str, Any]]:
    """Name and value of all in a checkpoint that does not tell the time."""
    with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
        arrays: dict[str, np.ndarray] = {}
        file.visititems(
            lambda name, item: arrays.update({name: item[()]} if hasattr(item, "dtype") else {})
        )
        yield from arrays.items()
    if "state.json" in archive.namelist():
        state = json.loads(archive.read("state.json"))
        del state["timing"]
        yield "state.json", state
        with np.load(io.BytesIO(archive.read("state.npz"))) as block:
            yield from ((f"state/{name}", block[name]) for name in block.files)


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The names of what is not equal to the bit."""
    return [
        name
        for name in sorted(one.keys() | other.keys())
        if name not in one or name not in other or not equal(one[name], other[name])
    ]


def equal(one: Any, other: Any) -> bool:
    """To the bit, for arrays."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.tobytes() == other.tobytes()
    return bool(one == other)


def left_behind(where: Place) -> list[str]:
    """Files that are no part of a run, and processes."""
    runs = where.folder / "runs"
    found = [str(path.relative_to(runs)) for path in runs.rglob(".*") if path.name != ".lock"]
    return [*found, *(f"process {number}" for number in where.processes())]


def shown(number: int, kind: str, one: Kill) -> str:
    """A line of the table."""
    return (
        f"{number:3} {kind:9} {one.signal:5} {one.moment:8} {one.phase:12} {one.after:6.1f} "
        f"{one.ending:6.2f} {one.code:5} {one.reached[:31]:31} {'; '.join(one.wrong)}"
    ).rstrip()


def undisturbed(root: Path, kind: str, workers: int, *more: str) -> tuple[dict[str, Any], float]:
    """What a run holds that nobody kills, and how many seconds it takes."""
    where, begun = place(root, kind, "undisturbed", workers), time.monotonic()
    process = where.start(*more)
    if process.wait(TIMEOUT):
        raise SystemExit(f"trainer fit failed:\n{where.text('err.txt')}")
    seconds = time.monotonic() - begun
    print(f"{kind}, undisturbed: {seconds:.1f} s", flush=True)
    return contents(where), seconds


def contest(root: Path, signals: list[signal.Signals], seed: int, workers: int, *more: str) -> bool:
    """Prints a line per kill and one per run that was ended; whether all was as it should be."""
    expected = {kind: undisturbed(root, kind, workers, *more) for kind in KINDS}
    heads = f"{'':3} {'training':9} {'sent':5} {'moment':8} {'hit':12} {'at, s':>6} {'end, s':>6}"
    print(f"{heads} {'exit':>5} {'then resumed':31} wrong")
    well, hits, runs = True, Counter[str](), 0
    drawn = random.Random(seed)
    while signals:
        kind = list(KINDS)[runs % len(KINDS)]
        values, seconds = expected[kind]
        where, runs = place(root, kind, str(runs), workers), runs + 1
        for one in disturbed(where, signals, seconds, drawn, *more):
            print(shown(hits.total() + 1, kind, one), flush=True)
            hits[one.phase] += 1
            well &= not one.wrong
        other, litter = differences(values, contents(where)), left_behind(where)
        verdict = "equal to the bit" if not other else f"NOT EQUAL: {', '.join(other)}"
        print(f"    {kind}: {verdict}" + (f"; LEFT BEHIND: {', '.join(litter)}" if litter else ""))
        well &= not other and not litter
    print(f"kills during: {', '.join(f'{name} {count}' for name, count in hits.most_common())}")
    return well


def main() -> None:
    """Prints the tables and a verdict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--signal", choices=("KILL", "TERM", "INT", "mixed"), default="KILL")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script ignores it in background
    names = ["KILL", "TERM", "INT"] if options.signal == "mixed" else [options.signal]
    signals = [signal.Signals[f"SIG{names[n % len(names)]}"] for n in range(options.kills)]
    shared = set(Path("/dev/shm").iterdir()) if Path("/dev/shm").exists() else set()
    with tempfile.TemporaryDirectory() as made:
        root = Path(made).resolve()
        draw(root / "pictures")
        more = [part for text in options.set for part in ("--set", text)]
        well = contest(root, signals, options.seed, options.workers, *more)
    if shared and (left := set(Path("/dev/shm").iterdir()) - shared):
        print(f"new in /dev/shm, ours or another's: {', '.join(path.name for path in left)}")
    print("all is equal and nothing is left behind" if well else "NOT AS IT SHOULD BE")
    raise SystemExit(not well)


if __name__ == "__main__":
    main()
