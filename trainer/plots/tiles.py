"""Many small pictures of one size in rows, with a caption over each."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from trainer.plots.style import GREY, INK

TILE = 1.0  # inches; the longer side
GAP, CAPTION, HEAD = 0.1, 0.22, 0.62  # inches


def draw(
    title: str, note: str, tiles: Sequence[np.ndarray], captions: Sequence[str], columns: int
) -> Figure:
    """Row by row.

    Args:
        note: a line below the title.
        tiles: either uint8 or 0 to 1, [h, w, 3] or [h, w, 1]; or [h, w], 0 to 1, which is shown in
            the colours of heat. All of one size, and drawn without smoothing.
        captions: one for each tile; may be empty.
    """
    longer = max(tiles[0].shape[:2])
    height, width = (TILE * side / longer for side in tiles[0].shape[:2])
    rows = -(-len(tiles) // columns)
    across = max(columns * (width + GAP) + GAP, 4.5)
    down = HEAD + rows * (height + CAPTION + GAP)
    figure = Figure(figsize=(across, down))
    figure.text(
        GAP / across, 1 - 0.12 / down, title, va="top", fontsize=12, color=INK, parse_math=False
    )
    figure.text(
        GAP / across, 1 - 0.36 / down, note, va="top", fontsize=9, color="#6e7781", parse_math=False
    )
    for number, (tile, caption) in enumerate(zip(tiles, captions, strict=True)):
        row, column = divmod(number, columns)
        left = GAP + column * (width + GAP)
        top = HEAD + row * (height + CAPTION + GAP) + CAPTION
        place = (left / across, 1 - (top + height) / down, width / across, height / down)
        axes = figure.add_axes(place)
        shown = tile if tile.ndim == 2 else np.broadcast_to(tile, (*tile.shape[:2], 3))
        axes.imshow(shown, cmap="inferno", vmin=0, vmax=1, interpolation="nearest", aspect="auto")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set(color=GREY, linewidth=0.5)
        axes.set_title(caption, loc="left", fontsize=8, pad=2, color=INK, parse_math=False)
    return figure
