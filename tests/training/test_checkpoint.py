"""Checkpoints: whole or not there, and enough to go on exactly."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training import runs
from trainer.config.training import Best, Training
from trainer.errors import UserError
from trainer.training import checkpoint, loop, objective
from trainer.training.checkpoint import Checkpoints, State, load

STEPS = 3


def train(folder: Path, epochs: int, others: tuple[Any, ...] = (), best: Best | None = None) -> Any:
    """Trains up to `epochs`, from the last checkpoint of the folder if there is one."""
    strategy = tf.distribute.get_strategy()
    model = runs.network(dropout=0.4)
    aims = objective.build(Training.model_validate(runs.SPEC), model, {}, strategy)
    last = folder / "last.keras"
    state = load(model, last) if last.exists() else State()
    keeper = Checkpoints(last, folder / "best.keras", best or Best(), others, state)
    batches = runs.stream(*runs.arrays(30), 10).skip(state.epoch * STEPS)
    loop.train(
        model, aims, strategy, batches, runs.padded(*runs.arrays(11, 1), 10),
        epochs=epochs, steps=STEPS, first_epoch=state.epoch, callbacks=[*others, keeper],
    )  # fmt: skip
    return model, keeper.state


def same(one: keras.Model, two: keras.Model) -> bool:
    return all(map(np.array_equal, one.get_weights(), two.get_weights()))


def test_two_epochs_and_two_more_equal_four_to_the_bit(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    whole, expected = train(tmp_path, 4)
    train(tmp_path / "parts", 2)
    resumed, received = train(tmp_path / "parts", 4)
    assert same(whole, resumed)
    assert [row["loss"] for row in received.history] == [row["loss"] for row in expected.history]
    assert received.best == expected.best


def test_the_counters_of_callbacks_go_on(tmp_path: Path) -> None:
    def plateau() -> Any:
        return keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.1, patience=3, min_delta=9)

    train(tmp_path, 2, (plateau(),))  # the first epoch is the best, the second waits 1
    model, _ = train(tmp_path, 4, (plateau(),))  # waits 2, then 3: reduced
    assert np.isclose(float(model.optimizer.learning_rate), 0.0003)


def test_best_is_the_epoch_of_the_best_value(tmp_path: Path) -> None:
    _, state = train(tmp_path, 4, best=Best(monitor="loss", mode="max"))
    losses = [row["loss"] for row in state.history]
    assert state.best == max(losses)
    kept = load(runs.network(), tmp_path / "best.keras")
    assert kept.epoch == losses.index(max(losses)) + 1


def test_nan_is_never_the_best() -> None:
    assert not checkpoint._better(float("nan"), None, "min")
    assert checkpoint._better(1.0, None, "min")
    assert not checkpoint._better(1.0, 1.0, "max")


def test_a_failed_write_leaves_the_old_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path, 1)
    before = (tmp_path / "last.keras").read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zipfile.ZipFile.writestr", full)
    with pytest.raises(UserError, match=r"\.keras cannot be written: No space left on device"):
        train(tmp_path, 2)
    assert (tmp_path / "last.keras").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.keras", "last.keras"]


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_what_is_no_checkpoint(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "last.keras"
    if content is None:  # one of another network
        train(tmp_path, 1)
        model = keras.Sequential(
            [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(9)]
        )
    else:
        path.write_bytes(content)
        model = runs.network()
    with pytest.raises(UserError, match="is no checkpoint of this run's network"):
        load(model, path)


def test_any_user_of_keras_can_load_one(tmp_path: Path) -> None:
    model, _ = train(tmp_path, 1)
    loaded = keras.models.load_model(tmp_path / "last.keras")
    assert same(model, loaded)
    assert loaded.optimizer.iterations == STEPS
