"""Bounds, by hand."""

import pytest

from trainer.config.evaluation import AT_MOST, Gates
from trainer.evaluation.gates import Gate, judged


def test_a_bound_that_is_met_exactly_is_kept() -> None:
    found = judged(Gates(accuracy=0.9, calibration_error=0.1), {"accuracy": 0.9, "brier": 3})
    assert found == [
        Gate("accuracy", "at least", 0.9, 0.9),
        Gate("calibration_error", "at most", 0.1, None),
    ]
    assert [gate.passed for gate in found] == [True, False]  # what is not known passes nothing


@pytest.mark.parametrize(
    ("bound", "found", "passed"),
    [("at least", 0.4, False), ("at least", 0.6, True), ("at most", 0.4, True)],
)
def test_which_side_is_good(bound: str, found: float, passed: bool) -> None:
    assert Gate("it", bound, 0.5, found).passed is passed


def test_every_bound_from_above_is_a_gate() -> None:
    assert set(AT_MOST) < set(Gates.model_fields)
