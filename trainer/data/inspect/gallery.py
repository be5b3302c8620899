"""The page of `data inspect`: one HTML file with its thumbnails inside, that needs no network, no
JavaScript and no style sheet of others."""

import base64
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import cv2
import numpy as np

from trainer.data.decode import decode
from trainer.data.examples import Pictures

SHOWN = 24  # pictures of a finding, or groups
IN_GROUP = 6  # pictures of a group
THUMB = 192  # pixels of the longer side; shown at 120, for screens with fine pixels
QUALITY = 80  # of JPEG: 6 kB for a photo

STYLE = """
:root { color-scheme: light dark; --back: #fff; --panel: #f4f6f8; --text: #1b2025;
  --muted: #59636e; --line: #dde2e7; --bar: #7f9cc4; --left: #c3ccd6; --problem: #b3261e;
  --warning: #8a5200; --note: #2a5db0; }
@media (prefers-color-scheme: dark) { :root { --back: #15181b; --panel: #1f2428; --text: #e7eaed;
  --muted: #a2acb6; --line: #343b42; --bar: #5f7fae; --left: #454e57; --problem: #ff8f85;
  --warning: #efb660; --note: #8fb6ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 24px 16px 64px; max-width: 1080px; background: var(--back);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
h1 { margin: 0; font-size: 28px; line-height: 1.2; }
h2 { margin: 0; font-size: 18px; line-height: 1.35; }
p { margin: 4px 0; max-width: 68ch; }
a { color: inherit; }
.muted, dt, figcaption span { color: var(--muted); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(230px, 1fr)); gap: 12px 24px;
  margin: 20px 0 28px; }
dt { font-size: 13px; }
dd { margin: 0; overflow-wrap: anywhere; }
.list { list-style: none; margin: 0 0 28px; padding: 0; border-top: 1px solid var(--line); }
.list li { display: grid; grid-template-columns: 84px 1fr; padding: 7px 0;
  border-bottom: 1px solid var(--line); }
.list a { text-decoration: none; }
.list a:hover { text-decoration: underline; }
.problem { color: var(--problem); } .warning { color: var(--warning); }
.note { color: var(--note); }
.mark { font-size: 13px; font-weight: 600; line-height: 24px; }
section { margin-top: 36px; padding-top: 20px; border-top: 1px solid var(--line); }
.list + section { margin-top: 0; border-top: 0; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { font-size: 13px; font-weight: 400; color: var(--muted); text-align: right; }
td { text-align: right; } th, td { padding: 4px 0 4px 16px; }
th:first-child, td:first-child { text-align: left; padding-left: 0; overflow-wrap: anywhere; }
td.bar { width: 40%; } td.bar div { height: 10px; border-radius: 2px; background: var(--bar); }
.thumbs { display: grid; grid-template-columns: repeat(auto-fill, minmax(120px, 1fr));
  gap: 16px 14px; margin-top: 14px; }
figure { margin: 0; break-inside: avoid; font-size: 12px; line-height: 1.35; }
figure > div { height: 120px; display: flex; align-items: center; justify-content: center;
  background: var(--panel); border-radius: 4px; color: var(--muted); }
img { max-width: 120px; max-height: 120px; display: block; }
img.tiny { image-rendering: pixelated; }
figcaption { margin-top: 5px; overflow-wrap: anywhere; color: var(--text); }
figcaption span { display: block; }
.groups { display: flex; flex-wrap: wrap; gap: 14px; margin-top: 14px; }
.group { padding: 10px 14px 14px; border: 1px solid var(--line); border-radius: 6px;
  break-inside: avoid; font-size: 13px; }
.group .thumbs { display: flex; flex-wrap: wrap; margin-top: 6px; }
.group figure { width: 120px; }
@media (max-width: 480px) { .thumbs { grid-template-columns: repeat(auto-fill, minmax(96px, 1fr)); }
  figure > div { height: 96px; } img { max-width: 96px; max-height: 96px; }
  .groups { display: block; } .group { margin-top: 14px; } .group figure { width: 96px; }
  dl { grid-template-columns: 1fr 1fr; } .list li { grid-template-columns: 72px 1fr; }
  td.bar { width: 22%; } .wide { display: none; } }
@media print { body { max-width: none; padding: 0; } .list, h2 { break-after: avoid; } }
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
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_text(title)}</title><style>{STYLE}</style></head><body>",
            f"<h1>{_text(title)}</h1>",
            _facts(facts),
            _contents(items),
            _classes(found["classes"]),
            *(_section(number, item, thumb) for number, item in enumerate(items)),
            '<section><p class="muted">Every file by name: trainer data inspect CONFIG --json FILE'
            "</p></section>",
            "</body></html>\n",
        ]
    )


def thumbs(pictures: Pictures) -> Thumb:
    """Draws a picture as an <img>; what cannot be read becomes a word."""

    def thumb(index: int) -> str:
        try:
            pixels = decode(pictures.content(index))
        except (OSError, ValueError):
            return "unreadable"
        return image(pixels)

    return thumb


def image(pixels: np.ndarray) -> str:
    """An <img> of RGB [h, w, 3], at most THUMB in both sides; small pictures show their pixels."""
    h, w = pixels.shape[:2]
    tiny = max(h, w) <= THUMB // 4
    scale = THUMB // max(h, w) if tiny else min(1.0, THUMB / max(h, w))
    size = max(1, round(w * scale)), max(1, round(h * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST if tiny else cv2.INTER_AREA)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    data = base64.b64encode(encoded.tobytes()).decode()
    kind = ' class="tiny"' if tiny else ""
    return f'<img{kind} alt="" src="data:image/jpeg;base64,{data}">'


def _text(text: object) -> str:
    """Escaped; file names that are no UTF-8 with their bytes as \\x.."""
    return escape(str(text).encode("utf-8", "backslashreplace").decode())


def _facts(facts: Mapping[str, str]) -> str:
    rows = (
        f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in facts.items()
    )
    return f"<dl>{''.join(rows)}</dl>"


def _mark(severity: str) -> str:
    return f'<span class="mark {severity}">{severity}</span>'


def _contents(items: Sequence[Mapping[str, Any]]) -> str:
    if not items:
        return "<p>Nothing was found that needs a hand.</p>"
    rows = (
        f'<li>{_mark(item["severity"])}<a href="#finding-{number}">{_text(item["title"])}</a></li>'
        for number, item in enumerate(items)
    )
    return f'<ul class="list">{"".join(rows)}</ul>'


def _classes(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table with a bar for the pictures of each class."""
    most = max((row["pictures"] for row in rows), default=0) or 1
    sides = ("train", "validation", "test", "left_out")
    head = "".join(f'<th class="wide">{side.replace("_", " ")}</th>' for side in sides)
    body = "".join(
        f"<tr><td>{_text(row['class'])}</td><td>{row['pictures']:,}</td>"
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
        f'<section id="finding-{number}">{_mark(item["severity"])}<h2>{_text(item["title"])}</h2>'
        f"<p>{_text(item['meaning'])}</p><p>{_text(item['advice'])}</p>{body}</section>"
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
    why = f"<span>{_text(picture['why'])}</span>" if "why" in picture else ""
    return (
        f"<figure><div>{thumb(picture['index'])}</div><figcaption>{_text(picture['path'])}"
        f"<span>{_text(about)}</span>{size}{why}</figcaption></figure>"
    )
