"""Which layers train in a phase, how BatchNormalization behaves, and what a phase begins with."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.training import runs
from trainer.commands import fit
from trainer.config.load import load
from trainer.config.training import Training
from trainer.errors import UserError
from trainer.training import freeze, loop, phases


def network() -> keras.Model:
    """Two blocks, the first one a network of its own inside; 11 weights that could train."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(3)
    inside = keras.Input(runs.SHAPE)
    tensor = keras.layers.Rescaling(1 / 255, name="scale")(inside)
    tensor = keras.layers.Conv2D(4, 3, name="block1_conv")(tensor)
    block = keras.Model(
        inside, keras.layers.BatchNormalization(name="block1_bn")(tensor), name="one"
    )
    inputs = keras.Input(runs.SHAPE, name="picture")
    tensor = keras.layers.Conv2D(4, 3, use_bias=False, name="block2_conv")(block(inputs))
    tensor = keras.layers.ReLU()(keras.layers.BatchNormalization(name="block2_bn")(tensor))
    tensor = keras.layers.Dense(5, name="fixed", trainable=False)(keras.layers.Flatten()(tensor))
    scores = keras.layers.Dense(runs.CLASSES, activation="softmax", name="head")(tensor)
    return keras.Model(inputs, scores)


def plan(**recipe: Any) -> phases.Plan:
    model = network()
    strategy = tf.distribute.get_strategy()
    spec = Training.model_validate({**runs.SPEC, **recipe})
    backbone = ("one", "block2_conv", "block2_bn")
    return phases.Plan(spec, model, strategy, backbone, freeze.flags(model), runs.CLASSES, 3)


def moved(**recipe: Any) -> set[str]:
    """The weights that an epoch changes."""
    it = plan(epochs=1, **recipe)
    before = {each.path: each.numpy() for each in it.model.weights}
    train(it, it.begin())
    return {each.path for each in it.model.weights if np.any(each.numpy() != before[each.path])}


def train(it: phases.Plan, aims: Any) -> None:
    batches, validation = runs.stream(*runs.arrays(30), 10), runs.padded(*runs.arrays(11, 1), 10)
    loop.train(it.model, aims, it.strategy, batches, validation, epochs=1, steps=3)


HEAD = {"head/kernel", "head/bias"}
BLOCK1 = {"block1_conv/kernel", "block1_conv/bias"}
NORM1 = {"block1_bn/gamma", "block1_bn/beta"}
MOVING1 = {"block1_bn/moving_mean", "block1_bn/moving_variance"}
BLOCK2 = {"block2_conv/kernel"}
NORM2 = {"block2_bn/gamma", "block2_bn/beta"}
MOVING2 = {"block2_bn/moving_mean", "block2_bn/moving_variance"}


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ({}, BLOCK1 | NORM1 | MOVING1 | BLOCK2 | NORM2 | MOVING2 | HEAD),
        ({"frozen": "backbone"}, HEAD),
        ({"frozen": {"up_to": "block1_conv"}}, NORM1 | MOVING1 | BLOCK2 | NORM2 | MOVING2 | HEAD),
        ({"frozen": {"up_to": "one"}}, BLOCK2 | NORM2 | MOVING2 | HEAD),
        ({"frozen": ["block?_conv"]}, NORM1 | MOVING1 | NORM2 | MOVING2 | HEAD),
        ({"batch_norm": "frozen"}, BLOCK1 | BLOCK2 | HEAD),
        ({"frozen": ["one"], "batch_norm": "frozen"}, BLOCK2 | HEAD),
        ({"frozen": "backbone", "batch_norm": "update"}, MOVING1 | MOVING2 | HEAD),
        ({"frozen": ["one"], "batch_norm": "update"},
         MOVING1 | BLOCK2 | NORM2 | MOVING2 | HEAD),
    ],
    ids=lambda each: str(each) if isinstance(each, dict) else "",
)  # fmt: skip
def test_only_what_is_not_frozen_moves(recipe: dict[str, Any], expected: set[str]) -> None:
    assert moved(**recipe) == expected


def test_what_own_code_has_frozen_stays_so_in_every_phase() -> None:
    """A layer inside another one, and a weight."""
    keras.utils.clear_session()
    inside = keras.Input((5,))
    base = keras.Model(inside, keras.layers.Dense(4, name="base")(inside))
    base.trainable = False

    class Around(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="around")
            self.base, self.extra = base, keras.layers.Dense(4, name="extra")

        def build(self, shape: Any) -> None:
            self.extra.build((None, 4))
            self.built = True

        def call(self, tensor: Any) -> Any:
            return self.extra(self.base(tensor))

    inputs, head = keras.Input((5,)), keras.layers.Dense(3, name="head")
    model = keras.Model(inputs, head(Around()(inputs)))
    head.bias.trainable = False
    free = {each.path for each in model.trainable_variables}
    assert free == {"around/extra/kernel", "around/extra/bias", "head/kernel"}
    spec = Training.model_validate({"phases": [{"epochs": 1, "frozen": ["around"]}, {"epochs": 1}]})
    own, found = freeze.flags(model), []
    for stage in spec.stages():
        freeze.apply(model, stage, own)
        found.append({each.path for each in model.trainable_variables})
    assert found == [{"head/kernel"}, free]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"frozen": {"up_to": "block1_cnv"}},
         "training.frozen.up_to: no layer is called 'block1_cnv'\n  did you mean 'block1_conv'?"),
        ({"frozen": ["block1*", "stem*"]},
         "training.frozen[1]: 'stem*' matches no layer\n  expected one of: block1_bn, "
         "block1_conv, block2_bn, block2_conv, fixed, flatten, head, input_layer, one, picture, "
         "re_lu, scale"),
        ({"frozen": ["*"]}, "training.frozen: nothing is left to train\n  freeze fewer layers"),
        ({"epochs": None, "phases": [{"epochs": 1}, {"epochs": 1, "frozen": {"up_to": "head"}}]},
         "training.phases[1].frozen: nothing is left to train\n  freeze fewer layers"),
        ({"epochs": None, "phases": [{"epochs": 1}, {"epochs": 1, "layer_rates": {"x": 2}}]},
         "training.phases[1].layer_rates.x: 'x' matches no layer\n  expected one of: block1_bn, "
         "block1_conv, block2_bn, block2_conv, fixed, flatten, head, input_layer, one, picture, "
         "re_lu, scale"),
    ],
    ids=["no such layer", "no match", "nothing left", "a later phase", "a later phase's rates"],
)  # fmt: skip
def test_mistakes_show_before_the_first_epoch(recipe: dict[str, Any], message: str) -> None:
    it = plan(**{"epochs": 1, **recipe})
    with pytest.raises(UserError) as error:
        it.begin()
    assert str(error.value) == message


def test_a_model_without_a_backbone_says_so() -> None:
    it = plan(epochs=1, frozen="backbone")._replace(backbone=())
    with pytest.raises(UserError) as error:
        it.begin()
    assert str(error.value) == (
        "training.frozen: this kind of model has no backbone\n"
        "  write frozen: {up_to: LAYER}, or a list of names"
    )


def test_a_phase_has_its_own_optimizer_and_the_defaults_of_the_training() -> None:
    schedule = {"CosineDecay": {"initial_learning_rate": 0.5, "decay_steps": "$total_steps"}}
    it = plan(
        epochs=None,
        frozen="backbone",
        warmup={"steps": 5},
        optimizer={"SGD": {"learning_rate": schedule, "momentum": 0.9, "use_ema": True}},
        phases=[
            {"epochs": 1, "learning_rate": 0.1, "warmup": {"steps": 1}},
            {"epochs": 4, "frozen": "none", "learning_rate": schedule},
            {"epochs": 2},
        ],
    )
    first = it.begin()
    assert freeze.described(it.model) == "1 of 6 layers train, 18 parameters"
    train(it, first)
    second = it.enter(first, 1)
    assert freeze.described(it.model) == "5 of 6 layers train, 290 parameters"
    assert first.metrics is second.metrics
    assert first.average is second.average
    assert second.average
    assert int(second.average.updates) == 3
    assert (int(first.optimizer.iterations), int(second.optimizer.iterations)) == (3, 0)
    assert len(second.optimizer.momentums) == len(it.model.trainable_variables) == 9
    assert np.isclose(float(first.optimizer._learning_rate(0)), 0.1)
    warm = second.optimizer._learning_rate
    assert (warm.steps, warm.rate.decay_steps) == (5, 12)
    assert it.enter(second, 2).optimizer._learning_rate.rate.decay_steps == 6


def test_a_frozen_weight_equals_its_average_to_the_bit() -> None:
    it = plan(
        epochs=1, frozen="backbone", optimizer={"SGD": {"use_ema": True, "ema_momentum": 0.7}}
    )
    aims = it.begin()
    train(it, aims)
    assert aims.average
    for weight, average in zip(aims.average.weights, aims.average.averages, strict=True):
        assert np.array_equal(weight.numpy(), average.numpy()) == (weight.path not in HEAD)


def test_frozen_layers_repeat_to_the_bit() -> None:
    found = []
    for _ in range(2):
        it = plan(epochs=1, frozen=["one"], batch_norm="update")
        train(it, it.begin())
        found.append(it.model.get_weights())
    assert all(map(np.array_equal, *found))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.phases=[{epochs: 1}]",
         "small.yaml:18: training: expected either `epochs` or `phases`, received both\n"),
        ("training.epochs=null",
         "small.yaml:18: training: expected either `epochs` or `phases`, received neither\n"),
        ("training.warmup={epochs: 1, steps: 2}",
         "--set training.warmup={epochs: 1, steps: 2}: training.warmup: "
         "expected either `epochs` or `steps`, received both\n"),
        ("training.warmup.epochs=9",
         "--set training.warmup.epochs=9: training.warmup: "
         "27 updates of warmup, but there are only 6\n  write a shorter one\n"),
        ("training.frozen=bone",
         "--set training.frozen=bone: training.frozen: expected 'none' or 'backbone', or a mapping "
         "of `key: value`, or a list, received the text 'bone'\n"),
        ("training.frozen.upto=conv",
         "--set training.frozen.upto=conv: training.frozen: the key 'up_to' is missing\n"
         "  add `up_to:`\n"
         "error: --set training.frozen.upto=conv: training.frozen.upto: unknown key 'upto'\n"
         "  did you mean 'up_to'?\n"),
        ("training.layer_rates={conv*: 0}",
         "--set training.layer_rates={conv*: 0}: training.layer_rates.conv*: "
         "expected greater than 0, received 0\n"),
        ("training.jit_compile=maybe",
         "--set training.jit_compile=maybe: training.jit_compile: "
         "expected 'auto', or true or false, received the text 'maybe'\n"),
        ("training.frozen=backbone",
         "--set training.frozen=backbone: training.frozen: this kind of model has no backbone\n"
         "  write frozen: {up_to: LAYER}, or a list of names\n"),
        ("training.callbacks=[SwapEMAWeights]",
         "--set training.callbacks=[SwapEMAWeights]: training.callbacks[0].SwapEMAWeights: would "
         "swap the weights a second time\n  remove it: with use_ema in the optimizer, validation, "
         "best.keras and exports have the averages\n"),
    ],
    ids=lambda value: value.partition("=")[0],
)  # fmt: skip
def test_mistakes_in_the_config_are_explained(
    setting: str, message: str, small: Path, trainer: Any
) -> None:
    done = trainer("check", small, "--set", setting)
    assert (done.code, done.err) == (2, f"error: {message}")


def test_a_watcher_stops_all_phases(small: Path) -> None:
    """As a search does with a trial that is not worth going on with."""

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = True

    given = ["training.epochs=null", "training.phases=[{epochs: 2}, {epochs: 2, frozen: [conv*]}]"]
    run = fit.run(load(small, given), watchers=[Stop()], evaluation=False)
    assert len(run.history.read_text().splitlines()) == 2  # the head and one epoch


def test_a_plateau_and_a_schedule_do_not_go_together(small: Path, trainer: Any) -> None:
    options = ["--set", "training.callbacks=[ReduceLROnPlateau]"]
    assert trainer("check", small, *options).code == 0
    cosine = {"CosineDecay": {"initial_learning_rate": 0.1, "decay_steps": 9}}
    two = "training.phases=[{epochs: 1, learning_rate: 0.1}, {epochs: 1}]"
    phases = ["training.epochs=null", two]
    for settings in (
        ["training.warmup.steps=3"],
        [*phases, f"training.optimizer={{SGD: {{learning_rate: {cosine}}}}}"],  # in the second one
    ):
        more = [part for each in settings for part in ("--set", each)]
        demand_refused(trainer("check", small, *options, *more))


def demand_refused(done: Any) -> None:
    assert (done.code, done.err) == (
        2,
        "error: --set training.callbacks=[ReduceLROnPlateau]: "
        "training.callbacks[0].ReduceLROnPlateau: the learning rate follows a schedule, so nothing "
        "else can change it\n"
        "  give the optimizer a number as its learning_rate, and no warmup\n",
    )
