"""`kind: layers`."""

from pathlib import Path

import keras
import numpy as np
import pytest

from tests import families
from trainer import objects
from trainer.config.base import Call
from trainer.config.load import load
from trainer.config.model import Layers
from trainer.config.tree import parse, plain
from trainer.errors import UserError, leaves
from trainer.model import layers, network

CLASSES = ("paper", "rock", "scissors")
CONFIGS = Path(__file__).parent.parent.parent / "configs"


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


class Nothing(keras.layers.Layer):
    """Forgets to return."""

    def call(self, inputs: object) -> None:
        pass


def test_a_layer_without_output() -> None:
    name = f"{__name__}.Nothing"
    assert problem(name, "Flatten") == (
        f"model.layers[0].{name}: gives 0 outputs, but the next layer takes one"
    )


def test_logits_that_begin_with_zeros() -> None:
    last = {"Dense": {"units": "$classes", "kernel_initializer": "zeros"}}
    model = layers.build(notation("Flatten", last), (8, 8, 3), CLASSES)
    network.demand_probabilities(model, Call("BinaryCrossentropy", {"from_logits": True}), True)


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


# --- graphs ---------------------------------------------------------------------------------------


def graph(text: str) -> Layers:
    return Layers.model_validate({"kind": "layers", **plain(parse(text, str))})


def refused(text: str, shape: tuple[int, int, int] = (20, 16, 3)) -> str:
    with pytest.raises(UserError) as error:
        network.build(graph(text), shape, CLASSES)
    return str(error.value)


TWO_BRANCHES = graph("""
    blocks:
      convolution:
        layers:
          - Conv2D: {filters: $filters, kernel_size: 3, padding: same, name: conv}
          - BatchNormalization: {name: bn}
    layers:
      - Rescaling: {scale: 0.004, name: scaled}
      - convolution: {filters: 4, name: a}
      - convolution: {filters: 4, name: b, inputs: scaled, repeat: 2}
      - Add: {inputs: [a, b], name: sum}
      - Concatenate: {inputs: [sum, scaled]}
      - GlobalAveragePooling2D
      - Dense: {units: $classes, activation: softmax}
""")


def test_a_graph_of_layers(tmp_path: Path) -> None:
    families.model(lambda: network.build(TWO_BRANCHES, (20, 16, 3), CLASSES), 3, tmp_path)
    model = network.build(TWO_BRANCHES, (20, 16, 3), CLASSES)
    names = {layer.name for layer in model.layers}
    assert {"scaled", "a_conv", "a_bn", "b1_conv", "b1_bn", "b2_conv", "b2_bn", "sum"} <= names
    images = np.random.default_rng(0).uniform(0, 255, (2, 20, 16, 3)).astype(np.float32)
    x = model.get_layer("scaled")(images)
    a = model.get_layer("a_bn")(model.get_layer("a_conv")(x))
    b = model.get_layer("b1_bn")(model.get_layer("b1_conv")(x))
    b = model.get_layer("b2_bn")(model.get_layer("b2_conv")(b))
    mean = np.concatenate([a + b, x], axis=-1).mean(axis=(1, 2))
    assert np.allclose(model(images), model.layers[-1](mean), atol=1e-6)
    assert network.backbone_layers(model, TWO_BRANCHES) == ()


def test_resnet50_in_layers_is_that_of_keras() -> None:
    config = load(CONFIGS / "resnet50_layers.yaml", check=objects.mistakes)
    model = network.build(config.model, (64, 64, 3), CLASSES)
    expected = keras.applications.ResNet50(weights=None, classes=3, input_shape=(64, 64, 3))
    assert model.count_params() == expected.count_params()
    names = [layer.name for layer in expected.layers[1:]]
    rescaling, *rest = model.layers[1:]
    assert set(names) == {layer.name for layer in rest}
    for name in names:
        model.get_layer(name).set_weights(expected.get_layer(name).get_weights())
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    difference_NK = model(images) - expected(rescaling(images))
    assert np.abs(difference_NK).max() <= 1e-5


def test_vgg16_in_layers_has_the_weights_of_keras() -> None:
    config = load(CONFIGS / "vgg16.yaml", check=objects.mistakes)
    model = network.build(config.model, (32, 32, 3), CLASSES)
    expected = keras.applications.VGG16(weights=None, classes=3, input_shape=(32, 32, 3))
    assert [(v.path, tuple(v.shape)) for v in model.weights] == [
        (v.path, tuple(v.shape)) for v in expected.weights
    ]


def test_attention_takes_query_and_value_one_by_one() -> None:
    text = """
    layers:
      - Reshape: {target_shape: [320, 3], name: tokens}
      - MultiHeadAttention: {num_heads: 2, key_dim: 4, inputs: [tokens, tokens]}
      - GlobalAveragePooling1D
      - Dense: {units: $classes}
    """
    model = network.build(graph(text), (20, 16, 3), CLASSES)
    assert model.output_shape == (None, 3)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("{Conv2D: {filters: 4, kernel_size: 3, name: b}}, {Add: {inputs: [a, b], name: sum}}",
         "model.layers[2].Add: sum: Add does not fit its inputs a (None, 20, 16, 4) and b (None, 18, 14, 4): Inputs have incompatible shapes. Received shapes (20, 16, 4) and (18, 14, 4)"),
        ("{Conv2D: {filters: 4, kernel_size: 3}}, {Dense: {units: 3, inputs: [a, input]}}",
         None),
        ("{Conv2D: {filters: 4, kernel_size: 3, inputs: [a, input]}}",
         "model.layers[1].Conv2D: takes one input, received 2: a and input\n  join them before it, as with Add or Concatenate"),
        ("{Activation: {activation: relu, inputs: [a, a], name: both}}",
         "model.layers[1].Activation: both: Activation takes one input, received 2: a and a\n  join them before it, as with Add or Concatenate"),
        ("{LSTM: {units: 4}}",
         'model.layers[1].LSTM: does not fit its input a (None, 20, 16, 4): Input 0 '),
        ("{Dropout: {rate: 2, name: drop}}",
         "model.layers[1].Dropout: drop: Dropout refused by keras.layers: Invalid value received for argument `rate`. Expected a float value between 0 and 1. Received: rate=2"),
        ("{pair: {units: 3, name: one}}",
         'model.blocks.pair.layers[1].Conv2D: one_conv: Conv2D does not fit its input one_d (None, 1280): Input 0 '),
        ("{pair: {units: 3}}",
         "model.blocks.pair.layers[1].Conv2D: in the block at model.layers[1]: does not fit its input of shape (None, 1280): Input 0 "),
    ],
)  # fmt: skip
def test_mistakes_in_a_graph(layers: str, message: str | None) -> None:
    text = f"""
    blocks:
      pair: {{layers: [{{Reshape: {{target_shape: [-1], name: d}}}}, {{Conv2D: {{filters: $units, kernel_size: 1, name: conv}}}}]}}
    layers: [{{Conv2D: {{filters: 4, kernel_size: 3, padding: same, name: a}}}}, {layers}]
    """
    if message:
        found = refused(text)
        assert found.startswith(message)
        assert len(found) < len(message) + 200
        return
    with pytest.raises(ExceptionGroup):  # the convolution in the middle leads to nothing
        network.build(graph(text), (20, 16, 3), CLASSES)
