"""Figures by hand."""

import numpy as np
import pytest

from trainer.evaluation.metrics import confusion, multi_label_summary, summary


def test_confusion_has_the_truth_in_rows() -> None:
    truth, predicted = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 0])
    assert confusion(truth, predicted, 3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_summary() -> None:
    found = summary(np.array([[6, 2], [1, 1]]), ("cat", "dog"))
    assert (found["examples"], found["accuracy"]) == (10, 0.7)
    cat, dog = found["classes"]["cat"], found["classes"]["dog"]
    assert cat == pytest.approx({"precision": 6 / 7, "recall": 6 / 8, "f1": 4 / 5, "support": 8})
    assert dog == pytest.approx({"precision": 1 / 3, "recall": 1 / 2, "f1": 2 / 5, "support": 2})
    assert found["confusion"] == [[6, 2], [1, 1]]


def test_a_class_that_is_never_predicted_or_never_there_scores_0() -> None:
    found = summary(np.array([[3, 0, 0], [2, 0, 0], [0, 0, 0]]), ("a", "b", "c"))
    zero = {"precision": 0, "recall": 0, "f1": 0}
    assert found["classes"]["b"] == {**zero, "support": 2}
    assert found["classes"]["c"] == {**zero, "support": 0}
    assert summary(np.zeros((2, 2), int), ("a", "b"))["accuracy"] == 0


def test_figures_of_several_labels() -> None:
    """Computed by hand, with ties and a class without pictures."""
    truth = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0]])
    scores = np.array(
        [[0.9, 0.2, 0.1], [0.4, 0.7, 0.6], [0.6, 0.7, 0.2], [0.3, 0.7, 0.1], [0.6, 0.1, 0.3]]
    )
    found = multi_label_summary(truth, scores, ("a", "b", "c"))
    assert found["exact_match"] == pytest.approx(0.2)
    assert found["hamming_loss"] == pytest.approx(5 / 15)
    assert [row["f1"] for row in found["classes"].values()] == pytest.approx([2 / 3, 2 / 3, 0])
    assert found["macro_f1"] == pytest.approx(4 / 9)
    assert found["micro_f1"] == pytest.approx(8 / 13)
    precisions = [row["average_precision"] for row in found["classes"].values()]
    assert precisions == pytest.approx(
        [1 / 3 + 1 / 3 * 2 / 3 + 1 / 3 * 3 / 4, 2 / 3 * 2 / 3 + 1 / 3 * 3 / 5, 0]
    )
    assert found["mean_average_precision"] == pytest.approx(np.mean(precisions[:2]))
