"""What a network consists of and costs: its layers in order, multiply-adds, memory.

The network is traced into TensorFlow graphs, for one picture, and what stands in them is counted:
so the user's own layers count as Keras's do. N batch; a shape without N is that of one picture.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

# Operations whose result is their input's memory.
VIEWS = {"Identity", "StopGradient", "Reshape", "Squeeze", "ExpandDims"}
# Operations that read of a tensor only its shape.
SHAPES = {"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"}


class Row(NamedTuple):
    """A call of a layer; a shared layer has a row for each, and its parameters in the first."""

    name: str
    kind: str  # Conv2D
    inputs: tuple[int, ...]  # rows whose outputs it takes, counted from 0
    shape: tuple[int | None, ...]  # of its first output, without N
    parameters: int
    multiply_adds: int  # for one picture


class Memory(NamedTuple):
    """Bytes of tensors. What kernels need meanwhile, gradients between layers, TensorFlow itself
    and the data come on top."""

    kept: int  # in training, for each picture of a batch: what is read again backward
    fixed: int  # in training: weights, their gradients, and the optimizer's variables
    peak: int  # at inference, for each picture: the most that is alive at once
    weights: int  # at inference


class Summary(NamedTuple):
    """A network in numbers."""

    rows: tuple[Row, ...]
    parameters: int
    trainable: int
    multiply_adds: int  # for one picture
    memory: Memory


def summarise(model: keras.Model, optimizer: keras.Optimizer) -> Summary:
    """Counts layers, parameters, multiply-adds and memory.

    A multiply-add is one multiplication and one addition. Those of convolutions and of products of
    matrices are counted; what goes element by element (biases, normalization, activations, sums,
    pooling) is not, as in the papers that state them. The body of a loop (a recurrent layer)
    counts once.

    Args:
        optimizer: built for the model.
    """
    rows, inference = _walk(model)
    also = [*model.trainable_variables, *optimizer.variables]
    trainable = sum(tf.TensorShape(each.shape).num_elements() for each in model.trainable_weights)
    weights = sum(map(_size, model.variables))
    memory = Memory(_kept(model), weights + sum(map(_size, also)), _peak(inference), weights)
    total = sum(row.multiply_adds for row in rows)
    return Summary(rows, model.count_params(), trainable, total, memory)


def _walk(model: keras.Model) -> tuple[tuple[Row, ...], tf.Graph]:
    """The rows, and the graph of one picture's inference."""
    rows: list[Row] = []

    def trace(*pictures: tf.Tensor) -> Any:
        made_by: dict[int, int] = {}  # id of a tensor -> its row
        alive: list[Any] = []  # an id is unique only while its tensor lives
        counted: set[int] = set()  # ids of layers whose parameters stand in a row

        def note(layer: Any, taken: Any, given: Any, work: int) -> None:
            inputs = dict.fromkeys(
                made_by[id(each)] for each in keras.tree.flatten(taken) if id(each) in made_by
            )
            outputs = keras.tree.flatten(given)
            made_by.update((id(each), len(rows)) for each in outputs)
            alive.extend(outputs)
            new = id(layer) not in counted and isinstance(layer, keras.layers.Layer)
            counted.add(id(layer))
            parameters = layer.count_params() if new else 0
            shape = tuple(outputs[0].shape)[1:]
            kind = type(layer).__name__
            rows.append(Row(layer.name, kind, tuple(inputs), shape, parameters, work))

        for source, picture in zip(model.inputs, pictures, strict=True):
            note(source._keras_history.operation, (), picture, 0)
        return _called(model, note)(list(pictures))

    graph = _traced(model, trace)
    return tuple(rows), graph


Note = Callable[[Any, Any, Any, int], None]


def _called(operation: Any, note: Note) -> Callable[..., Any]:
    """The operation, which tells `note` what it took, gave and worked when it is called; of a
    network inside the network, its layers do."""
    network = getattr(operation, "_functional", operation)  # that of a Sequential

    def call(*args: Any, **kwargs: Any) -> Any:
        if hasattr(network, "_run_through_graph"):
            given = network._run_through_graph(args[0], lambda inner: _called(inner, note))
            return given[0] if isinstance(given, list | tuple) and len(given) == 1 else given
        graph = tf.compat.v1.get_default_graph()
        before = len(graph.get_operations())
        given = operation(*args, **kwargs)
        # Dropout gives what it took; as another tensor, its readers can be told from those of that.
        given = keras.tree.map_structure(_copied, given)
        work = sum(_multiply_adds(each) for each in graph.get_operations()[before:])
        note(operation, (args, kwargs), given, work)
        return given

    return call


def _copied(value: Any) -> Any:
    return tf.identity(value) if tf.is_tensor(value) else value


def _multiply_adds(operation: tf.Operation) -> int:
    """Of one operation of a graph, those of functions it calls included.

    TensorFlow's profiler knows the same numbers for some operations, but not for Einsum nor inside
    functions (grouped convolutions), and not by layer.
    """
    inputs, kind = operation.inputs, operation.type
    if kind in ("Conv2D", "Conv3D"):  # kernel [..., inputs, outputs]
        return _elements(_spread(operation)) * _elements(inputs[1].shape[:-1])
    if kind == "DepthwiseConv2dNative":  # kernel [height, width, inputs, multiplier]
        return _elements(_spread(operation)) * _elements(inputs[1].shape[:-2])
    if kind in (
        "Conv2DBackpropInput",
        "Conv3DBackpropInputV2",
    ):  # transposed; kernel [..., outputs, inputs]
        return _elements(inputs[2].shape) * _elements(inputs[1].shape[:-1])
    if kind == "MatMul" or kind.startswith("BatchMatMul"):
        flipped = kind == "MatMul" and operation.get_attr("transpose_a")
        flipped = flipped or (kind != "MatMul" and operation.get_attr("adj_x"))
        return _elements(operation.outputs[0].shape) * (inputs[0].shape[-2 if flipped else -1] or 0)
    if kind == "Einsum":
        return _einsum(operation)
    called = [each.func.name for each in operation.node_def.attr.values() if each.func.name]
    bodies = [operation.graph._get_function(name).graph for name in called]
    return sum(_multiply_adds(each) for body in bodies for each in body.get_operations())


def _spread(convolution: tf.Operation) -> tf.TensorShape:
    """The shape of its result; a dilated one's is padded and folded into the batch until the next
    operation."""
    result = convolution.outputs[0]
    for reader in result.consumers():
        if reader.type == "BatchToSpaceND":
            return reader.outputs[0].shape
    return result.shape


def _einsum(operation: tf.Operation) -> int:
    """All letters together: `abc,cd->abd` multiplies and adds a·b·c·d times."""
    terms = operation.get_attr("equation").decode().split("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, each in zip(terms, operation.inputs, strict=True):
        before, _, after = term.partition("...")
        free = each.shape.rank - len(before) - len(after)  # `...`, numbered from its end
        letters = [*before, *map(str, range(free, 0, -1)), *after]
        for letter, size in zip(letters, each.shape, strict=True):
            sizes[letter] = max(size or 0, sizes.get(letter, 0))
    return math.prod(sizes.values()) if len(terms) > 1 else 0


def _kept(model: keras.Model) -> int:
    """Bytes that a training step makes of one picture forward and reads backward."""
    forward = 0

    def trace(*pictures: tf.Tensor) -> Any:
        nonlocal forward
        with tf.GradientTape() as tape:
            scores = model(list(pictures) if len(pictures) > 1 else pictures[0], training=True)
        forward = len(tf.compat.v1.get_default_graph().get_operations())
        return tape.gradient(scores, model.trainable_variables)

    graph = _traced(model, trace)
    operations = graph.get_operations()
    made = {id(each): each for each in _of_pictures(graph, operations[:forward])}
    read = (
        _base(each)
        for operation in operations[forward:]
        if operation.type not in SHAPES | VIEWS
        for each in operation.inputs
    )
    return sum(
        _size(each) for each in {id(each): each for each in read if id(each) in made}.values()
    )


def _peak(graph: Any) -> int:
    """Bytes alive at once at most, if operations run in the order of the graph, none in place."""
    operations = graph.get_operations()
    last: dict[int, int] = {}  # id of a tensor -> the operation that reads it last
    for number, operation in enumerate(operations):
        last.update((id(_base(each)), number) for each in (*operation.outputs, *operation.inputs))
    last.update((id(_base(each)), len(operations)) for each in graph.outputs)
    dying: Counter[int] = Counter()
    made = {id(each) for each in _of_pictures(graph, operations)}
    alive = peak = 0
    for number, operation in enumerate(operations):
        for each in operation.outputs:
            if id(each) in made:
                alive += _size(each)
                dying[last[id(each)]] += _size(each)
        peak = max(peak, alive)
        alive -= dying[number]
    return peak


def _of_pictures(graph: Any, operations: Sequence[tf.Operation]) -> Iterator[tf.Tensor]:
    """The tensors with memory of their own that hang on the pictures: they grow with the batch."""
    hanging = {id(each) for each in graph.inputs if each.dtype != tf.resource}
    yield from (each for each in graph.inputs if id(each) in hanging)
    for operation in operations:
        if operation.type in SHAPES or not any(id(each) in hanging for each in operation.inputs):
            continue
        hanging.update(map(id, operation.outputs))
        yield from (each for each in operation.outputs if operation.type not in VIEWS)


def _base(tensor: tf.Tensor) -> tf.Tensor:
    while tensor.op.type in VIEWS:
        tensor = tensor.op.inputs[0]
    return tensor


def _traced(model: keras.Model, function: Callable[..., Any]) -> Any:
    specs = [tf.TensorSpec((1, *each.shape[1:]), each.dtype) for each in model.inputs]
    return tf.function(function, autograph=False).get_concrete_function(*specs).graph


def _elements(shape: tf.TensorShape) -> int:
    return shape.num_elements() or 0  # unknown before it runs


def _size(tensor: Any) -> int:
    """Bytes of a tensor or variable; 0 for handles and for shapes unknown before it runs."""
    return _elements(tf.TensorShape(tensor.shape)) * tf.as_dtype(tensor.dtype).size


def dims(shape: Sequence[int | None]) -> str:
    """A shape for people: `112×112×64`; `?` where it is not known."""
    return "×".join("?" if size is None else str(size) for size in shape)


def short(count: int) -> str:
    """Three digits and k, M, G or T, in powers of 1000: `12.3 M`; whole numbers below 1000."""
    value, unit = float(count), ""
    for unit in ("", " k", " M", " G", " T"):
        if value < 999.5 or unit == " T":
            break
        value /= 1000
    digits = 0 if not unit or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f}{unit}"
