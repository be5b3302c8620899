"""YAML files and `--set` overrides -> one Config, or every mistake in them with its line.

Three steps: read (text -> tree of Nodes, each knowing its place), overlay (`extends`, then
`--set`), both in `tree.py`; then validate (tree -> Config), here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from trainer.config import Config, tree
from trainer.config.base import Call, Names, Placed, Section
from trainer.config.mistakes import humane, join, merged
from trainer.errors import UserError, leaves

# (where in the config, package the name belongs to, the call) -> its mistakes
Check = Callable[[str, str, Call], Iterable[UserError]]

AnySection = TypeVar("AnySection", bound=Section)


def load(path: Path, overrides: Sequence[str] = (), check: Check | None = None) -> Config:
    """The Config of a file, `extends` followed and overrides (`training.epochs=3`) laid over it.

    Args:
        check: looks at every Call for unknown names; `trainer.objects.mistakes` in earnest.

    Raises: ExceptionGroup of UserError with all the mistakes, or one UserError.
    """
    root = tree.overlay(tree.read(path, "config"), tree.overrides(overrides))
    return _validated(root, Config, path, check)


def read(path: Path, section: type[AnySection], check: Check | None = None) -> AnySection:
    """The section that a file of its own describes, such as a recipe or a search.

    Args:
        check: as for `load`.

    Raises: as `load`.
    """
    root = tree.read(path, section.__name__.lower())
    return _validated(root, section, path, check)


def dump(config: Config) -> str:
    """YAML text with every default written out; loading it gives an equal Config."""
    return tree.dump(config.model_dump())


@contextmanager
def located(config: Placed) -> Iterator[None]:
    """Whatever UserErrors leave the block say in which file and line their config path stands."""
    try:
        yield
    except* UserError as group:
        found = [
            _located(error, config._places, type(config)) if error.where else error
            for error in leaves(group)
        ]
        raise ExceptionGroup("located", found) from None


def calls(kind: Any, value: Any, where: str = "") -> Iterator[tuple[str, str, Call] | UserError]:
    """(where, package, call) for every Call that the type `kind` expects in the plain `value`, and
    the mistakes that a section finds in its calls by itself.

    Walks the annotations, not the validated object: a mistake elsewhere hides no name.
    """
    if get_origin(kind) is Annotated:
        inner, *notes = get_args(kind)
        for note in notes:
            if isinstance(note, Names):
                with suppress(ValueError):  # not a call at all: the validation says so
                    yield where, note.package, Call.parse(value)
                return
        yield from calls(inner, value, where)
    elif get_origin(kind) is tuple and isinstance(value, list):
        for index, item in enumerate(value):
            yield from calls(get_args(kind)[0], item, f"{where}[{index}]")
    elif isinstance(kind, type) and issubclass(kind, Section) and isinstance(value, dict):
        hints = get_type_hints(kind, include_extras=True)
        if "kind" in hints and value.get("kind") not in get_args(hints["kind"]):
            return  # another member of the union
        for key in value:
            if key in hints:
                yield from calls(hints[key], value[key], join(where, key))
        yield from kind.inside(value, where)
    else:
        for member in get_args(kind):
            yield from calls(member, value, where)


def named(config: Config) -> Iterator[tuple[str, str, Call]]:
    """(where, package, call) for every Call of a config."""
    for each in calls(Config, config.model_dump(mode="json")):
        if not isinstance(each, UserError):  # none: it was loaded
            yield each


def _validated(
    root: tree.Node, section: type[AnySection], path: Path, check: Check | None = None
) -> AnySection:
    """The section, or an ExceptionGroup of all the mistakes in the order of the file."""
    places = dict(tree.places(root))
    value = tree.plain(root)
    mistakes: list[UserError] = []
    found = None
    try:
        found = section.model_validate(value)
    except ValidationError as error:
        details = [each for each in error.errors(include_url=False) if not _is_echo(each)]
        mistakes = merged([humane(each, section, value) for each in details])
    for each in calls(section, value):
        if isinstance(each, UserError):
            mistakes.append(each)
        elif check:
            mistakes += check(*each)
    if found is None or mistakes:
        order = list(places)
        mistakes = [*{str(each): each for each in mistakes}.values()]  # a block is used twice
        mistakes.sort(key=lambda mistake: order.index(tree.nearest(mistake.where, places)))
        raise ExceptionGroup(str(path), [_located(each, places, section) for each in mistakes])
    if isinstance(found, Placed):
        found._places.update(places)
    return found


def _is_echo(detail: ErrorDetails) -> bool:
    """A list that is too short only because pydantic left out an item with a mistake of its own."""
    if detail["type"] != "too_short":
        return False
    return len(detail["input"]) >= detail["ctx"]["min_length"]


def _located(error: UserError, places: Mapping[str, str], section: type[Section]) -> UserError:
    """The error with the place of its path in the section."""
    nearest = tree.nearest(error.where, places)
    key = error.where.partition(".")[0]
    if error.place or (key and not nearest and key not in section.model_fields):
        return error  # not about the config: a file, say
    return UserError(error.where, error.problem, error.hint, places[nearest])
