"""How figures are said."""

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


def cell(value: float | None) -> str:
    """Its value in a table; None is a figure without ground."""
    return "-" if value is None else f"{value:.4f}"
