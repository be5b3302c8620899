"""`kind: custom`: a function of the user's own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import families
from trainer.config.model import Custom
from trainer.errors import UserError, leaves
from trainer.model import network

CLASSES = ("paper", "rock", "scissors")
NETS = """\
import keras

def build(inputs, classes, width=4, activation="softmax"):
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(width, 3, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.layers.Dense(classes, activation=activation)(x)

def whole(inputs, classes):
    return keras.Model(inputs, build(inputs, classes))

def wide(inputs, classes):
    return keras.layers.Dense(classes + 1)(keras.layers.Flatten()(inputs))

def careless(inputs, classes):
    return undefined

def shapeless(inputs, classes):
    return keras.layers.Dense(3)(keras.layers.Reshape((7,))(inputs))

def elsewhere(inputs, classes):
    return build(keras.Input((8, 8, 3)), classes)

def alone(inputs):
    return inputs

def wrapped(*args, **kwargs):
    return build(*args, **kwargs)

number = 3
"""


@pytest.fixture(autouse=True)
def nets(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of a name of its own per test: Python imports each name once."""
    monkeypatch.syspath_prepend(workplace)
    path = workplace / f"nets_{workplace.parent.name.replace('-', '_')}_{workplace.name}.py"
    path.write_text(NETS)
    return path


def notation(nets: Path, name: str = "build", **arguments: Any) -> Custom:
    return Custom(kind="custom", function=f"{nets.stem}.{name}", arguments=arguments)


def test_a_function_that_takes_anything(nets: Path) -> None:
    model = network.build(notation(nets, "wrapped", width=6), (8, 8, 3), CLASSES)
    assert model.layers[2].filters == 6


def test_custom(nets: Path, tmp_path: Path) -> None:
    spec = notation(nets, width=6)
    families.model(lambda: network.build(spec, (20, 16, 3), CLASSES), 3, tmp_path)
    model = network.build(spec, (20, 16, 3), CLASSES)
    assert model.layers[2].filters == 6
    assert network.backbone_layers(model, spec) == ()
    assert model(np.zeros((2, 20, 16, 3))).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("nothing", {}, "model.function: cannot be imported: module '{nets}' has no attribute 'nothing'\n  write the import path of a function, as in mypackage.nets.build"),
        ("number", {}, "model.function: is no function, but int\n  write the import path of a function, as in mypackage.nets.build"),
        ("build", {"widht": 3}, "model.arguments.widht: {nets}.build has no argument 'widht'\n  did you mean 'width'?"),
        ("build", {"classes": 3}, "model.arguments.classes: {nets}.build has no argument 'classes'\n  expected one of: activation, width"),
        ("build", {"activation": "sofmax"}, "model.function: raised ValueError: Could not interpret activation function identifier: sofmax ({path}:7)"),
        ("careless", {}, "model.function: raised NameError: name 'undefined' is not defined ({path}:16)"),
        ("alone", {}, "model.function: raised TypeError: alone() takes 1 positional argument but 2 were given"),
        ("whole", {}, "model.function: returned Functional, expected a KerasTensor (None, 3)\n  return model.output, and build it on the inputs that are given"),
        ("wide", {}, "model.function: returned shape (None, 4), expected (None, 3)\n  its second argument is the number of classes"),
    ],
)  # fmt: skip
def test_mistakes(nets: Path, name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((UserError, ExceptionGroup)) as error:
        network.build(notation(nets, name, **arguments), (8, 8, 3), CLASSES)
    group = isinstance(error.value, ExceptionGroup)
    found = "\n".join(map(str, leaves(error.value))) if group else str(error.value)  # type: ignore[arg-type]
    assert found == message.replace("{nets}", nets.stem).replace("{path}", str(nets))


@pytest.mark.parametrize("name", ["shapeless", "elsewhere"])
def test_graphs_that_keras_refuses(nets: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"^model\.function: "):
        network.build(notation(nets, name), (8, 8, 3), CLASSES)
