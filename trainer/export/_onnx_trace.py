"""A Keras network as a plain ONNX graph, by tf2onnx.

tf2onnx holds every constant several times over, so the network is traced with its weights as inputs
and these become initializers of the finished graph.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx

from trainer.errors import UserError
from trainer.export import _onnx_graph

BATCH = "batch"
OPSET = 18  # the newest that tf2onnx 1.17 writes; onnx converts to those above

# An operator that ONNX does not have -> what to write instead
REMEDIES = {
    "ScaleAndTranslate": "Resizing can be exported with interpolation: bilinear or nearest",
}


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
    _onnx_graph.keep_zeros(proto.graph)
    _onnx_graph.channels_first_inside(proto)
    _fill(proto.graph, traced.values)
    _onnx_graph.channels_first(proto.graph)
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


def _tidy(proto: onnx.ModelProto) -> None:
    """Probabilities first, the batch dimension by its name, no traces of how it was made."""
    outputs = sorted(proto.graph.output, key=lambda value: value.name != "probabilities")
    del proto.graph.output[:]
    proto.graph.output.extend(outputs)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    proto.ir_version = onnx.helper.find_min_ir_version_for(list(proto.opset_import))
