"""What the loop lets be seen: scores in the order of the examples, first batches, gradient norms.

`python -m tests.training.test_eyes` prints what a training on two replicas shows.
"""

import json
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training import recipes, runs
from trainer.config.training import Training
from trainer.training import hardware, loop

COUNT, BATCH = 11, 9  # validation pictures; of the last batch 2 count, the second replica has none
AVERAGED = {"optimizer": recipes.sgd(use_ema=True, ema_momentum=0.9)}


def single() -> tf.distribute.Strategy:
    return tf.distribute.get_strategy()


def shown(strategy: tf.distribute.Strategy, recipe: dict[str, Any]) -> dict[str, Any]:
    """What is seen in an epoch, and what the network says of the same pictures afterwards."""
    keras.utils.clear_session()
    with strategy.scope():
        model = runs.network()
    spec = Training.model_validate({**runs.SPEC, "epochs": 1, "metrics": [], **recipe})
    aims = recipes.plan(spec, model, strategy, 4).begin()
    found: dict[str, Any] = {}

    def validated(scores: np.ndarray, weights: np.ndarray) -> None:
        images = runs.arrays(COUNT, 1)[0]
        expected = keras.ops.convert_to_numpy(model(images.astype(np.float32)))
        found.update(scores=scores.tolist(), weights=weights.tolist(), expected=expected.tolist())

    def began(images: np.ndarray, labels: np.ndarray) -> None:
        found.update(images=images.tolist(), labels=labels.tolist())

    validation = runs.padded(*runs.arrays(COUNT, 1), BATCH)
    history = loop.train(
        model, aims, strategy, runs.stream(*runs.arrays(36), BATCH), validation,
        epochs=1, steps=4, eyes=loop.Eyes(began, validated),
    )  # fmt: skip
    return {**found, "norm": [float(each) for each in history["gradient_norm"]]}


def demand_right(found: dict[str, Any], first: int) -> None:
    scores, weights = np.array(found["scores"]), np.array(found["weights"])
    assert scores.shape == (2 * BATCH, runs.CLASSES)
    assert weights.tolist() == [1] * COUNT + [0] * 7
    assert np.allclose(scores[:COUNT], found["expected"], atol=1e-6)
    images, labels, _ = next(iter(runs.stream(*runs.arrays(36), BATCH)))
    assert np.array_equal(found["images"], images[:first])
    assert np.array_equal(found["labels"], labels[:first])


def test_scores_come_in_order_with_the_averages_in_place() -> None:
    demand_right(shown(single(), AVERAGED), BATCH)


def test_two_replicas_show_the_same() -> None:
    command = [sys.executable, "-m", "tests.training.test_eyes"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    demand_right(found, 5)  # of 9 pictures the first replica has 5
    assert np.allclose(found["scores"], shown(single(), AVERAGED)["scores"], atol=1e-5)


def test_logits_are_shown_as_probabilities() -> None:
    found = shown(
        single(), {**AVERAGED, "loss": {"CategoricalCrossentropy": {"from_logits": True}}}
    )
    expected = keras.ops.softmax(np.array(found["expected"], np.float32))
    assert np.allclose(found["scores"][:COUNT], expected, atol=1e-6)


# --- the norm of gradients ------------------------------------------------------------------------


def by_hand(images: np.ndarray, labels: np.ndarray) -> float:
    """Of the mean loss of these pictures, penalties included, with the first weights."""
    keras.utils.clear_session()
    model = runs.network()
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)
    with tf.GradientTape() as tape:
        scores = model(tf.cast(images, tf.float32), training=True)
        total = loss(labels, scores) + tf.add_n(model.losses)
    places = [each.value for each in model.trainable_variables]
    return float(tf.linalg.global_norm(tape.gradient(total, places)))


def norm_of(optimizer: dict[str, Any], steps: int) -> float:
    keras.utils.clear_session()
    model = runs.network()
    spec = Training.model_validate(
        {**runs.SPEC, "epochs": 1, "metrics": [], "optimizer": optimizer}
    )
    aims = recipes.plan(spec, model, single(), steps).begin()
    data = runs.stream(*runs.arrays(36), BATCH)
    history = loop.train(
        model, aims, single(), data, runs.padded(*runs.arrays(9, 1), BATCH), epochs=1, steps=steps
    )
    return float(history["gradient_norm"][0])


@pytest.mark.parametrize(
    ("optimizer", "batches"),
    [
        (recipes.sgd(), 1),
        (recipes.sgd(global_clipnorm=0.01), 1),  # it is that before clipping
        (recipes.sgd(gradient_accumulation_steps=3), 3),
        (recipes.scaled(2.0**10, 2), 1),
        (recipes.sgd(loss_scale_factor=8.0), 1),
    ],
    ids=["plain", "clipped", "accumulated", "scaled", "scaled by a factor"],
)
def test_the_norm_is_that_of_the_whole_gradient(optimizer: dict[str, Any], batches: int) -> None:
    rows = list(runs.stream(*runs.arrays(36), BATCH).take(batches).as_numpy_iterator())
    images, labels = (np.concatenate([row[part] for row in rows]) for part in (0, 1))
    assert norm_of(optimizer, batches) == pytest.approx(by_hand(images, labels), rel=1e-4)


def test_layers_may_have_precisions_of_their_own() -> None:
    keras.utils.clear_session()
    images = keras.Input(runs.SHAPE)
    flat = keras.layers.Flatten()(keras.layers.Conv2D(2, 3)(images))
    hidden = keras.layers.Dense(4, dtype="float64")(flat)
    model = keras.Model(images, keras.layers.Dense(runs.CLASSES, activation="softmax")(hidden))
    spec = Training.model_validate({**runs.SPEC, "epochs": 1, "metrics": []})
    data = runs.stream(*runs.arrays(36), BATCH)
    validation = runs.padded(*runs.arrays(9, 1), BATCH)
    aims = recipes.plan(spec, model, single(), 1).begin()
    found = loop.train(model, aims, single(), data, validation, epochs=1, steps=1)
    assert np.isfinite(found["gradient_norm"][0])


def test_an_overflow_is_no_norm() -> None:
    """The first step overflows, the next ones do not."""
    found = recipes.train(recipes.RECIPES["loss scale that overflows"], single())[2]
    assert 0 < found["gradient_norm"][0] < 1e3


if __name__ == "__main__":
    [cpu] = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    mirrored = hardware.prepare(Training.model_validate({"epochs": 1, "strategy": "mirrored"}), 1)
    assert mirrored.num_replicas_in_sync == 2
    sys.stdout.write(json.dumps(shown(mirrored, AVERAGED)) + "\n")
