"""The report: one HTML file that says whether a run can be shipped, and shows why."""

from collections.abc import Sequence
from typing import NamedTuple

from trainer import html
from trainer.html import text
from trainer.report import charts, tables
from trainer.report.found import Found
from trainer.report.mistakes import Mistake
from trainer.report.tables import said
from trainer.report.verdict import Check, Verdict

STYLE = (
    """
:root { --one: #2a6ab5; --two: #d1600a; --one-rgb: 42 106 181; --two-rgb: 209 96 10;
  --good: #1a6b3c; }
@media (prefers-color-scheme: dark) { :root { --one: #6ea8ee; --two: #f09048;
  --one-rgb: 62 118 190; --two-rgb: 205 100 25; --good: #6fcf97; } }
.good { color: var(--good); }
h3 { margin: 22px 0 2px; font-size: 15px; }
.verdict { margin: 18px 0 20px; padding: 14px 18px; border-radius: 8px; background: var(--panel);
  border-left: 6px solid currentColor; }
.verdict p { color: var(--text); }
.verdict .word { font-size: 22px; font-weight: 650; line-height: 1.3; color: inherit; }
.list p { margin: 0; font-size: 14px; color: var(--muted); }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 0 0 20px; font-size: 14px; }
section > p:first-of-type { margin-top: 2px; }
.scroll { overflow-x: auto; margin-top: 10px; }
.scroll td:first-child { overflow-wrap: break-word; min-width: 88px; }
.figures { max-width: 620px; }
.share { min-width: 60px; height: 10px; border-radius: 2px; background: var(--panel); }
.share i { display: block; height: 10px; border-radius: 2px; background: var(--one); }
.classes td:last-child, .counts td:last-child { width: 26%; }
.classes th:last-child { text-align: left; }
.pairs { max-width: 620px; } .pairs td:nth-child(2) { text-align: left; }
.pairs th:nth-child(2), .names td, .names th { text-align: left; }
.names td { font-size: 13px; overflow-wrap: anywhere; }
.matrix { width: auto; margin-bottom: 18px; }
.matrix td, .matrix th { padding: 4px 8px; text-align: center; }
.matrix td { min-width: 44px; border: 1px solid var(--line); text-align: center; }
.matrix td:first-child { padding-left: 8px; }
.matrix tbody th { text-align: right; color: var(--text); max-width: 180px; }
.matrix td.dark { color: #fff; }
.turned thead span { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 130px;
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.turned thead th { vertical-align: bottom; }
.matrix td, .share, .share i, .verdict, figure > div { print-color-adjust: exact;
  -webkit-print-color-adjust: exact; }
.pairs-of { grid-template-columns: repeat(auto-fill, minmax(248px, 1fr)); }
.pairs-of figure > div { background: none; gap: 6px; justify-content: flex-start; }
.pairs-of img { width: 120px; height: 120px; object-fit: contain; }
.pairs-of b { font-weight: 600; }
.samples { gap: 18px 14px; grid-template-columns: 1fr; }
.samples figure > div { height: auto; gap: 6px; justify-content: flex-start; flex-wrap: wrap;
  background: none; }
.samples img { width: 104px; height: 104px; object-fit: contain; }
.chart svg { margin-top: 4px; }
details { margin-top: 8px; } summary { cursor: pointer; }
pre { overflow-x: auto; padding: 12px; border-radius: 6px; background: var(--panel);
  font: 12px/1.5 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 640px) { .verdict { padding: 12px 14px; } td, th { padding-left: 10px; }
  table { font-size: 14px; } .samples img { width: 64px; height: 64px; }
  .pairs-of { grid-template-columns: 1fr; gap: 8px; }
  .pairs-of figure { display: grid; grid-template-columns: auto 1fr; gap: 10px; }
  .pairs-of img { width: 96px; height: 96px; }
  .pairs-of figcaption { margin: 0; }
  .classes td:last-child, .classes th:last-child, .classes th:nth-child(5),
  .classes td:nth-child(5), .classes th:nth-child(6), .classes td:nth-child(6),
  .counts td:last-child { display: none; } }
@media print { nav { display: none; } .scroll { overflow: visible; } .list a { color: inherit; }
  section { break-inside: auto; } tr { break-inside: avoid; } }
"""
    + charts.STYLE
)


class Shown(NamedTuple):
    """A mistake with its pictures: each an <img>, or empty."""

    mistake: Mistake
    picture: str
    heat: str


class Sample(NamedTuple):
    """A training picture, and as some epochs see it: an <img> each."""

    path: str
    labels: str
    images: Sequence[str]


class Looked(NamedTuple):
    """What needs the pictures or the network, not only the files of the run."""

    worst: Sequence[Shown] = ()  # of the evaluated split
    confident: Sequence[Shown] = ()  # of all sides
    sure: int = 0  # how many there are
    wrong: int = 0  # mistakes of all sides
    asked: str = ""  # which pictures the network was asked about
    samples: Sequence[Sample] = ()
    best: int | None = None  # the epoch that was kept
    reliability: str = ""  # its drawing
    notes: Sequence[str] = ()  # what could not be had, and why


def page(found: Found, checks: Sequence[Check], verdict: Verdict, looked: Looked) -> str:
    """The whole file."""
    sections = _sections(found, looked)
    links = "".join(f'<a href="#{key}">{title}</a>' for key, title, _ in sections)
    body = [
        _verdict(verdict),
        _checks(checks),
        *map(said, looked.notes),
        f"<nav>{links}</nav>",
        *(
            f'<section id="{key}"><h2>{title}</h2>{content}</section>'
            for key, title, content in sections
        ),
        said(f"Written by trainer report from {found.folder}."),
    ]
    return html.document(f"{found.name}: report", body, STYLE)


def _sections(found: Found, looked: Looked) -> list[tuple[str, str, str]]:
    """(anchor, title, content) in their order."""
    return [
        ("figures", f"Figures of the {found.split} split", tables.figures(found)),
        ("classes", "Classes", tables.classes(found)),
        ("confusion", "Confusion", tables.confusion(found)),
        ("confidence", "Confidence", tables.confidence(found, looked.reliability)),
        ("worst", "Worst mistakes", _worst(found, looked)),
        ("confident", "Most confident mistakes", _confident(looked)),
        ("data", "Data", tables.data(found)),
        ("curves", "Training", tables.curves(found, looked.best)),
        ("samples", "Augmentation", _samples(looked)),
        ("export", "Exports", tables.export(found)),
        ("timing", "Time", tables.timing(found)),
        ("environment", "Environment", tables.environment(found)),
        ("config", "Config", tables.config(found)),
    ]


def _verdict(verdict: Verdict) -> str:
    return (
        f'<div class="verdict {verdict.level}"><p class="muted">Can it be shipped?</p>'
        f'<p class="word">{text(verdict.word)}</p><p>{text(verdict.because)}</p></div>'
    )


def _checks(checks: Sequence[Check]) -> str:
    rows = (
        f'<li><span class="mark {check.level}">{check.level}</span><div>'
        f'<a href="#{check.section}">{text(check.title)}</a><p>{text(check.meaning)}</p></div></li>'
        for check in checks
    )
    return f'<ul class="list">{"".join(rows)}</ul>'


def _worst(found: Found, looked: Looked) -> str:
    if not found.predictions:
        missing = f"predictions.csv is missing: trainer evaluate {found.folder}"
        return said(missing if found.metrics else "Not evaluated yet.")
    if not looked.worst:
        return said("There is none.")
    sentence = (
        f"Of the {found.split} split, those first of whose label the network thinks least. "
        "Beside each: which part speaks for the label it says (Grad-CAM, yellow most)."
    )
    return said(sentence) + _pairs(looked.worst)


def _confident(looked: Looked) -> str:
    if not looked.asked:
        return said("The network was not asked about pictures.")
    sentence = (
        "Pictures whose label the network contradicts by a third of the probability or more, the "
        "surest first: often the label is wrong. "
        f"{looked.asked} What it was trained on it has partly learnt by heart, wrong labels too: "
        "of those it lists only what it would not learn, and no figure of it counts as a test."
    )
    if not looked.confident:
        none = f"None of {looked.wrong:,} mistakes; mistakes.csv has them." if looked.wrong else ""
        return said(sentence) + said(none or "There is none.")
    shown = len(looked.confident)
    rest = "These are all" if shown == looked.sure else f"The first {shown} of {looked.sure:,}"
    rest += f" of that kind; mistakes.csv has all {looked.wrong:,} mistakes."
    return said(sentence) + _pairs(looked.confident) + said(rest)


def _pairs(shown: Sequence[Shown]) -> str:
    return f'<div class="thumbs pairs-of">{"".join(map(_pair, shown))}</div>'


def _pair(shown: Shown) -> str:
    mistake = shown.mistake
    judged = mistake.judged
    true = ", ".join(judged.truth) or "no label"
    if mistake.missed:
        answer = (
            f"misses <b>{text(mistake.label)}</b> {mistake.probability:.2f}; labelled {text(true)}"
        )
    else:
        answer = (
            f"says <b>{text(mistake.label)}</b> {mistake.probability:.2f}; labelled {text(true)}"
        )
        if len(judged.truth) == 1 and mistake.of_truth != mistake.probability:
            answer += f" {mistake.of_truth:.2f}"
    return (
        f"<figure><div>{shown.picture or 'picture is gone'}{shown.heat}</div>"
        f"<figcaption>{answer}<span>{text(judged.path)} · {text(judged.side)}</span>"
        "</figcaption></figure>"
    )


def _samples(looked: Looked) -> str:
    if not looked.samples:
        return said("There are no pictures to show.")
    rows = "".join(
        f"<figure><div>{''.join(sample.images)}</div><figcaption>{text(sample.labels)}"
        f"<span>{text(sample.path)}</span></figcaption></figure>"
        for sample in looked.samples
    )
    sentence = "Training pictures as they are, then augmented as in training."
    return f'{said(sentence)}<div class="thumbs samples">{rows}</div>'
