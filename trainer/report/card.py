"""The model card: what whoever gets the model must know, after Mitchell et al. (2019,
arXiv:1810.03993), as Markdown."""

from collections.abc import Mapping, Sequence

from trainer.figures import of_class
from trainer.markdown import listed, table, text
from trainer.report.found import SIDES, Found
from trainer.report.tables import CHIEF, absence, level, value, words
from trainer.report.verdict import Check, Verdict

CLASSES = 100  # rows of the table


def card(
    found: Found, checks: Sequence[Check], verdict: Verdict, presented: Mapping[str, str]
) -> str:
    """The whole file.

    Args:
        presented: how a picture becomes the input, and whatever else the config says of the model.
    """
    kind = "Several labels per picture" if found.multi_label else "One label per picture"
    names = ", ".join(map(text, found.classes[:CLASSES])) + ", …" * (len(found.classes) > CLASSES)
    parts = [
        f"# {text(found.name)}",
        f"{kind}, of {len(found.classes)}: {names}.",
        "## Can it be shipped?",
        f"**{verdict.word}** {text(verdict.because)}",
        listed(f"{check.level}: {text(check.title)}. {text(check.meaning)}" for check in checks),
        "## Use",
        "Intended use, users, and uses that are out of scope: to be written by whoever ships it.",
        listed(f"{text(name)}: {text(each)}" for name, each in presented.items()),
        f"## Figures of the {found.split} split",
        _figures(found),
        _classes(found),
        "## Data",
        _data(found),
        "## Limits",
        listed(_limits(found)),
        "## Made with",
        _environment(found),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _figures(found: Found) -> str:
    metrics = found.metrics
    if not metrics:
        return "Not evaluated."
    intervals = metrics.get("intervals", {})
    rows = []
    for name in CHIEF:
        if name in metrics:
            low, high = intervals.get(name, (None, None))
            between = "" if low is None else f"{value(name, low)} to {value(name, high)}"
            rows.append([words(name), value(name, metrics[name]), between])
    said = [f"On {metrics['examples']:,} pictures. {text(absence(found))}".strip()]
    if intervals:
        said.append(
            f"The intervals tell what chance makes of so few pictures: if others of the same kind "
            f"were drawn again and again, {level(found)} of such intervals would hold the true "
            "figure. They know nothing of other light, places or cameras."
        )
    heads = ["figure", "value", f"{level(found)} interval" if intervals else ""]
    parts = [*said, table(heads, rows)]
    return "\n\n".join(parts)


def _classes(found: Found) -> str:
    every = found.metrics.get("classes", {})
    names = ("precision", "recall", "f1", "support")
    rows = [
        [text(name), *(value(each, row[each]) for each in names[:3]), str(row["support"])]
        for name, row in [(name, of_class(row)) for name, row in every.items()][:CLASSES]
    ]
    return table(["class", "precision", "recall", "F1", "pictures"], rows) if rows else ""


def _data(found: Found) -> str:
    sides = [side for side in SIDES if found.pictures.get(side)]
    counts = ", ".join(f"{found.pictures[side]:,} {side}" for side in sides)
    left = f"; {len(found.left_out):,} left out" if found.left_out else ""
    checksum = found.environment.get("data")
    told = f"\n\nsha256 of the split: `{checksum}`" if checksum else ""
    return f"Pictures: {counts}{left}.{told}"


def _limits(found: Found) -> list[str]:
    told = ["It always answers with its classes, whatever the picture shows."]
    if found.multi_label:
        told = ["It knows no labels but these."]
    if found.confidence.get("applied") and found.confidence["temperature"] != 1:
        told.append(
            f"Its probabilities are those after a temperature of "
            f"{found.confidence['temperature']:.3g}, by which its logits are divided: fitted on "
            "the validation pictures, and built into what is exported since."
        )
    if found.confidence.get("reject"):
        least = found.confidence["reject"]["probability"]
        told.append(f"Below a probability of {least:.3f} it is unsure, and says so.")
    rows = {name: row for name, row in found.metrics.get("classes", {}).items() if row["support"]}
    for name in sorted(rows, key=lambda name: rows[name]["recall"])[:3]:
        told.append(f"Of '{text(name)}' it finds {rows[name]['recall']:.1%}.")
    told.append("The figures hold for pictures of the same kind and origin as those of the split.")
    return told


def _environment(found: Found) -> str:
    known = found.environment
    packages = ", ".join(f"{name} {version}" for name, version in known.get("packages", {}).items())
    lines = [f"trainer {known['trainer']}, Python {known['python']}"] if known else []
    lines += [packages] if packages else []
    lines += [f"{row['kind']}: {_agreement(row)}" for row in found.parity]
    return listed(map(text, lines))


def _agreement(row: Mapping[str, object]) -> str:
    return "agrees with Keras" if row["agrees"] else "disagrees with Keras, so it was not written"
