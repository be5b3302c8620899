"""Names, inputs, repeats and blocks -> a flat list, by hand."""

from pathlib import Path
from typing import Any

import pytest

from tests.config.test_load import mistakes
from tests.conftest import SMALL
from trainer.config import graph
from trainer.config.tree import parse, plain


def expand(text: str) -> graph.Graph:
    return graph.expand(plain(parse(text, str)), "layers")


def flat(text: str) -> list[tuple[Any, ...]]:
    """(kind, name, arguments, inputs) of each layer."""
    found = expand(text)
    assert not found.mistakes
    return [
        (each.call.name, each.name, dict(each.call.arguments), each.inputs) for each in found.layers
    ]


def wrong(text: str) -> list[str]:
    return [str(each) for each in expand(text).mistakes]


def test_one_after_the_other() -> None:
    assert flat("layers: [Flatten, {Dense: {units: 3}}]") == [
        ("Flatten", "", {}, (-1,)),
        ("Dense", "", {"units": 3}, (0,)),
    ]


def test_inputs_by_name() -> None:
    text = """
    layers:
      - Dense: {units: 4, name: a}
      - Dense: {units: 5, name: b, inputs: input}
      - Concatenate: {inputs: [b, a, input]}
    """
    assert flat(text) == [
        ("Dense", "a", {"units": 4}, (-1,)),
        ("Dense", "b", {"units": 5}, (-1,)),
        ("Concatenate", "", {}, (1, 0, -1)),
    ]


def test_copies_follow_one_another_and_the_plain_name_is_the_last() -> None:
    text = """
    layers:
      - Dense: {units: 4, name: a, repeat: 2, inputs: input}
      - Dropout: {rate: 0.5, repeat: 2}
      - Dense: {units: 4, name: b, repeat: [2, 3]}
      - Add: {inputs: [a, a1, b]}
    """
    assert [(name, inputs) for _, name, _, inputs in flat(text)] == [
        ("a1", (-1,)),
        ("a2", (0,)),
        ("", (1,)),
        ("", (2,)),
        ("b2", (3,)),
        ("b3", (4,)),
        ("", (1, 0, 5)),
    ]


RESIDUAL = """
    blocks:
      residual:
        defaults: {rate: 0.5}
        layers:
          - Dense: {units: $units, name: wide}
          - Dropout: {rate: $rate}
          - Dense: {units: 4, name: grown}
          - Add: {inputs: [input, grown], name: sum}
"""


def test_a_block_brings_its_name_input_and_defaults() -> None:
    text = """
    layers:
      - Flatten: {name: flat}
      - residual: {units: 4, name: first}
      - residual: {units: 5, rate: 0.1, inputs: flat, name: last}
      - Add: {inputs: [first, last, first_wide]}
      - Dense: {units: $classes}
    """
    assert flat(RESIDUAL + text) == [
        ("Flatten", "flat", {}, (-1,)),
        ("Dense", "first_wide", {"units": 4}, (0,)),
        ("Dropout", "", {"rate": 0.5}, (1,)),
        ("Dense", "first_grown", {"units": 4}, (2,)),
        ("Add", "first_sum", {}, (0, 3)),
        ("Dense", "last_wide", {"units": 5}, (0,)),
        ("Dropout", "", {"rate": 0.1}, (5,)),
        ("Dense", "last_grown", {"units": 4}, (6,)),
        ("Add", "last_sum", {}, (0, 7)),
        ("Add", "", {}, (4, 8, 1)),
        ("Dense", "", {"units": "$classes"}, (9,)),
    ]  # fmt: skip


def test_where_a_layer_stands_and_where_its_block_is_used() -> None:
    layers = expand(RESIDUAL + "    layers: [Flatten, {residual: {units: 4}}]").layers
    assert [(each.where, each.use) for each in layers] == [
        ("model.layers[0]", "model.layers[0]"),
        ("model.blocks.residual.layers[0]", "model.layers[1]"),
        ("model.blocks.residual.layers[1]", "model.layers[1]"),
        ("model.blocks.residual.layers[2]", "model.layers[1]"),
        ("model.blocks.residual.layers[3]", "model.layers[1]"),
    ]


def test_names_inside_a_block_without_a_name_stay_inside() -> None:
    text = RESIDUAL + "    layers: [{residual: {units: 4, repeat: 2}}, Flatten]"
    assert [(name, inputs) for _, name, _, inputs in flat(text)] == [
        ("", (-1,)), ("", (0,)), ("", (1,)), ("", (-1, 2)),
        ("", (3,)), ("", (4,)), ("", (5,)), ("", (3, 6)), ("", (7,)),
    ]  # fmt: skip


def test_blocks_in_blocks_and_names_as_arguments() -> None:
    """As in a ResNet: the first of a stage has another shortcut; names are looked up outwards."""
    text = """
    blocks:
      unit:
        defaults: {shortcut: input}
        layers:
          - Dense: {units: $units, name: grown}
          - Add: {inputs: [$shortcut, grown], name: sum}
      stage:
        layers:
          - Dense: {units: $units, name: block1_0}
          - unit: {units: $units, name: block1, inputs: input, shortcut: block1_0}
          - unit: {units: $units, name: block, repeat: [2, $count]}
          - Add: {inputs: [input, block, before]}
    layers:
      - Flatten: {name: before}
      - stage: {units: 4, count: 3, name: one}
    """
    assert flat(text) == [
        ("Flatten", "before", {}, (-1,)),
        ("Dense", "one_block1_0", {"units": 4}, (0,)),
        ("Dense", "one_block1_grown", {"units": 4}, (0,)),
        ("Add", "one_block1_sum", {}, (1, 2)),
        ("Dense", "one_block2_grown", {"units": 4}, (3,)),
        ("Add", "one_block2_sum", {}, (3, 4)),
        ("Dense", "one_block3_grown", {"units": 4}, (5,)),
        ("Add", "one_block3_sum", {}, (5, 6)),
        ("Add", "", {}, (0, 7, 0)),
    ]


def test_parameters_at_any_depth_of_an_argument() -> None:
    text = """
    blocks:
      a: {layers: [{Conv2D: {filters: 3, kernel_size: [1, $size], kernel_regularizer: {L2: {l2: $l2}}}}]}
    layers: [{a: {size: 5, l2: 0.1}}]
    """
    [(_, _, arguments, _)] = flat(text)
    assert arguments["kernel_size"] == [1, 5]
    assert arguments["kernel_regularizer"] == {"L2": {"l2": 0.1}}


BLOCKS = """
    blocks:
      a: {layers: [{b: {}}]}
      b: {layers: [a]}
      one: {defaults: {rate: 1}, layers: [{Dense: {units: $units, name: d}}, {Dropout: {rate: $rate}}]}
"""


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("{Add: {inputs: [flt, input]}}", "model.layers[1].Add.inputs: no layer above is called 'flt'\n  did you mean 'flat'?"),
        ("{Add: {inputs: [end, input]}}", "model.layers[1].Add.inputs: 'end' is only made further down\n  a layer can take those above it"),
        ("{Add: {inputs: 3}}", "model.layers[1].Add.inputs: expected a name or a list of names, received 3"),
        ("{Add: {inputs: []}}", "model.layers[1].Add.inputs: expected a name or a list of names, received a list of 0"),
        ("{Dense: {name: flat}}", "model.layers[1].Dense.name: two layers are called 'flat'\n  the other is model.layers[0]"),
        ("{Dense: {name: input}}", "model.layers[1].Dense.name: 'input' is the name of the input itself"),
        ("{Dense: {name: 3}}", "model.layers[1].Dense.name: expected text without '/', received 3"),
        ("{Dense: {repeat: 0}}", "model.layers[1].Dense.repeat: expected a number of copies, received 0\n  write repeat: 3, or repeat: [2, 4] for copies numbered 2 to 4"),
        ("{Dense: {repeat: [3, 2]}}", "model.layers[1].Dense.repeat: expected a number of copies, received a list of 2\n  write repeat: 3, or repeat: [2, 4] for copies numbered 2 to 4"),
        ("{Dense: {repeat: 20000}}", "model.layers[1].Dense.repeat: more than 10,000 layers"),
        ("{Add: {repeat: 2, inputs: [flat, input]}}", "model.layers[1].Add.repeat: each copy takes the one before, so Add cannot take several inputs"),
        ("{Dense: {inputs: input}}", "model.layers[0].Flatten: nothing takes the output of flat\n  name it in the inputs of a layer below, or remove it"),
        ("a", "model.blocks.b.layers[0].a: the block uses itself: a -> b -> a"),
        ("{one: {rate: 3}}", "model.layers[1].one: one needs 'units'\n  write one: {units: …}"),
        ("{one: {unit: 3, units: 3}}", "model.layers[1].one.unit: one has no argument 'unit'\n  did you mean 'units'?"),
        ("{one: {units: 3, inputs: [flat, input]}}", "model.layers[1].one.inputs: a block takes one input, received 2\n  join them before it, or give their names as arguments: inputs: [input, $other]"),
        ("{oen: {units: 3}}", "model.layers[1].oen: no block is called 'oen'\n  did you mean 'one'?"),
        ("{One: {units: 3}}", "model.layers[1].One: no block is called 'One'\n  did you mean 'one'?"),
        ("{one: {units: 3, name: x}}, {Dense: {name: x_d}}", "model.layers[2].Dense.name: two layers are called 'x_d'\n  the other is model.blocks.one.layers[0]"),
    ],
)  # fmt: skip
def test_mistakes(layers: str, message: str) -> None:
    text = f"    layers: [{{Flatten: {{name: flat}}}}, {layers}, {{Dense: {{name: end}}}}]"
    assert wrong(BLOCKS + text) == [message]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("Res: {layers: [Flatten]}", "model.blocks.Res: 'Res' cannot be the name of a block\n  so that it is not taken for a layer of Keras: lower case, as in bottleneck"),
        ("res: {layers: [Flatten], defaults: {unit: 3}}", "model.blocks.res.defaults.unit: no layer of res has $unit"),
        ("res: {layers: [{Dense: {units: $name}}]}", "model.blocks.res: $name cannot be a parameter: name is given to any layer"),
    ],
)  # fmt: skip
def test_mistakes_of_blocks(block: str, message: str) -> None:
    [found] = wrong(f"blocks: {{{block}}}\nlayers: [Flatten]")
    assert found.startswith(message)


def test_a_mistake_in_a_block_is_said_once() -> None:
    text = """
    blocks: {one: {layers: [{Dense: {units: $units, inputs: nope}}]}}
    layers: [{one: {units: 3, repeat: 4}}, {one: {units: 5}}]
    """
    assert wrong(text) == [
        "model.blocks.one.layers[0].Dense.inputs: no layer above is called 'nope'\n  expected one of: input"
    ]


def test_nested_repeats_end() -> None:
    text = """
    blocks:
      a: {layers: [{Dense: {repeat: 1000}}]}
      b: {layers: [{a: {repeat: 1000}}]}
    layers: [{b: {repeat: 1000}}]
    """
    assert wrong(text) == ["model.layers: more than 10,000 layers"]


@pytest.mark.parametrize("last", ["[]", "[{Dense: {units: $units}}]"])
def test_blocks_that_never_come_to_a_layer_end_too(last: str) -> None:
    doubled = "".join(f"b{n}: {{layers: [b{n + 1}, b{n + 1}]}}, " for n in range(30))
    found = wrong(f"blocks: {{{doubled} b30: {{layers: {last}}}}}\nlayers: [b0]")
    assert found[-1] == "model.layers: more than 10,000 layers"


def test_blocks_in_blocks_end() -> None:
    chain = "".join(f"b{n}: {{layers: [b{n + 1}]}}, " for n in range(1500))
    assert wrong(f"blocks: {{{chain} b1500: {{layers: [ReLU]}}}}\nlayers: [b0]") == [
        "model.blocks.b49.layers[0].b50: blocks stand in blocks more than 50 deep"
    ]


def test_an_import_path_is_no_misspelt_block() -> None:
    text = "blocks: {conv: {layers: [ReLU]}}\nlayers: [nets.conv]"
    assert flat(text) == [("nets.conv", "", {}, (-1,))]


def in_file(model: str) -> str:
    return SMALL[: SMALL.index("  kind: layers")] + model + SMALL[SMALL.index("training:") :]


def test_mistakes_have_their_lines(tmp_path: Path) -> None:
    text = in_file("""\
  kind: layers
  blocks:
    one:
      default: {units: 3}
      layers:
        - Dense: {units: $units}
    two: 3
  layers:
    - one: {units: 3}
    - Add: {inputs: [nope, input]}
""")
    assert mistakes(tmp_path, text) == [
        "c.yaml:14: model.blocks.one.default: unknown key 'default'\n  did you mean 'defaults'?",
        "c.yaml:17: model.blocks.two: expected a mapping of `key: value`, received 3",
        "c.yaml:20: model.layers[1].Add.inputs: no layer above is called 'nope'\n  expected one of: input",
    ]


def test_overrides_reach_into_blocks(tmp_path: Path) -> None:
    text = in_file("""\
  kind: layers
  blocks:
    one: {layers: [{Dense: {units: $units}}]}
  layers: [Flatten, {one: {units: 3}}, {Dense: {units: $classes}}]
""")
    assert mistakes(tmp_path, text) == []
    assert mistakes(tmp_path, text, "model.layers[1].one.units=5") == []
    assert mistakes(tmp_path, text, "model.layers[1].one.unitz=5") == [
        "--set model.layers[1].one.unitz=5: model.layers[1].one.unitz: one has no argument 'unitz'\n  did you mean 'units'?"
    ]
    replaced = "model.layers[1]={Dense: {units: 4}}"  # the block's arguments go with the block
    assert mistakes(tmp_path, text, replaced) == []
    assert mistakes(tmp_path, text, "model.layers[2]={one: {units: $classes}}") == []
    assert mistakes(tmp_path, text, "model.blocks.one.layers[0].Dense.name=3") == [
        "--set model.blocks.one.layers[0].Dense.name=3: model.blocks.one.layers[0].Dense.name: expected text without '/', received 3"
    ]
