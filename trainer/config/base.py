"""What every section of the YAML is made of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, PrivateAttr, Strict
from pydantic_core import CoreSchema, core_schema

from trainer.errors import UserError, received

# What may stand for a value in a call, and is known only when the data has been read.
COMPUTED = ("$classes", "$steps_per_epoch", "$total_steps")
FUNCTION = "function"  # in the place of a package: the user's own, called with inputs and classes


class Section(BaseModel):
    """A mapping of the YAML: frozen, every key known, no text taken for a number."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")
    # Whether the nearest key would often be another one: then all are named instead.
    alike: ClassVar[bool] = False

    @classmethod
    def inside(
        cls, value: dict[str, Any], where: str
    ) -> "Iterator[tuple[str, str, Call] | UserError]":
        """What the annotations do not say of the plain `value` at the path `where`: further calls
        as (where, package, call), and mistakes."""
        return iter(())


class Placed(Section):
    """A whole file: knows where each of its values was written."""

    # Path in the file -> file:line, for errors that show after loading; no part of the dump.
    _places: dict[str, str] = PrivateAttr(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """A name of a library with its arguments: `Flatten` or `Conv2D: {filters: 32}`.

    Args:
        name: `Conv2D`, or the user's own import path, `mypackage.layers.Swirl`.
        arguments: as written; calls among them are resolved by `trainer.objects.make`.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, value: object) -> "Call":
        """Reads the YAML form. Raises ValueError, in words for the user."""
        if isinstance(value, Call):
            return value
        if isinstance(value, str):
            return cls(value)
        if isinstance(value, dict) and len(value) == 1:
            [(name, arguments)] = value.items()
            if arguments is None or isinstance(arguments, dict):
                return cls(name, arguments or {})
            raise ValueError(
                f"expected the arguments of {name} as a mapping, received {received(arguments)}"
            )
        raise ValueError(
            f"expected a name or `Name: {{argument: value}}`, received {received(value)}"
        )

    def written(self) -> Any:
        """The YAML form, the inverse of `parse`."""
        return {self.name: dict(self.arguments)} if self.arguments else self.name

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse,
            serialization=core_schema.plain_serializer_function_ser_schema(cls.written),
        )


@dataclass(frozen=True)
class Names:
    """Says in an annotation which package the name of a Call is looked up in."""

    package: str


Loss = Annotated[Call, Names("keras.losses")]
Optimizer = Annotated[Call, Names("keras.optimizers")]
Schedule = Annotated[Call, Names("keras.optimizers.schedules")]
Metric = Annotated[Call, Names("keras.metrics")]
Callback = Annotated[Call, Names("keras.callbacks")]
Transform = Annotated[Call, Names("albumentations")]

# YAML has lists only; strict tuples would refuse them. What is inside stays strict.
Pair = Annotated[tuple[int, int], Strict(False)]
