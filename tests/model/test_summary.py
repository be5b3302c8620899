"""What networks consist of and cost, by values computed by hand and by published figures."""

from typing import Any

import keras
import pytest

from trainer.model import summary
from trainer.model.summary import Row, Summary

layers = keras.layers


def summarised(model: keras.Model) -> Summary:
    optimizer = keras.optimizers.AdamW()
    optimizer.build(model.trainable_variables)
    return summary.summarise(model, optimizer)


def chain(shape: tuple[int, ...], *parts: Any) -> keras.Model:
    tensor = inputs = keras.Input(shape)
    for part in parts:
        tensor = part(tensor)
    return keras.Model(inputs, tensor)


PICTURE = (10, 12, 4)


@pytest.mark.parametrize(
    ("shape", "layer", "expected"),
    [
        (PICTURE, lambda: layers.Conv2D(8, 3), 8 * 10 * 8 * (3 * 3 * 4)),
        (PICTURE, lambda: layers.Conv2D(8, 3, strides=2, padding="same"), 5 * 6 * 8 * (3 * 3 * 4)),
        (PICTURE, lambda: layers.Conv2D(8, 3, groups=2), 8 * 10 * 8 * (3 * 3 * 2)),
        (PICTURE, lambda: layers.Conv2D(8, 3, dilation_rate=2), 6 * 8 * 8 * (3 * 3 * 4)),
        (PICTURE, lambda: layers.Conv2D(8, 3, dilation_rate=3, padding="same"), 960 * 36),
        (PICTURE, lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), 8 * 10 * 8 * (3 * 3)),
        (PICTURE, lambda: layers.DepthwiseConv2D(3, dilation_rate=2), 6 * 8 * 4 * (3 * 3)),
        (PICTURE, lambda: layers.SeparableConv2D(6, 3), 8 * 10 * 4 * (3 * 3) + 8 * 10 * 6 * 4),
        (PICTURE, lambda: layers.Conv2DTranspose(5, 3, strides=2), 10 * 12 * 4 * (3 * 3 * 5)),
        ((4, 5, 6, 2), lambda: layers.Conv3D(3, 2), 3 * 4 * 5 * 3 * (2 * 2 * 2 * 2)),
        ((7, 6), lambda: layers.Conv1D(5, 3), 5 * 5 * (3 * 6)),
        ((6,), lambda: layers.Dense(7), 6 * 7),
        ((9, 5), lambda: layers.Dense(7), 9 * 5 * 7),
        ((9, 5), lambda: layers.EinsumDense("abc,cd->abd", (9, 7)), 9 * 5 * 7),
        ((9, 5), lambda: Gram(), 9 * 5 * 9),
        (PICTURE, lambda: layers.BatchNormalization(), 0),
        (PICTURE, lambda: layers.MaxPooling2D(), 0),
        (PICTURE, lambda: layers.ReLU(), 0),
        (PICTURE, lambda: layers.GlobalAveragePooling2D(), 0),
    ],
)  # fmt: skip
def test_multiply_adds_by_hand(shape: tuple[int, ...], layer: Any, expected: int) -> None:
    assert summarised(chain(shape, layer())).multiply_adds == expected


class Gram(layers.Layer):
    """A user's own layer: [N, T, C] -> [N, T, T]."""

    def call(self, inputs: Any) -> Any:
        return keras.ops.einsum("...tc,...sc->...ts", inputs, inputs)


def test_a_layer_that_gives_what_it_took_is_not_its_source() -> None:
    inputs = keras.Input(PICTURE)
    stem = layers.ReLU()(inputs)
    branch = layers.ReLU()(layers.Dropout(0.5)(stem))
    rows = summarised(keras.Model(inputs, layers.Add()([stem, branch]))).rows
    assert [row.inputs for row in rows] == [(), (0,), (1,), (2,), (1, 3)]


def test_multiply_adds_of_attention() -> None:
    """Two heads of 4 over 25 places of 7 channels."""
    inputs = keras.Input((25, 7))
    attention = layers.MultiHeadAttention(2, 4)
    found = summarised(keras.Model(inputs, attention(inputs, inputs)))
    projections, scores = 4 * 25 * 7 * (2 * 4), 2 * 25 * 25 * 4
    assert found.multiply_adds == projections + 2 * scores
    assert found.rows[1] == Row(
        attention.name, "MultiHeadAttention", (0,), (25, 7), 3 * (56 + 8) + 63, found.multiply_adds
    )


def test_rows_of_branches_inner_networks_and_shared_layers() -> None:
    inner = chain(
        (8, 8, 2), layers.Conv2D(2, 3, padding="same", name="first"), layers.ReLU(name="r")
    )
    shared = layers.Conv2D(2, 1, use_bias=False, name="shared")
    inputs = keras.Input((8, 8, 2), name="pictures")
    one = shared(inputs)
    two = keras.Sequential([layers.ReLU(name="middle")])(inner(one))
    added = layers.Add(name="sum")([shared(two), one])
    model = keras.Model(inputs, layers.Dropout(0.5, name="end")(added * 2.0))
    found = summarised(model)
    assert [(row.name, row.kind, row.inputs) for row in found.rows] == [
        ("pictures", "InputLayer", ()),
        ("shared", "Conv2D", (0,)),
        ("first", "Conv2D", (1,)),
        ("r", "ReLU", (2,)),
        ("middle", "ReLU", (3,)),
        ("shared", "Conv2D", (4,)),
        ("sum", "Add", (5, 1)),
        (found.rows[7].name, "Multiply", (6,)),
        ("end", "Dropout", (7,)),
    ]
    assert [row.parameters for row in found.rows] == [0, 4, 38, 0, 0, 0, 0, 0, 0]
    assert [row.multiply_adds for row in found.rows[:6]] == [0, 256, 64 * 36, 0, 0, 256]
    assert {row.shape for row in found.rows} == {(8, 8, 2)}
    assert (found.parameters, found.trainable) == (42, 42)


def test_frozen_layers_and_statistics_are_not_trained() -> None:
    model = chain((4, 4, 3), layers.Conv2D(2, 1), layers.BatchNormalization(), layers.Conv2D(2, 1))
    model.layers[1].trainable = False
    found = summarised(model)
    assert (found.parameters, found.trainable) == (8 + 8 + 6, 4 + 6)


def small() -> keras.Model:
    """Pictures of 8 × 8, 6 × 6 × 2 after the convolution, 72 numbers, 3 scores."""
    parts = (
        layers.Conv2D(2, 3, activation="relu"),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    )
    return chain((8, 8, 1), *parts)


def test_memory_by_hand() -> None:
    """Kept: the picture, for the kernel's gradient; the result of relu, for its own and that of the
    dense kernel; the scores, for softmax. At inference two tensors of the convolution's size."""
    weights = (9 * 2 + 2) + (72 * 3 + 3)
    assert summarised(small()).memory == (
        4 * (64 + 72 + 3),
        4 * (4 * weights) + 12,  # AdamW: two per weight, a counter of 8 bytes, a rate of 4
        4 * (72 + 72),
        4 * weights,
    )


def test_half_precision_keeps_half() -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small()
    finally:
        keras.config.set_dtype_policy("float32")
    found = summarised(model).memory
    assert found.kept == 2 * (64 + 72 + 3)
    assert found.weights == 4 * 239


def test_it_changes_nothing_of_the_model() -> None:
    model = chain(PICTURE, layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(2))
    before = [each.numpy() for each in model.variables]
    summarised(model)
    assert all((a == b.numpy()).all() for a, b in zip(before, model.variables, strict=True))
    assert [len(layer._inbound_nodes) for layer in model.layers] == [1, 1, 1, 1]


PUBLISHED = [  # millions of multiply-adds as the papers state them, and ours
    ("MobileNet", 569, 568.7),  # Howard et al. 2017
    ("MobileNetV2", 300, 300.8),  # Sandler et al. 2018
    ("MobileNetV3Small", 56, 56.5),  # Howard et al. 2019
    ("EfficientNetB0", 390, 385.8),  # Tan, Le 2019
    ("ResNet50", 3800, 3858.0),  # He et al. 2015
    ("VGG16", 15500, 15470.3),  # as commonly cited
    ("ConvNeXtTiny", 4500, 4455.5),  # Liu et al. 2022
]


@pytest.mark.parametrize(
    ("name", "published", "exact"),
    [PUBLISHED[0], *(pytest.param(*each, marks=pytest.mark.slow) for each in PUBLISHED[1:])],
)
def test_multiply_adds_as_published(name: str, published: float, exact: float) -> None:
    model = getattr(keras.applications, name)(weights=None, input_shape=(224, 224, 3))
    rows, _ = summary._walk(model)
    millions = sum(row.multiply_adds for row in rows) / 1e6
    assert millions == pytest.approx(exact, abs=0.05)
    assert millions == pytest.approx(published, rel=0.02)
    assert sum(row.parameters for row in rows) == model.count_params()


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0"), (999, "999"), (1000, "1.00 k"), (4160, "4.16 k"), (9996, "10.0 k"), (36_928, "36.9 k"),
     (999_499, "999 k"), (999_500, "1.00 M"), (12_345_678, "12.3 M"), (3_857_973_248, "3.86 G"),
     (2 * 10**15, "2000 T")],
)  # fmt: skip
def test_short(count: int, expected: str) -> None:
    assert summary.short(count) == expected


def test_dims() -> None:
    assert summary.dims((112, 112, 64)) == "112×112×64"
    assert summary.dims((None, 7)) == "?×7"
