"""Where the boxes and lines of a layered graph go, top to bottom (Sugiyama, Tagawa, Toda 1981).

Ranks by longest path, order by barycentres, x by least squares. A line that passes a rank takes a
place there like a box, so it crosses none; lines from one box to several far ones share it. Too tall
a graph is folded into columns, where everything that goes on comes from one box.
Lengths are pixels, y runs downward.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

GAP, BEND = 14.0, 30.0  # between two ranks: with straight lines only, and with others
APART, LANE = 22.0, 12.0  # between two boxes of a rank; what a passing line takes
GUTTER = 44.0  # between two columns
TURN = 14.0  # how far above and below a column a line turns into the next
SWEEPS = 12

Point = tuple[float, float]


class Layout(NamedTuple):
    """The picture without a margin."""

    corners: tuple[Point, ...]  # top left of each box
    lines: tuple[tuple[Point, ...], ...]  # of each edge, from below its source to above its target
    size: tuple[float, float]


class _Graph(NamedTuple):
    """Nodes by rank, each rank from left to right; a node is a box, or (box, rank) where a line
    from that box passes."""

    ranks: list[list[object]]
    parents: Mapping[object, list[object]]
    children: Mapping[object, list[object]]


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
        shape: width by height of what is folded.
    """
    rank = _ranks(len(sizes), edges)
    graph = _sorted(_graph(rank, edges))
    x = _straightened(graph, {node: _width(node, sizes) for nodes in graph.ranks for node in nodes})
    heights = [max((sizes[n][1] for n in row if isinstance(n, int)), default=0) for row in graph.ranks]
    gaps = [_gap(graph, x, number) for number in range(len(heights))]
    column = _columns(graph, [a + b for a, b in zip(heights, gaps, strict=True)], x, sizes, tallest, shape)
    tops, size = [0.0] * len(heights), (0.0, 0.0)
    left, folded = 0.0, max(column) > 0
    gutters: list[float] = []
    for number in range(max(column) + 1):
        inside = [r for r in range(len(heights)) if column[r] == number]
        down = TURN + 6 if folded else 0.0
        for r in inside:
            tops[r] = down
            down += heights[r] + gaps[r]
        nodes = [node for r in inside for node in graph.ranks[r]]
        first = min(x[node] - _width(node, sizes) / 2 for node in nodes)
        x.update({node: x[node] - first + left for node in nodes})
        right = max(x[node] + _width(node, sizes) / 2 for node in nodes)
        size = right, max(size[1], down - gaps[inside[-1]] + (TURN + 6 if folded else 0))
        gutters.append(right + GUTTER / 2)
        left = right + GUTTER
    middles = [top + height / 2 for top, height in zip(tops, heights, strict=True)]
    corners = tuple(
        (x[n] - sizes[n][0] / 2, middles[rank[n]] - sizes[n][1] / 2) for n in range(len(sizes))
    )
    bottoms = [top + height for top, height in zip(tops, heights, strict=True)]
    lines = []
    for source, target in edges:
        between: list[object] = [(source, r) for r in range(rank[source] + 1, rank[target])]
        points = [(x[source], corners[source][1] + sizes[source][1])]
        at = x[source]
        for r, node in enumerate([*between, target], rank[source] + 1):
            points.append((at, bottoms[r - 1]))
            if column[r] != column[r - 1]:
                turn, back = bottoms[r - 1] + TURN, tops[r] - TURN
                gutter = gutters[column[r - 1]]
                points += [(at, turn), (gutter, turn), (gutter, back), (x[node], back)]
            at = x[node]
            points.append((at, tops[r]))
        lines.append((*points, (at, corners[target][1])))
    return Layout(corners, tuple(lines), size)


def _ranks(count: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    """The longest path that leads to each box."""
    rank = [0] * count
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        rank[target] = max(rank[target], rank[source] + 1)
    return rank


def _graph(rank: Sequence[int], edges: Iterable[tuple[int, int]]) -> _Graph:
    ranks: list[list[object]] = [[] for _ in range(max(rank) + 1)]
    parents, children = defaultdict(list), defaultdict(list)
    for box, number in enumerate(rank):
        ranks[number].append(box)
    for source, target in edges:
        above: object = source
        for number in range(rank[source] + 1, rank[target] + 1):
            node: object = target if number == rank[target] else (source, number)
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
            here = {n: i for i, n in enumerate(ranks[number])}

            def centre(node: object, place: dict = place, here: dict = here) -> float:
                known = [place[each] for each in beside[node]]
                return sum(known) / len(known) if known else here[node]

            ranks[number].sort(key=centre)
        crossings = sum(_crossings(graph, *pair) for pair in zip(ranks, ranks[1:], strict=False))
        if crossings < fewest:
            best, fewest = [list(row) for row in ranks], crossings
        if not crossings:
            break
    return graph._replace(ranks=best)


def _crossings(graph: _Graph, upper: Sequence[object], lower: Sequence[object]) -> int:
    place = {node: index for index, node in enumerate(lower)}
    ends = [sorted(place[child] for child in graph.children[node]) for node in upper]
    return sum(
        a > b
        for index, mine in enumerate(ends)
        for others in ends[index + 1 :]
        for a in mine
        for b in others
    )


def _straightened(graph: _Graph, widths: Mapping[object, float]) -> dict[object, float]:
    """The middle of each node: near its neighbours', in the order of its rank."""
    x: dict[object, float] = defaultdict(float)
    for sweep in range(2 * SWEEPS):
        downward = sweep % 2 == 0
        sides = [graph.parents if downward else graph.children]
        if sweep >= SWEEPS:
            sides = [graph.parents, graph.children]
        for row in graph.ranks if downward else reversed(graph.ranks):
            wanted, weights = [], []
            for node in row:
                near = [each for side in sides for each in side[node]]
                # a line that passes several ranks should be straight before all others
                pull = [8.0 if _passes(node) and _passes(each) else 1.0 for each in near]
                total = sum(pull)
                mean = sum(p * x[each] for p, each in zip(pull, near, strict=True)) / (total or 1)
                wanted.append(mean if near else x[node])
                weights.append(total or 0.1)
            x.update(zip(row, _spaced(wanted, weights, [widths[n] for n in row]), strict=True))
    return dict(x)


def _spaced(
    wanted: Sequence[float], weights: Sequence[float], widths: Sequence[float]
) -> list[float]:
    """The places nearest to the wanted ones (weighted least squares) that keep order and distance:
    isotonic regression by pooling adjacent violators."""
    offsets = [0.0]
    for left, right in zip(widths, widths[1:], strict=False):
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


def _passes(node: object) -> bool:
    return isinstance(node, tuple)


def _width(node: object, sizes: Sequence[tuple[float, float]]) -> float:
    return sizes[node][0] if isinstance(node, int) else LANE


def _gap(graph: _Graph, x: Mapping[object, float], number: int) -> float:
    bent = any(
        abs(x[node] - x[child]) > 1 for node in graph.ranks[number] for child in graph.children[node]
    )
    return BEND if bent else GAP


def _columns(
    graph: _Graph,
    heights: Sequence[float],
    x: Mapping[object, float],
    sizes: Sequence[tuple[float, float]],
    tallest: float,
    shape: float,
) -> list[int]:
    """The column of each rank; a new one begins only where all lines come from one node."""
    tall = sum(heights)
    if tall <= tallest:
        return [0] * len(heights)
    every = [(x[n], _width(n, sizes) / 2) for row in graph.ranks for n in row]
    wide = max(at + half for at, half in every) - min(at - half for at, half in every) + GUTTER
    count = max(2, round(math.sqrt(shape * tall / wide)))
    column, here, passed = [], 0, 0.0
    for number, height in enumerate(heights):
        column.append(here)
        passed += height
        sources = sum(bool(graph.children[node]) for node in graph.ranks[number])
        if sources == 1 and passed >= (here + 1) * tall / count - height / 2 and here + 1 < count:
            here += 1
    return column
