"""What an epoch says of itself."""

import pytest

from trainer import terminal
from trainer.training.display import Display, numbers

NAMES = ["loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"]
LOGS = {
    "accuracy": 0.5,
    "learning_rate": 0.003,
    "loss": 1.23456,
    "val_loss": 1.5,
    "val_accuracy": 0.25,
    "images_per_second": 717.4,
    "step_ms": 41.6,
    "input_wait": 0.052,
}


def test_values_of_validation_stand_beside_those_of_training() -> None:
    said = "loss 1.235 (val 1.5)  accuracy 0.5 (val 0.25)  lr 0.003"
    assert numbers(LOGS, NAMES) == said
    assert numbers({"loss": 2.0, "learning_rate": 0.1}, NAMES) == "loss 2  lr 0.1"
    assert numbers({"val_loss": 2.0}, NAMES) == "val_loss 2"


@pytest.mark.parametrize(("width", "between"), [(160, "  "), (100, "\n  ")])
def test_a_narrow_terminal_gets_two_lines(
    width: int, between: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(terminal.console, "_width", width)
    shown = Display(lambda done, note: None, NAMES, 15, 10, 32)
    shown.on_epoch_begin(1)
    shown.on_epoch_end(1, LOGS)
    assert capsys.readouterr().out == (
        "epoch  2/15  loss 1.235 (val 1.5)  accuracy 0.5 (val 0.25)  lr 0.003"
        f"{between}717 images/s  42 ms/step  5% waiting for input  0 s\n"
    )
