"""Call -> object of Keras, albumentations or the user. Only here does a name become an import.

Arguments pass straight through, so a new layer or transform of the libraries needs no change here.
Nothing is imported before the first call is looked at.
"""

import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trainer.config.base import COMPUTED, FUNCTION, Call
from trainer.errors import UserError, received, suggestion

# Arguments that take an object of another package; `*_initializer` by what follows the underscore.
NESTED = {
    "learning_rate": "keras.optimizers.schedules",
    "inner_optimizer": "keras.optimizers",
    "layer": "keras.layers",
    "initializer": "keras.initializers",
    "regularizer": "keras.regularizers",
    "constraint": "keras.constraints",
    "wrapped_pruner": "optuna.pruners",
    "base_sampler": "optuna.samplers",
    "transforms": "albumentations",
}


# Where the library does not look up text itself.
WHOLE = ("layer", "inner_optimizer", "wrapped_pruner", "base_sampler")

FUNCTIONS = ("keras.applications",)  # offer functions, not classes

# What a made object must be; losses may be functions.
BASES = {
    "keras.layers": "Layer",
    "keras.optimizers": "Optimizer",
    "keras.optimizers.schedules": "LearningRateSchedule",
    "keras.metrics": "Metric",
    "keras.callbacks": "Callback",
    "optuna.samplers": "BaseSampler",
    "optuna.pruners": "BasePruner",
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
    here = f"{where}.{call.name}"
    bound = bind(call, package, where, values)
    try:
        found = bound()
    except Exception as error:  # a class of the library or the user's may raise whatever it likes
        raise UserError(here, f"refused by {package}: {reason(error)}") from None
    base = BASES.get(package)
    if base and not isinstance(found, getattr(import_module(package), base)):
        raise UserError(here, f"is no {package}.{base}")
    return found


def bind(
    call: Call, package: str, where: str, values: Mapping[str, int] | None = None
) -> "partial[Any]":
    """What the name of a Call stands for, with its arguments, yet to be called.

    Args, Raises: as `make`.
    """
    wrong = list(mistakes(where, package, call))
    if wrong:
        raise ExceptionGroup(where, wrong)
    here, inside = _places(where, package, call.name)
    arguments = {
        name: _resolved(name, value, f"{inside}.{name}", values or {})
        for name, value in call.arguments.items()
    }
    return partial(_find(call.name, package, here), **arguments)


def mistakes(where: str, package: str, call: Call) -> Iterator[UserError]:
    """Unknown names, unknown or missing arguments and unknown `$values`, in nested calls too."""
    here, inside = _places(where, package, call.name)
    try:
        target = _find(call.name, package, here)
    except UserError as error:
        yield error
        return
    known, required = _arguments(target, given=2 if package == FUNCTION else 0)
    for name, value in call.arguments.items():
        if known is not None and name not in known:
            hint = suggestion(name, known)
            yield UserError(f"{inside}.{name}", f"{call.name} has no argument '{name}'", hint)
        else:
            yield from _nested_mistakes(name, value, f"{inside}.{name}")
    missing = [name for name in required if name not in call.arguments]
    if missing:
        names = " and ".join(f"'{name}'" for name in missing)
        hint = f"write {call.name}: {{{', '.join(f'{name}: …' for name in missing)}}}"
        yield UserError(here, f"{call.name} needs {names}", hint)


def own_modules(calls: Iterable[tuple[str, str, Call]]) -> dict[str, Path]:
    """The user's own modules that the calls name (with those inside them), and what these import
    from the working directory: import path -> source file, sorted.

    Args:
        calls: of a config, as `trainer.config.load.named` gives them.

    Raises: UserError for what cannot be imported.
    """
    found: dict[str, Path] = {}
    waiting: list[str] = []
    for where, package, call in calls:
        for name in filter(lambda name: "." in name, _names(call)):
            _find(name, package, where)
            waiting.append(name.rpartition(".")[0])
    named = set(waiting)
    while waiting:
        module = sys.modules.get(waiting.pop() or "")
        file = getattr(module, "__file__", None)
        if module is None or file is None or module.__name__ in found:
            continue
        if module.__name__ in named or _is_here(Path(file)):
            found[module.__name__] = Path(file)
            waiting += [
                value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", "")
                for value in vars(module).values()
            ]
    return dict(sorted(found.items()))


def look_in(folder: Path) -> None:
    """The user's own modules are found there too, where they are found nowhere else."""
    for place in (str(Path.cwd()), str(folder.absolute())):  # in this order
        if place not in sys.path:
            sys.path.append(place)


def _names(call: Call) -> Iterator[str]:
    yield call.name
    for name, value in call.arguments.items():
        for _, inner in _inside(name, value, ""):
            yield from _names(inner)


def _is_here(file: Path) -> bool:
    """Whether it lies in the working directory, and not in an environment there."""
    file = file.resolve()
    here = file.is_relative_to(Path.cwd().resolve())
    return here and not file.is_relative_to(sys.prefix) and "site-packages" not in file.parts


def _places(where: str, package: str, name: str) -> tuple[str, str]:
    """The paths of a call's name and of its arguments in the config."""
    if package == FUNCTION:
        return f"{where}.function", f"{where}.arguments"
    return f"{where}.{name}", f"{where}.{name}"


def _nested_mistakes(name: str, value: Any, where: str) -> Iterator[UserError]:
    try:
        inside = list(_inside(name, value, where))
    except ValueError as error:
        yield UserError(where, str(error))
        return
    for inner_where, inner in inside:
        yield from mistakes(inner_where, NESTED[_kind(name)], inner)
    if inside:
        return
    for inner_where, text in _texts(value, where):
        if text.startswith("$") and text not in COMPUTED:
            yield UserError(inner_where, f"unknown value '{text}'", suggestion(text, COMPUTED))


def _texts(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """(where, text) of all texts at any depth."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{where}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, f"{where}.{key}")


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
    if isinstance(value, dict):
        return {key: _resolved("", item, f"{where}.{key}", values) for key, item in value.items()}
    return value


def _kind(argument: str) -> str:
    return argument if argument in NESTED else argument.rpartition("_")[2]


def _find(name: str, package: str, here: str) -> Any:
    """The class, or function, of that name. Raises UserError at the path `here`."""
    if "." in name or package == FUNCTION:
        return _imported(name, here, "function" if package == FUNCTION else "class")
    module = import_module(package)
    fits = inspect.isfunction if package in FUNCTIONS else inspect.isclass
    found = getattr(module, name, None)
    if fits(found):
        return found
    names = [each for each in dir(module) if each[0].isupper() and fits(getattr(module, each))]
    raise UserError(here, f"{package} has no '{name}'", suggestion(name, names))


_IMPORTS = {"class": "mypackage.layers.Swirl", "function": "mypackage.nets.build"}


def _imported(path: str, here: str, kind: str) -> Any:
    """The user's own class or function, by its import path; the working directory counts as
    importable."""
    look_in(Path())
    module, _, name = path.rpartition(".")
    hint = f"write the import path of a {kind}, as in {_IMPORTS[kind]}"
    try:
        found = getattr(import_module(module), name)
    except Exception as error:  # the user's module may fail in any way
        raise UserError(here, f"cannot be imported: {error}", hint) from None
    if not callable(found):
        raise UserError(here, f"is no {kind}, but {type(found).__name__}", hint)
    return found


def _arguments(target: Any, given: int = 0) -> tuple[set[str] | None, list[str]]:
    """Known argument names, None for any, and those without a default.

    Keras layers end in **kwargs and hand them up, so the names are gathered along the hierarchy.

    Args:
        given: how many of the first ones are passed by position.
    """
    hierarchy = target.__mro__ if isinstance(target, type) else ()
    inits = [vars(each)["__init__"] for each in hierarchy[:-1] if "__init__" in vars(each)]
    known: set[str] = set()
    required: list[str] | None = None
    for function in inits or ([] if hierarchy else [target]):
        skipped = bool(inits) + given  # self
        parameters = list(inspect.signature(function).parameters.values())
        named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)][skipped:]
        if required is None:
            required = [p.name for p in named if p.default is p.empty]
        known |= {p.name for p in named}
        root = function.__module__.endswith(("layers.layer", "optimizers.base_optimizer"))
        if root or all(p.kind is not p.VAR_KEYWORD for p in parameters):
            return known, required  # the **kwargs of Keras's roots only serve old spellings
    return (None if inits or not hierarchy else known), required or []


def reason(error: Exception) -> str:
    """A library's message, shortened to what was expected and received."""
    if isinstance(error.__cause__, ValidationError):  # albumentations checks with pydantic
        first = error.__cause__.errors(include_url=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        return f"{name}: {first['msg']}, received {received(first['input'])}".removeprefix(": ")
    return " ".join(str(error).split())
