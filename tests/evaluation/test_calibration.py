"""Confidence against accuracy, by hand."""

import numpy as np
import pytest

from trainer.evaluation.calibration import reliability


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
