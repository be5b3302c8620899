"""`kind: layers`: a list of Keras layers, one after the other."""

import keras

from trainer import objects
from trainer.config.model import Layers
from trainer.errors import UserError


def build(spec: Layers, input_shape: tuple[int, int, int], classes: tuple[str, ...]) -> keras.Model:
    """The network: float32 pixels 0 to 255 [N, H, W, C] -> scores [N, K], K classes.

    Raises: UserError with the path of the layer that does not fit its input, or of the last one if
    it does not give one score per class.
    """
    inputs = tensor = keras.Input(input_shape)
    for index, call in enumerate(spec.layers):
        where = f"model.layers[{index}]"
        layer = objects.make(call, "keras.layers", where, {"$classes": len(classes)})
        shape = tuple(tensor.shape)
        try:
            tensor = layer(tensor)
        except Exception as error:  # a layer may raise whatever it likes
            problem = f"does not fit its input of shape {shape}: {_first_sentences(error)}"
            raise UserError(f"{where}.{call.name}", problem) from None
        if not isinstance(tensor, keras.KerasTensor):
            problem = f"gives {len(tensor)} outputs, but the next layer takes one"
            raise UserError(f"{where}.{call.name}", problem)
    if tuple(tensor.shape) != (None, len(classes)):
        _demand_scores(spec, tuple(tensor.shape), classes)
    try:
        return keras.Model(inputs, tensor, name="network")
    except ValueError as error:  # two layers of one name
        raise UserError("model.layers", _first_sentences(error)) from None


def _demand_scores(spec: Layers, shape: tuple[int | None, ...], classes: tuple[str, ...]) -> None:
    last = spec.layers[-1]
    where = f"model.layers[{len(spec.layers) - 1}].{last.name}"
    known = f"{len(classes)} classes ({', '.join(classes[:8])}{', …' * (len(classes) > 8)})"
    if len(shape) == 2:
        where += ".units" * ("units" in last.arguments)
        raise UserError(where, f"{shape[1]} scores for {known}", "write units: $classes")
    hint = "end with Flatten or GlobalAveragePooling2D and Dense: {units: $classes, …}"
    raise UserError(
        where, f"the last layer gives shape {shape}, expected (None, {len(classes)})", hint
    )


def _first_sentences(error: Exception) -> str:
    """Keras's reason without the dump of arguments that follows it."""
    text = str(error).split("\n\nArguments received")[0]
    text = text.replace("\x1b[1m", "").replace("\x1b[0m", "") or type(error).__name__
    return " ".join(text.split())
