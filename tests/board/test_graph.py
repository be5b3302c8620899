"""The network as TensorBoard draws it."""

import re

import keras

from trainer.board import graph


def nodes(model: keras.Model) -> dict[str, tuple[str, list[str]]]:
    return {node.name: (node.op, list(node.input)) for node in graph.of(model).node}


def test_layers_are_nodes_with_their_inputs_shapes_and_arguments() -> None:
    inputs = keras.Input((8, 8, 3), name="pixels")
    left = keras.layers.Conv2D(4, 3, padding="same", name="left")(inputs)
    right = keras.layers.Conv2D(4, 1, name="right")(inputs)
    outputs = keras.layers.Add(name="both")([left, right])
    model = keras.Model(inputs, outputs)
    assert nodes(model) == {
        "pixels": ("InputLayer", []),
        "left": ("Conv2D", ["pixels"]),
        "right": ("Conv2D", ["pixels"]),
        "both": ("Add", ["left", "right"]),
    }
    left_node = next(node for node in graph.of(model).node if node.name == "left")
    [shape] = left_node.attr["_output_shapes"].list.shape
    assert [dim.size for dim in shape.dim] == [-1, 8, 8, 4]
    said = {key: left_node.attr[key].s.decode() for key in ("kernel_size", "parameters", "padding")}
    assert said == {"kernel_size": "3 × 3", "parameters": "112", "padding": "same"}


def test_blocks_open() -> None:
    names = ("conv2_block1_1_conv", "block_3_expand", "stage1_block2_second_bn", "block1a_dwconv",
             "conv1_relu", "blocked_1")  # fmt: skip
    tensor = inputs = keras.Input((4,), name="in")
    for name in names:
        tensor = keras.layers.ReLU(name=name)(tensor)
    assert list(nodes(keras.Model(inputs, tensor)))[1:] == [
        "conv2_block1/1_conv", "block_3/expand", "stage1_block2/second_bn", "block1a/dwconv",
        "conv1_relu", "blocked_1 ",
    ]  # fmt: skip


def test_layers_that_are_numbered_are_no_series() -> None:
    """TensorBoard's own pattern; it would draw them beside the network."""
    tensor = inputs = keras.Input((4,), name="in")
    for name in ("re_lu", "re_lu_1", "conv2d_1", "re_lu_2"):
        tensor = keras.layers.ReLU(name=name)(tensor)
    found = nodes(keras.Model(inputs, tensor))
    assert found == {
        "in": ("InputLayer", []),
        "re_lu": ("ReLU", ["in"]),
        "re_lu_1 ": ("ReLU", ["re_lu"]),
        "conv2d_1": ("ReLU", ["re_lu_1 "]),
        "re_lu_2 ": ("ReLU", ["conv2d_1"]),
    }
    assert not any(re.fullmatch(r"\D*\d+", name) for name in found)


def test_a_network_in_the_network_opens() -> None:
    inner = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.ReLU(name="b")],
        name="inner",
    )
    inputs = keras.Input((4,), name="in")
    tensor = keras.layers.Dense(4, name="before")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="after")(inner(tensor)))
    assert nodes(model) == {
        "in": ("InputLayer", []),
        "before": ("Dense", ["in"]),
        "inner/a": ("Dense", ["before"]),
        "inner/b": ("ReLU", ["inner/a"]),
        "after": ("Dense", ["inner/b"]),
    }


def test_a_layer_that_works_twice_is_two_nodes() -> None:
    inputs, shared = keras.Input((4,), name="in"), keras.layers.Dense(4, name="shared")
    assert nodes(keras.Model(inputs, shared(shared(inputs)))) == {
        "in": ("InputLayer", []),
        "shared": ("Dense", ["in"]),
        "shared_again": ("Dense", ["shared"]),
    }
