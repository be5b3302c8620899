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


@pytest.mark.parametrize(
    ("wanted", "others", "disturbed"),
    [(5, 0.1, True), (5, 0.09, False), (5, None, False), (9, 0.9, False)],
)
def test_a_time_that_is_missed_on_a_busy_machine(
    wanted: float, others: float | None, disturbed: bool
) -> None:
    latency, size = judged(Gates(latency_ms=wanted, size_mb=1), {"latency_ms": 7}, others)
    assert latency == Gate("latency_ms", "at most", wanted, 7, others)
    assert latency.disturbed is disturbed
    assert (size.others, size.disturbed) == (None, False)


def test_every_bound_from_above_is_a_gate() -> None:
    assert set(AT_MOST) < set(Gates.model_fields)
