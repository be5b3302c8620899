"""Trainings with every option: `python -m tests.training.recipes REPLICAS NAME…` prints weights.

All in one process, since replicas on logical CPU devices must be set up before TensorFlow starts.
"""

import json
import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tests.training import runs
from trainer.config.training import Training
from trainer.training import freeze, hardware, loop, objective, phases

BATCH, STEPS = 9, 4  # on two replicas 5 and 4 pictures


def sgd(**options: Any) -> dict[str, Any]:
    """Plain steps, so that a gradient of another length is another step."""
    return {"SGD": {"learning_rate": 0.1, "momentum": 0.9, **options}}


def scaled(initial: float, growth: int, **options: Any) -> dict[str, Any]:
    inside = {"inner_optimizer": sgd(**options)}
    return {
        "LossScaleOptimizer": {"initial_scale": initial, "dynamic_growth_steps": growth, **inside}
    }


RECIPES: dict[str, dict[str, Any]] = {
    "clipnorm": {"optimizer": sgd(clipnorm=0.05)},
    "global_clipnorm": {"optimizer": sgd(global_clipnorm=0.1)},
    "clipvalue": {"optimizer": sgd(clipvalue=0.01)},
    "accumulation": {"optimizer": sgd(gradient_accumulation_steps=3)},
    "average": {"optimizer": sgd(use_ema=True, ema_momentum=0.9)},
    "overwriting average": {
        "optimizer": sgd(use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=2)
    },
    "loss scale that grows": {"optimizer": scaled(2.0**10, 2, global_clipnorm=0.1)},
    "loss scale that overflows": {  # in the first step
        "optimizer": scaled(3.75e37, 2, use_ema=True, global_clipnorm=0.1),
        "loss": {"CategoricalFocalCrossentropy": {"alpha": 1.0}},
    },
    "decay of some": {
        "optimizer": {"AdamW": {"learning_rate": 0.003, "weight_decay": 0.5}},
        "no_weight_decay": ["bias", "^conv2d/"],
    },
    "rates by layer": {
        "optimizer": {"AdamW": {"learning_rate": 0.003, "weight_decay": 0.5}},
        "layer_rates": {"conv*": 0.1, "c*": 7.0},
    },
    "everything": {
        "optimizer": scaled(
            2.0**10, 2, global_clipnorm=0.2, gradient_accumulation_steps=2, use_ema=True,
            ema_momentum=0.9, weight_decay=0.1,
        ),
        "no_weight_decay": ["bias"],
        "layer_rates": {"dense": 0.5},
        "warmup": {"steps": 2},
    },
}  # fmt: skip


def plan(spec: Training, model: keras.Model, strategy: Any, steps: int = STEPS) -> phases.Plan:
    return phases.Plan(spec, model, strategy, (), freeze.flags(model), runs.CLASSES, steps)


def train(
    recipe: dict[str, Any],
    strategy: Any,
    *,
    batch: int = BATCH,
    steps: int = STEPS,
    model: keras.Model | None = None,
    callbacks: Any = (),
    **kind: Any,
) -> tuple[keras.Model, objective.Objective, dict[str, list[float]]]:
    """An epoch of so many steps, on uneven batches and with some rows of other weights."""
    if model is None:
        keras.utils.clear_session()  # layers are called the same in every recipe
        with strategy.scope():
            model = runs.network(**kind)
    spec = Training.model_validate({**runs.SPEC, "epochs": 1, "metrics": [], **recipe})
    aims = plan(spec, model, strategy, steps).begin()
    weights = tf.data.Dataset.range(10**6).map(lambda i: tf.cast(i % 3, tf.float32) / 2 + 0.5)
    stream = tf.data.Dataset.zip(runs.stream(*runs.arrays(36), 1).unbatch(), weights)
    stream = stream.map(lambda row, weight: (row[0], row[1], weight)).batch(batch, True)
    history = loop.train(
        model, aims, strategy, stream, runs.padded(*runs.arrays(11, 1), batch),
        epochs=1, steps=steps, callbacks=callbacks,
    )  # fmt: skip
    return model, aims, history


def numbers(recipe: dict[str, Any], strategy: Any, **options: Any) -> list[float]:
    """Weights, averages and metrics after a training."""
    model, aims, history = train(recipe, strategy, **options)
    averages = aims.average.averages if aims.average else ()
    kept = [each for name, each in sorted(history.items()) if name not in loop.TIMING]
    arrays = [*(keras.ops.convert_to_numpy(each) for each in (*model.weights, *averages)), *kept]
    return np.concatenate([np.ravel(each) for each in arrays]).tolist()


if __name__ == "__main__":
    [cpu] = tf.config.list_physical_devices("CPU")
    devices = [tf.config.LogicalDeviceConfiguration()] * int(sys.argv[1])
    tf.config.set_logical_device_configuration(cpu, devices)
    strategy = hardware.prepare(Training.model_validate({"epochs": 1, "strategy": "mirrored"}), 1)
    assert strategy.num_replicas_in_sync == int(sys.argv[1])
    print(json.dumps({name: numbers(RECIPES[name], strategy) for name in sys.argv[2:]}))
