"""The training loop against keras.Model.fit: CPU time of the whole process for the same batches.

    python benchmarks/loop.py [--rounds 5]

Both train the same network from the same weights on the same in-memory tf.data batches, with
validation, in turns within one process; a round is a training of two epochs by each, from tracing
the step to the last validation. Printed are the medians of the rounds, in CPU seconds, and their
ratio: noise of the machine hits both alike.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from trainer.config.load import load
from trainer.config.training import Training
from trainer.model import network
from trainer.training import loop, objective

BATCH = 32
CONFIG = Path(__file__).parent.parent / "configs" / "rps.yaml"
EPOCHS = 2
SPEC = {"epochs": EPOCHS, "optimizer": "AdamW"}

Round = Callable[[], None]


def small() -> keras.Model:
    """A network so small that the cost of the loop itself shows."""
    layers = [keras.Input((32, 32, 3)), keras.layers.Rescaling(1 / 255)]
    layers += [keras.layers.Conv2D(8, 3, strides=2, activation="relu"), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(3, activation="softmax")])
    return keras.Model(model.inputs, model.outputs)


def rps() -> keras.Model:
    """The network of configs/rps.yaml."""
    config = load(CONFIG)
    return network.build(config.model, config.data.input_shape, ("paper", "rock", "scissors"))


def batches(shape: tuple[int, ...], steps: int) -> tf.data.Dataset:
    """So many batches of noise, kept in memory: (images uint8, labels, weights)."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (steps * BATCH, *shape), dtype=np.uint8)
    labels = np.eye(3, dtype=np.float32)[generator.integers(0, 3, len(images))]
    weights = np.ones(len(images), np.float32)
    return tf.data.Dataset.from_tensor_slices((images, labels, weights)).batch(BATCH, True)


def ours(model: keras.Model, steps: int) -> Round:
    """A training by our loop."""
    strategy = tf.distribute.get_strategy()
    data, held = batches(model.input_shape[1:], steps), batches(model.input_shape[1:], steps // 5)

    def work() -> None:
        aims = objective.build(Training.model_validate(SPEC), model, {}, strategy)
        loop.train(model, aims, strategy, data.repeat(), held, epochs=EPOCHS, steps=steps)

    return work


def keras_fit(model: keras.Model, steps: int) -> Round:
    """A training by Keras's; compiled anew, because `fit` would else keep its traced step."""
    data, held = batches(model.input_shape[1:], steps), batches(model.input_shape[1:], steps // 5)

    def work() -> None:
        optimizer, metrics = keras.optimizers.AdamW(), ["categorical_accuracy"]
        model.compile(optimizer, "categorical_crossentropy", metrics=metrics)
        model.fit(
            data.repeat(), epochs=EPOCHS, steps_per_epoch=steps, validation_data=held, verbose=0
        )

    return work


def cpu_seconds(work: Round) -> float:
    """User and system time of all threads of the process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Prints a line per network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(
        f"{'network':8} {'steps':>6} {'keras fit, CPU s':>18} {'trainer, CPU s':>16} {'ratio':>7}"
    )
    for build, steps in ((rps, 30), (small, 1500)):
        keras.utils.set_random_seed(1)
        contenders = [keras_fit(build(), steps), ours(build(), steps)]
        for work in contenders:  # what is made once per process does not count
            work()
        found = [[cpu_seconds(work) for work in contenders] for _ in range(rounds)]
        theirs, mine = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"{build.__name__:8} {steps:6} {theirs:18.2f} {mine:16.2f} {mine / theirs:7.3f}")


if __name__ == "__main__":
    main()
