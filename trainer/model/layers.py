"""`kind: layers`: Keras layers, one after the other or connected by name."""

import inspect
from collections.abc import Sequence

import keras

from trainer import objects
from trainer.config.graph import Placed
from trainer.config.model import Backbone, Layers
from trainer.errors import UserError

# Layers of Keras that take a list of inputs; attention over (query, value, key) takes them singly.
JOINING = (keras.layers.Add.__base__, keras.layers.Attention)


def build(spec: Layers, input_shape: tuple[int, int, int], classes: tuple[str, ...]) -> keras.Model:
    """The network: float32 pixels 0 to 255 [N, H, W, C] -> scores [N, K], K classes.

    Raises: UserError with the path of the layer that does not fit its input, or of the last one if
    it does not give one score per class.
    """
    inputs = keras.Input(input_shape)
    scores = connect(spec, inputs, classes)
    return whole(inputs, scores, "model.layers")


def connect(
    spec: Layers | Backbone, inputs: keras.KerasTensor, classes: tuple[str, ...]
) -> keras.KerasTensor:
    """Makes the layers of the section and calls them on what they read: -> scores [N, K].

    Args:
        inputs: the output that `input` stands for: of the network's input, or features.

    Raises: as `build`.
    """
    placed, mistakes = spec.placed(spec.model_dump(), "model")
    if mistakes:
        raise ExceptionGroup("model", mistakes)
    outputs: list[keras.KerasTensor] = []
    for each in placed:
        tensors = [outputs[index] if index >= 0 else inputs for index in each.inputs]
        layer = _made(each, len(classes))
        sources = [placed[index] if index >= 0 else None for index in each.inputs]
        outputs.append(_called(layer, each, tensors, sources))
    if tuple(outputs[-1].shape) != (None, len(classes)):
        _demand_scores(placed[-1], tuple(outputs[-1].shape), classes)
    return outputs[-1]


def whole(inputs: keras.KerasTensor, scores: keras.KerasTensor, where: str) -> keras.Model:
    """The network from its input to its scores. Raises UserError at the path `where`."""
    try:
        return keras.Model(inputs, scores, name="network")
    except ValueError as error:  # two layers of one name
        raise UserError(where, first_sentences(error)) from None


def first_sentences(error: Exception) -> str:
    """Keras's reason without the dump of arguments that follows it."""
    text = str(error).split("\n\nArguments received")[0]
    text = text.replace("\x1b[1m", "").replace("\x1b[0m", "") or type(error).__name__
    return " ".join(text.split())


def _made(placed: Placed, classes: int) -> keras.layers.Layer:
    call = placed.call
    if placed.name:
        call = type(call)(call.name, {**call.arguments, "name": placed.name})
    try:
        return objects.make(call, "keras.layers", placed.where, {"$classes": classes})
    except UserError as error:
        raise UserError(error.where, _subject(placed) + error.problem, error.hint) from None


def _called(
    layer: keras.layers.Layer,
    placed: Placed,
    tensors: Sequence[keras.KerasTensor],
    sources: Sequence[Placed | None],
) -> keras.KerasTensor:
    """The output of a layer. Raises UserError with the shapes that met."""
    where = f"{placed.where}.{placed.call.name}"
    subject = _subject(placed)
    names = [_name(source) for source in sources]
    singly = len(_required(layer)) > 1
    joins = isinstance(layer, JOINING) or not type(layer).__module__.startswith("keras.")
    if len(tensors) > 1 and not (singly or joins):
        problem = f"takes one input, received {len(tensors)}: {' and '.join(names)}"
        raise UserError(where, subject + problem, "join them before it, as with Add or Concatenate")
    shapes = [f"{name} {tuple(each.shape)}" for name, each in zip(names, tensors, strict=True)]
    fit = f"inputs {' and '.join(shapes)}"
    if len(tensors) == 1:
        named = sources[0] and sources[0].name
        fit = f"input {shapes[0]}" if named else f"input of shape {tuple(tensors[0].shape)}"
    listed = len(tensors) > 1 or isinstance(layer, JOINING)
    try:
        output = layer(*tensors) if singly or not listed else layer(list(tensors))
    except Exception as error:  # a layer may raise whatever it likes
        problem = f"does not fit its {fit}: {first_sentences(error)}"
        used = f"the block is used at {placed.use}" if placed.use != placed.where else ""
        raise UserError(where, subject + problem, used) from None
    if not isinstance(output, keras.KerasTensor):
        count = sum(each is not None for each in keras.tree.flatten(output))
        problem = f"gives {count} outputs, but the next layer takes one"
        raise UserError(where, subject + problem)
    return output


def _required(layer: keras.layers.Layer) -> list[str]:
    """The parameters of `call` that have no default."""
    parameters = inspect.signature(layer.call).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in kinds and p.default is p.empty]


def _subject(placed: Placed) -> str:
    """Which layer it is, where the place in the config does not say it."""
    if placed.name:
        return f"{placed.name}: {placed.call.name} "
    return f"in the block at {placed.use}: " if placed.use != placed.where else ""


def _name(source: Placed | None) -> str:
    """What an input is called in an error."""
    if source is None:
        return "input"
    return source.name or f"{source.where}.{source.call.name}"


def _demand_scores(last: Placed, shape: tuple[int | None, ...], classes: tuple[str, ...]) -> None:
    """Raises UserError: the last layer does not give one score per class."""
    where = f"{last.where}.{last.call.name}"
    known = f"{len(classes)} classes ({', '.join(classes[:8])}{', …' * (len(classes) > 8)})"
    if len(shape) == 2:
        where += ".units" * ("units" in last.call.arguments)
        raise UserError(where, f"{shape[1]} scores for {known}", "write units: $classes")
    hint = "end with Flatten or GlobalAveragePooling2D and Dense: {units: $classes, …}"
    raise UserError(
        where, f"the last layer gives shape {shape}, expected (None, {len(classes)})", hint
    )
