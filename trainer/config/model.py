"""`model:` the network. Each notation is a kind of its own."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, Strict, field_validator

from trainer.config import graph
from trainer.config.base import FUNCTION, Call, Names, Section
from trainer.config.mistakes import join
from trainer.errors import UserError, received

Items = Annotated[tuple[Call, ...], Strict(False), Field(min_length=1)]
Network = Annotated[Call, Names("keras.applications")]

# Arguments of keras.applications that follow from the rest of the config.
DECIDED = {
    "include_top": "the layers of head are the top",
    "weights": "write model.weights",
    "input_tensor": "the pictures come from data",
    "input_shape": "write data.image_size and data.channels",
    "classes": "the data has its classes",
    "classifier_activation": "give the last layer of head its activation",
    "include_preprocessing": "every network gets the preprocessing that belongs to it, once",
    "name": "the network's layers are part of the whole one",
}


class Block(Section):
    """Layers under a name of their own, used like a layer; `$filters` inside is an argument."""

    defaults: dict[str, Any] = Field(default_factory=dict)
    layers: Items


class _Graph(Section):
    """A section with layers that may be named, connected, repeated and put into blocks."""

    blocks: dict[str, Block] = Field(default_factory=dict)

    @classmethod
    def placed(cls, value: dict[str, Any], where: str) -> graph.Graph:
        """The layers of the plain `value`, with those of its blocks in their places."""
        key = "head" if "head" in cls.model_fields else "layers"
        return graph.expand(value, key, where)

    @classmethod
    def inside(
        cls, value: dict[str, Any], where: str
    ) -> Iterator[tuple[str, str, Call] | UserError]:
        placed, mistakes = cls.placed(value, where)
        yield from mistakes
        for each in placed:
            yield each.where, "keras.layers", each.call


class Layers(_Graph):
    """Keras layers from pixels (0 to 255, float) to one score per class."""

    kind: Literal["layers"]
    layers: Items


class Backbone(_Graph):
    """A network of keras.applications without its top, and layers that make scores of its
    features."""

    kind: Literal["backbone"]
    network: Network
    weights: str  # imagenet, none, or a file
    head: Items

    @classmethod
    def inside(
        cls, value: dict[str, Any], where: str
    ) -> Iterator[tuple[str, str, Call] | UserError]:
        yield from super().inside(value, where)
        try:
            call = Call.parse(value.get("network"))
        except ValueError:
            return
        here = f"{join(where, 'network')}.{call.name}"
        for name in (name for name in call.arguments if name in DECIDED):
            yield UserError(f"{here}.{name}", f"{name} cannot be given here", DECIDED[name])
        if "." in call.name:
            yield UserError(here, "is not of keras.applications", "write kind: custom")


class Custom(Section):
    """The user's own function: `build(inputs, classes, **arguments)` returns the scores."""

    kind: Literal["custom"]
    function: str  # its import path
    arguments: dict[str, Any] = Field(default_factory=dict)

    @field_validator("function")
    @classmethod
    def _an_import_path(cls, function: str) -> str:
        if not re.fullmatch(r"\w+(\.\w+)+", function):
            path = "an import path, as in mypackage.nets.build"
            raise ValueError(f"expected {path}, received {received(function)}")
        return function

    @classmethod
    def inside(
        cls, value: dict[str, Any], where: str
    ) -> Iterator[tuple[str, str, Call] | UserError]:
        function, arguments = value.get("function"), value.get("arguments", {})
        if isinstance(function, str) and "." in function and isinstance(arguments, dict):
            yield where, FUNCTION, Call(function, arguments)


Model = Annotated[Layers | Backbone | Custom, Field(discriminator="kind")]
