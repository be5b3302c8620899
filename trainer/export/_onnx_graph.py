"""Rewritings of an ONNX graph: what onnxruntime would get wrong, and what would take it longer.

All of them leave what is computed as it is. H, W, C: the picture.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

_SCALING = {"Add", "Cast", "Div", "Gather", "Mul", "Sub"}
_GLOBAL = {"ReduceMean": "GlobalAveragePool", "ReduceMax": "GlobalMaxPool"}


def channels_first_inside(proto: onnx.ModelProto) -> None:
    """Lets onnxruntime keep the channels first between the convolutions. Constants of the network
    need not be there yet, but shapes can be told of it."""
    shapes = _shapes(proto)
    _transpose_again(proto.graph, shapes)
    _pool_globally(proto.graph, shapes)


def keep_zeros(graph: onnx.GraphProto) -> None:
    """onnxruntime makes zeros around a picture part of the pooling after them, where they count as
    minus infinity: ResNet50V2 was wrong by 0.26. It looks for the bytes of 0.0, so -0.0 is safe.

    After a ReLU it is right, unless a window of the pooling lies in the zeros alone, and before a
    convolution.
    """
    makers = {name: node.op_type for node in graph.node for name in node.output}
    values = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    zero = onnx.numpy_helper.from_array(np.array(-0.0, np.float32), "minus_zero")
    found = False
    for node in (each for each in graph.node if each.op_type == "Pad"):
        after = _followers(graph, node.output[0])
        pooled = [each for each in after if each.op_type in ("MaxPool", "AveragePool")]
        widest = values[node.input[1]].max() if node.input[1] in values else math.inf
        right = makers.get(node.input[0]) == "Relu" and all(_reaches(p, widest) for p in pooled)
        of_zeros = all(name in values and not values[name].any() for name in node.input[2:3])
        if pooled and not right and of_zeros:
            node.input[2:3] = [zero.name]
            found = True
    if found:
        graph.initializer.append(zero)


def _followers(graph: onnx.GraphProto, name: str) -> list[onnx.NodeProto]:
    """The nodes that take a value, as it is or transposed."""
    found: list[onnx.NodeProto] = []
    for node in (each for each in graph.node if name in each.input):
        through = node.op_type == "Transpose"
        found += _followers(graph, node.output[0]) if through else [node]
    return found


def _reaches(pooling: onnx.NodeProto, width: float) -> bool:
    """Whether every window of maxima reaches across so many zeros at each side."""
    given = _given(pooling)
    if pooling.op_type != "MaxPool" or given.get("auto_pad", b"").startswith(b"SAME"):
        return False
    return width + max(given.get("pads", [0])) < min(given["kernel_shape"])


def _given(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes."""
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}


def _shapes(proto: onnx.ModelProto) -> dict[str, list[int]]:
    """Of the values between nodes, where known; 0 for a dimension that is not."""
    inferred = onnx.shape_inference.infer_shapes(proto).graph.value_info
    return {
        each.name: [dim.dim_value for dim in each.type.tensor_type.shape.dim] for each in inferred
    }


def _transpose_again(graph: onnx.GraphProto, shapes: Mapping[str, list[int]]) -> None:
    """tf2onnx reshapes where it moves the channels of a single pixel. onnxruntime drops pairs of
    transpositions, but nothing between two reshapes: MobileNetV3 had 55 nodes too many."""
    targets = {each.name: each for each in graph.initializer if list(each.dims) == [4]}
    for node in graph.node:
        shape = shapes.get(node.input[0], []) if node.op_type == "Reshape" else []
        if len(shape) != 4 or shape[1:].count(1) < 2 or node.input[1] not in targets:
            continue  # more than one row of numbers would change its order
        target = onnx.numpy_helper.to_array(targets[node.input[1]]).tolist()
        for perm in ([0, 1, 2, 3], [0, 3, 1, 2], [0, 2, 3, 1]):
            moved = [shape[axis] for axis in perm]
            if moved[1:] == target[1:] and target[0] == -1 and all(moved[1:]):
                node.op_type = "Transpose"
                del node.input[1:]
                del node.attribute[:]
                node.attribute.append(onnx.helper.make_attribute("perm", perm))
                break


def _pool_globally(graph: onnx.GraphProto, shapes: Mapping[str, list[int]]) -> None:
    """Means and maxima over whole pictures [N, H, W, C] become what ONNX calls global pooling, with
    the channels first. Otherwise onnxruntime keeps them last from the convolutions before on, and
    leaves BatchNormalization beside these: InceptionV3 took 2 % longer."""
    constants = {each.name: each for each in graph.initializer}
    for place in reversed(range(len(graph.node))):
        node = graph.node[place]
        if node.op_type not in _GLOBAL or len(shapes.get(node.input[0], [])) != 4:
            continue
        given = _given(node)
        axes = given.get("axes", [])  # an attribute until opset 17
        if len(node.input) > 1 and node.input[1] in constants:
            axes = onnx.numpy_helper.to_array(constants[node.input[1]]).tolist()
        if list(axes) != [1, 2] or given.get("keepdims", 1):  # within blocks it does no harm
            continue
        make, [result] = onnx.helper.make_node, node.output
        first, pooled = f"{result}__first", f"{result}__pooled"
        parts = [
            make("Transpose", [node.input[0]], [first], f"{node.name}__first", perm=[0, 3, 1, 2]),
            make(_GLOBAL[node.op_type], [first], [pooled], node.name),
            make("Flatten", [pooled], [result], f"{node.name}__flat"),
        ]
        del graph.node[place]
        for part in reversed(parts):
            graph.node.insert(place, part)


def channels_first(graph: onnx.GraphProto) -> None:
    """Puts the channels of the picture first before they are scaled, if all that comes before that
    is scaling: a row of each channel in one piece takes a tenth of the time, at 224 pixels 0.1
    instead of 0.9 ms of MobileNet's 8."""
    chain = _from_picture(graph)
    if not chain or _given(chain[-1]).get("perm", [])[:2] != [0, 3]:  # a Permute moves others
        return
    *scaling, transpose = chain
    constants = {each.name: each for each in graph.initializer}
    for node in scaling:
        used = [constants[name] for name in node.input if name in constants]
        if node.op_type == "Gather":  # BGR for RGB
            if list(used[0].dims) != [3] or _given(node).get("axis") not in (-1, 3):
                return
        elif any(math.prod(each.dims) != [1, *each.dims][-1] for each in used):  # not by channel
            return
    place, last = [*graph.node].index(scaling[0]), transpose.output[0]
    graph.node.remove(transpose)
    before = transpose.input[0] = "image"
    transpose.output[0] = after = "image__first"
    graph.node.insert(place, transpose)
    for node in scaling:
        for index, name in enumerate(node.input):
            if name == before:
                node.input[index] = after
            elif node.op_type == "Gather":
                node.attribute[0].i = 1
            elif constants[name].dims:
                node.input[index] = turned = f"{name}__first"
                if turned not in constants:
                    value = onnx.numpy_helper.to_array(constants[name]).reshape(-1, 1, 1)
                    constants[turned] = onnx.numpy_helper.from_array(value, turned)
                    graph.initializer.append(constants[turned])
        before, after = node.output[0], f"{node.output[0]}__first"
        node.output[0] = after
    scaling[-1].output[0] = last
    taken = {name for node in graph.node for name in node.input}
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in taken:
            del graph.initializer[index]


def _from_picture(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes from the picture on that compute with constants alone, and the one after them;
    none if the picture or such a value is taken twice."""
    constants, name = {each.name for each in graph.initializer}, "image"
    chain: list[onnx.NodeProto] = []
    while True:
        takers = [node for node in graph.node if name in node.input]
        if len(takers) != 1:
            return []
        chain += takers
        others = {*chain[-1].input} - {name}
        if chain[-1].op_type not in _SCALING or others - constants:
            return chain
        name = chain[-1].output[0]
