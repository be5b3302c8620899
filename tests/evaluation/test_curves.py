"""Curves equal scikit-learn's, ties included."""

import numpy as np
import pytest
from sklearn import metrics

from trainer.evaluation import curves

RANDOM = np.random.default_rng(3)
CASES = {
    "plain": (RANDOM.random(200) < 0.3, RANDOM.random(200)),
    "ties": (RANDOM.random(200) < 0.3, RANDOM.integers(0, 5, 200) / 4),
    "one score": (np.array([1, 0, 1]), np.full(3, 0.5)),
    "float32": (RANDOM.random(50) < 0.5, RANDOM.random(50).astype(np.float32)),
    "one example": (np.array([1]), np.array([0.7])),
}


@pytest.mark.parametrize("case", CASES)
def test_precision_and_recall_are_scikit_learns(case: str) -> None:
    truth, scores = CASES[case]
    wanted = metrics.precision_recall_curve(truth, scores)
    for found, expected in zip(curves.precision_recall(truth, scores), wanted, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)
    precision = metrics.average_precision_score(truth, scores)
    assert curves.areas(truth, scores).average_precision == pytest.approx(precision, abs=1e-12)


@pytest.mark.parametrize("case", sorted(CASES.keys() - {"one example"}))
def test_roc_is_scikit_learns(case: str) -> None:
    truth, scores = CASES[case]
    wanted = metrics.roc_curve(truth, scores, drop_intermediate=False)
    for found, expected in zip(curves.roc(truth, scores), wanted, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)
    area = metrics.roc_auc_score(truth, scores)
    assert curves.areas(truth, scores).roc_auc == pytest.approx(area, abs=1e-12)


def test_a_class_without_examples() -> None:
    truth, scores = np.zeros(4, bool), np.array([0.1, 0.2, 0.3, 0.4])
    assert np.isnan(curves.areas(truth, scores)).all()
    assert curves.areas(~truth, scores).average_precision == 1
    assert np.isnan(curves.areas(~truth, scores).roc_auc)


def test_no_examples() -> None:
    nothing = np.zeros(0)
    assert [part.tolist() for part in curves.precision_recall(nothing, nothing)] == [[1], [0], []]
    assert np.isnan(curves.areas(nothing, nothing)).all()
