"""`training:` the run itself."""

from collections.abc import Mapping
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, Strict, field_validator, model_validator

from trainer.config.base import (
    Call,
    Callback,
    Loss,
    Metric,
    Optimizer,
    Pair,
    Schedule,
    Section,
)


class Best(Section):
    """Which epoch counts as the best one; its checkpoint is evaluated and exported."""

    monitor: str = "val_loss"
    mode: Literal["auto", "min", "max"] = "auto"  # auto: as the metric says of itself


class Checkpoint(Section):
    """When to write a checkpoint besides the end of every epoch, and when the run is stopped."""

    minutes: float | None = Field(default=10.0, gt=0)  # nothing: not by the clock
    steps: int | None = Field(default=None, ge=1)


class Warmup(Section):
    """For how long the learning rate rises."""

    epochs: float | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, ge=1)  # updates of the weights

    @model_validator(mode="after")
    def _one_length(self) -> "Warmup":
        if (self.epochs is None) == (self.steps is None):
            given = "neither" if self.epochs is None else "both"
            raise ValueError(f"expected either `epochs` or `steps`, received {given}")
        return self


class UpTo(Section):
    """The layer of this name and all before it."""

    up_to: str


Patterns = Annotated[tuple[str, ...], Strict(False)]  # of layer names, as in a shell
Frozen = Literal["none", "backbone"] | UpTo | Annotated[Patterns, Field(min_length=1)]
BatchNorm = Literal["follow", "frozen", "update"]
LayerRates = Mapping[str, Annotated[float, Field(gt=0)]]


class Phase(Section):
    """A part of the training with an optimizer of its own; nothing: as `training` says."""

    epochs: int = Field(ge=1)
    learning_rate: Annotated[float, Field(gt=0)] | Schedule | None = None
    frozen: Frozen | None = None
    batch_norm: BatchNorm | None = None
    layer_rates: LayerRates | None = None
    warmup: Warmup | None = None


class Stage(NamedTuple):
    """A phase with all that `training` says for it; where nothing is said, the whole training."""

    where: str  # its path in the config
    epochs: int
    learning_rate: float | Call | None  # nothing: the optimizer's own
    frozen: Frozen
    batch_norm: BatchNorm
    layer_rates: LayerRates
    warmup: Warmup | None


class Training(Section):
    """The whole section."""

    epochs: int | None = Field(default=None, ge=1)  # of a training without phases
    phases: Annotated[tuple[Phase, ...], Strict(False)] = ()
    frozen: Frozen = "none"
    batch_norm: BatchNorm = "follow"
    strategy: Literal["auto", "single", "mirrored", "multi_worker"] = "auto"
    worker_timeout: float = Field(default=600.0, gt=0)  # seconds that workers wait for each other
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    jit_compile: Literal["auto"] | bool = "auto"
    optimizer: Optimizer = Call("AdamW")
    no_weight_decay: Patterns = ()  # regular expressions, searched in the paths of weights
    warmup: Warmup | None = None
    layer_rates: LayerRates = Field(default_factory=dict)
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

    @model_validator(mode="after")
    def _one_length(self) -> "Training":
        if bool(self.epochs) == bool(self.phases):
            given = "both" if self.epochs else "neither"
            raise ValueError(f"expected either `epochs` or `phases`, received {given}")
        return self

    def stages(self) -> tuple[Stage, ...]:
        """What is trained one after the other."""
        if self.epochs:
            return (self._stage("training", Phase(epochs=self.epochs)),)
        return tuple(
            self._stage(f"training.phases[{number}]", phase)
            for number, phase in enumerate(self.phases)
        )

    def all_epochs(self) -> int:
        """Of all phases, if no callback ends one early."""
        return sum(stage.epochs for stage in self.stages())

    def accumulated(self) -> int:
        """How many batches make an update of the weights."""
        arguments = self.optimizer.arguments
        if "inner_optimizer" in arguments:
            try:
                arguments = Call.parse(arguments["inner_optimizer"]).arguments
            except ValueError:
                return 1
        steps = arguments.get("gradient_accumulation_steps")
        return steps if isinstance(steps, int) and steps > 1 else 1  # the rest Keras refuses

    def _stage(self, where: str, phase: Phase) -> Stage:
        own = {
            name: getattr(self if getattr(phase, name) is None else phase, name)
            for name in ("frozen", "batch_norm", "layer_rates", "warmup")
        }
        return Stage(where, phase.epochs, phase.learning_rate, **own)
