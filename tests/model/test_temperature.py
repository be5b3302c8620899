"""Logits divided inside the network."""

from collections.abc import Callable

import keras
import numpy as np
import pytest

from trainer.config.base import Call
from trainer.evaluation import calibration
from trainer.model.network import averaged, with_probabilities, with_temperature

IMAGES = np.random.default_rng(0).uniform(0, 1, (6, 4, 4, 3)).astype(np.float32)


def dense(activation: str) -> keras.Model:
    inputs = keras.Input((4, 4, 3))
    tensor = keras.layers.Flatten()(inputs)
    return keras.Model(inputs, keras.layers.Dense(3, activation=activation)(tensor))


def behind(layer: keras.Layer) -> keras.Model:
    model = dense("linear")
    return keras.Model(model.input, layer(model.output))


@pytest.mark.parametrize(
    ("build", "multi_label"),
    [
        (lambda: dense("softmax"), False),
        (lambda: dense("sigmoid"), True),
        (lambda: behind(keras.layers.Activation("softmax")), False),
        (lambda: behind(keras.layers.Softmax()), False),  # has no activation to take off
        (lambda: dense("sigmoid"), False),  # one label, but no softmax
        (lambda: averaged([dense("softmax"), dense("softmax")]), False),
    ],
    ids=["dense", "several", "activation", "layer", "sigmoid", "ensemble"],
)
def test_the_network_gives_what_the_figures_were_made_of(
    build: Callable[[], keras.Model], multi_label: bool
) -> None:
    model = build()
    plain = np.asarray(model(IMAGES))
    cooled = with_temperature(model, 2.5, multi_label)
    wanted = calibration.tempered(plain, 2.5, multi_label)
    np.testing.assert_allclose(np.asarray(cooled(IMAGES)), wanted, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(model(IMAGES)), plain)  # as it was
    assert np.abs(wanted - plain).max() > 0.01


def test_the_activation_is_taken_off_not_undone() -> None:
    """So that int8 rounds logits, not logarithms down to -87."""
    names = [layer.name for layer in with_temperature(dense("softmax"), 2.0, False).layers]
    assert names[-2:] == ["temperature", "probabilities"]
    assert not [name for name in names if "log" in name]


@pytest.mark.parametrize("multi_label", [False, True], ids=["one", "several"])
def test_probabilities_next_to_0_are_told_apart(multi_label: bool) -> None:
    """Those of an ensemble have no logits, and evaluation knows them down to 1e-38."""
    inputs = keras.Input((3,))
    scores = np.array([[0, 1e-20, 1], [1e-12, 0.5, 0.5], [1, 1 - 2**-24, 0.3]], np.float32)
    model = keras.Model(inputs, keras.layers.Rescaling(1.0)(inputs))
    found = np.asarray(with_temperature(model, 12.0, multi_label)(scores))
    wanted = calibration.tempered(scores, 12.0, multi_label)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert wanted[0, 1] == pytest.approx(0.0211, abs=1e-4)  # of 1e-20, whose 12th root is 0.0215


@pytest.mark.parametrize("name", ["temperature", "probabilities"])
def test_layers_of_the_user_may_have_any_name(name: str) -> None:
    inputs = keras.Input((4, 4, 3))
    tensor = keras.layers.Flatten(name=name)(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(tensor))
    names = [layer.name for layer in with_temperature(model, 2.0, False).layers]
    assert len(set(names)) == len(names) == 5
    assert f"{name}_1" in names
    linear = keras.Model(inputs, keras.layers.Dense(3)(tensor))
    loss = Call("CategoricalCrossentropy", {"from_logits": True})
    twice = with_temperature(with_probabilities(linear, loss), 2.0, False)
    assert len({layer.name for layer in twice.layers}) == len(twice.layers) == 6


def test_a_temperature_of_1_changes_nothing() -> None:
    model = dense("softmax")
    assert with_temperature(model, 1.0, multi_label=False) is model
