"""`trainer check --devices`: whether all devices train what one would, and how fast."""

import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainer import terminal
from trainer.commands import _child
from trainer.commands._replicas import apart
from trainer.config import Config
from trainer.errors import Failed, UserError
from trainer.training import hardware

# Two trainings are the same if they differ by no more than this share (of 1, if a value is less),
# or than so many times what the order of sums alone changes on this machine: Adam and its like make
# a step of the learning rate out of a gradient that is nothing but rounding.
TOLERANCE, SLACK = 1e-5, 10

PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")


class Trial(NamedTuple):
    """A training in a process of its own."""

    kind: str  # CPU or GPU
    replicas: int
    precision: str
    exact: bool  # whether its result is compared
    timed: bool = True

    def __str__(self) -> str:
        return f"{self.replicas} {self.kind}{'s' * (self.replicas > 1)}, {self.precision}"


class Row(NamedTuple):
    """A result of one replica beside that of several."""

    what: str
    one: float
    several: float
    difference: float  # the largest of all epochs or weights
    rounding: float  # what the order of sums alone makes

    def allowed(self) -> float:
        """The largest difference that is none."""
        return max(TOLERANCE * max(1.0, abs(self.one)), SLACK * self.rounding)

    def equal(self) -> bool:
        """Whether several replicas did what one does; not if anything is NaN."""
        return self.difference <= self.allowed()


class Speed(NamedTuple):
    """Training steps of a trial."""

    trial: Trial
    batch: int
    images_per_second: float


def trials(gpus: int) -> list[Trial]:
    """What is trained on a machine with so many GPUs; first what several replicas cannot do at all.

    TensorFlow has no two replicas on one GPU, so where there is no second one, two logical CPU
    devices show what is exact.
    """
    if gpus == 0:
        return [Trial("CPU", replicas, "float32", exact=True) for replicas in (2, 1)]
    if gpus == 1:
        exact = [Trial("CPU", each, "float32", exact=True, timed=False) for each in (2, 1)]
        return [*exact, *(Trial("GPU", 1, each, exact=False) for each in PRECISIONS)]
    return [
        Trial("GPU", replicas, precision, exact=precision == "float32")
        for precision in PRECISIONS
        for replicas in (gpus, 1)
    ]


def run(path: Path, config: Config, overrides: Sequence[str]) -> None:
    """Trains a few steps on one device and on all, each in a process of its own, and compares.

    Raises: UserErrors of the config; Failed if results differ.
    """
    if config.training.strategy not in ("auto", "mirrored"):
        problem = f"{config.training.strategy} has no replicas that could be compared on a machine"
        hint = "--set training.strategy=mirrored"
        raise UserError("training.strategy", problem, hint)
    gpus = [each for each in hardware.visible() if each.kind == "GPU"]
    plan = trials(len(gpus))
    terminal.say(f"devices  {_found([gpu.name for gpu in gpus])}")
    speeds: list[Speed] = []
    exact: list[tuple[Trial, dict[str, Any], list[np.ndarray]]] = []
    with tempfile.TemporaryDirectory() as folder:
        for trial in plan:
            terminal.say(f"trying   {trial}")
            place = Path(folder) / "weights.npz"
            answer = _ask(path, overrides, trial, place)
            for size, seconds in answer.get("seconds", {}).items():
                speeds.append(Speed(trial, int(size), int(size) / seconds))
            if trial.exact:
                with np.load(place) as held:
                    exact.append((trial, answer, list(held.values())))
    [(several, found, weights), (_, alone, expected)] = exact
    rows = compared(alone, found, apart(weights, expected))
    _show_rows(rows, several, config.data.batch_size)
    _show_speeds(speeds)
    _judge(rows, several, alone["apart"])


def _found(names: Sequence[str]) -> str:
    if not names:
        return (
            "no GPU found: two logical CPU devices show that the code is exact, not that it is fast"
        )
    models = ", ".join(dict.fromkeys(name for name in names if name))
    found = f"{len(names)} GPU{'s' * (len(names) > 1)}" + (f" ({models})" if models else "")
    if len(names) == 1:
        return f"{found}: two logical CPU devices show that the code is exact"
    return found


def _ask(path: Path, overrides: Sequence[str], trial: Trial, place: Path) -> dict[str, Any]:
    strategy = "mirrored" if trial.replicas > 1 else "single"
    request = {
        **trial._asdict(),
        "config": str(path),
        "overrides": [
            *overrides,
            f"training.strategy={strategy}",
            f"training.precision={trial.precision}",
        ],
        "weights": str(place),
    }
    ended = _child.ask("_replicas", "trial", request, quiet=True)
    if ended.answer is None:
        raise Failed(f"{trial}: the process ended with {ended.code}:\n{ended.said[-2000:]}")
    found: dict[str, Any] = ended.answer
    return found


def compared(one: dict[str, Any], several: dict[str, Any], weights: float) -> list[Row]:
    """What trials of one replica and of several answered, line by line.

    Args:
        weights: the largest difference of a weight.
    """
    rounding = one["rounding"]
    rows = [
        Row(name, values[-1], several["history"][name][-1], apart(values, several["history"][name]),
            rounding[name])
        for name, values in one["history"].items()
    ]  # fmt: skip
    moved = Row("weights moved", one["moved"], several["moved"], weights, rounding["weights"])
    return [*rows, moved]


def _show_rows(rows: Sequence[Row], trial: Trial, batch: int) -> None:
    terminal.table(
        f"{trial} against one: the same batches of {batch} pictures, without Dropout",
        ("", "one", f"{trial.replicas} replicas", "difference", "rounding", "allowed", "verdict"),
        [
            (
                row.what,
                *(f"{value:.5g}" for value in (row.one, row.several)),
                *(f"{value:.1e}" for value in (row.difference, row.rounding, row.allowed())),
                "equal" if row.equal() else "differs",
            )
            for row in rows
        ],
    )


def _show_speeds(speeds: Sequence[Speed]) -> None:
    terminal.table(
        "training steps on one batch, without input",
        ("replicas", "precision", "batch", "images/s", "per replica", "of one"),
        list(_speed_rows(speeds)),
    )


def _speed_rows(speeds: Sequence[Speed]) -> Iterator[tuple[Any, ...]]:
    """`of one`: a replica's speed beside that of one alone, in the same precision."""
    alone = {
        each.trial.precision: each.images_per_second for each in speeds if each.trial.replicas == 1
    }
    order = sorted(speeds, key=lambda each: (PRECISIONS.index(each.trial.precision), each))
    for trial, batch, fast in order:
        each = fast / trial.replicas
        share = f"{each / alone[trial.precision]:.0%}"
        named = f"{trial.replicas} {trial.kind}{'s' * (trial.replicas > 1)}"
        yield named, trial.precision, batch, f"{fast:,.0f}", f"{each:,.0f}", share


def _judge(rows: Sequence[Row], trial: Trial, reasons: dict[str, list[str]]) -> None:
    wrong = [row.what for row in rows if not row.equal()]
    if not wrong:
        terminal.say(f"equal    {trial.replicas} replicas train what one does")
        return
    problem = f"{trial.replicas} replicas train something else than one: {', '.join(wrong)}"
    if any(math.isnan(row.difference) for row in rows):
        why = ["the loss is no number: try a smaller learning rate"]
    else:
        why = [f"{_names(layers)} {reason}" for reason, layers in reasons.items()]
    unknown = ["no layer of this network may do that; train with training.strategy: single here"]
    raise Failed("\n  ".join([problem, *(why or unknown)]))


def _names(layers: Sequence[str]) -> str:
    some = ", ".join(layers[:3])
    return f"each of {len(layers)} layers ({some}, …)" if len(layers) > 3 else some
