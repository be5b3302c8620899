"""Options of the optimizer: on two replicas as on one, and as Keras does them where it is right."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training import recipes, runs
from tests.training.recipes import RECIPES, numbers, sgd, train
from trainer.config.training import Training
from trainer.errors import UserError, leaves
from trainer.training import checkpoint, loop, optimizers, phases
from trainer.training.average import Average
from trainer.training.schedules import Warmup


def single() -> tf.distribute.Strategy:
    return tf.distribute.get_strategy()


def apart(one: Any, other: Any) -> float:
    return float(np.abs(np.subtract(one, other)).max())


# --- replicas -----------------------------------------------------------------------------------


FAST = ("global_clipnorm", "accumulation", "loss scale that overflows", "everything")


@cache
def on_two_replicas(names: tuple[str, ...]) -> dict[str, list[float]]:
    command = [sys.executable, "-m", "tests.training.recipes", "2", *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


@cache
def without_options() -> list[float]:
    return numbers({"optimizer": sgd()}, single())


@pytest.mark.parametrize("name", FAST)
def test_two_replicas_equal_one(name: str) -> None:
    demand_equal(numbers(RECIPES[name], single()), on_two_replicas(FAST)[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(RECIPES) - set(FAST)))
def test_two_replicas_equal_one_with_any_option(name: str) -> None:
    rest = tuple(sorted(set(RECIPES) - set(FAST)))
    demand_equal(numbers(RECIPES[name], single()), on_two_replicas(rest)[name])


def demand_equal(one: list[float], two: list[float]) -> None:
    assert len(one) == len(two)
    assert apart(one, two) <= 1e-5
    plain = without_options()
    assert apart(one[: len(plain)], plain) > 1e-3  # the option does something


# --- Keras --------------------------------------------------------------------------------------


def fitted(optimizer: keras.Optimizer) -> keras.Model:
    """`model.fit` on the batches that `recipes.train` has, with unit weights."""
    keras.utils.clear_session()
    model = runs.network()
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(label_smoothing=0.1))
    data = runs.stream(*runs.arrays(36), 9).map(lambda x, y, _: (x, y))
    model.fit(data, epochs=1, steps_per_epoch=6, verbose=0)
    return model


def ours(recipe: dict[str, Any]) -> tuple[keras.Model, Average | None]:
    keras.utils.clear_session()
    model = runs.network()
    spec = Training.model_validate({**runs.SPEC, "epochs": 1, "metrics": [], **recipe})
    aims = recipes.plan(spec, model, single(), 6).begin()
    data, validation = runs.stream(*runs.arrays(36), 9), runs.padded(*runs.arrays(9, 1), 9)
    loop.train(model, aims, single(), data, validation, epochs=1, steps=6)
    return model, aims.average


@pytest.mark.parametrize(
    "options",
    [
        {"clipnorm": 0.05, "weight_decay": 0.1},
        {"clipvalue": 0.01},
        {"gradient_accumulation_steps": 3, "global_clipnorm": 0.1},
        {"loss_scale_factor": 8.0, "clipnorm": 0.05},
        {"use_ema": True, "ema_momentum": 0.9},
        {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 2},
    ],
    ids=str,
)
def test_one_device_equals_fit(options: dict[str, Any]) -> None:
    expected = fitted(keras.optimizers.SGD(learning_rate=0.1, momentum=0.9, **options))
    model, average = ours({"optimizer": sgd(**options)})
    received = average.averages if average else model.weights
    for one, two in zip(received, expected.weights, strict=True):
        assert apart(keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(two)) <= 1e-6


def test_accumulated_batches_equal_a_large_one() -> None:
    """Whatever their rows weigh; the mean of four means would not."""
    few = numbers({"optimizer": sgd(gradient_accumulation_steps=4)}, single(), batch=3, steps=12)
    large = numbers({"optimizer": sgd()}, single(), batch=12, steps=3)
    weights = sum(int(np.prod(each.shape)) for each in runs.network().weights)
    assert apart(few[:weights], large[:weights]) <= 1e-5


class Rows(keras.layers.Layer):
    """Adds rows of a table, one of them twice: by looking them up, or by a product."""

    def __init__(self, look_up: bool) -> None:
        super().__init__()
        self.look_up = look_up

    def build(self, shape: Any) -> None:
        self.table = self.add_weight(shape=(2, 4), initializer="ones", name="table")

    def call(self, tensor: Any) -> Any:
        rows = keras.ops.convert_to_tensor([0, 0, 1])
        if self.look_up:
            return tensor + keras.ops.take(self.table, rows, axis=0)
        return tensor + keras.ops.one_hot(rows, 2) @ self.table


@pytest.mark.parametrize("options", [{"SGD": {"clipnorm": 0.01}}, {"Adam": {}}], ids=str)
def test_gradients_of_rows_are_summed_before_they_are_squared(options: dict[str, Any]) -> None:
    found = []
    for look_up in (True, False):
        keras.utils.clear_session()
        keras.utils.set_random_seed(5)
        inputs = keras.Input(runs.SHAPE)
        tensor = keras.layers.Rescaling(1 / 255)(keras.layers.Flatten()(inputs))
        tensor = keras.layers.Reshape((1, 4))(keras.layers.Dense(4)(tensor))
        tensor = keras.layers.Flatten()(Rows(look_up)(tensor))
        model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(tensor))
        train({"optimizer": options}, single(), model=model, steps=2)
        found.append(model.get_weights())
    assert max(map(apart, *found)) <= 1e-6


# --- averages -----------------------------------------------------------------------------------


def test_the_first_average_is_the_weights_and_statistics_are_averaged() -> None:
    recipe = {"optimizer": sgd(use_ema=True, ema_momentum=0.75)}
    seen: list[list[np.ndarray]] = []

    class See(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(self.model.get_weights())

    _, aims, _ = train(recipe, single(), steps=2, callbacks=[See()], batch_norm=True)
    assert aims.average
    assert len(aims.average.averages) == len(seen[0]) == 7  # of them 2 statistics
    for first, second, average in zip(*seen, aims.average.averages, strict=True):
        assert apart(0.75 * first + 0.25 * second, average.numpy()) <= 1e-6


def test_what_is_validated_is_what_is_kept() -> None:
    """From validation to the end of the epoch the network holds the averages."""
    held: dict[str, list[np.ndarray]] = {}

    class Hold(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            held["training"] = self.model.get_weights()

        def on_test_begin(self, logs: Any = None) -> None:
            held["validation"] = self.model.get_weights()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            held["end"] = self.model.get_weights()

        def on_train_end(self, logs: Any = None) -> None:
            held["after"] = self.model.get_weights()

    _, aims, _ = train({"optimizer": sgd(use_ema=True)}, single(), callbacks=[Hold()])
    assert aims.average
    averages = [each.numpy() for each in aims.average.averages]
    for name, weights in (("training", "after"), ("validation", "end")):
        assert all(map(np.array_equal, held[name], held[weights]))
    assert all(map(np.array_equal, held["end"], averages))
    assert apart(held["end"][0], held["after"][0]) > 1e-4


def test_a_step_that_overflows_moves_nothing() -> None:
    recipe = {
        "optimizer": recipes.scaled(3.0e38, 9, use_ema=True, ema_momentum=0.5),
        "loss": {"CategoricalFocalCrossentropy": {"alpha": 1000.0}},
    }
    keras.utils.clear_session()
    before = runs.network().get_weights()
    model, aims, _ = train(recipe, single(), steps=1)
    assert aims.average
    assert int(aims.average.updates) == int(aims.optimizer.iterations) == 0
    assert np.isclose(float(aims.optimizer.dynamic_scale), 1.5e38)
    for weights in (model.get_weights(), [each.numpy() for each in aims.average.averages]):
        assert all(map(np.array_equal, before, weights))


def test_the_scale_that_overflows_comes_down_and_training_goes_on() -> None:
    _, aims, _ = train(RECIPES["loss scale that overflows"], single())
    assert 0 < int(aims.optimizer.iterations) < recipes.STEPS


# --- checkpoints --------------------------------------------------------------------------------


class Leaving(Exception):
    """As a signal ends a training."""


class Leave(keras.callbacks.Callback):
    """Ends the training after so many batches, those of validation included."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if self.left == 0:
            raise Leaving

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.on_train_batch_end(batch)


def continued(folder: Path, leave: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Two epochs of 5 steps and 2 batches of validation; batches are accumulated over the end of
    the first. Returns the weights and all else that is kept."""
    keras.utils.clear_session()
    model = runs.network(dropout=0.3, batch_norm=True)
    options = {"gradient_accumulation_steps": 3, "global_clipnorm": 0.3, "use_ema": True}
    spec = Training.model_validate({**runs.SPEC, "optimizer": sgd(**options)})
    aims = recipes.plan(spec, model, single(), 5).begin()
    places = checkpoint.Places(*(folder / f"{n}.keras" for n in ("last", "previous", "best")))
    state, origin = checkpoint.newest(places, "")
    leaving = Leave(leave)
    keeper = checkpoint.Checkpoints(
        places, spec.best, spec.checkpoint, (), aims.metrics, state, origin,
        lambda: leaving.left == 1, loop.TIMING, aims.variables,
    )  # fmt: skip
    batches = runs.stream(*runs.arrays(30), 6).skip(5 * state.epoch + state.step)
    try:
        loop.train(
            model, aims, single(), batches, runs.padded(*runs.arrays(11, 1), 6), epochs=2, steps=5,
            first_epoch=state.epoch, first_step=state.step, callbacks=[keeper, leaving],
        )  # fmt: skip
    except Leaving:
        return [], []
    beside = [each.numpy() for each in (*model.optimizer.variables, *aims.variables)]
    return model.get_weights(), beside


def test_a_stop_within_an_accumulation_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = continued(tmp_path / "whole")
    for leave in (2, 6, 8):  # in an accumulation, in validation, in one that began before it
        folder = tmp_path / str(leave)
        folder.mkdir()
        assert continued(folder, leave) == ([], [])
        resumed = continued(folder)
        for one, two in zip(whole, resumed, strict=True):
            assert all(map(np.array_equal, one, two)), leave


def test_checkpoints_of_averages_are_plain_keras_models(tmp_path: Path) -> None:
    continued(tmp_path)
    loaded = keras.models.load_model(tmp_path / "best.keras")
    assert loaded.optimizer.global_clipnorm == 0.3
    best = checkpoint.read(tmp_path / "best.keras")
    assert best.variables[-1] == [1]  # the averages are inside


# --- learning rates -----------------------------------------------------------------------------


def test_warmup_rises_to_the_rate_and_is_written_and_read() -> None:
    warm = Warmup(0.4, 4)
    assert np.allclose([float(warm(step)) for step in range(6)], [0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
    cosine = keras.optimizers.schedules.CosineDecay(1.0, 10)
    again = keras.optimizers.SGD.from_config(keras.optimizers.SGD(Warmup(cosine, 4)).get_config())
    for step in range(8):
        expected = float(cosine(step)) * min(1, (step + 1) / 4)
        assert np.isclose(float(again._learning_rate(step)), expected)


def test_warmup_counts_updates_and_is_logged() -> None:
    recipe = {"optimizer": sgd(gradient_accumulation_steps=2), "warmup": {"epochs": 2}, "epochs": 2}
    _, aims, history = train(recipe, single(), steps=4)  # the first epoch, of 2 updates
    assert int(aims.optimizer.iterations) == 2
    assert np.allclose(history["learning_rate"], [0.1 * 3 / 4])


@pytest.mark.slow
def test_rates_of_all_layers_equal_the_rate() -> None:
    """A layer trains as if the optimizer had its rate, decay included."""
    decay = {"weight_decay": 0.5}
    for name in ("AdamW", "SGD", "Adafactor", "Lion", "Muon"):
        slow = {"optimizer": {name: {"learning_rate": 0.001, **decay}}}
        fast = {"optimizer": {name: {"learning_rate": 0.01, **decay}}, "layer_rates": {"*": 0.1}}
        weights = [train(recipe, single(), steps=2)[0].get_weights() for recipe in (slow, fast)]
        assert max(map(apart, *weights)) <= 1e-6, name


# --- loss, precision, compilation ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "activation"),
    [
        ({"CategoricalCrossentropy": {"label_smoothing": 0.2}}, "softmax"),
        ({"CategoricalFocalCrossentropy": {"gamma": 3.0, "alpha": 0.5}}, "softmax"),
        ({"BinaryFocalCrossentropy": {"gamma": 3.0, "apply_class_balancing": True}}, "sigmoid"),
        ({"BinaryCrossentropy": {"label_smoothing": 0.2}}, "sigmoid"),
    ],
    ids=str,
)
def test_losses_are_those_of_keras_with_weighted_rows(loss: Any, activation: str) -> None:
    [(name, options)] = loss.items()
    keras.utils.clear_session()
    inputs = keras.Input(runs.SHAPE)
    scores = keras.layers.Dense(3, activation)(keras.layers.Flatten()(inputs))
    model = keras.Model(inputs, scores)
    model.layers[-1].kernel.assign(model.layers[-1].kernel / 255)
    images, labels = runs.arrays(9)
    weights = (np.arange(9) % 3 / 2 + 0.5).astype(np.float32)
    first = getattr(keras.losses, name)(**options, reduction=None)
    data = tf.data.Dataset.from_tensors((images, labels, weights))
    spec = Training.model_validate({"epochs": 1, "optimizer": "SGD", "loss": loss, "metrics": []})
    expected = np.average(first(labels, model(images.astype(np.float32))), weights=weights)
    aims = recipes.plan(spec, model, single(), 1).begin()
    history = loop.train(model, aims, single(), data.repeat(), data, epochs=1, steps=1)
    assert np.isclose(history["loss"][0], expected, rtol=1e-5)
    assert history["val_loss"][0] != history["loss"][0]  # it has learnt something


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_with_everything(precision: str) -> None:
    options = {"gradient_accumulation_steps": 2, "global_clipnorm": 0.3, "use_ema": True}
    keras.config.set_dtype_policy(precision)
    try:
        _, aims, history = train(
            {"optimizer": sgd(**options), "precision": precision}, single(), batch_norm=True
        )
    finally:
        keras.config.set_dtype_policy("float32")
    assert int(aims.optimizer.iterations) == 2
    assert np.isfinite([history["loss"], history["val_loss"]]).all()
    scales = isinstance(aims.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scales == (precision == "mixed_float16")


@pytest.mark.slow
def test_xla_compiles_the_same_training() -> None:
    plain, compiled = (
        numbers({**RECIPES["everything"], "jit_compile": jit}, single()) for jit in (False, True)
    )
    assert apart(plain, compiled) <= 1e-5


def test_xla_on_several_replicas_is_refused() -> None:
    from types import SimpleNamespace

    spec = Training.model_validate({"epochs": 1, "jit_compile": True})
    with pytest.raises(UserError) as error:
        phases.objective.hardware.compiles(
            spec, runs.network(), SimpleNamespace(num_replicas_in_sync=2)
        )
    assert str(error.value) == (
        "training.jit_compile: XLA cannot compile a step of 2 replicas\n"
        "  write auto or false, or training.strategy: single"
    )


# --- mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"no_weight_decay": ["bias", "gama"]},
         "training.no_weight_decay[1]: 'gama' matches no weight\n"
         "  they are called conv2d/kernel, conv2d/bias, dense/kernel, dense/bias"),
        ({"no_weight_decay": ["("]},
         "training.no_weight_decay[0]: '(' is no regular expression: "
         "missing ), unterminated subpattern at position 0"),
        ({"no_weight_decay": ["bias"], "optimizer": "SGD"},
         "training.no_weight_decay: SGD has no weight decay\n"
         "  give it weight_decay, or remove no_weight_decay"),
        ({"layer_rates": {"convv": 0.1}},
         "training.layer_rates.convv: 'convv' matches no layer\n  did you mean 'conv2d'?"),
        ({"optimizer": {"SGD": {"gradient_accumulation_steps": 9}}},
         "training.optimizer.SGD: gradients of 9 batches make an update, but training has 4\n"
         "  train for more epochs, or accumulate fewer"),
        ({"optimizer": {"SGD": {"gradient_accumulation_steps": 1}}},
         "training.optimizer.SGD: refused by keras.optimizers: `gradient_accumulation_steps` must "
         "be an integer >= 2. Received: gradient_accumulation_steps=1"),
        ({"optimizer": {"SGD": {"gradient_accumulation_steps": 4.0}}},
         "training.optimizer.SGD: gradient_accumulation_steps is no whole number in the config\n"
         "  write one, as in gradient_accumulation_steps: 4"),
        ({"optimizer": recipes.scaled(2.0, 2, gradient_accumulation_steps="$steps_per_epoch")},
         "training.optimizer.LossScaleOptimizer: gradient_accumulation_steps is no whole number in "
         "the config\n  write one, as in gradient_accumulation_steps: 4"),
    ],
    ids=["no such weight", "no pattern", "no decay", "no such layer", "no update", "Keras's own",
         "no whole number", "computed"],
)  # fmt: skip
def test_mistakes(recipe: dict[str, Any], message: str) -> None:
    keras.utils.clear_session()
    spec = Training.model_validate({**runs.SPEC, "epochs": 1, "metrics": [], **recipe})
    with pytest.raises((UserError, ExceptionGroup)) as error:
        recipes.plan(spec, runs.network(), single()).begin()
    found = error.value
    assert [str(each) for each in (leaves(found) if isinstance(found, ExceptionGroup) else [found])
            ] == [message]  # fmt: skip


def test_what_is_accumulated_is_known_before_the_optimizer_is_made() -> None:
    for optimizer, batches in (
        ("SGD", 1),
        (sgd(gradient_accumulation_steps=4), 4),
        (recipes.scaled(2.0, 2, gradient_accumulation_steps=3), 3),
        ({"LossScaleOptimizer": {"inner_optimizer": 3}}, 1),  # Keras refuses it
    ):
        assert (
            Training.model_validate({"epochs": 1, "optimizer": optimizer}).accumulated() == batches
        )


def test_the_innermost_optimizer_is_the_one_that_updates() -> None:
    inner = keras.optimizers.SGD(0.1)
    assert optimizers.innermost(inner) is inner
    assert optimizers.innermost(keras.optimizers.LossScaleOptimizer(inner)) is inner
