"""`trainer check --devices`: two replicas beside one, and what is said where they differ."""

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tests.conftest import Outcome
from trainer.commands import _devices, _replicas
from trainer.commands._devices import Row, Speed, Trial
from trainer.errors import Failed
from trainer.training import hardware
from trainer.training.devices import Device

Trainer = Callable[..., Outcome]


def test_two_replicas_equal_one(small: Path, trainer: Trainer) -> None:
    """With Dropout and 5 pictures per step, which no two replicas share evenly."""
    layers = [
        "{Rescaling: {scale: 0.004}}",
        "{Conv2D: {filters: 4, kernel_size: 3, use_bias: false}}",
        "{BatchNormalization: {synchronized: true}}",
        "Flatten",
        "{Dropout: {rate: 0.3}}",
        "{Dense: {units: $classes, activation: softmax}}",
    ]
    optimizer = "{AdamW: {global_clipnorm: 0.1, gradient_accumulation_steps: 2, use_ema: true}}"
    sets = [f"model.layers=[{', '.join(layers)}]", f"training.optimizer={optimizer}"]
    done = trainer(
        "check", small, "--devices", *(part for each in sets for part in ("--set", each))
    )
    assert (done.code, done.err) == (0, ""), done.out
    assert done.out.startswith(
        "devices  no GPU found: two logical CPU devices show that the code is exact, "
        "not that it is fast\n"
        "trying   2 CPUs, float32\n"
        "trying   1 CPU, float32\n"
        "2 CPUs, float32 against one: the same batches of 5 pictures, without Dropout\n"
    )
    rows = [re.split(r" *│ *", line)[1:-1] for line in done.out.splitlines() if "│" in line]
    assert [row[0] for row in rows] == [
        "loss", "categorical_accuracy", "val_loss", "val_categorical_accuracy", "gradient_norm",
        "weights moved", "1 CPU", "2 CPUs", "2 CPUs",
    ]  # fmt: skip
    assert all(row[-1] == "equal" and float(row[3]) < 1e-4 for row in rows[:6])
    assert float(rows[5][1]) > 1e-3, "the weights have to move"
    assert [(row[2], row[5]) for row in rows[6:7]] == [("5", "100%")]
    assert [row[2] for row in rows[7:]] == ["5", "10"]
    assert done.out.endswith("\nequal    2 replicas train what one does\n")
    assert not Path("runs").exists()


@pytest.mark.slow
def test_normalization_by_the_rows_of_a_replica_differs(small: Path, trainer: Trainer) -> None:
    done = trainer("check", small, "--devices", "--set", "model.layers[3]=BatchNormalization")
    assert done.code == 1
    assert done.err.endswith(
        "  batch_normalization normalises by the rows of its own replica; with synchronized: true "
        "by all\n"
    )


def test_a_strategy_without_replicas(small: Path, trainer: Trainer) -> None:
    done = trainer("check", small, "--devices", "--set", "training.strategy=single")
    assert (done.code, done.err) == (
        2,
        "error: --set training.strategy=single: training.strategy: single has no replicas that could "
        "be compared on a machine\n  --set training.strategy=mirrored\n",
    )


def test_mistakes_that_only_several_replicas_make(small: Path, trainer: Trainer) -> None:
    done = trainer("check", small, "--devices", "--set", "training.jit_compile=true")
    assert (done.code, done.err) == (
        2,
        "error: --set training.jit_compile=true: training.jit_compile: XLA cannot compile a step of 2 "
        "replicas\n  write auto or false, or training.strategy: single\n",
    )


def test_what_is_tried_depends_on_the_gpus() -> None:
    cpus = [("CPU", 2, "float32", True, True), ("CPU", 1, "float32", True, True)]
    assert _devices.trials(0) == cpus
    assert _devices.trials(1) == [
        ("CPU", 2, "float32", True, False),
        ("CPU", 1, "float32", True, False),
        ("GPU", 1, "float32", False, True),
        ("GPU", 1, "mixed_float16", False, True),
        ("GPU", 1, "mixed_bfloat16", False, True),
    ]
    assert _devices.trials(4) == [
        ("GPU", 4, "float32", True, True),
        ("GPU", 1, "float32", True, True),
        ("GPU", 4, "mixed_float16", False, True),
        ("GPU", 1, "mixed_float16", False, True),
        ("GPU", 4, "mixed_bfloat16", False, True),
        ("GPU", 1, "mixed_bfloat16", False, True),
    ]


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["Tesla T4"], "1 GPU (Tesla T4): two logical CPU devices show that the code is exact"),
        (["Tesla T4"] * 2, "2 GPUs (Tesla T4)"),
        ([""] * 2, "2 GPUs"),
    ],
)  # fmt: skip
def test_what_was_found(names: list[str], line: str) -> None:
    assert _devices._found(names) == line


def test_a_machine_with_gpus(
    small: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that are made up, whose second replica learns something else."""
    gpus = [Device("GPU", "Tesla T4", (7, 5))] * 2
    asked = []

    def ask(path: Path, overrides: Sequence[str], trial: Trial, place: Path) -> dict[str, Any]:
        asked.append(trial)
        np.savez(place, np.full(3, 0.5 * trial.replicas))
        steps = {"seconds": {str(5 * each): 0.01 for each in {1, trial.replicas}}}
        if not trial.exact:
            return steps
        history = {"loss": [2.0, 1.0], "gradient_norm": [3.0, 4.0]}
        rounding = {"loss": 1e-7, "gradient_norm": 1e-7, "weights": 1e-7}
        exact = {"history": history, "moved": 0.25, "apart": {}, "rounding": rounding}
        return steps | exact

    monkeypatch.setattr(_devices, "_ask", ask)
    monkeypatch.setattr(hardware, "visible", lambda: gpus)
    done = trainer("check", small, "--devices")
    assert done.code == 1
    assert asked == _devices.trials(2)
    assert done.out.startswith("devices  2 GPUs (Tesla T4)\ntrying   2 GPUs, float32\n")
    cells = [re.split(r" *│ *", line)[1:-1] for line in done.out.splitlines() if "│" in line]
    assert cells[:3] == [
        ["loss", "1", "1", "0.0e+00", "1.0e-07", "1.0e-05", "equal"],
        ["gradient_norm", "4", "4", "0.0e+00", "1.0e-07", "4.0e-05", "equal"],
        ["weights moved", "0.25", "0.25", "5.0e-01", "1.0e-07", "1.0e-05", "differs"],
    ]
    assert cells[3:7] == [
        ["1 GPU", "float32", "5", "500", "500", "100%"],
        ["2 GPUs", "float32", "5", "500", "250", "50%"],
        ["2 GPUs", "float32", "10", "1,000", "500", "100%"],
        ["1 GPU", "mixed_float16", "5", "500", "500", "100%"],
    ]
    assert done.err == (
        "error: 2 replicas train something else than one: weights moved\n"
        "  no layer of this network may do that; train with training.strategy: single here\n"
    )


@pytest.mark.parametrize(
    ("one", "difference", "rounding", "equal"),
    [
        (0.5, 1.0e-5, 0, True),
        (0.5, 1.1e-5, 0, False),
        (100, 9.9e-4, 0, True),  # a share of what is larger than 1
        (0.5, 1.9e-3, 2e-4, True),  # ten times the rounding
        (0.5, 2.1e-3, 2e-4, False),
        (math.nan, math.nan, math.nan, False),
        (0.5, math.nan, 0, False),
    ],
)
def test_what_counts_as_equal(one: float, difference: float, rounding: float, equal: bool) -> None:
    assert Row("loss", one, one + difference, difference, rounding).equal() == equal


def test_the_largest_difference_of_all_epochs_counts() -> None:
    one = {
        "history": {"loss": [3.0, 2.0, 1.0]},
        "moved": 0.5,
        "rounding": {"loss": 0.25, "weights": 0.125},
    }
    several = {"history": {"loss": [3.0, 4.0, 1.5]}, "moved": 0.75}
    assert _devices.compared(one, several, weights=0.0625) == [
        ("loss", 1.0, 1.5, 2.0, 0.25),
        ("weights moved", 0.5, 0.75, 0.0625, 0.125),
    ]


def test_not_a_number_is_the_largest_difference() -> None:
    assert _replicas.apart([1.0, 2.0], [1.5, 4.0]) == 2.0
    assert math.isnan(_replicas.apart([1.0, math.nan, 2.0], [1.5, 2.0, 4.0]))


def test_a_replica_is_compared_with_one_alone_in_its_precision() -> None:
    one, two, half = (
        Trial("GPU", replicas, precision, exact=False)
        for replicas, precision in [(1, "float32"), (2, "float32"), (1, "mixed_float16")]
    )
    speeds = [Speed(half, 64, 2500.0), Speed(two, 64, 1500.0), Speed(one, 64, 1000.0)]
    assert list(_devices._speed_rows(speeds)) == [
        ("1 GPU", "float32", 64, "1,000", "1,000", "100%"),
        ("2 GPUs", "float32", 64, "1,500", "750", "75%"),
        ("1 GPU", "mixed_float16", 64, "2,500", "2,500", "100%"),
    ]


@pytest.mark.parametrize(
    ("difference", "reasons", "why"),
    [
        (0.1, {}, "no layer of this network may do that; train with training.strategy: single here"),
        (0.1, {"draws": ["a", "b"]}, "a, b draws"),
        (0.1, {"draws": ["a", "b", "c", "d"]}, "each of 4 layers (a, b, c, …) draws"),
        (math.nan, {"draws": ["a"]}, "the loss is no number: try a smaller learning rate"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_difference(
    difference: float, reasons: dict[str, list[str]], why: str
) -> None:
    rows = [Row("loss", 1.0, 1.1, difference, 0.0), Row("auc", 1.0, 1.0, 0.0, 0.0)]
    with pytest.raises(Failed) as caught:
        _devices._judge(rows, Trial("GPU", 2, "float32", exact=True), reasons)
    assert str(caught.value) == f"2 replicas train something else than one: loss\n  {why}"


def test_layers_that_look_at_the_rows_of_their_replica() -> None:
    layers = keras.layers
    frozen = layers.BatchNormalization(name="frozen")
    frozen.trainable = False
    model = keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            layers.RandomFlip(name="flip"),
            layers.Conv2D(2, 1, activity_regularizer="l2", name="conv"),
            layers.BatchNormalization(name="plain"),
            layers.BatchNormalization(synchronized=True, name="synchronized"),
            frozen,
            layers.GaussianNoise(0.1, name="noise"),
            layers.SpatialDropout2D(0.1, name="dropout"),
        ]
    )
    assert _replicas.reasons(model) == {
        _replicas.DRAWS: ["flip"],
        _replicas.REGULARIZED: ["conv"],
        _replicas.BY_ROWS: ["plain"],
    }


def test_noise_rests_and_comes_back() -> None:
    noise, dropout = keras.layers.GaussianNoise(0.1), keras.layers.Dropout(0.5)
    model = keras.Sequential([keras.Input((8,)), noise, dropout])
    ones = keras.ops.ones((4, 8))
    with _replicas._without_noise(model):
        assert keras.ops.all(model(ones, training=True) == ones)
    assert (noise.stddev, dropout.rate) == (0.1, 0.5)
    assert not keras.ops.all(model(ones, training=True) == ones)
