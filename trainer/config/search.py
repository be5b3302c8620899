"""A search: which values of a config `trainer tune search` tries, and how it chooses them."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, Strict, model_validator

from trainer.config import tree
from trainer.config.base import Call, Names, Placed, Section

Sampler = Annotated[Call, Names("optuna.samplers")]
Pruner = Annotated[Call, Names("optuna.pruners")]


class Float(Section):
    """The arguments of Optuna's `suggest_float`."""

    low: float
    high: float
    step: float | None = None
    log: bool = False


class Int(Section):
    """The arguments of Optuna's `suggest_int`."""

    low: int
    high: int
    step: int = 1
    log: bool = False


class Domain(Section):
    """What a value may be: one of the three."""

    float: Float | None = None
    int: Int | None = None
    categorical: Annotated[tuple[Any, ...], Strict(False)] | None = Field(
        default=None, min_length=1
    )

    @model_validator(mode="after")
    def _one_kind(self) -> "Domain":
        named = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(named) != 1:
            received = " and ".join(named) or "none of them"
            raise ValueError(f"expected one of float, int and categorical, received {received}")
        return self

    def choices(self) -> dict[Any, Any]:
        """Of `categorical`: what Optuna calls each choice -> the value. It keeps numbers, text,
        flags and nothing; a list or a mapping goes by its YAML."""
        return {
            tree.line(each) if isinstance(each, list | dict) else each: each
            for each in self.categorical or ()
        }

    def ends(self) -> list[Any]:
        """The values that a config must take for all of the domain to be taken: the least and the
        greatest, or every choice."""
        span = self.float or self.int
        return list(self.choices().values()) if span is None else [span.low, span.high]


class Search(Placed):
    """A whole file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")  # the folder is named so
    config: str  # a file, relative to this one
    runs: str = "runs"  # the folder in which the search is kept
    trials: int = Field(ge=1)
    monitor: str = "val_loss"  # a log of an epoch; the best epoch of a trial counts
    mode: Literal["auto", "min", "max"] = "auto"  # auto: as the metric says of itself
    set: dict[str, Any] = Field(default_factory=dict)  # path in the config -> value of every trial
    space: dict[str, Domain] = Field(min_length=1)  # path in the config -> what is tried
    sampler: Sampler = Call("TPESampler")
    pruner: Pruner | None = None
    seed: int = Field(default=1, ge=0, lt=2**32)  # of the sampler; trials have the config's own

    @model_validator(mode="after")
    def _once(self) -> "Search":
        for path in self.space:
            if path in self.set:
                raise ValueError(f"{path} stands in set and in space")
            for other in self.space:
                if re.match(re.escape(other) + r"[.\[]", path):
                    raise ValueError(
                        f"{path} lies inside {other}: of the two, only one can be tried"
                    )
        return self

    def overrides(self) -> list[str]:
        """What every trial lays over the config, as `--set` takes it."""
        best = {"training.best.monitor": self.monitor, "training.best.mode": self.mode}
        return [override(path, value) for path, value in (self.set | best).items()]


def override(path: str, value: Any) -> str:
    """`path=value` as `--set` takes it."""
    return f"{path}={tree.line(value)}"
