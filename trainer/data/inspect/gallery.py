"""The page of `data inspect`: one HTML file with its thumbnails inside."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from trainer import html
from trainer.data.decode import decode
from trainer.data.examples import Pictures

SHOWN = 24  # pictures of a finding, or groups
IN_GROUP = 6  # pictures of a group

STYLE = """
.groups { display: flex; flex-wrap: wrap; gap: 14px; margin-top: 14px; }
.group { padding: 10px 14px 14px; border: 1px solid var(--line); border-radius: 6px;
  break-inside: avoid; font-size: 13px; }
.group .thumbs { display: flex; flex-wrap: wrap; margin-top: 6px; }
.group figure { width: 120px; }
@media (max-width: 480px) { .groups { display: block; } .group { margin-top: 14px; }
  .group figure { width: 96px; } }
"""

Thumb = Callable[[int], str]


def page(title: str, facts: Mapping[str, str], found: Mapping[str, Any], thumb: Thumb) -> str:
    """The whole file.

    Args:
        facts: what stands on top, by its name.
        found: of `findings.findings`.
        thumb: HTML of the picture at an index, as `thumbs` gives it.
    """
    items = found["findings"]
    body = [
        html.facts(facts),
        _contents(items),
        _classes(found["classes"]),
        *(_section(number, item, thumb) for number, item in enumerate(items)),
        '<section><p class="muted">Every file by name: trainer data inspect CONFIG --json FILE'
        "</p></section>",
    ]
    return html.document(title, body, STYLE)


def thumbs(pictures: Pictures) -> Thumb:
    """Draws a picture as an <img>; what cannot be read becomes a word."""

    def thumb(index: int) -> str:
        try:
            pixels = decode(pictures.content(index))
        except (OSError, ValueError):
            return "unreadable"
        return html.image(pixels)

    return thumb


def _mark(severity: str) -> str:
    return f'<span class="mark {severity}">{severity}</span>'


def _contents(items: Sequence[Mapping[str, Any]]) -> str:
    if not items:
        return "<p>Nothing was found that needs a hand.</p>"
    rows = (
        f"<li>{_mark(item['severity'])}"
        f'<a href="#finding-{number}">{html.text(item["title"])}</a></li>'
        for number, item in enumerate(items)
    )
    return f'<ul class="list">{"".join(rows)}</ul>'


def _classes(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table with a bar for the pictures of each class."""
    most = max((row["pictures"] for row in rows), default=0) or 1
    sides = ("train", "validation", "test", "left_out")
    head = "".join(f'<th class="wide">{side.replace("_", " ")}</th>' for side in sides)
    body = "".join(
        f"<tr><td>{html.text(row['class'])}</td><td>{row['pictures']:,}</td>"
        f'<td class="bar"><div style="width:{100 * row["pictures"] / most:.1f}%"></div></td>'
        + "".join(f'<td class="wide">{row[side]:,}</td>' for side in sides)
        + "</tr>"
        for row in rows
    )
    return (
        "<section><h2>Pictures per class</h2><table>"
        f"<tr><th>class</th><th>pictures</th><th></th>{head}</tr>{body}</table></section>"
    )


def _section(number: int, item: Mapping[str, Any], thumb: Thumb) -> str:
    body = ""
    if "pictures" in item:
        body = _thumbs(item["pictures"], SHOWN, thumb)
    if "groups" in item:
        boxes = "".join(_group(members, thumb) for members in item["groups"][:SHOWN])
        more = len(item["groups"]) - SHOWN
        rest = f'<p class="muted">and {more:,} more groups</p>' if more > 0 else ""
        body = f'<div class="groups">{boxes}</div>{rest}'
    return (
        f'<section id="finding-{number}">{_mark(item["severity"])}'
        f"<h2>{html.text(item['title'])}</h2>"
        f"<p>{html.text(item['meaning'])}</p><p>{html.text(item['advice'])}</p>{body}</section>"
    )


def _group(members: Sequence[Mapping[str, Any]], thumb: Thumb) -> str:
    """A box with the first picture of each label, then pictures from all over the group."""
    first = {tuple(each["labels"]): number for number, each in reversed([*enumerate(members)])}
    spread = np.linspace(0, len(members) - 1, min(len(members), IN_GROUP)).astype(int).tolist()
    chosen = sorted(list(dict.fromkeys([*sorted(first.values()), *spread]))[:IN_GROUP])
    figures = "".join(_figure(members[number], thumb) for number in chosen)
    count = f"{len(members):,} pictures"
    if len(members) > len(chosen):
        count += f", {len(chosen)} of them"
    return f'<div class="group muted">{count}<div class="thumbs">{figures}</div></div>'


def _thumbs(pictures: Sequence[Mapping[str, Any]], limit: int, thumb: Thumb) -> str:
    figures = "".join(_figure(picture, thumb) for picture in pictures[:limit])
    more = len(pictures) - limit
    rest = f'<p class="muted">and {more:,} more</p>' if more > 0 else ""
    return f'<div class="thumbs">{figures}</div>{rest}'


def _figure(picture: Mapping[str, Any], thumb: Thumb) -> str:
    about = f"{', '.join(picture['labels']) or 'no label'} · {picture['side']}"
    size = f"<span>{picture['height']} × {picture['width']}</span>" if picture["height"] else ""
    why = f"<span>{html.text(picture['why'])}</span>" if "why" in picture else ""
    return (
        f"<figure><div>{thumb(picture['index'])}</div><figcaption>{html.text(picture['path'])}"
        f"<span>{html.text(about)}</span>{size}{why}</figcaption></figure>"
    )
