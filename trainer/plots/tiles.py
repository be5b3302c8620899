"""Many small pictures of one size in rows, with a caption over each."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.plots.style import GREY, INK

TILE = 1.0  # inches; the longer side
GAP, GROUP, CAPTION, HEAD = 0.1, 0.25, 0.22, 0.62  # inches
NARROWEST = 4.5  # inches: the title needs them
PALE = "#6e7781"


def draw(
    title: str,
    note: str,
    tiles: Sequence[np.ndarray],
    captions: Sequence[str],
    columns: int,
    group: int = 0,
) -> Figure:
    """Row by row.

    Args:
        note: a line below the title.
        tiles: uint8 or 0 to 1, [h, w, 3] or [h, w, 1]; or [h, w], 0 to 1, which is shown in the
            colours of heat. All of one size, and drawn without smoothing.
        captions: one for each tile; may be empty.
        group: so many tiles stand closer to one another than to the next ones; 0 for none.
    """
    longer = max(tiles[0].shape[:2])
    height, width = (TILE * side / longer for side in tiles[0].shape[:2])
    columns = min(columns, len(tiles))
    lefts = [
        GAP + at * (width + GAP) + GROUP * (at // group if group else 0) for at in range(columns)
    ]
    across = max(lefts[-1] + width + GAP, NARROWEST)
    rows = -(-len(tiles) // columns)
    down = HEAD + rows * (height + CAPTION + GAP)
    figure = Figure(figsize=(across, down))
    for text, below, size, colour in ((title, 0.12, 12, INK), (note, 0.36, 9, PALE)):
        place = GAP / across, 1 - below / down
        figure.text(*place, text, va="top", fontsize=size, color=colour, parse_math=False)
    for number, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        row, column = divmod(number, columns)
        bottom = down - HEAD - (row + 1) * (height + CAPTION + GAP) + GAP
        box = (lefts[column] / across, bottom / down, width / across, height / down)
        _tile(figure.add_axes(box), tile, caption)
    return figure


def _tile(axes: Axes, tile: np.ndarray, caption: str) -> None:
    shown = tile if tile.ndim == 2 else np.broadcast_to(tile, (*tile.shape[:2], 3))
    axes.imshow(shown, cmap="inferno", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set(color=GREY, linewidth=0.5)
    axes.set_title(caption, loc="left", fontsize=8, pad=2, color=INK, parse_math=False)
