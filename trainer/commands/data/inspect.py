"""`trainer data inspect`: looks at every picture and says what was found and what to do."""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainer import files, places, terminal
from trainer.commands._gather import divide, listing, read
from trainer.config import Config
from trainer.data.examples import Examples
from trainer.data.inspect import duplicates, findings, gallery, quarantine, survey
from trainer.data.inspect.look import LEFT_OUT, some
from trainer.errors import UserError

WIDTH = 79  # columns of the text
EXAMPLES = 3  # pictures or groups of a finding on the terminal
CLASSES = 20  # rows of the table on the terminal
STYLES = {"problem": "bold red", "warning": "bold yellow", "note": "bold"}


def run(config: Config, out: Path | None) -> None:
    """Reports on the terminal, as a page, and to `out` as JSON; renews the quarantine list."""
    page, listed = places.inspection(config), listing(config)
    files.demand_writable(page, "runs")
    if out:
        files.demand_writable(out, "--json")
    examples = read(config)
    found = survey.survey(examples.pictures, places.surveyed(config))
    pairs = duplicates.find(found.records, examples.group_numbers())
    ours = findings.to_quarantine(examples, found, pairs)
    left_out = quarantine.renew(listed, ours) if listed else {}
    side_N, stopped = _sides(config, examples, found, left_out)
    report = findings.findings(examples, found, pairs, config.data, side_N, stopped)
    report |= {"name": config.name, "source": config.data.source.model_dump(mode="json")}
    report["quarantine"] = {"file": str(listed) if listed else None, "pictures": left_out}
    _show(report)
    with terminal.silenced():  # libpng and libjpeg talk about broken files
        html = gallery.page(
            f"{config.name}: inspection", _facts(report), report, gallery.thumbs(examples.pictures)
        )
    files.write_text(page, html)
    if out:
        files.write_text(out, json.dumps(report, indent=2, sort_keys=True) + "\n")
    _say_where(report, page, out)


def _sides(
    config: Config, examples: Examples, found: survey.Survey, left_out: Mapping[str, str]
) -> tuple[np.ndarray, list[UserError]]:
    """int8 [N]: index in SIDES of where fit puts each picture, or LEFT_OUT; and what stops fit."""
    where = {examples.pictures.name(index): index for index in range(len(examples))}
    out = np.zeros(len(examples), bool)
    out[[where[name] for name in left_out if name in where]] = True
    together = config.data.split.duplicates == "together"
    side_N = np.full(len(examples), LEFT_OUT, np.int8)
    try:
        sides, *_ = divide(config, examples, out, found if together else None)
    except UserError as error:
        return side_N, [error]
    for number, side in enumerate(sides):
        side_N[[where[side.pictures.name(index)] for index in range(len(side))]] = number
    return side_N, []


# --- the terminal -------------------------------------------------------------------------------


def _facts(report: Mapping[str, Any]) -> dict[str, str]:
    """What stands on top of every report."""
    count, classes, readable = report["pictures"], report["classes"], report["readable"]
    sides = ", ".join(f"{number:,} {side}" for side, number in report["sides"].items())
    left = f"; {report['left_out']:,} left out" if report["left_out"] else ""
    facts = {
        "pictures": f"{count:,} in {len(classes)} classes; "
        + ("all can be read" if count == readable else f"{readable:,} can be read"),
        "split": sides + left,
        "formats": ", ".join(f"{number:,} {name}" for name, number in report["formats"].items()),
    }
    for name, values in report["sizes"].items():
        least, middle, most = (f"{values[key]:g}" for key in ("smallest", "median", "largest"))
        facts[name] = f"{least}, all" if least == most else f"{least} to {most}, median {middle}"
    return facts


def _show(report: Mapping[str, Any]) -> None:
    for name, fact in _facts(report).items():
        for line in _wrapped(f"{name:<9}", fact):
            terminal.say(line)
    terminal.say()
    _show_classes(report["classes"])
    for finding in report["findings"]:
        terminal.say()
        head, *rest = _wrapped(f"{finding['severity']:<9}", finding["title"])
        for line in (head, *rest):
            terminal.say(line, STYLES[finding["severity"]])
        for text in (finding["meaning"], finding["advice"]):
            for line in _wrapped(" " * 9, text):
                terminal.say(line)
        for text in _examples(finding):
            for line in _wrapped(" " * 11, text):
                terminal.say(line)
    terminal.say()


def _show_classes(rows: Sequence[Mapping[str, Any]]) -> None:
    """The table; of many classes only the ends, because these are what needs a look."""
    columns = [key for key in rows[0] if key != "left_out" or any(row[key] for row in rows)]
    title, shown = "pictures per class and split", list(rows)
    if len(rows) > CLASSES:
        ordered = sorted(rows, key=lambda row: -row["pictures"])
        shown = ordered[: CLASSES // 2] + ordered[-CLASSES // 2 :]
        title += f": the largest and smallest {CLASSES // 2} of {len(rows)} classes"
    heads = [key.replace("_", " ") for key in columns]
    terminal.table(title, heads, [[row[key] for key in columns] for row in shown])


def _wrapped(head: str, text: str) -> list[str]:
    """Lines of WIDTH, or longer for a long path; the text in a column of its own."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _examples(finding: Mapping[str, Any]) -> Iterator[str]:
    """A line for each of the first pictures or groups."""
    rows = finding.get("pictures") or finding.get("groups") or []
    for row in rows[:EXAMPLES]:
        if isinstance(row, dict):
            yield f"{row['path']}: {row['why']}" if "why" in row else row["path"]
        else:
            more = f" and {len(row) - 2:,} more" if len(row) > 2 else ""
            yield ", ".join(_shown(row)) + more
    if len(rows) > EXAMPLES:
        yield f"and {len(rows) - EXAMPLES:,} more"


def _shown(group: Sequence[Mapping[str, Any]]) -> list[str]:
    """Two pictures of a group with their sides; two with different labels, if there are such."""
    others = [each for each in group[1:] if each["labels"] != group[0]["labels"]]
    if not others:
        return [f"{each['path']} ({each['side']})" for each in group[:2]]
    return [
        f"{each['path']} ({' and '.join(each['labels']) or 'no label'}, {each['side']})"
        for each in (group[0], others[0])
    ]


def _say_where(report: Mapping[str, Any], page: Path, out: Path | None) -> None:
    listed = report["quarantine"]
    if not report["findings"]:
        terminal.say("all is well: nothing was found that needs a hand")
    if listed["file"]:
        count = len(listed["pictures"])
        mine = sum(not why.startswith(quarantine.OURS) for why in listed["pictures"].values())
        said = f"{some(count, 'picture', 'pictures')} that fit leaves out" if count else "empty"
        said += f", {mine:,} of them by hand" if mine else ""
        terminal.say(f"written  {listed['file']} ({said})")
    terminal.say(f"written  {page} (with thumbnails)")
    terminal.say(f"written  {out} (everything)" if out else "every file by name: --json FILE")
