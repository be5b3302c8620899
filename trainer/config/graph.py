"""Layers with names, inputs, repeats and blocks -> one flat list in which each knows what it reads.

Nothing is built here: the YAML alone says what is connected to what, so mistakes show before Keras
is imported, and `trainer.model.layers` only makes the layers and calls them.
"""

import re
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from trainer.config.base import COMPUTED, Call
from trainer.config.mistakes import join
from trainer.errors import UserError, nearest, received, suggestion

INPUT = "input"  # of the network; inside a block, of the block
OURS = ("name", "inputs", "repeat")  # what an item takes besides the arguments of its layer
MAX_LAYERS = 10_000  # nested repeats can write a billion in nine lines
MAX_DEPTH = 50  # of blocks in blocks


class Placed(NamedTuple):
    """One Keras layer of the network."""

    where: str  # its item in the config: model.layers[3], model.blocks.bottleneck.layers[7]
    use: str  # the item of the outermost list that it comes from; the same outside of blocks
    name: str  # in full, `conv2_block1_add`; empty: Keras numbers it
    call: Call  # without name, inputs and repeat; parameters replaced by their values
    inputs: tuple[int, ...]  # whose outputs it takes, by their place in the list; -1: the input's


class Graph(NamedTuple):
    """What a list of items means; the last layer's output is the result."""

    layers: tuple[Placed, ...]
    mistakes: tuple[UserError, ...]


def expand(section: Mapping[str, Any], key: str, where: str = "model") -> Graph:
    """The layers of `section[key]`, those of its `blocks` in the place of each use.

    Args:
        section: plain YAML. What is no list of layers counts as none: the validation says so.
        where: the path of the section.
    """
    blocks = _mapping(section.get("blocks"))
    builder = _Builder({name: _block(value) for name, value in blocks.items()}, where)
    for name in blocks:
        builder.check_block(name)
    items = _items(section.get(key))
    scope = _Scope(ChainMap({INPUT: -1}), "", {}, (), _names(items))
    result = builder.place_list(items, join(where, key), -1, scope)
    if not builder.mistakes:  # they leave outputs unused
        builder.check_use(result)
    return Graph(tuple(builder.placed), tuple(_once(builder.mistakes)))


class _Block(NamedTuple):
    defaults: Mapping[str, Any]
    items: Sequence[Call | None]

    @property
    def parameters(self) -> list[str]:
        """The `$names` of its layers, in their order, without the dollar."""
        texts = (text for item in self.items if item for text in _texts(item.arguments))
        found = [text[1:] for text in texts if text[:1] == "$" and text not in COMPUTED]
        return list(dict.fromkeys(found))


class _Scope(NamedTuple):
    """What holds inside one list of items."""

    names: ChainMap[str, int]  # name -> place in the list; this list's own, then those outside
    prefix: str | None  # of full names; None: inside an unnamed block, where names stay inside
    values: Mapping[str, Any]  # of the block's parameters
    within: tuple[str, ...]  # the blocks that this list stands in, the outermost first
    all_names: set[str]  # of the list, those further down too


class _Builder:
    """The list as it grows, and what is wrong."""

    def __init__(self, blocks: Mapping[str, _Block], where: str) -> None:
        self.blocks, self.where = blocks, join(where, "blocks")
        self.placed: list[Placed] = []
        self.mistakes: list[UserError] = []
        self.use = ""
        self.visited = 0  # items and their copies, those without a layer too

    @property
    def full(self) -> bool:
        """Whether there are too many layers, or blocks that never come to one."""
        return max(len(self.placed), self.visited // 4) >= MAX_LAYERS

    def wrong(self, where: str, problem: str, hint: str = "") -> None:
        self.mistakes.append(UserError(where, problem, hint))

    def check_block(self, name: str) -> None:
        """A block's name, and the names of its parameters."""
        block, where = self.blocks[name], join(self.where, name)
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
            hint = "so that it is not taken for a layer of Keras: lower case, as in bottleneck"
            self.wrong(where, f"'{name}' cannot be the name of a block", hint)
        for key in (key for key in block.defaults if key not in block.parameters):
            hint = suggestion(key, block.parameters)
            self.wrong(f"{where}.defaults.{key}", f"no layer of {name} has ${key}", hint)
        for key in (key for key in block.parameters if key in OURS):
            self.wrong(where, f"${key} cannot be a parameter: {key} is given to any layer")

    def check_use(self, result: int) -> None:
        """A layer that leads to nothing would silently be left out of the network by Keras."""
        used = {index for each in self.placed for index in each.inputs} | {result}
        for index, each in enumerate(self.placed):
            if index not in used:
                problem = f"nothing takes the output{each.name and f' of {each.name}'}"
                hint = "name it in the inputs of a layer below, or remove it"
                self.wrong(f"{each.where}.{each.call.name}", problem, hint)

    def place_list(self, items: Sequence[Call | None], where: str, last: int, scope: _Scope) -> int:
        """Places the items, the first after `last`; returns the place of the last one."""
        for index, call in enumerate(items):
            if not scope.within:
                self.use = f"{where}[{index}]"
            if call and not self.full:
                last = self.place_item(call, f"{where}[{index}]", last, scope)
        if self.full and not scope.within:
            self.wrong(where, f"more than {MAX_LAYERS:,} layers")
        return last

    def place_item(self, call: Call, where: str, last: int, scope: _Scope) -> int:
        """Places a layer or block, as often as it is repeated; returns the place of the last."""
        here = f"{where}.{call.name}"
        self.visited += 1
        meant = self.misspelt(call.name)
        if meant:
            self.wrong(here, f"no block is called '{call.name}'", f"did you mean '{meant}'?")
            return last
        arguments = _filled(call.arguments, scope.values)
        name = self.name(arguments.pop("name", None), here)
        sources = self.sources(arguments.pop("inputs", None), here, last, scope)
        copies = self.copies(arguments.pop("repeat", None), here)
        if len(copies) > 1 and len(sources) > 1:
            problem = f"each copy takes the one before, so {call.name} cannot take several inputs"
            self.wrong(f"{here}.repeat", problem)
        for copy in copies:
            if self.full:
                break
            self.visited += 1
            own = name and name + copy
            if call.name in self.blocks:
                last = self.place_block(Call(call.name, arguments), where, own, sources, scope)
            else:
                full = "" if scope.prefix is None or not own else scope.prefix + own
                plain = Call(call.name, arguments)
                self.placed.append(Placed(where, self.use, full, plain, sources))
                last = len(self.placed) - 1
            sources = (last,)
            self.register(own, last, here, scope)
        if copies != [""]:
            self.register(name, last, here, scope)
        return last

    def place_block(
        self, call: Call, where: str, name: str, sources: tuple[int, ...], scope: _Scope
    ) -> int:
        """Places the layers of a block; returns the place of its last."""
        here, block = f"{where}.{call.name}", self.blocks[call.name]
        before = len(self.mistakes)
        if call.name in scope.within:
            path = " -> ".join((*scope.within[scope.within.index(call.name) :], call.name))
            self.wrong(here, f"the block uses itself: {path}")
        if len(scope.within) == MAX_DEPTH:
            self.wrong(here, f"blocks stand in blocks more than {MAX_DEPTH} deep")
        if len(sources) > 1:
            hint = "join them before it, or give their names as arguments: inputs: [input, $other]"
            self.wrong(f"{here}.inputs", f"a block takes one input, received {len(sources)}", hint)
        self.check_arguments(call, here)
        if len(self.mistakes) > before:
            return sources[0]
        names = scope.names.new_child({INPUT: sources[0]})
        prefix = None if scope.prefix is None or not name else f"{scope.prefix}{name}_"
        values = {**block.defaults, **call.arguments}
        all_names = _names(block.items)
        inner = _Scope(names, prefix, values, (*scope.within, call.name), all_names)
        path = f"{join(self.where, call.name)}.layers"
        result = self.place_list(block.items, path, sources[0], inner)
        for key, index in list(names.maps[0].items()) if name else ():
            if key != INPUT:  # so that a layer inside can be named from outside
                self.register(f"{name}_{key}", index, here, scope)
        return result

    def check_arguments(self, call: Call, here: str) -> None:
        """Unknown and missing arguments of a block."""
        block = self.blocks[call.name]
        for key in (key for key in call.arguments if key not in block.parameters):
            hint = suggestion(key, (*block.parameters, *OURS))
            self.wrong(f"{here}.{key}", f"{call.name} has no argument '{key}'", hint)
        given = {**block.defaults, **call.arguments}
        missing = [key for key in block.parameters if key not in given]
        if missing:
            names = " and ".join(f"'{key}'" for key in missing)
            hint = f"write {call.name}: {{{', '.join(f'{key}: …' for key in missing)}}}"
            self.wrong(here, f"{call.name} needs {names}", hint)

    def misspelt(self, name: str) -> str:
        """The block that is meant by a name that is none; other names are for Keras to know."""
        own = "." in name  # an import path
        if own or name in self.blocks or not (name.islower() or name.lower() in self.blocks):
            return ""
        return nearest(name, self.blocks)

    def name(self, value: Any, here: str) -> str:
        if value is None:
            return ""
        if not isinstance(value, str) or not value or "/" in value:
            self.wrong(f"{here}.name", f"expected text without '/', received {received(value)}")
            return ""
        if value == INPUT:
            self.wrong(f"{here}.name", "'input' is the name of the input itself")
            return ""
        return value

    def sources(self, value: Any, here: str, last: int, scope: _Scope) -> tuple[int, ...]:
        """The places of the layers that an item takes."""
        if value is None:
            return (last,)
        names = [value] if isinstance(value, str) else value
        if not names or not isinstance(names, list) or any(not isinstance(n, str) for n in names):
            problem = f"expected a name or a list of names, received {received(value)}"
            self.wrong(f"{here}.inputs", problem)
            return (last,)
        for name in names:
            if name in scope.names:
                continue
            if name in scope.all_names:
                hint = "a layer can take those above it"
                self.wrong(f"{here}.inputs", f"'{name}' is only made further down", hint)
            else:
                hint = suggestion(name, scope.names)
                self.wrong(f"{here}.inputs", f"no layer above is called '{name}'", hint)
        return tuple(scope.names.get(name, last) for name in names)

    def copies(self, value: Any, here: str) -> list[str]:
        """What is put after the name of each copy."""
        if value is None:
            return [""]
        bounds = [1, value] if not isinstance(value, list) else value
        whole = all(isinstance(each, int) and not isinstance(each, bool) for each in bounds)
        if len(bounds) != 2 or not whole or not 1 <= bounds[0] <= bounds[1]:
            hint = "write repeat: 3, or repeat: [2, 4] for copies numbered 2 to 4"
            problem = f"expected a number of copies, received {received(value)}"
            self.wrong(f"{here}.repeat", problem, hint)
            return [""]
        if bounds[1] > MAX_LAYERS:
            bounds = [1, 1]
            self.wrong(f"{here}.repeat", f"more than {MAX_LAYERS:,} layers")
        return [str(number) for number in range(bounds[0], bounds[1] + 1)]

    def register(self, name: str, index: int, here: str, scope: _Scope) -> None:
        own = scope.names.maps[0]
        if name and name in own:
            other = self.placed[own[name]].where if own[name] >= 0 else ""
            problem = f"two layers are called '{(scope.prefix or '') + name}'"
            self.wrong(f"{here}.name", problem, other and f"the other is {other}")
        elif name:
            own[name] = index


# --- plain YAML -----------------------------------------------------------------------------------


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _block(value: Any) -> _Block:
    value = _mapping(value)
    return _Block(_mapping(value.get("defaults")), _items(value.get("layers")))


def _items(value: Any) -> list[Call | None]:
    """Its calls; None for what is none."""

    def parsed(item: Any) -> Call | None:
        try:
            return Call.parse(item)
        except ValueError:
            return None

    return [parsed(item) for item in value] if isinstance(value, list | tuple) else []


def _names(items: Iterable[Call | None]) -> set[str]:
    found = (item.arguments.get("name") for item in items if item)
    return {name for name in found if isinstance(name, str)}


def _texts(value: Any) -> Iterator[str]:
    """All texts at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    """A copy with the parameters replaced by their values."""
    if isinstance(value, str) and value[:1] == "$":
        return values.get(value[1:], value)
    if isinstance(value, Mapping):
        return {key: _filled(item, values) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(item, values) for item in value]
    return value


def _once(mistakes: Iterable[UserError]) -> Iterator[UserError]:
    """Without the repetitions that a block used twice brings."""
    return iter({str(each): each for each in mistakes}.values())
