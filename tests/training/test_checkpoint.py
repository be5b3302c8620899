"""Checkpoints: whole or not there, and enough to go on exactly."""

import contextlib
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training import runs
from trainer.config.training import Best, Checkpoint, Training
from trainer.errors import UserError, leaves
from trainer.training import checkpoint, loop, objective
from trainer.training.checkpoint import Checkpoints, Places, State, load

STEPS = 3
TESTS = 2  # batches of validation


class Leaving(Exception):
    """As a signal ends a training."""


class LeaveAt(keras.callbacks.Callback):
    """Ends the training after so many batches, those of validation included; 0: never."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.left = batches

    def asked(self) -> bool:
        return self.left == 1  # asked before our own hook is called

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.left -= 1
        if self.left == 0:
            raise Leaving

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.on_train_batch_end(batch)


def places(folder: Path) -> Places:
    return Places(folder / "last.keras", folder / "previous.keras", folder / "best.keras")


def train(
    folder: Path,
    epochs: int,
    others: tuple[Any, ...] = (),
    best: Best | None = None,
    leave: int = 0,
    spec: Checkpoint | None = None,
) -> Any:
    """Trains up to `epochs`, from the last checkpoint of the folder if there is one."""
    strategy = tf.distribute.get_strategy()
    model = runs.network(dropout=0.4)
    aims = objective.build(Training.model_validate(runs.SPEC), model, {}, strategy)
    state, origin = checkpoint.newest(places(folder), "recipe")
    leaving = LeaveAt(leave)
    keeper = Checkpoints(
        places(folder), best or Best(), spec or Checkpoint(), others, aims.running,
        state._replace(recipe="recipe"), origin, lambda: leaving.asked() or keeper.late(),
        loop.TIMING,
    )  # fmt: skip
    batches = runs.stream(*runs.arrays(30), 10).skip(state.epoch * STEPS + state.step)
    try:
        loop.train(
            model, aims, strategy, batches, runs.padded(*runs.arrays(11, 1), 10),
            epochs=epochs, steps=STEPS, first_epoch=state.epoch, first_step=state.step,
            callbacks=[*others, keeper, leaving],
        )  # fmt: skip
    except Leaving:
        assert leave
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


class Counting(keras.callbacks.Callback):
    """A user's own, with state of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.seen, self.table, self._hidden = 0, {"rates": [1.5]}, np.zeros(2)
        self.pair, self.number, self.nothing = (1, (2, 3)), np.float32(0.1), "not yet"
        self.odd = np.array(["a", None], dtype=object)  # cannot be kept

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seen += 1
        self.table["rates"].append(float(self.model.optimizer.learning_rate))
        self._hidden = self._hidden + [1, batch]
        self.pair, self.number = (self.seen, (2, 3)), self.number * np.float32(1.1)
        self.nothing = None

    def on_test_begin(self, logs: Any = None) -> None:
        self.seen += 100


def everybody() -> tuple[Any, ...]:
    """Callbacks that know something, and one that acts when an epoch begins."""
    return (
        keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=9),
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
        Counting(),
    )


def known(callbacks: tuple[Any, ...]) -> Any:
    stop, plateau, _, counting = callbacks
    weights = [each.tolist() for each in stop.best_weights]
    return (
        (stop.best, stop.wait, stop.best_epoch, weights, plateau.wait, plateau.best),
        (counting.seen, counting.table, counting._hidden.tolist(), counting.pair),
        (counting.number, type(counting.number), counting.nothing),
    )


def test_a_training_stopped_after_any_batch_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    callbacks = everybody()
    whole, expected = train(tmp_path / "whole", 3, callbacks)
    best = load(runs.network(dropout=0.4), tmp_path / "whole" / "best.keras")
    for leave in range(1, 3 * (STEPS + TESTS)):
        folder = tmp_path / str(leave)
        folder.mkdir()
        _, left = train(folder, 3, everybody(), leave=leave)
        assert (left.epoch, left.step) == ((leave - 1) // 5, min((leave - 1) % 5 + 1, STEPS))
        again = everybody()
        resumed, received = train(folder, 3, again)
        assert same(whole, resumed), leave
        assert [v.numpy().tolist() for v in whole.optimizer.variables] == [
            v.numpy().tolist() for v in resumed.optimizer.variables
        ]
        assert received.history == expected.history, leave
        assert known(again) == known(callbacks), leave
        kept = load(runs.network(dropout=0.4), folder / "best.keras")
        assert (kept.epoch, kept.best) == (best.epoch, best.best)


def test_a_training_stopped_again_and_again(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    whole, expected = train(tmp_path, 2)
    for _ in range(2 * (STEPS + TESTS)):
        train(tmp_path / "parts", 2, leave=1)  # a batch each time
    resumed, received = train(tmp_path / "parts", 2)
    assert same(whole, resumed)
    assert received.history == expected.history


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Epochs and steps of the checkpoints."""
    found: list[tuple[int, int]] = []
    save = checkpoint.save

    def noted(model: Any, state: State, path: Path, *rest: Any) -> None:
        if path.name == "last.keras":
            found.append((state.epoch, state.step))
        save(model, state, path, *rest)

    monkeypatch.setattr(checkpoint, "save", noted)
    return found


def test_checkpoints_are_written_every_so_many_steps(
    tmp_path: Path, written: list[tuple[int, int]]
) -> None:
    train(tmp_path, 2, spec=Checkpoint(minutes=None, steps=2))
    assert written == [(0, 2), (1, 0), (1, 2), (2, 0)]


def test_checkpoints_are_written_by_the_clock(
    tmp_path: Path, written: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10**6, 45))  # every look at it takes 45 seconds
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: next(clock))
    train(tmp_path, 1, spec=Checkpoint(minutes=1.4))
    assert written == [(0, 2), (0, 3), (1, 0)]  # the second one after a batch of validation


def damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1000]), "File is not a zip file"),
        (damaged, "model.weights.h5 in it is damaged"),
        (lambda path: path.write_bytes(b""), "File is not a zip file"),
    ],
    ids=["truncated", "flipped", "empty"],
)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: Any, reason: str
) -> None:
    train(tmp_path, 2, spec=Checkpoint(steps=2))
    harm(tmp_path / "last.keras")
    state, origin = checkpoint.newest(places(tmp_path), "recipe")
    assert (state.epoch, state.step, origin) == (1, 2, tmp_path / "previous.keras")
    assert capsys.readouterr().err == (
        f"warning: {tmp_path / 'last.keras'} is no usable checkpoint: {reason}; "
        "previous.keras is used instead\n"
    )


def test_a_checkpoint_of_another_config_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, 1)
    model = runs.network(dropout=0.4)
    before = model.get_weights()
    with pytest.raises(ExceptionGroup) as error:
        checkpoint.newest(places(tmp_path), "another")
    assert [str(each) for each in leaves(error.value)] == [
        f"{tmp_path / name}: is no usable checkpoint: "
        "it was written by a training with another config"
        for name in ("last.keras", "best.keras")
    ]
    assert all(map(np.array_equal, before, model.get_weights()))
    assert capsys.readouterr().err == ""


def test_there_is_always_a_whole_checkpoint(tmp_path: Path) -> None:
    """Whichever file operation is the last one before the end."""
    train(tmp_path, 1, spec=Checkpoint(steps=1))
    operations = ("replace", "unlink", "open")
    for name in operations:
        plain = getattr(Path, name)
        for count in range(1, 6):
            left = [count]

            def dying(
                self: Path, *rest: Any, left: Any = left, plain: Any = plain, **more: Any
            ) -> Any:
                left[0] -= 1
                if left[0] == 0:
                    raise KeyboardInterrupt
                return plain(self, *rest, **more)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Path, name, dying)
                with contextlib.suppress(KeyboardInterrupt):
                    train(tmp_path, 5, leave=1)
            state, _ = checkpoint.newest(places(tmp_path), "recipe")
            assert state.epoch >= 1


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
    with pytest.raises(UserError, match="is no usable checkpoint"):
        load(model, path)


def test_any_user_of_keras_can_load_one(tmp_path: Path) -> None:
    model, _ = train(tmp_path, 1)
    loaded = keras.models.load_model(tmp_path / "last.keras")
    assert same(model, loaded)
    assert loaded.optimizer.iterations == STEPS


class Rising(keras.callbacks.Callback):
    """Sets the learning rate when the training begins, and changes it every epoch."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.model.optimizer.learning_rate = 0.05

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.optimizer.learning_rate = float(self.model.optimizer.learning_rate) / 2


@pytest.mark.parametrize("leave", [2, 5])
def test_what_a_callback_does_at_the_beginning_is_not_done_again(
    tmp_path: Path, leave: int
) -> None:
    (tmp_path / "whole").mkdir()
    whole, _ = train(tmp_path / "whole", 3, (Rising(),))
    if leave == 5:
        train(tmp_path, 1, (Rising(),))  # the end of an epoch
    else:
        train(tmp_path, 3, (Rising(),), leave=leave)
    resumed, _ = train(tmp_path, 3, (Rising(),))
    assert same(whole, resumed)


def test_a_checkpoint_of_an_earlier_version_gives_its_weights_alone(tmp_path: Path) -> None:
    model, _ = train(tmp_path, 1)
    old = tmp_path / "old.keras"
    with zipfile.ZipFile(tmp_path / "last.keras") as archive, zipfile.ZipFile(old, "w") as less:
        for name in archive.namelist():
            if name != "state.npz":
                less.writestr(name, archive.read(name))
    other = runs.network(dropout=0.4)
    checkpoint.load_weights(other, old)
    assert same(model, other)
    with pytest.raises(UserError) as error:
        load(other, old)
    assert str(error.value) == (
        f"{old}: is no usable checkpoint: it was written by an earlier version, or by Keras"
    )


def test_a_damaged_one_does_not_take_the_place_of_the_one_before(tmp_path: Path) -> None:
    train(tmp_path, 2, spec=Checkpoint(steps=2))
    before = (tmp_path / "previous.keras").read_bytes()
    (tmp_path / "last.keras").write_bytes(b"")
    train(tmp_path, 2, leave=1)
    assert (tmp_path / "previous.keras").read_bytes() == before
