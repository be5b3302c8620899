"""The parts of the page that are tables and drawings of figures. K classes."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trainer import figures as spelled
from trainer import files
from trainer.html import facts, text
from trainer.report import charts
from trainer.report.charts import Line
from trainer.report.found import SIDES, Found

MATRIX = 25  # classes, above which a confusion matrix cannot be read
ROWS = 200  # of a long table; files of the run have them all
PAIRS = 20  # confusions that are listed
SEEN = 0.6  # share of a row from which on numbers are white
MEASURED = {"latency_ms": "latency", "size_mb": "size of the weights"}
UNITS = {"latency_ms": "ms", "size_mb": "MB"}
CHIEF = (  # figures that come first, as far as there are such
    *("accuracy", "exact_match", "balanced_accuracy", "macro_f1", "mean_average_precision"),
    *("roc_auc", "worst_recall", "log_loss", "calibration_error", "size_mb"),
)


def words(name: str) -> str:
    """A figure's name for people, where its unit stands behind its value."""
    return MEASURED.get(name) or spelled.words(name)


def value(name: str, number: float | None) -> str:
    """A figure with its unit, if it has one, then to two digits at least."""
    if number is None:
        return "–"
    if name not in UNITS:
        return f"{number:.3f}"
    places = max(0, 1 - math.floor(math.log10(number))) if number > 0 else 0
    return f"{number:.{places}f} {UNITS[name]}"


def wanted(gate: Mapping[str, Any]) -> str:
    """The bound of a gate, `at most 50 ms`."""
    unit = UNITS.get(gate["name"], "")
    return " ".join(filter(None, (gate.get("bound"), f"{gate['wanted']:g}", unit)))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "") -> str:
    """Cells are HTML; the first of a row is text on the left. Scrolls where it is too wide."""
    head = "".join(f"<th>{each}</th>" for each in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def bar(share: float) -> str:
    """A number from 0 to 1, drawn."""
    return f'<div class="share"><i style="width:{100 * share:.1f}%"></i></div>'


def figures(found: Found) -> str:
    """All figures with their intervals, gates and slices."""
    metrics = found.metrics
    if not metrics:
        return said(f"Not evaluated yet: trainer evaluate {found.folder}")
    intervals, heads = metrics.get("intervals", {}), ["figure", "value"]
    known = [name for name, each in metrics.items() if isinstance(each, float)]
    names = [name for name in dict.fromkeys([*CHIEF, *known]) if name in known]
    rows = []
    for name in names:
        if name.startswith(spelled.UNSHOWN):
            continue
        low, high = intervals.get(name, (None, None))
        between = "" if low is None else f"{value(name, low)} to {value(name, high)}"
        rows.append([text(words(name)), value(name, metrics[name]), between])
    body = table([*heads, f"{level(found)} interval" if intervals else ""], rows, "figures")
    return body + said(absence(found)) + _gates(found) + _slices(found)


def level(found: Found) -> str:
    """Of confidence, of the intervals; of 95 %, if an evaluation does not say."""
    return f"{100 * found.metrics.get('interval', {}).get('level', 0.95):g} %"


def absence(found: Found) -> str:
    """Which classes no evaluated picture is of, as a sentence; empty if none."""
    absent = found.metrics.get("absent", [])
    return spelled.sentence(spelled.absence(absent, len(found.classes))) if absent else ""


def _gates(found: Found) -> str:
    if not found.gates:
        return ""
    rows = [
        [
            text(words(gate["name"])),
            wanted(gate),
            value(gate["name"], gate["found"]),
            _mark(
                "good" if gate["passed"] else "problem", "passed" if gate["passed"] else "missed"
            ),
        ]
        for gate in found.gates
    ]
    times = [gate for gate in found.gates if gate.get("disturbed")]
    busy = "".join(
        said(spelled.sentence(spelled.busy(words(gate["name"]), gate["others"]))) for gate in times
    )
    return "<h3>Gates</h3>" + table(["figure", "wanted", "found", ""], rows, "figures") + busy


def _slices(found: Found) -> str:
    parts = []
    for column, values in found.metrics.get("slices", {}).items():
        names = ("exact_match" if found.multi_label else "accuracy", "macro_f1")
        rows = [
            [text(each), *(value(name, row.get(name)) for name in names), f"{row['examples']:,}"]
            for each, row in values.items()
        ]
        parts.append(f"<h3>By {text(column)}</h3>")
        parts.append(table([text(column), *map(words, names), "pictures"], rows[:ROWS]))
    return "".join(parts)


def classes(found: Found) -> str:
    """A row per class, those first of which the least is found."""
    every = found.metrics.get("classes", {})
    if not every:
        return said("Not evaluated yet.")
    there = {name: row["support"] > 0 for name, row in every.items()}
    worst = sorted(every, key=lambda name: (not there[name], every[name]["recall"], name))
    every = {name: spelled.of_class(row) for name, row in every.items()}
    names = [name for name in next(iter(every.values())) if name != "support"]
    rows = [
        [
            text(name),
            *(value(each, every[name].get(each)) for each in names),
            f"{every[name]['support']:,}",
            bar(every[name]["recall"]) if there[name] else "",
        ]
        for name in worst[:ROWS]
    ]
    more = said(f"and {len(every) - ROWS} more in metrics.json") if len(every) > ROWS else ""
    heads = ["class", *map(words, names), "pictures", "recall"]
    return table(heads, rows, "classes") + more


def confusion(found: Found) -> str:
    """The matrix, if it can be read, and the most frequent confusions."""
    counts_KK = found.metrics.get("confusion")
    if counts_KK is None:
        several = "Several labels may hold at once, so no class is taken for another."
        return said(several if found.multi_label and found.metrics else "Not evaluated yet.")
    matrix = _matrix(counts_KK, found.classes) if len(found.classes) <= MATRIX else ""
    wrong = [
        (count, row, column)
        for row, counts_K in enumerate(counts_KK)
        for column, count in enumerate(counts_K)
        if count and row != column
    ]
    if not wrong:
        return matrix + said("Nothing is confused.")
    wrong.sort(key=lambda each: (-each[0], each[1], each[2]))
    rows = [
        [
            text(found.classes[row]),
            text(found.classes[column]),
            str(count),
            f"{count / sum(counts_KK[row]):.1%}",
        ]
        for count, row, column in wrong[:PAIRS]
    ]
    return matrix + table(["true", "said", "pictures", "of the class"], rows, "pairs")


def _matrix(counts_KK: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    heads = ["true \\ said", *(f"<span>{text(name)}</span>" for name in names)]
    head = "".join(f"<th>{each}</th>" for each in heads)
    body = ""
    for row, counts_K in enumerate(counts_KK):
        total = max(sum(counts_K), 1)
        cells = ""
        for column, count in enumerate(counts_K):
            share, colour = count / total, "one" if row == column else "two"
            dark = ' class="dark"' if share > SEEN else ""
            shade = f"background:rgb(var(--{colour}-rgb) / {share:.2f})" if count else ""
            cells += f'<td{dark} style="{shade}">{count or "·"}</td>'
        body += f"<tr><th>{text(names[row])}</th>{cells}</tr>"
    turned = " turned" if len(names) > 4 else ""
    return (
        f'<div class="scroll"><table class="matrix{turned}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def confidence(found: Found, drawing: str) -> str:
    """The reliability diagram, and what validation says of the probabilities.

    Args:
        drawing: of `charts.reliability`; empty if there are no predictions.
    """
    kept = found.confidence
    if not found.metrics:
        return said("Not evaluated yet.")
    named: dict[str, object] = {}
    if "calibration_error" in found.metrics:
        named["expected calibration error"] = f"{found.metrics['calibration_error']:.3f}"
    if kept.get("temperature"):
        state = "built in" if kept.get("applied") else "not built in"
        end = f", an end of the search: {spelled.ENDS[kept['end']]}" if kept.get("end") else ""
        named["temperature"] = f"{kept['temperature']:.3g} by validation, {state}{end}"
    if kept.get("reject"):
        reject = found.metrics.get("confidence", {}).get("reject") or kept["reject"]
        told = f"{reject['kept']:.1%} are surer"
        if reject.get("found") is not None:
            told += f", of which {reject['found']:.1%} are right"
        named["unsure below"] = f"{reject['probability']:.3f}; {told}"
    if kept.get("thresholds"):
        pairs = zip(found.classes, kept["thresholds"], strict=False)
        named["a label holds from"] = ", ".join(f"{name} {least:.2f}" for name, least in pairs)
    drawing = drawing or said(f"predictions.csv is missing: trainer evaluate {found.folder}")
    return f'<div class="charts">{drawing}<div>{facts(named)}</div></div>'


def data(found: Found) -> str:
    """Pictures by class and side, and those that are on none."""
    sides = [side for side in SIDES if found.counts.get(side)]
    totals = {
        name: sum(found.counts[side].get(name, 0) for side in sides) for name in found.classes
    }
    most = max(totals.values(), default=0) or 1
    rows = [
        [
            text(name),
            *(f"{found.counts[side].get(name, 0):,}" for side in sides),
            f"{totals[name]:,}",
            bar(totals[name] / most),
        ]
        for name in found.classes[:ROWS]
    ]
    counted = ["all", *(f"{found.pictures[side]:,}" for side in sides)]
    rows.append([*counted, f"{sum(found.pictures.values()):,}", ""])
    return table(["class", *sides, "pictures", ""], rows, "counts") + _awkward(found)


def _awkward(found: Found) -> str:
    unreadable = found.metrics.get("unreadable", [])
    named = dict(found.left_out) | {str(path): f"unreadable, {found.split}" for path in unreadable}
    if not named:
        return said("No picture was left out, and all could be read.")
    reasons = Counter(why.partition(":")[0] for why in named.values())
    told = ", ".join(f"{count:,} × {text(why)}" for why, count in reasons.most_common())
    rows = [[text(path), text(why)] for path, why in list(named.items())[:ROWS]]
    more = said(f"and {len(named) - ROWS:,} more in data.json") if len(named) > ROWS else ""
    return (
        f"<h3>Awkward files</h3><p>{told}</p><details><summary>By name</summary>"
        f"{table(['path', 'why'], rows, 'names')}{more}</details>"
    )


def curves(found: Found, best: int | None) -> str:
    """A drawing for each logged value, training and validation together."""
    if not found.history:
        return said("No epoch was finished.")
    nan = float("nan")
    names = dict.fromkeys(name for row in found.history for name in row)
    columns = {name: [row.get(name, nan) for row in found.history] for name in names}
    columns.pop("epoch", None)
    drawn = []
    for name, values in columns.items():
        if name.startswith("val_") and name.removeprefix("val_") in columns:
            continue
        pair = [Line("training", values)]
        if f"val_{name}" in columns:
            pair.append(Line("validation", columns[f"val_{name}"]))
        drawn.append(charts.lines(words(name), pair, best))
    dashed = f"The dashed line is epoch {best}, the best, which is kept." if best else ""
    return f'{said(dashed)}<div class="charts">{"".join(drawn)}</div>'


def export(found: Found) -> str:
    """How far each exported file agrees with Keras."""
    if not found.parity:
        return said(f"Not exported yet: trainer export {found.folder}")
    rows = []
    for row in found.parity:
        if "reason" in row:  # it gave no scores at all
            compared = [text(row["reason"]), "", ""]
        else:
            limit = "" if row["tolerance"] is None else f" of {row['tolerance']:.0e}"
            compared = [
                f"{row['same_label']} of {row['images']}",
                f"{row['accuracy']:.3f} (Keras {row['accuracy_of_keras']:.3f})",
                f"{row['largest_difference']:.1e}{limit}",
            ]
        name = str(row["file"]).replace("\\", "/").rpartition("/")[2]
        mark = _mark("good", "agrees") if row["agrees"] else _mark("problem", "disagrees")
        rows.append([text(name), files.size(row["bytes"]), *compared, mark])
    heads = ["file", "size", "same label", "accuracy", "largest difference", ""]
    return table(heads, rows)


def timing(found: Found) -> str:
    """What an epoch took, on the median, and what one picture takes."""
    named = {}
    for name, unit in (("images_per_second", "images/s"), ("step_ms", "ms"), ("input_wait", "")):
        values = sorted(row[name] for row in found.timing if name in row)
        if values:
            middle = values[len(values) // 2]
            title = {"step_ms": "a step", "input_wait": "waiting for input"}.get(name, "training")
            named[title] = f"{middle:.0f} {unit}" if unit else f"{middle:.1%} of the time"
    if named:
        named = {"epochs": str(len(found.timing)), **named}
    latency = [gate["found"] for gate in found.gates if gate["name"] == "latency_ms"]
    if latency and latency[0] is not None:
        named["one picture, network alone"] = value("latency_ms", latency[0])
    return facts(named) if named else said("No epoch was finished.")


def environment(found: Found) -> str:
    """Versions, machine, commit, checksum of the data."""
    if not found.environment:
        return said("environment.json is missing.")
    flat: dict[str, object] = {}
    for name, each in found.environment.items():
        if isinstance(each, Mapping):
            flat |= {str(key): part for key, part in each.items()}
        elif each is not None:
            flat[{"data": "sha256 of split.csv", "cpu_count": "CPU cores"}.get(name, name)] = each
    return facts(flat)


def config(found: Found) -> str:
    """The whole config."""
    return f"<details><summary>config.yaml</summary><pre>{text(found.config)}</pre></details>"


def said(sentence: str) -> str:
    """A line of small print; nothing for nothing."""
    return f'<p class="muted">{text(sentence)}</p>' if sentence else ""


def _mark(level: str, word: str) -> str:
    return f'<span class="mark {level}">{word}</span>'
