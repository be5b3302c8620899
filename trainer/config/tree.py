"""YAML text -> a tree of Nodes, each knowing its place; trees laid over trees. The only file that
imports yaml.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from trainer.config.mistakes import join
from trainer.errors import UserError, received, suggestion

MAX_NODES = 100_000  # aliases can write a billion values in nine lines
MAX_DEPTH = 50
# What a file should be -> where some are.
EXAMPLES = {"config": "configs/", "recipe": "datasets/", "search": "configs/"}


class Node(NamedTuple):
    """A value of the YAML and where it was written (`file:line`, or the `--set` itself)."""

    value: Any  # dict[str, Node] | list[Node] | str | int | float | bool | None
    place: str


# --- read and write -----------------------------------------------------------------------------


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


def dump(value: Any) -> str:
    """YAML text of plain values, one key per line."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=100)


def line(value: Any) -> str:
    """YAML text of plain values as one line, `{kind: folder, path: pictures}`."""
    options: dict[str, Any] = {
        "default_flow_style": True, "width": float("inf"), "allow_unicode": True
    }  # fmt: skip
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, **options)
    return text.strip().removesuffix("\n...")  # PyYAML ends plain scalars so


_YAML_HINTS = (
    ("\\t", "indent with spaces, not tabs"),
    ("<block end>", "look at the indentation here and above: one section, one column"),
    ("mapping values", "look at the indentation here and above: one section, one column"),
    ("',' or '", "a bracket or brace is not closed"),
)


def read(path: Path, what: str, above: tuple[Path, ...] = ()) -> Node:
    """The tree of a file, laid over the one it extends.

    Args:
        what: what the file should be, `config` or `recipe`, for the message if it is no mapping.
        above: the files that extend it.

    Raises: UserError for what cannot be read, is no plain YAML or no mapping.
    """
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
    tree = parse(text, lambda line: f"{path}:{line}")
    if not isinstance(tree.value, dict):
        raise UserError(
            where,
            f"expected the sections of a {what}, received {received(plain(tree))}",
            f"start from one of the files in {EXAMPLES[what]}",
        )
    base = tree.value.pop("extends", None)
    if base is None:
        return tree
    if not isinstance(base.value, str):
        raise UserError(
            "extends", f"expected a file, received {received(plain(base))}", "", base.place
        )
    parent = (path.parent / base.value).resolve()
    if not parent.is_file():
        raise UserError(
            "extends", f"no such file: {parent}", "the path is relative to this file", base.place
        )
    return overlay(read(parent, what, (*above, path)), tree)


def parse(text: str, place: Callable[[int], str]) -> Node:
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


# --- overlay ----------------------------------------------------------------------------------


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


def _is_call(value: dict[str, Any]) -> bool:
    return len(value) == 1 and all(key[:1].isupper() or "." in key for key in value)


def _into_list(base: Node, top: Node) -> Node:
    items = list(base.value)
    for key, node in top.value.items():
        if not re.fullmatch(r"\[\d+\]", key):
            return top
        index = int(key[1:-1])
        if index >= len(items):
            raise UserError("", f"no item {key} in a list of {len(items)}", "", node.place)
        items[index] = node if _is_other(items[index], node) else overlay(items[index], node)
    return Node(items, base.place)


def _is_other(base: Node, top: Node) -> bool:
    """Whether both are calls with arguments, of different names; in a list that holds for blocks of
    layers too, whose names are in lower case."""
    mappings = [each.value for each in (base, top) if isinstance(each.value, dict)]
    calls = [each for each in mappings if [type(node.value) for node in each.values()] == [dict]]
    return len({name for call in calls for name in call}) == 2


def overrides(texts: Sequence[str]) -> Node:
    """All `path=value` texts as one tree, so that their order does not matter.

    Raises: UserError for a text of another form.
    """
    tree = Node({}, "--set")
    for text in texts:
        path, equals, value = text.partition("=")
        keys = re.findall(r"\[\d+\]|[^.\[\]]+", path)
        if not equals or not keys:
            raise UserError(
                "", "expected path=value", "as in --set training.epochs=3", f"--set {text}"
            )
        node = parse(value, lambda _, text=text: f"--set {text}")  # type: ignore[misc]
        for key in reversed(keys):
            node = Node({key: node}, f"--set {text}")
        tree = overlay(tree, node)
    return tree


# --- what a tree holds --------------------------------------------------------------------------


def differences(one: Any, other: Any, where: str = "") -> Iterator[str]:
    """The paths of what is not equal in two plain values."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in {**one, **other}:
            yield from differences(one.get(key), other.get(key), join(where, key))
    elif one != other:
        yield where


def apart(values: Sequence[Any], where: str = "") -> Iterator[tuple[str, list[Any]]]:
    """(path, the value of each; None where it has none) for what is not equal in all of several
    plain values. Calls of different names and lists of different lengths are not looked into."""
    if all(each == values[0] for each in values):
        return
    if all(isinstance(each, dict) for each in values):
        keys = list(dict.fromkeys(key for each in values for key in each))
        if len(keys) == 1 or not all(map(_is_call, values)):
            for key in keys:
                yield from apart([each.get(key) for each in values], join(where, key))
            return
    lengths = {len(each) if isinstance(each, list | tuple) else None for each in values}
    if len(lengths) == 1 and lengths != {None}:
        for index, items in enumerate(zip(*values, strict=True)):
            yield from apart(items, f"{where}[{index}]")
        return
    yield where, list(values)


def plain(node: Node) -> Any:
    """The values alone."""
    if isinstance(node.value, dict):
        return {key: plain(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    return node.value


def places(node: Node, where: str = "") -> Iterator[tuple[str, str]]:
    """(path in the tree, where it was written) of every value, in the order of the file."""
    yield where, node.place
    if isinstance(node.value, dict):
        for key, item in node.value.items():
            yield from places(item, join(where, key))
    if isinstance(node.value, list):
        for index, item in enumerate(node.value):
            yield from places(item, f"{where}[{index}]")


def nearest(where: str, places: Mapping[str, str]) -> str:
    """The path itself, or the nearest part above it that was written."""
    while where not in places:
        where = where[: max(where.rfind("."), where.rfind("["), 0)]
    return where
