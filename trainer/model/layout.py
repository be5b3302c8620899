"""Where the boxes and lines of a layered graph go, top to bottom (Sugiyama, Tagawa, Toda 1981).

Ranks by longest path, order by barycentres, x by least squares. A line that passes a rank has its
place there like a box, so it crosses none; lines from one box to several far ones share it. Too
tall a graph is folded into columns, where all that goes on comes from one box.

Lengths are pixels, y runs downward.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import NamedTuple

GAP, BEND = 14.0, 30.0  # between two ranks: with straight lines only, and with others
APART, LANE = 22.0, 12.0  # between two boxes of a rank; what a passing line takes
GUTTER = 44.0  # between two columns
TURN = 14.0  # how far above and below a column a line turns into the next
SWEEPS = 12  # over all ranks, to sort them; ten times as many to straighten lines
SOFT, STIFF = 30.0, 1000.0  # how much straighter chains are to be than branches, at first and then
GIVE = 0.0001  # what passing lines pull, to what boxes do

Point = tuple[float, float]


class Layout(NamedTuple):
    """The picture without a margin."""

    corners: tuple[Point, ...]  # top left of each box
    lines: tuple[tuple[Point, ...], ...]  # of each edge, from below its source to above its target
    size: tuple[float, float]


Node = int | tuple[int, int]  # a box, or (box, rank) where a line from that box passes


class _Graph(NamedTuple):
    """Nodes by rank, each rank from left to right."""

    ranks: list[list[Node]]
    parents: Mapping[Node, list[Node]]
    children: Mapping[Node, list[Node]]


class _Places(NamedTuple):
    """Where everything is; of each rank its top, bottom and column, of each column its gutter."""

    x: dict[Node, float]  # the middle
    tops: list[float]
    bottoms: list[float]
    columns: list[int]
    gutters: list[float]


def arrange(
    sizes: Sequence[tuple[float, float]],
    edges: Sequence[tuple[int, int]],
    tallest: float,
    shape: float,
) -> Layout:
    """Places the boxes.

    Args:
        sizes: (width, height) of each box.
        edges: (source, target), source before target.
        tallest: height from which on the graph is folded.
        shape: width by height of what is folded, as near as can be.
    """
    rank = _ranks(len(sizes), edges)
    graph = _sorted(_graph(rank, edges))
    widths = {n: sizes[n][0] if isinstance(n, int) else LANE for row in graph.ranks for n in row}
    x = _straightened(graph, widths)
    heights = [
        max((sizes[n][1] for n in row if isinstance(n, int)), default=0) for row in graph.ranks
    ]
    places = _folded(graph, x, widths, heights, tallest, shape)
    corners = []
    for box, (width, height) in enumerate(sizes):
        middle = (places.tops[rank[box]] + places.bottoms[rank[box]]) / 2
        corners.append((places.x[box] - width / 2, middle - height / 2))
    lines = []
    for source, target in edges:
        passed: list[Node] = [(source, r) for r in range(rank[source] + 1, rank[target])]
        nodes, below = [source, *passed, target], corners[source][1] + sizes[source][1]
        line = _line(nodes, rank[source], places)
        lines.append(((places.x[source], below), *line, (places.x[target], corners[target][1])))
    size = places.gutters[-1] - GUTTER / 2, max(places.bottoms) + TURN * (places.columns[-1] > 0)
    return Layout(tuple(corners), tuple(lines), size)


def _line(nodes: Sequence[Node], rank: int, places: _Places) -> Iterator[Point]:
    """From the bottom of the first node's rank to the top of the last one's."""
    x, tops, bottoms, columns, gutters = places
    for number, (above, below) in enumerate(pairwise(nodes), rank):
        yield x[above], bottoms[number]
        if columns[number] != columns[number + 1]:
            down, up = bottoms[number] + TURN, tops[number + 1] - TURN
            gutter = gutters[columns[number]]
            yield from ((x[above], down), (gutter, down), (gutter, up), (x[below], up))
        yield x[below], tops[number + 1]


def _ranks(count: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    """The longest path that leads to each box."""
    rank = [0] * count
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        rank[target] = max(rank[target], rank[source] + 1)
    return rank


def _graph(rank: Sequence[int], edges: Iterable[tuple[int, int]]) -> _Graph:
    ranks: list[list[Node]] = [[] for _ in range(max(rank) + 1)]
    parents: dict[Node, list[Node]] = defaultdict(list)
    children: dict[Node, list[Node]] = defaultdict(list)
    for box, number in enumerate(rank):
        ranks[number].append(box)
    for source, target in edges:
        above: Node = source
        for number in range(rank[source] + 1, rank[target] + 1):
            node: Node = target if number == rank[target] else (source, number)
            if node not in children[above]:
                children[above].append(node)
                parents[node].append(above)
                if node != target:
                    ranks[number].append(node)
            above = node
    return _Graph(ranks, parents, children)


def _sorted(graph: _Graph) -> _Graph:
    """Each rank by the mean place of its neighbours, down and up in turn; the best seen."""
    ranks = [list(row) for row in graph.ranks]
    best, fewest = ranks, math.inf
    for sweep in range(SWEEPS):
        downward = sweep % 2 == 0
        beside = graph.parents if downward else graph.children
        order = range(1, len(ranks)) if downward else range(len(ranks) - 2, -1, -1)
        for number in order:
            place = {n: i for i, n in enumerate(ranks[number + (-1 if downward else 1)])}
            centres = {
                node: fmean(place[each] for each in beside[node]) if beside[node] else float(index)
                for index, node in enumerate(ranks[number])
            }
            ranks[number].sort(key=centres.__getitem__)
        crossings = sum(_crossings(graph, *pair) for pair in pairwise(ranks))
        if crossings < fewest:
            best, fewest = [list(row) for row in ranks], crossings
        if not crossings:
            break
    return graph._replace(ranks=best)


def _crossings(graph: _Graph, upper: Sequence[Node], lower: Sequence[Node]) -> int:
    place = {node: index for index, node in enumerate(lower)}
    ends = [sorted(place[child] for child in graph.children[node]) for node in upper]
    return sum(
        a > b
        for index, mine in enumerate(ends)
        for others in ends[index + 1 :]
        for a in mine
        for b in others
    )


def _straightened(graph: _Graph, widths: Mapping[Node, float]) -> dict[Node, float]:
    """The middle of each node: near its neighbours', in the order of its rank. What is alone in its
    rank stands in the middle of all."""
    x: dict[Node, float] = defaultdict(float)
    for sweep in range(10 * SWEEPS):
        stiff = SOFT if sweep < 5 * SWEEPS else STIFF  # stiff from the start would hardly move
        for row in graph.ranks if sweep % 2 == 0 else reversed(graph.ranks):
            if len(row) == 1:
                continue
            wanted, weights = [], []
            for node in row:
                near = [*graph.parents[node], *graph.children[node]]
                if sweep < 2:  # nothing is known yet of the other side
                    near = (graph.parents if sweep == 0 else graph.children)[node]
                pulls = [_pull(graph, node, each, stiff) for each in near]
                together = sum(pull * x[each] for pull, each in zip(pulls, near, strict=True))
                wanted.append(together / sum(pulls) if near else x[node])
                weights.append(sum(pulls) or 1.0)
            x.update(zip(row, _spaced(wanted, weights, [widths[n] for n in row]), strict=True))
    return {node: x[node] for row in graph.ranks for node in row}


def _pull(graph: _Graph, one: Node, other: Node, stiff: float) -> float:
    """How much a line wants to be straight: chains of boxes first; lines that pass give way to
    boxes, but would rather bend at their ends."""
    if _passes(one) or _passes(other):
        return GIVE * (stiff if _passes(one) and _passes(other) else 1)
    upper, lower = (one, other) if other in graph.children[one] else (other, one)
    chain = len(graph.children[upper]) == 1 == len(graph.parents[lower])
    return stiff if chain else 1.0


def _spaced(
    wanted: Sequence[float], weights: Sequence[float], widths: Sequence[float]
) -> list[float]:
    """The places nearest to the wanted ones (weighted least squares) that keep order and distance:
    isotonic regression by pooling adjacent violators."""
    offsets = [0.0]
    for left, right in pairwise(widths):
        offsets.append(offsets[-1] + (left + right) / 2 + APART)
    pools: list[tuple[float, float, int]] = []  # mean, weight, members
    for place, weight, offset in zip(wanted, weights, offsets, strict=True):
        pool = (place - offset, weight, 1)
        while pools and pools[-1][0] > pool[0]:
            mean, heavy, members = pools.pop()
            total = heavy + pool[1]
            pool = (mean * heavy + pool[0] * pool[1]) / total, total, members + pool[2]
        pools.append(pool)
    means = [mean for mean, _, members in pools for _ in range(members)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _passes(node: Node) -> bool:
    return isinstance(node, tuple)


def _folded(
    graph: _Graph,
    x: dict[Node, float],
    widths: Mapping[Node, float],
    heights: Sequence[float],
    tallest: float,
    shape: float,
) -> _Places:
    """The ranks below each other, in columns beside each other."""
    gaps = [_gap(graph, x, row) for row in graph.ranks]
    wide = 2 * max(abs(x[n]) + width / 2 for n, width in widths.items()) + GUTTER
    tall = sum(heights) + sum(gaps)
    count = max(2, round(math.sqrt(shape * tall / wide))) if tall > tallest else 1
    columns = _columns(graph, [a + b for a, b in zip(heights, gaps, strict=True)], count)
    places = _Places(dict(x), [], [], columns, [])
    left = 0.0
    for number in range(columns[-1] + 1):
        inside = [r for r, column in enumerate(columns) if column == number]
        down = TURN if columns[-1] else 0.0
        for r in inside:
            places.tops.append(down)
            places.bottoms.append(down + heights[r])
            down += heights[r] + gaps[r]
        nodes = [node for r in inside for node in graph.ranks[r]]
        first = min(x[node] - widths[node] / 2 for node in nodes)
        last = max(x[node] + widths[node] / 2 for node in nodes)
        places.x.update({node: x[node] - first + left for node in nodes})
        left += last - first + GUTTER
        places.gutters.append(left - GUTTER / 2)
    return places


def _gap(graph: _Graph, x: Mapping[Node, float], row: Sequence[Node]) -> float:
    """Between a rank and the next."""
    bends = (abs(x[node] - x[child]) for node in row for child in graph.children[node])
    return BEND if max(bends, default=0) > 1 else GAP


def _columns(graph: _Graph, heights: Sequence[float], count: int) -> list[int]:
    """The column of each rank; a new one begins only where all lines come from one node."""
    columns, here, passed = [], 0, 0.0
    for row, height in zip(graph.ranks, heights, strict=True):
        columns.append(here)
        passed += height
        sources = sum(bool(graph.children[node]) for node in row)
        each, rest = sum(heights) / count, sum(heights) - passed
        if sources == 1 and passed >= (here + 1) * each - height / 2 and rest > each / 3:
            here += 1
    return columns
