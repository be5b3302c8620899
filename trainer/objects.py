"""Call -> object of Keras or albumentations. The only place where a name becomes an import.

Arguments pass straight through, so a new layer or transform of the libraries needs no change here.
Nothing is imported before the first call is looked at.
"""

import inspect
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainer.config.base import Call
from trainer.errors import UserError, received, suggestion

COMPUTED = ("$classes", "$steps_per_epoch", "$total_steps")

# Arguments that take an object of another package; `*_initializer` by what follows the underscore.
NESTED = {
    "learning_rate": "keras.optimizers.schedules",
    "inner_optimizer": "keras.optimizers",
    "layer": "keras.layers",
    "initializer": "keras.initializers",
    "regularizer": "keras.regularizers",
    "constraint": "keras.constraints",
    "transforms": "albumentations",
}


WHOLE = ("layer", "inner_optimizer")  # where Keras does not look up text itself

# What a made object must be; losses may be functions.
BASES = {
    "keras.layers": "Layer",
    "keras.optimizers": "Optimizer",
    "keras.optimizers.schedules": "LearningRateSchedule",
    "keras.metrics": "Metric",
    "keras.callbacks": "Callback",
}


def make(call: Call, package: str, where: str, values: Mapping[str, int] | None = None) -> Any:
    """The object that a Call describes.

    Args:
        package: where its name is looked up, such as `keras.layers`; a dotted name is an import
            path.
        where: its path in the config, for errors.
        values: what `$classes` and the other computed values stand for.

    Raises: ExceptionGroup of the UserErrors of `mistakes`, or a UserError with the library's
        reason.
    """
    wrong = list(mistakes(where, package, call))
    if wrong:
        raise ExceptionGroup(where, wrong)
    arguments = {
        name: _resolved(name, value, f"{where}.{call.name}.{name}", values or {})
        for name, value in call.arguments.items()
    }
    here = f"{where}.{call.name}"
    try:
        found = _find(call.name, package, where)(**arguments)
    except Exception as error:  # a class of the library or the user's may raise whatever it likes
        raise UserError(here, f"refused by {package}: {_reason(error)}") from None
    base = BASES.get(package)
    if base and not isinstance(found, getattr(import_module(package), base)):
        raise UserError(here, f"is no {package}.{base}")
    return found


def mistakes(where: str, package: str, call: Call) -> Iterator[UserError]:
    """Unknown names, unknown or missing arguments and unknown `$values`, in nested calls too."""
    try:
        target = _find(call.name, package, where)
    except UserError as error:
        yield error
        return
    here = f"{where}.{call.name}"
    known, required = _arguments(target)
    for name, value in call.arguments.items():
        if known is not None and name not in known:
            hint = suggestion(name, known)
            yield UserError(f"{here}.{name}", f"{call.name} has no argument '{name}'", hint)
        else:
            yield from _nested_mistakes(name, value, f"{here}.{name}")
    missing = [name for name in required if name not in call.arguments]
    if missing:
        names = " and ".join(f"'{name}'" for name in missing)
        hint = f"write {call.name}: {{{', '.join(f'{name}: …' for name in missing)}}}"
        yield UserError(here, f"{call.name} needs {names}", hint)


def _nested_mistakes(name: str, value: Any, where: str) -> Iterator[UserError]:
    try:
        inside = list(_inside(name, value, where))
    except ValueError as error:
        yield UserError(where, str(error))
        return
    for inner_where, inner in inside:
        yield from mistakes(inner_where, NESTED[_kind(name)], inner)
    if isinstance(value, str) and value.startswith("$") and value not in COMPUTED:
        yield UserError(where, f"unknown value '{value}'", suggestion(value, COMPUTED))


def _inside(name: str, value: Any, where: str) -> Iterator[tuple[str, Call]]:
    """The calls that stand in an argument: one, or a list of them for `transforms`.

    Text is left to Keras where Keras looks it up itself, as in `kernel_initializer: he_normal`.
    Raises: ValueError for what should be a call and is none.
    """
    if name == "transforms":
        if not isinstance(value, list):
            raise ValueError(f"expected a list, received {received(value)}")
        for index, item in enumerate(value):
            yield f"{where}[{index}]", Call.parse(item)
    elif isinstance(value, (dict, str) if name in WHOLE else dict) and _kind(name) in NESTED:
        yield where, Call.parse(value)


def _resolved(name: str, value: Any, where: str, values: Mapping[str, int]) -> Any:
    if isinstance(value, str) and value in COMPUTED:
        if value not in values:
            raise UserError(where, f"{value} is not known here")
        return values[value]
    objects = [
        make(inner, NESTED[_kind(name)], inner_where, values)
        for inner_where, inner in _inside(name, value, where)
    ]
    if objects:
        return objects if isinstance(value, list) else objects[0]
    if isinstance(value, list):
        return [_resolved("", item, f"{where}[{i}]", values) for i, item in enumerate(value)]
    return value


def _kind(argument: str) -> str:
    return argument if argument in NESTED else argument.rpartition("_")[2]


def _find(name: str, package: str, where: str) -> Any:
    """The class of that name. Raises UserError."""
    if "." in name:
        return _imported(name, where)
    module = import_module(package)
    found = getattr(module, name, None)
    if isinstance(found, type):
        return found
    classes = [
        each
        for each in dir(module)
        if each[0].isupper() and isinstance(getattr(module, each), type)
    ]
    raise UserError(f"{where}.{name}", f"{package} has no '{name}'", suggestion(name, classes))


def _imported(path: str, where: str) -> Any:
    """The user's own class, by its import path; the working directory counts as importable."""
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    module, _, name = path.rpartition(".")
    hint = "write the import path of a class, as in mypackage.layers.Swirl"
    try:
        found = getattr(import_module(module), name)
    except Exception as error:  # the user's module may fail in any way
        raise UserError(f"{where}.{path}", f"cannot be imported: {error}", hint) from None
    if not callable(found):
        raise UserError(f"{where}.{path}", f"is no class, but {type(found).__name__}", hint)
    return found


def _arguments(target: Any) -> tuple[set[str] | None, list[str]]:
    """Known argument names, None for any, and those without a default.

    Keras layers end in **kwargs and hand them up, so the names are gathered along the hierarchy.
    """
    hierarchy = target.__mro__ if isinstance(target, type) else ()
    inits = [vars(each)["__init__"] for each in hierarchy[:-1] if "__init__" in vars(each)]
    known: set[str] = set()
    required: list[str] | None = None
    for function in inits or ([] if hierarchy else [target]):
        parameters = list(inspect.signature(function).parameters.values())[bool(inits) :]  # no self
        named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        if required is None:
            required = [p.name for p in named if p.default is p.empty]
        known |= {p.name for p in named}
        root = function.__module__.endswith(("layers.layer", "optimizers.base_optimizer"))
        if root or all(p.kind is not p.VAR_KEYWORD for p in parameters):
            return known, required  # the **kwargs of Keras's roots only serve old spellings
    return (None if inits else known), required or []


def _reason(error: Exception) -> str:
    """The library's message, shortened to what was expected and received."""
    if isinstance(error.__cause__, ValidationError):  # albumentations checks with pydantic
        first = error.__cause__.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        return f"{name}: {first['msg']}, received {received(first['input'])}".removeprefix(": ")
    return " ".join(str(error).split())
