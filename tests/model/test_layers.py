"""`kind: layers`."""

from pathlib import Path

import keras
import pytest

from tests import families
from trainer.config.base import Call
from trainer.config.model import Layers
from trainer.errors import UserError, leaves
from trainer.model import layers, network

CLASSES = ("paper", "rock", "scissors")


def notation(*calls: object) -> Layers:
    return Layers(kind="layers", layers=[Call.parse(call) for call in calls])  # type: ignore[arg-type]


GOOD = notation(
    {"Rescaling": {"scale": 1 / 255}},
    {"Conv2D": {"filters": 4, "kernel_size": 3, "kernel_regularizer": {"L2": {"l2": 0.01}}}},
    "BatchNormalization",
    "MaxPooling2D",
    {"Conv2D": {"filters": 4, "kernel_size": 3, "kernel_initializer": "he_normal"}},
    "GlobalAveragePooling2D",
    {"Dropout": {"rate": 0.5}},
    {"Dense": {"units": "$classes", "activation": "softmax"}},
)


def test_layers(tmp_path: Path) -> None:
    families.model(lambda: network.build(GOOD, (20, 16, 3), CLASSES), 3, tmp_path)


def test_it_is_the_network_that_keras_would_build() -> None:
    model = layers.build(GOOD, (20, 16, 3), CLASSES)
    assert [type(layer).__name__ for layer in model.layers] == [
        "InputLayer",
        *(call.name for call in GOOD.layers),
    ]
    assert model.input_shape == (None, 20, 16, 3)
    assert isinstance(model.layers[2].kernel_regularizer, keras.regularizers.L2)
    assert model.layers[-1].units == 3


def problem(*calls: object) -> str:
    with pytest.raises((UserError, ExceptionGroup)) as error:
        layers.build(notation(*calls), (20, 16, 3), CLASSES)
    if isinstance(error.value, ExceptionGroup):
        return "\n".join(map(str, leaves(error.value)))
    return str(error.value)


def test_units_that_do_not_match_the_classes() -> None:
    assert problem("Flatten", {"Dense": {"units": 5}}) == (
        "model.layers[1].Dense.units: 5 scores for 3 classes (paper, rock, scissors)\n"
        "  write units: $classes"
    )


def test_an_output_that_is_no_row_of_scores() -> None:
    assert problem({"Conv2D": {"filters": 3, "kernel_size": 3}}) == (
        "model.layers[0].Conv2D: the last layer gives shape (None, 18, 14, 3), expected (None, 3)\n"
        "  end with Flatten or GlobalAveragePooling2D and Dense: {units: $classes, …}"
    )


def test_a_layer_that_does_not_fit_its_input() -> None:
    text = problem("Flatten", {"Conv2D": {"filters": 3, "kernel_size": 3}})
    assert text.startswith("model.layers[1].Conv2D: does not fit its input of shape (None, 960): ")
    assert "Arguments received" not in text


def test_values_that_keras_refuses() -> None:
    assert problem("Flatten", {"Dense": {"units": -3}}).startswith(
        "model.layers[1].Dense: refused by keras.layers: "
    )


@pytest.mark.parametrize(
    ("loss", "last", "fits"),
    [
        (Call("CategoricalCrossentropy"), {"units": 3, "activation": "softmax"}, True),
        (Call("CategoricalCrossentropy"), {"units": 3}, False),
        (Call("CategoricalCrossentropy"), {"units": 3, "activation": "sigmoid"}, False),
        (Call("CategoricalCrossentropy", {"from_logits": True}), {"units": 3}, True),
        (
            Call("CategoricalCrossentropy", {"from_logits": True}),
            {"units": 3, "activation": "softmax"},
            False,
        ),
        (Call("BinaryCrossentropy"), {"units": 3, "activation": "sigmoid"}, True),
        (Call("MeanSquaredError"), {"units": 3}, True),
    ],
)
def test_a_loss_for_probabilities_gets_probabilities(
    loss: Call, last: dict[str, object], fits: bool
) -> None:
    model = network.build(notation("Flatten", {"Dense": last}), (8, 8, 3), CLASSES)
    if fits:
        network.demand_probabilities(model, loss, False)
        return
    expected = "logits" if loss.arguments else "probabilities"
    with pytest.raises(UserError, match=f"CategoricalCrossentropy expects {expected}, but"):
        network.demand_probabilities(model, loss, False)


@pytest.mark.parametrize(
    ("loss", "activation", "message"),
    [
        ("CategoricalCrossentropy", "softmax", "training.loss.CategoricalCrossentropy: CategoricalCrossentropy wants one label per picture, but these may have several\n  write BinaryCrossentropy"),
        ("BinaryCrossentropy", "softmax", "training.loss: the probabilities of a picture sum to 1, but it may have several labels\n  give the last layer activation: sigmoid"),
        ("BinaryCrossentropy", "sigmoid", None),
    ],
)  # fmt: skip
def test_several_labels_want_sigmoid_and_binary_crossentropy(
    loss: str, activation: str, message: str | None
) -> None:
    last = {"units": 3, "activation": activation}
    model = network.build(notation("Flatten", {"Dense": last}), (8, 8, 3), CLASSES)
    if message is None:
        network.demand_probabilities(model, Call(loss), True)
        return
    with pytest.raises(UserError) as error:
        network.demand_probabilities(model, Call(loss), True)
    assert str(error.value) == message


def test_logits_become_probabilities_where_they_leave() -> None:
    logits = network.build(notation("Flatten", {"Dense": {"units": 3}}), (8, 8, 3), CLASSES)
    loss = Call("CategoricalCrossentropy", {"from_logits": True})
    images = keras.random.uniform((4, 8, 8, 3))
    expected = keras.ops.softmax(logits(images))
    received = network.with_probabilities(logits, loss)(images)
    assert keras.ops.max(keras.ops.abs(expected - received)) < 1e-6
    assert network.with_probabilities(logits, Call("CategoricalCrossentropy")) is logits
