"""`trainer check`: what it says and draws, and that it trains nothing."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import keras
import pytest

from tests.conftest import Outcome
from trainer.commands import check
from trainer.model import summary

Trainer = Callable[..., Outcome]

NETWORK = """\
network: 3,139 parameters, all trainable; 30,240 multiply-adds (MACs) per picture
┏━━━┳━━━━━━━━━━━━━┳━━━━━━━━━━━━┳━━━━━━┳━━━━━━━━━┳━━━━━━━━┳━━━━━━━━┓
┃ # ┃ layer       ┃ kind       ┃ from ┃ output  ┃ params ┃   MACs ┃
┡━━━╇━━━━━━━━━━━━━╇━━━━━━━━━━━━╇━━━━━━╇━━━━━━━━━╇━━━━━━━━╇━━━━━━━━┩
│ 0 │ input_layer │ InputLayer │      │ 16×20×3 │        │        │
│ 1 │ rescaling   │ Rescaling  │      │ 16×20×3 │        │        │
│ 2 │ conv2d      │ Conv2D     │      │ 14×18×4 │    112 │ 27.2 k │
│ 3 │ flatten     │ Flatten    │      │ 1008    │        │        │
│ 4 │ dropout     │ Dropout    │      │ 1008    │        │        │
│ 5 │ dense       │ Dense      │      │ 3       │ 3.03 k │ 3.02 k │
└───┴─────────────┴────────────┴──────┴─────────┴────────┴────────┘
memory   at least 50 kB and 12 kB per picture (60 kB per batch) to train, 13 kB and 8.1 kB per picture to predict
cache    off
devices  CPU, one replica (training.strategy auto: no GPU), float32
plan     2 epochs of 3 steps of 5 pictures
"""


def test_it_builds_everything_and_trains_nothing(small: Path, trainer: Trainer) -> None:
    checked = trainer("check", small)
    assert checked.code == 0, checked.err
    assert NETWORK in checked.out
    assert checked.out.endswith(
        "drawn    runs/small/network.svg\nall is well; train it with trainer fit\n"
    )
    assert list(Path("runs").rglob("*.*")) == [Path("runs/small/network.svg")]
    assert ElementTree.parse("runs/small/network.svg").getroot().tag.endswith("svg")


def test_the_drawing_replaces_the_one_before(small: Path, trainer: Trainer) -> None:
    trainer("check", small)
    assert "Dropout" in Path("runs/small/network.svg").read_text()
    trainer("check", small, "--set", "model.layers[3]=ReLU")
    assert "Dropout" not in Path("runs/small/network.svg").read_text()
    assert [path.name for path in Path("runs/small").iterdir()] == ["network.svg"]


def test_a_place_that_cannot_be_written(small: Path, trainer: Trainer) -> None:
    Path("runs").write_text("in the way")
    done = trainer("check", small)
    assert (done.code, done.err) == (
        2,
        "error: runs/small/network.svg cannot be written: Not a directory\n"
        "  choose another place or make it writable\n",
    )


def test_sources_are_named_where_they_are_not_the_row_before(
    capsys: pytest.CaptureFixture[str],
) -> None:
    inputs = keras.Input((4, 4, 3), name="in")
    one = keras.layers.Conv2D(3, 1, name="one")(inputs)
    two = keras.layers.ReLU(name="two")(one)
    model = keras.Model(inputs, keras.layers.Add(name="sum")([two, one]))
    optimizer = keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)
    check._show_network(summary.summarise(model, optimizer))
    table = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines()[4:-1]]
    assert [[cell.strip() for cell in row] for row in table] == [
        ["0", "in", "InputLayer", "", "4×4×3", "", ""],
        ["1", "one", "Conv2D", "", "4×4×3", "12", "144"],
        ["2", "two", "ReLU", "", "4×4×3", "", ""],
        ["3", "sum", "Add", "2, 1", "4×4×3", "", ""],
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "width"),
    [("ResNet50", 100), ("EfficientNetB0", 102), ("InceptionV3", 109)],
)
def test_tables_of_known_networks_are_not_wide(
    name: str, width: int, capsys: pytest.CaptureFixture[str]
) -> None:
    model = getattr(keras.applications, name)(weights=None)
    optimizer = keras.optimizers.AdamW()
    optimizer.build(model.trainable_variables)
    found = summary.summarise(model, optimizer)
    capsys.readouterr()
    check._show_network(found)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(found.rows) + 5
    assert max(map(len, lines)) == width


def test_two_replicas_synchronised(small: Path) -> None:
    """The numbers are those of one device: they are of one picture."""
    code = (
        "import sys; import tensorflow as tf\n"
        "[cpu] = tf.config.list_physical_devices('CPU')\n"
        "two = [tf.config.LogicalDeviceConfiguration()] * 2\n"
        "tf.config.set_logical_device_configuration(cpu, two)\n"
        "from trainer.cli import app\n"
        "app(sys.argv[1:])\n"
    )
    normal = "model.layers[3]={BatchNormalization: {synchronized: true}}"
    command = [sys.executable, "-c", code, "check", str(small), "--set", normal]
    command += ["--set", "training.strategy=mirrored"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    line = "2 logical CPUs, mirrored over 2 replicas (training.strategy mirrored), float32"
    assert f"devices  {line}\n" in done.stdout
    assert "30,240 multiply-adds (MACs) per picture\n" in done.stdout


def test_it_says_what_trains_in_each_phase(small: Path, trainer: Trainer) -> None:
    phases = "training.phases=[{epochs: 1, frozen: [conv2d]}, {epochs: 3}]"
    done = trainer("check", small, "--set", "training.epochs=null", "--set", phases)
    assert done.code == 0, done.err
    assert (
        "plan     4 epochs of 3 steps of 5 pictures\n"
        "phase    1 of 2: 1 epoch, 1 of 2 layers train, 3,027 parameters\n"
        "phase    2 of 2: 3 epochs, 2 of 2 layers train, 3,139 parameters\n"
    ) in done.out
