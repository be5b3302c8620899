"""YAML files and `--set` overrides -> one Config, or every mistake in them with its line.

Three steps: read (text -> tree of Nodes, each knowing its place), overlay (`extends`, then
`--set`), validate (tree -> Config). The only file that imports yaml.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import yaml
from pydantic import ValidationError

from trainer.config import Config
from trainer.config.base import Call, Names, Section
from trainer.config.mistakes import humane, join
from trainer.errors import UserError, leaves, received, suggestion

MAX_NODES = 100_000  # aliases can write a billion values in nine lines
MAX_DEPTH = 50

# (where in the config, package the name belongs to, the call) -> its mistakes
Check = Callable[[str, str, Call], Iterable[UserError]]


class Node(NamedTuple):
    """A value of the YAML and where it was written (`file:line`, or the `--set` itself)."""

    value: Any  # dict[str, Node] | list[Node] | str | int | float | bool | None
    place: str


def load(path: Path, overrides: Sequence[str] = (), check: Check | None = None) -> Config:
    """The Config of a file, `extends` followed and overrides (`training.epochs=3`) laid over it.

    Args:
        check: looks at every Call for unknown names; `trainer.objects.mistakes` in earnest.

    Raises: ExceptionGroup of UserError with all the mistakes, or one UserError.
    """
    tree = overlay(_file(path, ()), _overrides(overrides))
    places = dict(_places(tree, ""))
    value = _plain(tree)
    mistakes: list[UserError] = []
    config = None
    try:
        config = Config.model_validate(value)
    except ValidationError as error:
        mistakes = [humane(detail, Config, value) for detail in error.errors(include_url=False)]
    for where, package, call in calls(Config, value) if check else ():
        mistakes += check(where, package, call)  # type: ignore[misc]
    if config is None or mistakes:
        order = list(places)
        mistakes.sort(key=lambda mistake: order.index(_nearest(mistake.where, places)))
        raise ExceptionGroup(str(path), [_located(each, places) for each in mistakes])
    config._places.update(places)
    return config


def dump(config: Config) -> str:
    """YAML text with every default written out; loading it gives an equal Config."""
    return yaml.dump(config.model_dump(), Dumper=_Dumper, sort_keys=False, width=100)


@contextmanager
def located(config: Config) -> Iterator[None]:
    """Whatever UserErrors leave the block say in which file and line their config path stands."""
    try:
        yield
    except* UserError as group:
        found = [
            _located(error, config._places) if error.where else error for error in leaves(group)
        ]
        raise ExceptionGroup("located", found) from None


def calls(kind: Any, value: Any, where: str = "") -> Iterator[tuple[str, str, Call]]:
    """(where, package, call) for every Call that the type `kind` expects in the plain `value`.

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
    else:
        for member in get_args(kind):
            yield from calls(member, value, where)


# --- read ---------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """The scalars of YAML 1.2: `1e-3` is a number; `no`, `on` and `12:30` are text."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own attribute)


class _Dumper(yaml.SafeDumper):
    """Quotes what _Loader would not read as text, such as '1e5'."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers

    def ignore_aliases(self, data: Any) -> bool:
        return True  # equal values that happen to be one object are written out


_SCALARS: dict[str, tuple[str, str, Callable[[str], Any]]] = {
    "null": (r"~|null|Null|NULL|", "~nN\0", lambda _: None),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF", lambda text: text.lower() == "true"),
    "int": (r"[-+]?[0-9]+", "-+0123456789", int),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
        lambda text: float(re.sub(r"^([-+]?)\.(inf|nan)$", r"\1\2", text.lower())),
    ),
    "str": (r"(?!)", "", str),
    "merge": (r"<<", "<", str),
}
for _name, (_pattern, _first, _) in _SCALARS.items():
    for _letter in _first:
        _Loader.yaml_implicit_resolvers.setdefault("" if _letter == "\0" else _letter, []).append(
            (f"tag:yaml.org,2002:{_name}", re.compile(f"^(?:{_pattern})$"))
        )


_YAML_HINTS = (
    ("\\t", "indent with spaces, not tabs"),
    ("<block end>", "look at the indentation here and above: one section, one column"),
    ("mapping values", "look at the indentation here and above: one section, one column"),
    ("',' or '", "a bracket or brace is not closed"),
)


def _file(path: Path, above: tuple[Path, ...]) -> Node:
    """The tree of a file laid over the one it extends."""
    where = str(path)
    if path in above:
        raise UserError(where, f"extends itself through {' -> '.join(map(str, above))}")
    try:
        text = path.read_text(encoding="utf-8")
    except IsADirectoryError:
        inside = path / "config.yaml"
        hint = f"did you mean {inside}?" if inside.is_file() else "give a YAML file"
        raise UserError(where, "is a folder", hint) from None
    except FileNotFoundError:
        near = sorted(str(other) for other in path.parent.glob("*.y*ml"))
        raise UserError(where, "no such file", suggestion(where, near) if near else "") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(where, f"cannot be read: {error}") from None
    tree = _text(text, lambda line: f"{path}:{line}")
    if not isinstance(tree.value, dict):
        raise UserError(
            where,
            f"expected the sections of a config, received {received(_plain(tree))}",
            "start from one of the files in configs/",
        )
    base = tree.value.pop("extends", None)
    if base is None:
        return tree
    if not isinstance(base.value, str):
        raise UserError(
            "extends", f"expected a file, received {received(_plain(base))}", "", base.place
        )
    parent = (path.parent / base.value).resolve()
    if not parent.is_file():
        raise UserError(
            "extends", f"no such file: {parent}", "the path is relative to this file", base.place
        )
    return overlay(_file(parent, (*above, path)), tree)


def _text(text: str, place: Callable[[int], str]) -> Node:
    """YAML text -> Nodes. Only plain values: a tag such as !!python/object is an error."""
    count = 0

    def convert(node: yaml.Node, depth: int, start: str) -> Node:
        nonlocal count
        count += 1
        if count > MAX_NODES or depth > MAX_DEPTH:
            raise UserError("", "too large or too deeply nested for a config", "", start)
        if isinstance(node, yaml.SequenceNode):
            return Node([convert(item, depth + 1, at(item)) for item in node.value], start)
        if isinstance(node, yaml.MappingNode):
            first: dict[str, str] = {}
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise UserError("", "a key must be plain text", "", at(key))
                if key.value in first:
                    hint = f"first in {first[key.value]}"
                    raise UserError(key.value, "the key stands twice", hint, at(key))
                first[key.value] = at(key)
            loader.flatten_mapping(node)  # `<<`: what was merged comes first, so that it gives way
            items = {key.value: convert(item, depth + 1, at(key)) for key, item in node.value}
            return Node(items, start)
        tag = node.tag.removeprefix("tag:yaml.org,2002:")
        if tag not in _SCALARS:
            raise UserError(
                node.tag, "tags are not allowed in a config", "write the plain value", start
            )
        return Node(_SCALARS[tag][2](node.value), start)

    def at(node: yaml.Node) -> str:
        return place(node.start_mark.line + 1)

    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        return Node(None, place(1)) if root is None else convert(root, 0, at(root))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        hint = next((way for part, way in _YAML_HINTS if part in str(error.problem)), "")
        line = mark.line + 1 if mark else 1
        raise UserError("", f"not valid YAML: {error.problem}", hint, place(line)) from None
    except RecursionError:
        raise UserError("", "too large or too deeply nested for a config", "", place(1)) from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError("", f"not valid YAML: {error}", "", place(1)) from None


# --- overlay ------------------------------------------------------------------------------------


def overlay(base: Node, top: Node) -> Node:
    """`top` laid over `base`: mappings merge key by key, anything else replaces.

    A mapping of another `kind`, or a call of another name, replaces too: the arguments of AdamW
    mean nothing to SGD. Keys such as `[2]` (from --set) reach into a list.
    """
    if isinstance(base.value, list) and isinstance(top.value, dict):
        return _into_list(base, top)
    if not isinstance(base.value, dict) or not isinstance(top.value, dict):
        return top
    kinds = [tree.value["kind"].value for tree in (base, top) if "kind" in tree.value]
    names = [next(iter(tree.value)) for tree in (base, top) if _is_call(tree.value)]
    if len(set(map(repr, kinds))) == 2 or len(set(names)) == 2:
        return top
    merged = dict(base.value)
    for key, node in top.value.items():
        merged[key] = overlay(merged[key], node) if key in merged else node
    return Node(merged, base.place)


def _is_call(value: dict[str, Node]) -> bool:
    return len(value) == 1 and all(key[:1].isupper() or "." in key for key in value)


def _into_list(base: Node, top: Node) -> Node:
    items = list(base.value)
    for key, node in top.value.items():
        if not re.fullmatch(r"\[\d+\]", key):
            return top
        index = int(key[1:-1])
        if index >= len(items):
            raise UserError("", f"no item {key} in a list of {len(items)}", "", node.place)
        items[index] = overlay(items[index], node)
    return Node(items, base.place)


def _overrides(texts: Sequence[str]) -> Node:
    """All `path=value` texts as one tree, so that their order does not matter."""
    tree = Node({}, "--set")
    for text in texts:
        path, equals, value = text.partition("=")
        keys = re.findall(r"\[\d+\]|[^.\[\]]+", path)
        if not equals or not keys:
            raise UserError(
                "", "expected path=value", "as in --set training.epochs=3", f"--set {text}"
            )
        node = _text(value, lambda _, text=text: f"--set {text}")  # type: ignore[misc]
        for key in reversed(keys):
            node = Node({key: node}, f"--set {text}")
        tree = overlay(tree, node)
    return tree


# --- validate -----------------------------------------------------------------------------------


def _plain(node: Node) -> Any:
    if isinstance(node.value, dict):
        return {key: _plain(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [_plain(item) for item in node.value]
    return node.value


def _places(node: Node, where: str) -> Iterator[tuple[str, str]]:
    yield where, node.place
    if isinstance(node.value, dict):
        for key, item in node.value.items():
            yield from _places(item, join(where, key))
    if isinstance(node.value, list):
        for index, item in enumerate(node.value):
            yield from _places(item, f"{where}[{index}]")


def _nearest(where: str, places: dict[str, str]) -> str:
    """The path itself, or the nearest part above it that was written."""
    while where not in places:
        where = where[: max(where.rfind("."), where.rfind("["), 0)]
    return where


def _located(error: UserError, places: dict[str, str]) -> UserError:
    """The error with the place of its config path."""
    nearest = _nearest(error.where, places)
    section = error.where.partition(".")[0]
    if error.place or (section and not nearest and section not in Config.model_fields):
        return error  # not about the config: a file, say
    return UserError(error.where, error.problem, error.hint, places[nearest])
