"""The network for TensorBoard's Graphs dashboard: one node per layer, not one per operation."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import keras
from tensorboard.compat.proto.attr_value_pb2 import AttrValue
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.node_def_pb2 import NodeDef
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

# Layers of one block are one node that opens: `conv2_block1_1_bn`, `block_3_expand`.
BLOCK = re.compile(r"(?P<block>\w*?block_?\d+[a-z]?)_(?P<layer>\w+)")
# TensorBoard takes these for a series, `re_lu_[1-5]`, and draws it beside the network it is part
# of, which falls to pieces. A space after the number is not seen, and makes it no number.
NUMBERED = re.compile(r"(?<![^/])\D*\d+$")
SILENT = {"name", "trainable", "dtype", "batch_shape", "data_format", "registered_name"}


def of(model: keras.Model) -> GraphDef:
    """The layers of a functional network, networks inside it included, with their arguments, their
    numbers of parameters, and the shapes of what passes between them."""
    return GraphDef(node=_nodes(model, "", {}))


def _nodes(model: Any, scope: str, given: Mapping[str, str]) -> Iterator[NodeDef]:
    """
    Args:
        scope: begins the names of all nodes.
        given: name of an input layer -> node that feeds it from outside.
    """
    ends: dict[str, str] = {}  # operation -> the node that gives what it gives
    for operation, sources in _calls(model):
        feeds = list(dict.fromkeys(ends[each.name] for each in sources))
        name = scope + BLOCK.sub(r"\g<block>/\g<layer>", operation.name)
        name = NUMBERED.sub(r"\g<0> ", name)
        while name in ends.values():  # the layer works in a second place too
            name += "_again"
        if operation.name in given:
            ends[operation.name] = given[operation.name]
        elif isinstance(operation, keras.Model) and operation.inputs:
            inputs = (tensor._keras_history.operation.name for tensor in operation.inputs)
            inner = list(_nodes(operation, f"{name}/", dict(zip(inputs, feeds, strict=False))))
            yield from inner
            ends[operation.name] = inner[-1].name
        else:
            ends[operation.name] = name
            yield _node(operation, name, feeds)


def _calls(model: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Every operation of a network after those that it takes from."""
    depths = getattr(model, "_functional", model)._nodes_by_depth  # that of a Sequential
    for depth in sorted(depths, reverse=True):
        for node in depths[depth]:
            yield node.operation, [each._keras_history.operation for each in node.input_tensors]


def _node(operation: Any, name: str, sources: list[str]) -> NodeDef:
    node = NodeDef(name=name, op=type(operation).__name__, input=sources)
    for tensor in keras.tree.flatten(operation.output):
        sizes = [TensorShapeProto.Dim(size=-1 if size is None else size) for size in tensor.shape]
        node.attr["_output_shapes"].list.shape.append(TensorShapeProto(dim=sizes))
    if isinstance(operation, keras.Layer):
        said = {key: _said(value) for key, value in operation.get_config().items()}
        said["parameters"] = f"{operation.count_params():,}" if operation.weights else ""
        for key, value in said.items():
            if value and key not in SILENT:
                node.attr[key].CopyFrom(AttrValue(s=value.encode()))
    return node


def _said(value: Any) -> str:
    """Numbers, words and lists of them; initializers and their like are left out."""
    if isinstance(value, bool | int | float | str):
        return str(value)
    if isinstance(value, list | tuple) and all(isinstance(each, int | float) for each in value):
        return " × ".join(map(str, value))
    return ""
