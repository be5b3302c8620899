"""Call -> object: names and arguments of the libraries, checked before anything is built."""

from pathlib import Path

import keras
import pytest

from trainer import objects
from trainer.config.base import Call
from trainer.errors import UserError


def mistakes(package: str, called: str, **arguments: object) -> list[str]:
    return [str(each) for each in objects.mistakes("here", package, Call(called, arguments))]


def test_arguments_pass_straight_through() -> None:
    call = Call(
        "Conv2D",
        {"filters": 7, "kernel_size": [3, 5], "kernel_initializer": {"HeNormal": {"seed": 4}}},
    )
    layer = objects.make(call, "keras.layers", "here")
    assert (layer.filters, layer.kernel_size) == (7, (3, 5))
    assert isinstance(layer.kernel_initializer, keras.initializers.HeNormal)


def test_a_schedule_inside_an_optimizer_with_computed_values() -> None:
    call = Call(
        "AdamW",
        {
            "learning_rate": {
                "CosineDecay": {"initial_learning_rate": 0.5, "decay_steps": "$total_steps"}
            }
        },
    )
    optimizer = objects.make(call, "keras.optimizers", "here", {"$total_steps": 10})
    assert float(optimizer.learning_rate) == 0.5
    assert optimizer._learning_rate.decay_steps == 10


def test_a_layer_inside_a_layer() -> None:
    call = Call("TimeDistributed", {"layer": {"Dense": {"units": 2}}})
    assert isinstance(objects.make(call, "keras.layers", "here").layer, keras.layers.Dense)


def test_the_user_s_own_class(workplace: Path) -> None:
    Path("swirls.py").write_text(
        "import keras\nclass Swirl(keras.layers.Layer):\n    def __init__(self, turns, **kw):\n        super().__init__(**kw)\n        self.turns = turns\n"
    )
    assert (
        objects.make(Call("swirls.Swirl", {"turns": 3, "name": "s"}), "keras.layers", "here").turns
        == 3
    )
    assert mistakes("keras.layers", "swirls.Swirl", turn=3) == [
        "here.swirls.Swirl.turn: swirls.Swirl has no argument 'turn'\n  did you mean 'turns'?",
        "here.swirls.Swirl: swirls.Swirl needs 'turns'\n  write swirls.Swirl: {turns: …}",
    ]
    assert mistakes("keras.layers", "swirls.Curl") == [
        "here.swirls.Curl: cannot be imported: module 'swirls' has no attribute 'Curl'\n"
        "  write the import path of a class, as in mypackage.layers.Swirl"
    ]


@pytest.mark.parametrize(
    ("package", "name", "arguments", "expected"),
    [
        ("keras.layers", "Conv2d", {}, ["here.Conv2d: keras.layers has no 'Conv2d'\n  did you mean 'Conv2D'?"]),
        ("keras.layers", "Xyzzyplugh", {}, ["here.Xyzzyplugh: keras.layers has no 'Xyzzyplugh'"]),
        ("keras.layers", "Conv2D", {"filter": 3, "kernel_size": 3}, [
            "here.Conv2D.filter: Conv2D has no argument 'filter'\n  did you mean 'filters'?",
            "here.Conv2D: Conv2D needs 'filters'\n  write Conv2D: {filters: …}",
        ]),
        ("keras.layers", "Dense", {"units": "$clases"}, ["here.Dense.units: unknown value '$clases'\n  did you mean '$classes'?"]),
        ("keras.layers", "Dense", {"units": 3, "name": "last", "trainable": False, "dtype": "float32"}, []),
        ("keras.layers", "Dense", {"units": 3, "bias_regularizer": {"L3": {}}}, [
            "here.Dense.bias_regularizer.L3: keras.regularizers has no 'L3'\n  expected one of: L1, L1L2, L2, OrthogonalRegularizer, Regularizer"
        ]),
        ("keras.losses", "categorical_crossentropy", {}, ["here.categorical_crossentropy: keras.losses has no 'categorical_crossentropy'\n  did you mean 'CategoricalCrossentropy'?"]),
        ("keras.optimizers", "AdamW", {"lr": 1, "clipnorm": 2, "learning_rate": {"CosineDecay": {"decay_step": 1}}}, [
            "here.AdamW.lr: AdamW has no argument 'lr'\n  expected one of: amsgrad, beta_1, beta_2, clipnorm, clipvalue, "
            "ema_momentum, ema_overwrite_frequency, epsilon, global_clipnorm, gradient_accumulation_steps, learning_rate, "
            "loss_scale_factor, name, use_ema, weight_decay",
            "here.AdamW.learning_rate.CosineDecay.decay_step: CosineDecay has no argument 'decay_step'\n  did you mean 'decay_steps'?",
            "here.AdamW.learning_rate.CosineDecay: CosineDecay needs 'initial_learning_rate' and 'decay_steps'\n  write CosineDecay: {initial_learning_rate: …, decay_steps: …}",
        ]),
        ("albumentations", "HorizontalFlipp", {}, ["here.HorizontalFlipp: albumentations has no 'HorizontalFlipp'\n  did you mean 'HorizontalFlip'?"]),
    ],
)  # fmt: skip
def test_mistakes(
    package: str, name: str, arguments: dict[str, object], expected: list[str]
) -> None:
    assert mistakes(package, name, **arguments) == expected


@pytest.mark.parametrize(
    ("package", "name", "arguments", "expected"),
    [
        ("albumentations", "OneOf", {"transforms": [{"GaussNoise": {}, "Blur": {}}]},
         "here.OneOf.transforms: expected a name or `Name: {argument: value}`, received a mapping with 'GaussNoise', 'Blur'"),
        ("albumentations", "OneOf", {"transforms": "Blur"}, "here.OneOf.transforms: expected a list, received the text 'Blur'"),
        ("keras.optimizers", "SGD", {"learning_rate": {"CosineDecay": 5}},
         "here.SGD.learning_rate: expected the arguments of CosineDecay as a mapping, received 5"),
    ],
)  # fmt: skip
def test_what_should_be_a_call_inside_and_is_none(
    package: str, name: str, arguments: dict[str, object], expected: str
) -> None:
    assert mistakes(package, name, **arguments) == [expected]


def test_a_name_alone_is_a_layer_inside_a_layer() -> None:
    layer = objects.make(
        Call("TimeDistributed", {"layer": "Flatten"}), "keras.layers", "here"
    ).layer
    assert isinstance(layer, keras.layers.Flatten)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("os.path", "is no class, but module"),
        ("os.getcwd", "is no keras.layers.Layer"),
        (".foo", "cannot be imported: "),
        ("broken.Layer", "cannot be imported: name 'oops' is not defined"),
        ("plain.Thing", "is no keras.layers.Layer"),
    ],
)
def test_import_paths_of_what_is_no_layer(workplace: Path, name: str, reason: str) -> None:
    Path("broken.py").write_text("oops\n")
    Path("plain.py").write_text("class Thing: pass\n")
    with pytest.raises((UserError, ExceptionGroup)) as error:
        objects.make(Call(name), "keras.layers", "here")
    found = error.value.exceptions[0] if isinstance(error.value, ExceptionGroup) else error.value
    assert str(found).startswith(f"here.{name}: {reason}")


def test_what_the_library_refuses() -> None:
    with pytest.raises(UserError) as error:
        objects.make(Call("Dropout", {"rate": 2}), "keras.layers", "here")
    assert str(error.value).startswith(
        "here.Dropout: refused by keras.layers: Invalid value received for argument `rate`"
    )


def test_computed_values_are_known_only_where_they_are() -> None:
    with pytest.raises(UserError, match=r"here\.Dense\.units: \$total_steps is not known here"):
        objects.make(
            Call("Dense", {"units": "$total_steps"}), "keras.layers", "here", {"$classes": 3}
        )


def test_unknown_values_in_lists_and_mappings() -> None:
    call = Call("Reshape", {"target_shape": ["$clases", {"deep": "$total"}]})
    assert [str(each) for each in objects.mistakes("w", "keras.layers", call)] == [
        "w.Reshape.target_shape[0]: unknown value '$clases'\n  did you mean '$classes'?",
        "w.Reshape.target_shape[1].deep: unknown value '$total'\n  did you mean '$total_steps'?",
    ]


class Kept:
    """A user's class that takes a mapping."""

    def __init__(self, options: dict[str, object]) -> None:
        self.options = options


def test_computed_values_in_mappings() -> None:
    call = Call(f"{__name__}.Kept", {"options": {"sizes": [64, "$classes"]}})
    found = objects.make(call, "mine", "here", {"$classes": 3})
    assert found.options == {"sizes": [64, 3]}
