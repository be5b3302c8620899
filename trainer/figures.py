"""How figures are said."""

from collections.abc import Sequence

SHOWN = 5  # names in a sentence
UNSHOWN = ("micro_", "weighted_")  # beginnings of those that metrics.json alone has
SPELLED = {
    "f1": "F1",
    "roc auc": "ROC-AUC",
    "size mb": "size MB",
    "brier": "Brier",
    "matthews": "Matthews'",
    "cohen": "Cohen's",
}


def words(name: str) -> str:
    """The name of a figure in metrics.json, for people."""
    words = name.replace("_", " ")
    for plain, spelled in SPELLED.items():
        words = words.replace(plain, spelled)
    return words


def absence(absent: Sequence[str], classes: int) -> str:
    """The classes without pictures, of so many, and what figures make of them."""
    first = ", ".join(f"'{name}'" for name in absent[:SHOWN])
    named = first + (f" and {len(absent) - SHOWN} more" if len(absent) > SHOWN else "")
    left = classes - len(absent)
    others = "the other one" if left == 1 else f"the other {left}"
    return f"no picture of {named}: means over classes are over {others}"


def cell(value: float | None) -> str:
    """Its value in a table; None is a figure without ground."""
    return "-" if value is None else f"{value:.4f}"
