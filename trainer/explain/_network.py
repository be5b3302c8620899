"""What goes on inside a network while it looks at pictures.

N batch, h, w: the size of a map, C its channels, K classes. Layers are listened to while they work,
so networks inside networks and the user's own layers are seen as Keras's are. A layer inside
another one is called `outer/inner`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from trainer.errors import UserError, suggestion

# They give a copy of a map before them, pooling a coarser one.
COPYING = (
    keras.layers.MaxPooling2D.__base__,
    keras.layers.GlobalMaxPooling2D.__base__,
    keras.Model,
)


class Heard(NamedTuple):
    """A layer that has just worked."""

    name: str
    layer: keras.layers.Layer
    taken: Any  # its first argument: a tensor, or several
    given: Any


class Map(NamedTuple):
    """A layer whose output is a map of the picture, [N, h, w, C] with more than one place."""

    layer: keras.layers.Layer
    height: int
    width: int
    channels: int

    @property
    def convolves(self) -> bool:
        """Whether it has a kernel [height, width, in, out] itself."""
        return any(len(weight.shape) == 4 for weight in self.layer.weights)


def logits(
    model: keras.Model, images: np.ndarray | tf.Tensor, note: Callable[[Heard], None]
) -> tf.Tensor:
    """Pixels 0 to 255 [N, H, W, C] -> float32 scores [N, K] before their softmax or sigmoid.

    A sure network's probabilities are flat: 0.9999 hardly moves whatever is changed in the picture.
    Keras's softmax and sigmoid keep what they were given, for its crossentropies; scores of any
    other kind are taken as they are.

    Args:
        note: is told of every layer that has worked, in order, those inside others first.
    """
    with _listening(model, note):
        scores = model(tf.cast(images, tf.float32), training=False)
    return tf.cast(getattr(scores, "_keras_logits", scores), tf.float32)


def maps(model: keras.Model) -> dict[str, Map]:
    """The layers that give maps of the picture, in the order in which they work."""
    found: dict[str, Map] = {}

    def note(heard: Heard) -> None:
        match tuple(getattr(heard.given, "shape", ())):
            case _, height, width, channels if height * width > 1:
                found.pop(heard.name, None)  # a shared layer stands where it works last
                found[heard.name] = Map(heard.layer, height, width, channels)

    logits(model, np.zeros((1, *model.input_shape[1:]), np.uint8), note)
    return found


def last(found: Mapping[str, Map]) -> str:
    """The last map of a network that is not merely pooled.

    Raises: UserError if there is no convolution: what stands before is the picture itself.
    """
    names = list(found)
    first = next((at for at, each in enumerate(found.values()) if each.convolves), len(names))
    made = [name for name in names[first:] if not isinstance(found[name].layer, COPYING)]
    if not made:
        problem = "the network has no convolution, so there are no maps of the picture in it"
        raise UserError("model", problem, "--method occlusion explains every network")
    return made[-1]


def find(model: keras.Model, found: Mapping[str, Map], name: str) -> str:
    """The full name of a layer with a map; `inner` will do for `outer/inner`.

    Raises: UserError if there is no such layer, or it gives no map.
    """
    fitting = [full for full in found if f"/{full}".endswith(f"/{name}")]
    if fitting:
        return name if name in fitting else fitting[-1]
    given: dict[str, Any] = {}
    zeros = np.zeros((1, *model.input_shape[1:]), np.uint8)
    logits(model, zeros, lambda heard: given.update({heard.name: heard.given}))
    full = next((each for each in given if f"/{each}".endswith(f"/{name}")), None)
    if full is None:
        raise UserError("--layer", f"the network has no layer '{name}'", suggestion(name, found))
    shape = list(getattr(given[full], "shape", ["?"]))[1:]
    problem = f"{full} gives {shape} for a picture, which is no map [h, w, channels] of it"
    raise UserError("--layer", problem, f"the last layer with a map is {last(found)}")


@contextmanager
def _listening(model: keras.Model, note: Callable[[Heard], None]) -> Iterator[None]:
    """Inside the block the layers tell `note` what they took and gave.

    Their `call` is covered for that time by one in the instance's own dictionary, past Keras's
    bookkeeping of attributes. Outputs by name, as `keras.Model(inputs, layer.output)` gives them,
    would end at the border of a network inside the network.
    """
    above: list[str] = []
    covered = [each for each in model._flatten_layers(include_self=False) if each is not model]

    def cover(layer: keras.layers.Layer) -> Callable[..., Any]:
        call = layer.call

        def covering(*args: Any, **kwargs: Any) -> Any:
            above.append(layer.name)
            given = call(*args, **kwargs)
            note(Heard("/".join(above), layer, args[0] if args else None, given))
            above.pop()
            return given

        return covering

    kept = [vars(layer).get("call") for layer in covered]
    try:
        for layer in covered:
            vars(layer)["call"] = cover(layer)
        yield
    finally:
        for layer, call in zip(covered, kept, strict=True):
            if call is None:
                vars(layer).pop("call", None)
            else:
                vars(layer)["call"] = call
