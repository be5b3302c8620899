"""What is said of a picture: on the terminal, in a CSV, in JSON lines. K classes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from trainer.config.about import DIGITS, About, Verdict
from trainer.data import split_file
from trainer.data.inputs import Ready


class Answer(NamedTuple):
    """The labels of one picture."""

    name: str
    verdict: Verdict
    scores_K: np.ndarray
    original: bytes | None  # the picture itself, if it is no file and was kept

    @property
    def label(self) -> str:
        """The labels in one word; empty if none holds."""
        return split_file.SEPARATOR.join(self.verdict.labels)


def answer(picture: Ready, scores_K: np.ndarray, about: About) -> Answer:
    """The answer to one picture."""
    return Answer(picture.name, about.verdict(scores_K.tolist()), scores_K, picture.original)


def top(scores_K: np.ndarray, labels: Sequence[str], count: int) -> list[tuple[str, float]]:
    """The most probable labels, the best first; of equal ones the first."""
    best = np.argsort(-scores_K, kind="stable")[:count]
    return [(labels[index], float(scores_K[index])) for index in best]


def line(answer: Answer, labels: Sequence[str], count: int | None, width: int) -> str:
    """For people: `photos/1.jpg  daisy  0.9312`.

    Args:
        count: if given, so many of the most probable labels.
        width: of the longest name.
    """
    longest = max(map(len, labels))
    said = [(answer.label or "-", answer.verdict.probability)]
    if count:
        said = top(answer.scores_K, labels, count)
    cells = [f"{label:{longest}}  {probability:.4f}" for label, probability in said]
    return "  ".join((f"{answer.name:{width}}", *cells, *["unsure"] * (not answer.verdict.sure)))


def columns(labels: Sequence[str], truth: bool = False, fold: bool = False) -> list[str]:
    """Of the CSV, one per class; a class called `label` must not hide the column of that name.

    Args:
        truth: whether there is a column of the true labels, behind that of the paths.
        fold: whether there is one of the fold that the picture is in, before the classes.
    """
    own = ["path", *["truth"] * truth, "label", "probability", *["fold"] * fold]
    return [*own, *(f"class {name}" if name in own else name for name in labels)]


def row(answer: Answer) -> list[str]:
    """Of the CSV; several labels are joined by `|`."""
    numbers = (answer.verdict.probability, *answer.scores_K)
    return [answer.name, answer.label, *(f"{number:.{DIGITS}f}" for number in numbers)]


def record(answer: Answer, about: About, count: int | None) -> dict[str, Any]:
    """Of the JSON lines: what `About.answer` says.

    Args:
        count: if given, `top` lists so many of the most probable labels.
    """
    found = {"path": answer.name, **about.answer(answer.scores_K.tolist())}
    if count:
        best = top(answer.scores_K, about.labels, count)
        found["top"] = [{"label": label, "probability": round(p, DIGITS)} for label, p in best]
    return found
