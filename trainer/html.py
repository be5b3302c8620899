"""Pages in one file, that need no network, no JavaScript and no style sheet of others."""

import base64
from collections.abc import Iterable, Mapping
from html import escape

import cv2
import numpy as np

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
h1 { margin: 0; font-size: 28px; line-height: 1.2; overflow-wrap: anywhere; }
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
@media (max-width: 480px) { .thumbs { grid-template-columns: repeat(auto-fill, minmax(96px, 1fr)); }
  figure > div { height: 96px; } img { max-width: 96px; max-height: 96px; }
  dl { grid-template-columns: 1fr 1fr; } .list li { grid-template-columns: 72px 1fr; }
  td.bar { width: 22%; } .wide { display: none; } }
@media print { body { max-width: none; padding: 0; } .list, h2 { break-after: avoid; } }
"""

# Says to the browser what holds anyway: nothing is fetched and nothing runs.
ALONE = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(title: str, body: Iterable[str], style: str = "") -> str:
    """The whole file.

    Args:
        body: HTML below the title.
        style: CSS after that of all pages.
    """
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{ALONE}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{text(title)}</title><style>{STYLE}{style}</style></head><body>",
            f"<h1>{text(title)}</h1>",
            *body,
            "</body></html>\n",
        ]
    )


def text(value: object) -> str:
    """Escaped; file names that are no UTF-8 with their bytes as \\x.."""
    return escape(str(value).encode("utf-8", "backslashreplace").decode())


def facts(named: Mapping[str, object]) -> str:
    """Short texts, each below its name."""
    rows = (
        f"<div><dt>{text(name)}</dt><dd>{text(fact)}</dd></div>" for name, fact in named.items()
    )
    return f"<dl>{''.join(rows)}</dl>"


def image(pixels: np.ndarray, most: int = THUMB) -> str:
    """An <img> of RGB [h, w, 3], at most so many pixels in both sides; small pictures show their
    pixels."""
    h, w = pixels.shape[:2]
    tiny = max(h, w) <= most // 4
    scale = most // max(h, w) if tiny else min(1.0, most / max(h, w))
    size = max(1, round(w * scale)), max(1, round(h * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST if tiny else cv2.INTER_AREA)
    bgr = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    data = base64.b64encode(encoded.tobytes()).decode()
    kind = ' class="tiny"' if tiny else ""
    return f'<img{kind} alt="" src="data:image/jpeg;base64,{data}">'
