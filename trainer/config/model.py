"""`model:` the network. Each notation is a kind of its own."""

from typing import Annotated, Literal

from pydantic import Field, Strict

from trainer.config.base import Layer, Section


class Layers(Section):
    """Keras layers in order, from pixels (0 to 255, float) to one score per class."""

    kind: Literal["layers"]
    layers: Annotated[tuple[Layer, ...], Strict(False), Field(min_length=1)]


Model = Layers
