"""`training:` the run itself."""

from typing import Annotated, Literal

from pydantic import Field, Strict

from trainer.config.base import Call, Callback, Loss, Metric, Optimizer, Section


class Best(Section):
    """Which epoch counts as the best one; its checkpoint is evaluated and exported."""

    monitor: str = "val_loss"
    mode: Literal["auto", "min", "max"] = "auto"  # auto: as the metric says of itself


class Training(Section):
    """The whole section."""

    epochs: int = Field(ge=1)
    strategy: Literal["auto", "single", "mirrored"] = "auto"
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    optimizer: Optimizer = Call("AdamW")
    loss: Loss = Call("CategoricalCrossentropy")
    metrics: Annotated[tuple[Metric, ...], Strict(False)] = (Call("CategoricalAccuracy"),)
    callbacks: Annotated[tuple[Callback, ...], Strict(False)] = ()
    best: Best = Best()
