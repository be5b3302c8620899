"""The network as a picture: an SVG file that needs nothing else.

A layer is a bar; what follows a convolution, pooling, dense or merging layer without a branch
stands in one box with it.
"""

import re
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

from trainer.model import layout
from trainer.model.summary import Row, Summary, dims, short

BAR = 20  # pixels; the height of a layer
TEXT, SMALL = 11, 9.5  # pixels; size of type
EM = 0.61  # width of a letter by its size, the widest of the usual sans-serif fonts
MARGIN, HEAD = 24, 74  # around the picture; for title and legend
LONGEST = 24  # letters of a name; the middle of a longer one is left out
TALLEST, SHAPE = 1300, 1.3  # from this height on in columns, of this width by height
FONT = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
INK, PALE, LINE = "#1f2328", "#59636e", "#57606a"

TIP = (
    '<marker id="tip" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="6" markerHeight="6" '
    f'orient="auto"><path d="M0 0.4 6 3 0 5.6z" fill="{LINE}"/></marker>'
)

# Family -> (strong, light) colour; distinct in luminance too, for who prints or sees no colours.
FAMILIES = {
    "convolution": ("#2a6cb0", "#dce9f7"),
    "dense, attention": ("#2e8540", "#dcf0df"),
    "normalization": ("#8b7fc0", "#efedf8"),
    "activation": ("#e0a11b", "#fdf1d6"),
    "pooling": ("#c2453a", "#fae0dd"),
    "merge": ("#14808c", "#cfecee"),
    "other": ("#9aa1a9", "#f1f2f4"),
}
ACTIVATIONS = {"activation", "elu", "gelu", "silu", "sigmoid", "hard_sigmoid", "softmax", "tanh"}
HEADS = {"convolution", "dense, attention", "pooling", "merge"}  # begin a box


class _Widths(NamedTuple):
    """Pixels that the columns of a bar take."""

    name: float
    shape: float
    parameters: float

    @property
    def bar(self) -> float:
        return 14 + self.name + 12 + self.shape + (10 + self.parameters) * (self.parameters > 0) + 6


def draw(name: str, summary: Summary) -> str:
    """The SVG file of a network.

    Args:
        name: its title.
    """
    rows = summary.rows
    boxes = _boxes(rows)
    home = {number: index for index, box in enumerate(boxes) for number in box}
    edges = {
        (home[source], home[number]): None
        for number, row in enumerate(rows)
        for source in row.inputs
        if home[source] != home[number]
    }
    widths = _Widths(
        max(_letters(row.kind, TEXT) * 1.08 + _letters(_given_name(row), SMALL) for row in rows),
        max(_letters(dims(row.shape), SMALL) for row in rows),
        max(_letters(short(row.parameters), SMALL) if row.parameters else 0 for row in rows),
    )
    sizes = [(widths.bar, BAR * len(box)) for box in boxes]
    found = layout.arrange(sizes, list(edges), TALLEST, SHAPE)
    lines = "".join(f'<path d="{_path(points)}"/>\n' for points in found.lines)
    bars = "".join(
        _box([rows[number] for number in box], corner, widths)
        for box, corner in zip(boxes, found.corners, strict=True)
    )
    work = f"{short(summary.multiply_adds)} multiply-adds per picture"
    title = f"{summary.parameters:,} parameters, {work}; each layer: output, parameters"
    wide = max(found.size[0], _letters(title, TEXT), _legend_width(rows)) + 2 * MARGIN
    tall = found.size[1] + HEAD + 2 * MARGIN
    left = (wide - found.size[0]) / 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {tall:.0f}" '
        f'width="{wide:.0f}" height="{tall:.0f}" font-family="{FONT}" font-size="{TEXT}">\n'
        f"<defs>{TIP}</defs>\n"
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n'
        f'{_head(name, title, rows)}<g transform="translate({left:.1f} {MARGIN + HEAD})">\n'
        f'<g fill="none" stroke="{LINE}" stroke-width="1.2" marker-end="url(#tip)">\n{lines}</g>\n'
        f"{bars}</g>\n</svg>\n"
    )


def family(row: Row) -> str:
    """The kind of a layer's work, one of FAMILIES, by the name of its class."""
    kind = row.kind
    if len(row.inputs) > 1:
        return "merge"
    if "Conv" in kind:
        return "convolution"
    if "Dense" in kind or "Attention" in kind:
        return "dense, attention"
    if "Normalization" in kind:
        return "normalization"
    if "Pool" in kind:
        return "pooling"
    if kind.lower() in ACTIVATIONS or kind.lower().endswith("relu"):
        return "activation"
    return "other"


def _boxes(rows: Sequence[Row]) -> list[list[int]]:
    """The rows of each box."""
    readers = [0] * len(rows)
    for row in rows:
        for source in row.inputs:
            readers[source] += 1
    boxes: list[list[int]] = []
    ending: dict[int, list[int]] = {}  # the box whose last row this is
    for number, row in enumerate(rows):
        box = None
        if len(row.inputs) == 1 and family(row) not in HEADS and readers[row.inputs[0]] == 1:
            box = ending.pop(row.inputs[0], None)
        if box is None:
            box = []
            boxes.append(box)
        box.append(number)
        ending[number] = box
    return boxes


def _given_name(row: Row) -> str:
    """The layer's name unless Keras made it from the class."""
    plain = re.sub(r"[\W\d_]", "", row.name).lower()
    if plain == re.sub(r"[\W\d_]", "", row.kind).lower():
        return ""
    return row.name if len(row.name) <= LONGEST else f"{row.name[:12]}…{row.name[13 - LONGEST :]}"


def _letters(text: str, size: float) -> float:
    return len(text) * size * EM


def _box(rows: Sequence[Row], corner: tuple[float, float], widths: _Widths) -> str:
    left, top = corner
    bars = "".join(_bar(row, number * BAR, widths) for number, row in enumerate(rows))
    outline = (
        f'<rect width="{widths.bar:.1f}" height="{BAR * len(rows)}" fill="none" '
        f'stroke="{LINE}" stroke-width="0.8"/>'
    )
    return f'<g transform="translate({left:.1f} {top:.1f})">\n{bars}{outline}</g>\n'


def _bar(row: Row, top: float, widths: _Widths) -> str:
    strong, light = FAMILIES[family(row)]
    base, right = top + BAR / 2 + 4, widths.bar - 6
    middle = right - (widths.parameters + 10) * (widths.parameters > 0)
    told = f"{row.name} ({row.kind}): {dims(row.shape)}, {row.parameters:,} parameters"
    told += f", {row.multiply_adds:,} multiply-adds"
    name = _given_name(row)
    kind = f'<tspan font-weight="600" fill="{INK}">{escape(row.kind)}</tspan>'
    second = (
        f'<tspan dx="5" font-size="{SMALL}" fill="{PALE}">{escape(name)}</tspan>' if name else ""
    )
    parameters = (
        f'<text x="{right:.1f}" y="{base}" text-anchor="end" font-size="{SMALL}" '
        f'fill="{INK}">{short(row.parameters)}</text>'
        if row.parameters
        else ""
    )
    return (
        f"<g><title>{escape(told)}</title>"
        f'<rect y="{top}" width="{widths.bar:.1f}" height="{BAR}" fill="{light}"/>'
        f'<rect y="{top}" width="5" height="{BAR}" fill="{strong}"/>'
        f'<text x="12" y="{base}">{kind}{second}</text>'
        f'<text x="{middle:.1f}" y="{base}" text-anchor="end" font-size="{SMALL}" '
        f'fill="{PALE}">{dims(row.shape)}</text>{parameters}</g>\n'
    )


def _path(points: Sequence[layout.Point]) -> str:
    """Straight where it can be, a curve from one x to another, right angles around columns."""
    path = "M{:.1f} {:.1f}".format(*points[0])
    for (x, y), (to_x, to_y) in pairwise(points):
        if abs(x - to_x) < 0.5 or abs(y - to_y) < 0.5:
            path += f"L{to_x:.1f} {to_y:.1f}" if (x, y) != (to_x, to_y) else ""
        else:
            middle = (y + to_y) / 2
            path += f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}"
    return path


def _present(rows: Sequence[Row]) -> list[str]:
    found = {family(row) for row in rows}
    return [each for each in FAMILIES if each in found]


def _legend_width(rows: Sequence[Row]) -> float:
    return sum(_letters(each, TEXT) + 34 for each in _present(rows))


def _head(name: str, title: str, rows: Sequence[Row]) -> str:
    text = (
        f'<text x="{MARGIN}" y="{MARGIN + 12}" font-size="16" font-weight="600" fill="{INK}">'
        f"{escape(name)}</text>\n"
        f'<text x="{MARGIN}" y="{MARGIN + 31}" fill="{PALE}">{title}</text>\n'
    )
    left, y = float(MARGIN), MARGIN + 42
    for each in _present(rows):
        strong, light = FAMILIES[each]
        text += (
            f'<rect x="{left:.1f}" y="{y}" width="14" height="12" fill="{light}"/>'
            f'<rect x="{left:.1f}" y="{y}" width="5" height="12" fill="{strong}"/>'
            f'<text x="{left + 20:.1f}" y="{y + 10}" fill="{PALE}">{each}</text>\n'
        )
        left += _letters(each, TEXT) + 34
    return text
