"""`training:` the run itself."""

from typing import Annotated, Literal

from pydantic import Field, Strict, field_validator

from trainer.config.base import Call, Callback, Loss, Metric, Optimizer, Pair, Section


class Best(Section):
    """Which epoch counts as the best one; its checkpoint is evaluated and exported."""

    monitor: str = "val_loss"
    mode: Literal["auto", "min", "max"] = "auto"  # auto: as the metric says of itself


class Checkpoint(Section):
    """When to write a checkpoint besides the end of every epoch, and when the run is stopped."""

    minutes: float | None = Field(default=10.0, gt=0)  # nothing: not by the clock
    steps: int | None = Field(default=None, ge=1)


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
    checkpoint: Checkpoint = Checkpoint()
    profile: Pair | None = None  # first and last step of a trace for TensorBoard's profiler

    @field_validator("profile")
    @classmethod
    def _a_range(cls, steps: tuple[int, int] | None) -> tuple[int, int] | None:
        if steps and not 1 <= steps[0] <= steps[1]:
            raise ValueError(f"expected [first, last] step, counted from 1, received {list(steps)}")
        return steps
