"""The picture of a network: nothing covers anything, and it says what the summary says."""

import re
from itertools import combinations, pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

from trainer.model import drawing, layout
from trainer.model.layout import Layout
from trainer.model.summary import Memory, Row, Summary

SIZE = (100.0, 40.0)


def arranged(count: int, edges: list[tuple[int, int]], tallest: float = 1e9) -> Layout:
    return layout.arrange([SIZE] * count, edges, tallest, 1.3)


def demand_clear(found: Layout, sizes: list[tuple[float, float]]) -> None:
    """No two boxes overlap, no line goes through the inside of a box, and what goes up between two
    columns comes from one box."""
    upward: dict[float, set[layout.Point]] = {}
    for line in found.lines:
        for (x, y), (_, to_y) in pairwise(line):
            if to_y < y:
                upward.setdefault(x, set()).add(line[0])
    assert all(len(sources) == 1 for sources in upward.values())
    boxes = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(found.corners, sizes, strict=True)]
    for (a, b, c, d), (e, f, g, h) in combinations(boxes, 2):
        assert c <= e + 0.01 or g <= a + 0.01 or d <= f + 0.01 or h <= b + 0.01
    for left, top, right, bottom in boxes:
        assert left >= -0.01
        assert top >= -0.01
        assert right <= found.size[0] + 0.01
        assert bottom <= found.size[1] + 0.01
    for line in found.lines:
        points = np.array([each for step in pairwise(line) for each in walked(*step)])
        for left, top, right, bottom in boxes:
            x, y = points.T
            inside = (x > left + 0.1) & (x < right - 0.1) & (y > top + 0.1) & (y < bottom - 0.1)
            assert not inside.any()


def walked(start: layout.Point, end: layout.Point) -> np.ndarray:
    """Points of the line as it is drawn: straight, or the curve from one x to another."""
    along = np.linspace(0, 1, 33)[:, None]
    a, d = np.array(start), np.array(end)
    if abs(a[0] - d[0]) < 0.5 or abs(a[1] - d[1]) < 0.5:
        return a + (d - a) * along
    b, c = np.array([a[0], (a[1] + d[1]) / 2]), np.array([d[0], (a[1] + d[1]) / 2])
    rest = 1 - along
    return a * rest**3 + 3 * b * rest**2 * along + 3 * c * rest * along**2 + d * along**3


def test_a_chain_is_a_straight_column() -> None:
    found = arranged(3, [(0, 1), (1, 2)])
    assert found.corners == ((0, 0), (0, 40 + layout.GAP), (0, 80 + 2 * layout.GAP))
    assert found.size == (100, 120 + 2 * layout.GAP)
    assert [line[0] + line[-1] for line in found.lines] == [
        (50, 40, 50, 40 + layout.GAP),
        (50, 80 + layout.GAP, 50, 80 + 2 * layout.GAP),
    ]


def test_a_long_connection_goes_around_and_leaves_the_chain_straight() -> None:
    edges = [(0, 1), (1, 2), (2, 3), (0, 3)]
    found = arranged(4, edges)
    demand_clear(found, [SIZE] * 4)
    lefts = [x for x, _ in found.corners]
    assert max(lefts) - min(lefts) < 0.5
    around = found.lines[edges.index((0, 3))]
    outside = around[2][0]
    assert outside < lefts[0] or outside > lefts[0] + 100


def test_branches_stand_side_by_side_and_meet_in_the_middle() -> None:
    found = arranged(5, [(0, 1), (0, 2), (0, 3), (1, 4), (2, 4), (3, 4)])
    (start, _), *branches, (end, _) = found.corners
    assert len({y for _, y in branches}) == 1
    steps = [right - left for left, right in pairwise(sorted(x for x, _ in branches))]
    assert steps == pytest.approx([100 + layout.APART] * 2)
    assert start == pytest.approx(end)
    assert start == pytest.approx(sorted(x for x, _ in branches)[1], abs=0.5)


def test_too_tall_a_graph_is_folded_where_one_line_goes_on() -> None:
    """Residual blocks of two boxes, an adding one after each."""
    edges, last = [], 0
    for first in range(1, 61, 3):
        edges += [(last, first), (first, first + 1), (first + 1, first + 2), (last, first + 2)]
        last = first + 2
    found = arranged(61, edges, tallest=500)
    demand_clear(found, [SIZE] * 61)
    width, height = found.size
    assert 0.7 < width / height < 2.6
    starts = [y for _, y in found.corners if y == min(each for _, each in found.corners)]
    assert len(starts) > 1  # columns begin at one height


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("tallest", [1e9, 300])
def test_any_graph_is_drawn_clearly(seed: int, tallest: float) -> None:
    draw = np.random.default_rng(seed)
    count = 30
    sizes = [(float(draw.integers(40, 200)), float(draw.integers(1, 5) * 20)) for _ in range(count)]
    edges = sorted(
        {(int(draw.integers(max(0, n - 6), n)), n) for n in range(1, count) for _ in range(2)}
    )
    demand_clear(layout.arrange(sizes, edges, tallest, 1.3), sizes)


def test_places_are_the_nearest_that_keep_order_and_distance() -> None:
    """Widths of 10: middles at least 10 + APART from each other."""
    step = 10 + layout.APART
    assert layout._spaced([0, 100, 300], [1, 1, 1], [10] * 3) == [0, 100, 300]
    assert layout._spaced([5, 5], [1, 1], [10] * 2) == pytest.approx([5 - step / 2, 5 + step / 2])
    assert layout._spaced([5, 5], [3, 1], [10] * 2) == pytest.approx(
        [5 - step / 4, 5 + 3 * step / 4]
    )


def summary(*rows: tuple[str, str, tuple[int, ...]]) -> Summary:
    made = tuple(Row(name, kind, inputs, (8, 8, 4), 148, 9216) for name, kind, inputs in rows)
    return Summary(made, 148 * len(made), 0, 9216 * len(made), Memory(0, 0, 0, 0))


RESIDUAL = summary(
    ("pictures", "InputLayer", ()),
    ("conv2d", "Conv2D", (0,)),
    ("batch_normalization", "BatchNormalization", (1,)),
    ("re_lu", "ReLU", (2,)),
    ("mine & <yours>", "Dense", (3,)),
    ("add", "Add", (4, 3)),
    ("max_pooling2d_7", "MaxPooling2D", (5,)),
    ("dropout", "Dropout", (6,)),
)


def texts(svg: str) -> list[str]:
    space = "{http://www.w3.org/2000/svg}"
    return ["".join(each.itertext()) for each in ElementTree.fromstring(svg).iter(f"{space}text")]


def test_a_layer_is_a_bar_with_kind_given_name_shape_and_parameters() -> None:
    svg = drawing.draw("a & b", RESIDUAL)
    assert texts(svg)[:2] == [
        "a & b",
        "1,184 parameters, 73.7 k multiply-adds per picture; each layer: output, parameters",
    ]
    said = texts(svg)[2:]
    assert said[: said.index("InputLayerpictures")] == list(drawing.FAMILIES)
    for kind in ("Conv2D", "BatchNormalization", "ReLU", "Densemine & <yours>", "Add", "Dropout"):
        place = said.index(kind)
        assert said[place + 1 : place + 3] == ["8×8×4", "148"]
    assert "MaxPooling2D" in said  # max_pooling2d_7 is the name that Keras gives
    titles = re.findall("<title>(.*?)</title>", svg)
    assert len(titles) == 8
    assert titles[1] == "conv2d (Conv2D): 8×8×4, 148 parameters, 9,216 multiply-adds"


def test_boxes_end_at_branches_and_begin_at_what_works() -> None:
    assert drawing._boxes(RESIDUAL.rows) == [[0], [1, 2, 3], [4], [5], [6, 7]]


def test_the_file_needs_nothing_else() -> None:
    svg = drawing.draw("alone", RESIDUAL)
    assert re.findall(r"\w+://[^\"']+", svg) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"<(?:script|style|image|use|foreignObject)|@import|href", svg)


@pytest.mark.parametrize(
    ("kind", "inputs", "expected"),
    [
        ("DepthwiseConv2D", 1, "convolution"), ("Conv2DTranspose", 1, "convolution"),
        ("EinsumDense", 1, "dense, attention"), ("MultiHeadAttention", 1, "dense, attention"),
        ("LayerNormalization", 1, "normalization"), ("LeakyReLU", 1, "activation"),
        ("Activation", 1, "activation"), ("GlobalMaxPooling2D", 1, "pooling"),
        ("Concatenate", 2, "merge"), ("Mine", 2, "merge"), ("Mine", 1, "other"), ("Dropout", 1, "other"),
    ],
)  # fmt: skip
def test_family(kind: str, inputs: int, expected: str) -> None:
    row = Row("name", kind, tuple(range(inputs)), (4,), 0, 0)
    assert drawing.family(row) == expected
    assert expected in drawing.FAMILIES


def test_a_long_name_loses_its_middle() -> None:
    row = Row("expanded_conv_4_squeeze_excite_conv_1", "Conv2D", (0,), (4,), 0, 0)
    assert drawing._given_name(row) == "expanded_con…cite_conv_1"
