"""A Keras network as a plain ONNX graph, by tf2onnx.

tf2onnx holds every constant several times over, so the network is traced with its weights as inputs
and these become initializers of the finished graph.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx

from trainer.errors import UserError

BATCH = "batch"
OPSET = 18  # the newest that tf2onnx 1.17 writes; onnx converts to those above

# An operator that ONNX does not have -> what to write instead
REMEDIES = {
    "ScaleAndTranslate": "Resizing can be exported with interpolation: bilinear or nearest",
}

_SCALING = {"Add", "Cast", "Div", "Gather", "Mul", "Sub"}
_GLOBAL = {"ReduceMean": "GlobalAveragePool", "ReduceMax": "GlobalMaxPool"}


class _Traced(NamedTuple):
    """A network as TensorFlow sees it: a function of the image and of all of its weights."""

    function: Any  # tf.function
    signature: list[tf.TensorSpec]
    values: dict[str, Callable[[], np.ndarray]]  # of the inputs that stand for weights, by name
    captures: list[onnx.ValueInfoProto]  # those of them that are no inputs of the function


def graph(model: keras.Model, element: str, opset: int) -> onnx.ModelProto:
    """Input `image` [batch, H, W, C], `element` is uint8 or float32; outputs `probabilities`
    [batch, K] float32 and `label_index` [batch] int64. Nothing is folded yet; nodes are named by
    the layers they came from, as `block/conv/convolution`.

    Raises: UserError if a layer does what no operator of ONNX does.
    """
    with _inlined():
        traced = _traced(model, element)
        proto, _ = tf2onnx.convert.from_function(
            traced.function,
            traced.signature,
            opset=min(opset, OPSET),
            custom_op_handlers={"Erfc": (_erfc, [])},
        )
    _name_nodes(proto.graph, {layer.name for layer in layers(model)})
    _demand_standard(proto, model)
    proto.graph.input.extend(traced.captures)
    if opset > OPSET:  # while there are no weights in it: the converter takes 2 GB at most
        proto = _converted(proto, opset)
    _keep_zeros(proto.graph)
    shapes = _shapes(proto)
    _transpose_again(proto.graph, shapes)
    _pool_globally(proto.graph, shapes)
    _fill(proto.graph, traced.values)
    _channels_first(proto.graph)
    _tidy(proto)
    return proto


def layers(model: keras.Model) -> list[keras.layers.Layer]:
    """All layers, those inside of layers too."""
    return list(model._flatten_layers(include_self=False))


def layer_of(node: str, known: Set[str]) -> str:
    """The layer that a node of `graph` came from: `block/conv/BiasAdd` -> `block/conv`, if `block`
    and `conv` are known; empty if none is."""
    found = []
    for scope in node.split("/")[:-1]:
        if scope not in known:
            break
        found.append(scope)
    return "/".join(found)


@contextmanager
def _inlined() -> Iterator[None]:
    """Functions within functions are traced as part of the outer one. Keras has grouped
    convolutions in a function that only XLA may run, which ONNX knows nothing of."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def _traced(model: keras.Model, element: str) -> _Traced:
    trainable, others = model.trainable_variables, model.non_trainable_variables
    named = {f"weight_{i}": each for i, each in enumerate([*trainable, *others])}

    @tf.function(autograph=False)
    def forward(image: tf.Tensor, *weights: tf.Tensor) -> dict[str, tf.Tensor]:
        split = len(trainable)
        scores, _ = model.stateless_call(
            weights[:split], weights[split:], tf.cast(image, tf.float32), training=False
        )
        return {
            "probabilities": tf.identity(scores, name="probabilities"),
            "label_index": tf.argmax(scores, axis=1, name="label_index"),
        }

    signature = [
        tf.TensorSpec(model.input_shape, element, name="image"),
        *(tf.TensorSpec(each.shape, each.dtype, name=name) for name, each in named.items()),
    ]
    values: dict[str, Callable[[], np.ndarray]] = {n: each.numpy for n, each in named.items()}
    captures = []
    # What a layer keeps as a constant (the mean of Normalization) arrives as a capture.
    for outer, inner in forward.get_concrete_function(*signature).graph.captures:
        if outer.dtype == tf.resource:  # a variable that Keras does not know: tf2onnx reads it
            continue
        values[inner.op.name] = outer.numpy
        element_type = onnx.helper.np_dtype_to_tensor_dtype(outer.numpy().dtype)
        captures.append(
            onnx.helper.make_tensor_value_info(inner.name, element_type, list(outer.shape))
        )
    return _Traced(forward, signature, values, captures)


def _erfc(ctx: Any, node: Any, name: str, args: Any) -> None:
    """1 - erf(x), which tf2onnx does not know: exact GELU."""
    [source], outputs = node.input, node.output
    shapes, dtypes = node.output_shapes, node.output_dtypes
    ctx.remove_node(node.name)
    erf = ctx.make_node("Erf", [source])
    one = np.array(1, tf2onnx.utils.map_onnx_to_numpy_type(dtypes[0]))
    const = ctx.make_const(tf2onnx.utils.make_name(name), one)
    parts = [const.output[0], erf.output[0]]
    ctx.make_node("Sub", parts, name=name, outputs=outputs, shapes=shapes, dtypes=dtypes)


def _name_nodes(graph: onnx.GraphProto, known: Set[str]) -> None:
    """`conv_1/convolution` becomes `conv/convolution`. Keras opens the scope of a layer for its
    building first, so that TensorFlow gives a number to the one of its call."""
    taken: Counter[str] = Counter()
    for node in graph.node:
        *scopes, last = node.name.split("/")
        plain = [re.sub(r"_\d+$", "", scope) for scope in scopes]
        names = [
            short if short in known else scope for short, scope in zip(plain, scopes, strict=True)
        ]
        name = "/".join((*names, last))
        taken[name] += 1
        node.name = name if taken[name] == 1 else f"{name}__call_{taken[name]}"  # a shared layer


def _demand_standard(proto: onnx.ModelProto, model: keras.Model) -> None:
    """Raises UserError where tf2onnx has left an operator of TensorFlow."""
    [opset] = [each.version for each in proto.opset_import if each.domain == ""]
    known = {layer.name for layer in layers(model)}
    for node in proto.graph.node:
        if node.domain or not _defined(node.op_type, opset):
            raise refused(node.op_type, layer_of(node.name, known))


def _defined(operator: str, opset: int) -> bool:
    try:
        onnx.defs.get_schema(operator, opset, "")
    except onnx.defs.SchemaError:
        return False
    return True


def refused(operator: str, layer: str) -> UserError:
    """The error for what ONNX cannot say."""
    who = f"the layer '{layer}' needs" if layer else "the network needs"
    problem = f"{who} {operator}, which is no operator of ONNX"
    way = "use another layer, or kind: saved_model, which holds every layer"
    return UserError("kind", problem, REMEDIES.get(operator, way))


def _converted(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    try:
        return onnx.version_converter.convert_version(proto, opset)
    except RuntimeError as error:
        said = str(error).splitlines()[0]
        problem = f"onnx cannot convert this network from {OPSET} to {opset}: {said}"
        raise UserError("opset", problem, f"opset: {OPSET} is written without conversion") from None


def _fill(graph: onnx.GraphProto, values: dict[str, Callable[[], np.ndarray]]) -> None:
    """Turns the inputs that stand for weights into initializers."""
    declared = [each for each in graph.input if each.name.partition(":")[0] not in values]
    used = {name for node in graph.node for name in node.input}
    del graph.input[:]
    graph.input.extend(declared)
    for name in sorted(used):
        value = values.get(name.partition(":")[0])
        if value is not None:
            graph.initializer.append(onnx.numpy_helper.from_array(value(), name))


def _keep_zeros(graph: onnx.GraphProto) -> None:
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


def _channels_first(graph: onnx.GraphProto) -> None:
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


def _tidy(proto: onnx.ModelProto) -> None:
    """Probabilities first, the batch dimension by its name, no traces of how it was made."""
    outputs = sorted(proto.graph.output, key=lambda value: value.name != "probabilities")
    del proto.graph.output[:]
    proto.graph.output.extend(outputs)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    proto.ir_version = onnx.helper.find_min_ir_version_for(list(proto.opset_import))
