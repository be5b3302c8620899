"""What a model says of a picture, by hand-computed values."""

import pytest

from trainer.config.about import About, Verdict

ABC = About(name="abc", task="single_label", labels=("a", "b", "c"), image_size=(2, 2))
SEVERAL = ABC.model_copy(update={"task": "multi_label", "thresholds": (0.5, 0.2, 0.9)})


@pytest.mark.parametrize(
    ("about", "scores", "expected"),
    [
        (ABC, [0.2, 0.5, 0.3], Verdict(("b",), 0.5)),
        (ABC, [0.2, 0.4, 0.4], Verdict(("b",), 0.4)),  # of equal ones the first
        (SEVERAL, [0.5, 0.3, 0.8], Verdict(("a", "b"), 0.3)),  # the least probable of them
        (SEVERAL, [0.4, 0.1, 0.8], Verdict((), 0.8)),  # none: the most probable
    ],
)
def test_which_labels_hold(about: About, scores: list[float], expected: Verdict) -> None:
    assert about.verdict(scores) == expected


def test_the_answer_in_json() -> None:
    assert ABC.answer([0.25, 0.6499999, 0.1]) == {
        "label": "b",
        "probability": 0.65,
        "probabilities": {"a": 0.25, "b": 0.65, "c": 0.1},
    }
    assert SEVERAL.answer([0.5, 0.25, 0.0]) == {
        "labels": ("a", "b"),
        "probability": 0.25,
        "probabilities": {"a": 0.5, "b": 0.25, "c": 0.0},
    }
