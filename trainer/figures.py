"""How figures are said."""

from collections.abc import Mapping, Sequence
from typing import Any

SHOWN = 5  # names in a sentence
UNSHOWN = ("micro_", "weighted_")  # beginnings of those that metrics.json alone has
ENDS = {  # what a temperature at an end of the search means
    "most": "on the validation pictures the probabilities say next to nothing about the labels; "
    "look at the accuracy there, and whether the labels are right",
    "least": "the network is right far more often than its probabilities say, which hardly differ; "
    "look at its last layer and at the loss",
}
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
    others = "the other one" if left == 1 else f"the other {left}" if left else "none, so 0"
    return f"no picture of {named}: means over classes are over {others}"


def busy(name: str, others: float) -> str:
    """That a time was measured while others used such a share of the CPU, and what to do."""
    return (
        f"others used {others:.0%} of the CPU while {name} was measured, so it may be lower: "
        "evaluate again when the machine is calm"
    )


def sentence(text: str) -> str:
    """With a capital and a full stop; nothing of nothing."""
    return f"{text[0].upper()}{text[1:]}." if text else ""


def of_class(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row of `classes` in metrics.json as it is shown: a class without pictures has no ratios."""
    return row if row["support"] else {**row, "precision": None, "recall": None, "f1": None}


def cell(value: float | None) -> str:
    """Its value in a table; None is a figure without ground."""
    return "-" if value is None else f"{value:.4f}"
