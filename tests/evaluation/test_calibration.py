"""Confidence against accuracy, by hand."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from trainer.evaluation import calibration, curves
from trainer.evaluation.calibration import (
    best_thresholds,
    bound,
    fit_temperature,
    reject_threshold,
    reliability,
    tempered,
)


def test_bins_hold_their_upper_edges() -> None:
    confidence = np.array([0.0, 0.5, 0.51, 0.75, 1.0])
    found = reliability(confidence, np.array([0, 1, 1, 0, 1]), bins=2)
    assert found.edges.tolist() == [0, 0.5, 1]
    assert found.counts.tolist() == [2, 3]
    assert found.confidence.tolist() == pytest.approx([0.25, 2.26 / 3])
    assert found.accuracy.tolist() == pytest.approx([0.5, 2 / 3])
    assert found.error == pytest.approx((2 * 0.25 + 0.26) / 5)


def test_empty_bins_have_zeros() -> None:
    found = reliability(np.array([0.95]), np.array([True]), bins=10)
    assert found.counts.tolist() == [0] * 9 + [1]
    assert found.accuracy.tolist() == [0] * 9 + [1]
    assert found.error == pytest.approx(0.05)


def test_no_examples_are_no_error() -> None:
    assert reliability(np.zeros(0), np.zeros(0)).error == 0


def test_weights_are_repetitions() -> None:
    confidence, right, weights = np.array([0.2, 0.7, 0.9]), np.array([0, 1, 1]), np.array([2, 0, 3])
    found = reliability(confidence, right, 5, weights)
    again = reliability(np.repeat(confidence, weights), np.repeat(right, weights), 5)
    for one, other in zip(found, again, strict=True):
        np.testing.assert_allclose(one, other)


def softmax(logits_NK: np.ndarray) -> np.ndarray:
    raised = np.exp(logits_NK - logits_NK.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def test_a_temperature_divides_the_logits() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (50, 4))
    cooled = tempered(softmax(logits).astype(np.float32), 2.5, multi_label=False)
    np.testing.assert_allclose(cooled, softmax(logits / 2.5), atol=1e-6)
    several = tempered(1 / (1 + np.exp(-logits)), 2.5, multi_label=True)
    np.testing.assert_allclose(several, 1 / (1 + np.exp(-logits / 2.5)), atol=1e-9)
    assert np.isfinite(tempered(np.array([[0.0, 1.0]]), 0.05, multi_label=True)).all()
    assert tempered(np.array([[0.0, 1.0]]), 2.0, multi_label=False).sum() == 1


def test_labels_that_are_1_in_float32_do_not_outweigh_the_others() -> None:
    """Of a sigmoid of 17 or more nothing is left to 1; the logit is no 87."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 12, (600, 3))
    truth = generator.random(logits.shape) < 1 / (1 + np.exp(-logits / 6))
    scores = 1 / (1 + np.exp(-logits.astype(np.float32)))
    assert (scores == 1).sum() > 50
    assert fit_temperature(truth, scores, multi_label=True) == pytest.approx(6, rel=0.1)


def test_the_temperature_that_spoilt_probabilities_is_found() -> None:
    random = np.random.default_rng(1)
    honest = softmax(random.normal(0, 2, (20_000, 5)))
    truth = np.array([random.choice(5, p=row) for row in honest])
    overconfident = tempered(honest, 1 / 3, multi_label=False)
    found = fit_temperature(np.eye(5)[truth], overconfident, multi_label=False)
    assert found == pytest.approx(3, rel=0.03)
    right = honest.argmax(axis=1) == truth
    before = reliability(overconfident.max(axis=1), right).error
    after = reliability(tempered(overconfident, found, False).max(axis=1), right).error
    assert before > 0.15
    assert after < 0.02


def test_no_other_temperature_makes_the_truth_likelier() -> None:
    random = np.random.default_rng(2)
    truth = random.random((300, 3)) < 0.4
    scores = 1 / (1 + np.exp(-random.normal(0, 3, truth.shape) - truth))

    def loss(temperature: float) -> float:
        p = tempered(scores, temperature, multi_label=True)
        return -np.log(np.where(truth, p, 1 - p)).mean()

    found = fit_temperature(truth, scores, multi_label=True)
    assert 1 < found < 20
    assert loss(found) < min(loss(found * 1.001), loss(found / 1.001))


def test_where_nothing_is_wrong_there_is_no_temperature() -> None:
    truth = np.eye(3)[[0, 1, 2, 1]]
    assert fit_temperature(truth, 0.7 * truth + 0.1, multi_label=False) == 1
    assert fit_temperature(truth, 0.7 * truth + 0.1, multi_label=True) == 1
    assert bound(1.0) is None


def test_the_ends_of_the_search_are_told() -> None:
    chance = fit_temperature(np.eye(2)[[0, 1]], np.array([[0.9, 0.1]] * 2), False)
    assert (chance, bound(chance)) == (20, "most")
    # 99 of 100 are right, though none is surer than 0.51: ln 99 / ln (0.51 / 0.49) = 115 times
    truth = np.eye(2)[[0] * 99 + [1]]
    even = fit_temperature(truth, np.array([[0.51, 0.49]] * 100), False)
    assert (even, bound(even)) == (0.05, "least")
    assert fit_temperature(truth, np.array([[0.51, 0.49]] * 100), True) == 0.05


def test_thresholds_give_the_greatest_f1() -> None:
    random = np.random.default_rng(3)
    truth = random.random((80, 3)) < 0.3
    truth[:, 2] = False
    scores = ((random.random(truth.shape) * 0.7 + 0.3 * truth) / 2).astype(np.float32)
    found = best_thresholds(truth, scores)
    for index in range(2):
        at = [f1_score(truth[:, index], scores[:, index] >= t) for t in np.linspace(0, 1, 2001)]
        assert f1_score(truth[:, index], scores[:, index] >= found[index]) >= max(at) - 1e-12
    assert found[2] == 0.5  # no example


def test_a_threshold_lies_between_two_scores() -> None:
    truth, scores = np.repeat([[1], [0]], 10, axis=0), np.repeat([[0.3], [0.2]], 10, axis=0)
    assert best_thresholds(truth, scores) == pytest.approx([0.25])
    assert best_thresholds(np.ones((20, 1)), scores) == pytest.approx([0.1])


def test_of_equally_good_thresholds_the_highest_is_taken() -> None:
    """F1 is 2 / 3 from 0.8 on and from 0.3 on alike; 0.7 lies between."""
    truth, scores = np.array([1, 0, 0, 1]), np.array([0.8, 0.6, 0.3, 0.3], np.float32)
    found = calibration._best(curves.ranked(truth, scores), scores, np.ones(4, np.int64))
    assert found == pytest.approx(0.7)
    # without the second, what lies below is the third
    found = calibration._best(curves.ranked(truth, scores), scores, np.array([1, 0, 1, 1]))
    assert found == pytest.approx(0.15)
    found = calibration._best(curves.ranked(truth, scores), scores, np.array([2, 0, 3, 1]))
    assert found == pytest.approx(0.55)


def test_a_threshold_that_does_not_pay_on_other_examples_is_not_taken() -> None:
    """Calibrated probabilities around a half: whatever is better on these is chance."""
    random = np.random.default_rng(6)
    scores = random.uniform(0.1, 0.9, (60, 1))
    scores = np.where(scores > 0.5, scores + 0.1, scores - 0.1)
    truth = random.random(scores.shape) < scores
    assert best_thresholds(truth, scores) == [0.5]


def test_the_threshold_for_a_precision_keeps_the_most() -> None:
    confidence = np.array([0.95, 0.9, 0.8, 0.8, 0.6, 0.5])
    right = np.array([1, 1, 1, 0, 1, 0])
    assert reject_threshold(confidence, right, 1.0) == (0.9, pytest.approx(2 / 6))
    assert reject_threshold(confidence, right, 0.8) == (0.6, pytest.approx(5 / 6))
    assert reject_threshold(confidence, right, 0.5) == (0.5, 1)
    assert reject_threshold(np.array([0.9, 0.4]), np.array([0, 1]), 0.9) is None
