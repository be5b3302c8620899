"""Markdown: what is text in it, and tables."""

import re
from collections.abc import Iterable, Sequence


def text(value: object) -> str:
    """What means something in Markdown or HTML is escaped; a line stays one line."""
    plain = str(value).encode("utf-8", "backslashreplace").decode()
    return re.sub(r"([\\`*_~$\[\]<>|#&])", r"\\\1", " ".join(plain.split()))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are Markdown; the first of a row on the left, the others, as numbers, on the right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def listed(lines: Iterable[str]) -> str:
    """A list, a point for each line of Markdown."""
    return "\n".join(f"- {line}" for line in lines)
