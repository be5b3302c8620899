"""What a picture takes, and who else was at work."""

from pathlib import Path

import keras
import pytest

from trainer.evaluation import latency
from trainer.evaluation.latency import Spent, others


def test_what_others_used_is_what_is_left() -> None:
    """Of 4 s on two cores, 3 of which were busy and one ours."""
    before, after = Spent(100, 50, 7), Spent(103, 51, 8)
    assert others(before, after) == pytest.approx(2 / 4)
    assert others(before, Spent(101, 53, 8.5)) == 0  # clocks are coarse
    assert others(before, before) is None  # too short to tell
    assert others(None, after) is None


def test_what_the_system_does_not_tell_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for text in (None, "", "cpu 1 2\n", "cpu a b c d e f g h\n"):
        monkeypatch.setattr(latency, "_TIMES", tmp_path / "stat")
        if text is not None:
            (tmp_path / "stat").write_text(text)
        assert latency._spent() is None
    # user, nice, system, idle, waiting, interrupts (2), stolen by other machines, and guests,
    # which are in user already
    (tmp_path / "stat").write_text("cpu  100 20 30 400 50 6 7 8 90 9\ncpu0 1 1 1 1\n")
    monkeypatch.setattr(latency.os, "sysconf", lambda _: 100)
    found = latency._spent()
    assert found is not None
    assert found[:2] == pytest.approx((1.71, 4.5))


def test_the_calmest_round_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = iter([0.009, 0.004, 0.007, 0.020, 0.005])
    monkeypatch.setattr(latency, "_median", lambda call: next(rounds))
    inputs = keras.Input((2, 2, 3))
    model = keras.Model(inputs, keras.layers.Flatten()(inputs))
    assert latency.latency(model).ms == pytest.approx(4)


def test_a_round_is_a_median(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three calls of 1, 5 and 2 s: longer than a round, but no fewer count."""
    now, lengths = [0.0], iter([1.0, 5.0, 2.0])

    def call() -> None:
        now[0] += next(lengths)

    monkeypatch.setattr(latency.time, "perf_counter", lambda: now[0])
    assert latency._median(call) == 2
