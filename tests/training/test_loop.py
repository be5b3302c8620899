"""The loop against keras.Model.fit, and against itself on several replicas."""

import json
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training import runs
from trainer.config.training import Training
from trainer.training import loop, objective


def single() -> tf.distribute.Strategy:
    return tf.distribute.get_strategy()


def flat(found: dict[str, Any]) -> np.ndarray:
    numbers = [found["history"][name] for name in sorted(found["history"])] + found["weights"]
    return np.concatenate([np.ravel(each) for each in numbers])


@pytest.mark.parametrize("kind", [{}, {"dropout": 0.4}, {"batch_norm": True}], ids=str)
def test_it_equals_fit_on_the_same_batches(kind: dict[str, Any]) -> None:
    batch, count = 10, 97
    model, history = runs.train(single(), batch, count=count, **kind)
    other = runs.network(**kind)
    other.compile(
        keras.optimizers.AdamW(0.003),
        keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        metrics=["categorical_accuracy", keras.metrics.F1Score(average="macro")],
    )
    same = runs.stream(*runs.arrays(count), batch).map(lambda x, y, _: (x, y))
    validation = tf.data.Dataset.from_tensor_slices(runs.arrays(41, 1)).batch(batch)
    fitted = other.fit(
        same, epochs=2, steps_per_epoch=10, validation_data=validation, verbose=0
    ).history
    assert set(fitted) == set(history) - {*loop.TIMING, "learning_rate", "gradient_norm"}
    for name, values in fitted.items():
        assert np.abs(np.subtract(history[name], values)).max() <= 1e-6, name
    for one, two in zip(model.weights, other.weights, strict=True):
        assert np.abs(keras.ops.convert_to_numpy(one - two)).max() <= 1e-6


@pytest.mark.parametrize(
    ("replicas", "batch", "norm"),
    [(1, 10, False), (2, 10, True), (2, 9, False), (3, 10, False)],
    ids=["one", "two evenly with BatchNorm", "two unevenly", "three unevenly"],
)
def test_replicas_equal_one_device(replicas: int, batch: int, norm: bool) -> None:
    """97 training and 41 validation pictures: divisible by nothing, so the last validation batch
    leaves replicas with padding alone."""
    command = [sys.executable, "-m", "tests.training.runs", str(replicas), str(batch)]
    done = subprocess.run(command + ["norm"] * norm, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    received = json.loads(done.stdout)
    expected = runs.summary(*runs.train(single(), batch, batch_norm=norm))
    assert np.abs(flat(received) - flat(expected)).max() <= 1e-5


def test_rows_of_weight_0_count_for_nothing() -> None:
    model = runs.network()
    images, labels = runs.arrays(7)
    aims_of = lambda: runs.objective.build(  # noqa: E731
        runs.Training.model_validate({**runs.SPEC, "optimizer": runs.Call("SGD")}),
        model,
        {},
        single(),
    )
    start = model.get_weights()
    results = []
    for content in (0, 255):
        model.set_weights(start)
        junk = np.full((3, *runs.SHAPE), content, np.uint8)
        batch = (
            np.concatenate([images, junk]),
            np.concatenate([labels, np.roll(labels, 1, axis=0)[:3]]),
            np.array([1] * 7 + [0] * 3, np.float32),
        )
        dataset = tf.data.Dataset.from_tensors(batch)
        history = runs.loop.train(
            model, aims_of(), single(), dataset.repeat(), dataset, epochs=1, steps=2
        )
        results.append(runs.summary(model, history))
    assert np.array_equal(flat(results[0]), flat(results[1]))


def test_the_same_seed_gives_the_same_run_to_the_bit() -> None:
    first, second = (runs.summary(*runs.train(single(), 10, dropout=0.3)) for _ in range(2))
    assert np.array_equal(flat(first), flat(second))


def test_two_processes_train_the_same_network_to_the_bit() -> None:
    """Big enough for several threads, and with BatchNormalization, where three gradients meet."""
    command = [sys.executable, "-m", "tests.training.runs", "digest"]
    digests = {
        subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(3)
    }
    assert len(digests) == 1
    assert len(digests.pop()) == 65


def test_metrics_take_the_larger_share_of_a_mixed_picture_for_its_label() -> None:
    model = runs.network()
    spec = Training.model_validate({**runs.SPEC, "metrics": ["BinaryAccuracy"]})
    images, labels = runs.arrays(8)
    scores = np.asarray(model(images.astype(np.float32)))
    aims = objective.build(spec, model, {}, single())
    mixed = 0.7 * labels + 0.3 * labels[::-1]
    batch = (tf.constant(images), tf.constant(mixed, tf.float32), tf.ones(8))
    logs = loop.train_step(model, aims, single())(batch)
    assert float(logs["binary_accuracy"]) == pytest.approx(((scores > 0.5) == labels).mean())
