"""Keras's own callbacks work in the loop as they do in fit."""

import csv
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.training import runs
from trainer.config.training import Training
from trainer.training import loop, objective


def train(
    *callbacks: Any, epochs: int = 6, **spec: Any
) -> tuple[keras.Model, dict[str, list[float]]]:
    model = runs.network()
    strategy = tf.distribute.get_strategy()
    training = Training.model_validate({**runs.SPEC, **spec})
    aims = objective.build(training, model, {}, strategy)
    batches, validation = runs.stream(*runs.arrays(30), 10), runs.padded(*runs.arrays(11, 1), 10)
    history = loop.train(
        model, aims, strategy, batches, validation, epochs=epochs, steps=3, callbacks=callbacks
    )
    return model, history


def test_early_stopping_stops_and_restores() -> None:
    stop = keras.callbacks.EarlyStopping(
        "val_loss", patience=1, min_delta=9, restore_best_weights=True
    )
    weights: list[np.ndarray] = []
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: weights.append(stop.model.get_weights()[0])
    )
    model, history = train(keep, stop)
    assert len(history["loss"]) == 2
    assert np.array_equal(model.get_weights()[0], weights[0])


def test_auto_finds_the_direction_of_a_metric() -> None:
    stop = keras.callbacks.EarlyStopping("val_categorical_accuracy", patience=1)
    model, strategy = runs.network(), tf.distribute.get_strategy()
    aims = objective.build(Training.model_validate(runs.SPEC), model, {}, strategy)
    stop.mode = objective.direction(stop.monitor, aims)
    assert stop.mode == "max"
    assert objective.direction("val_loss", aims) == "min"
    train(stop, epochs=2)  # Keras alone: "isn't able to automatically determine"


def test_reduce_on_plateau_changes_the_rate_that_is_used() -> None:
    reduce = keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.1, patience=1, min_delta=9)
    _, history = train(reduce, epochs=3)
    assert np.allclose(history["learning_rate"], [0.003, 0.003, 0.0003])


def test_a_schedule_is_followed_and_logged() -> None:
    schedule = {"PiecewiseConstantDecay": {"boundaries": [2, 5], "values": [0.5, 0.2, 0.1]}}
    _, history = train(optimizer={"SGD": {"learning_rate": schedule}}, epochs=2)
    assert np.allclose(history["learning_rate"], [0.2, 0.1])  # after steps 3 and 6


def test_terminate_on_nan_stops_within_the_epoch() -> None:
    seen: list[int] = []
    count = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(batch)
    )
    train(
        count, keras.callbacks.TerminateOnNaN(), optimizer={"SGD": {"learning_rate": float("inf")}}
    )
    assert seen == [0, 1]


def test_csv_logger_and_model_checkpoint_write(tmp_path: Path) -> None:
    log, best = tmp_path / "log.csv", tmp_path / "best.keras"
    model, history = train(
        keras.callbacks.CSVLogger(str(log)), keras.callbacks.ModelCheckpoint(str(best)), epochs=2
    )
    rows = list(csv.DictReader(log.open()))
    assert [float(row["val_loss"]) for row in rows] == history["val_loss"]
    loaded = keras.models.load_model(best)
    assert all(map(np.array_equal, loaded.get_weights(), model.get_weights()))
    assert loaded.optimizer.iterations == 6


def test_hooks_come_in_the_order_of_fit() -> None:
    def recorded(run: Any) -> list[str]:
        calls: list[str] = []
        hooks = [f"on_{name}" for name in (
            "train_begin", "epoch_begin", "train_batch_begin", "train_batch_end", "epoch_end",
            "train_end",
        )]  # fmt: skip
        note = {hook: (lambda *_, hook=hook, **__: calls.append(hook)) for hook in hooks}
        callback = keras.callbacks.LambdaCallback(**note)
        for hook in ("on_test_begin", "on_test_batch_end", "on_test_end"):
            setattr(callback, hook, lambda *_, hook=hook, **__: calls.append(hook))
        run(callback)
        return calls

    def fit(callback: Any) -> None:
        model = runs.network()
        model.compile(loss="categorical_crossentropy")
        data = runs.stream(*runs.arrays(30), 10).map(lambda x, y, _: (x, y))
        validation = tf.data.Dataset.from_tensor_slices(runs.arrays(11, 1)).batch(10)
        model.fit(data, epochs=2, steps_per_epoch=3, validation_data=validation,
                  callbacks=[callback], verbose=0)  # fmt: skip

    assert recorded(lambda callback: train(callback, epochs=2)) == recorded(fit)


def test_tensorboard_shows_scalars_and_the_graph(tmp_path: Path) -> None:
    _, history = train(keras.callbacks.TensorBoard(str(tmp_path)), epochs=2)

    def read(side: str) -> EventAccumulator:
        events = EventAccumulator(str(tmp_path / side))
        events.Reload()
        return events

    def values(events: EventAccumulator, tag: str) -> list[float]:
        return [float(tf.make_ndarray(each.tensor_proto)) for each in events.Tensors(tag)]

    training, validation = read("train"), read("validation")
    assert np.allclose(values(training, "epoch_loss"), history["loss"])
    assert np.allclose(values(training, "epoch_learning_rate"), [0.003, 0.003])
    assert np.allclose(values(training, "epoch_images_per_second"), history["images_per_second"])
    assert np.allclose(values(validation, "epoch_loss"), history["val_loss"])
    assert np.allclose(values(validation, "epoch_f1_score"), history["val_f1_score"])
    assert training.Tags()["graph"]
    assert "keras" in training.Tags()["tensors"]
