"""What `fit` writes for TensorBoard, and `trainer tensorboard`."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tensorboard.plugins.hparams import metadata as hparams
from tensorboard.plugins.hparams import plugin_data_pb2
from typer.testing import CliRunner

from tests.board.reading import Board
from tests.conftest import SMALL, Outcome, draw_pictures
from trainer import run as runs
from trainer.board.watch import Page, Watch
from trainer.cli import app
from trainer.commands import tensorboard as verb
from trainer.config.board import Board as Spec

Trainer = Callable[..., Outcome]

EPOCHS = 3


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A run that was trained for EPOCHS, and what was said; every page in every epoch."""
    folder = tmp_path_factory.mktemp("fitted")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / ".cache"))
        draw_pictures(Path("pictures"), {"blue": 9, "green": 8, "red": 8})
        text = SMALL.replace("epochs: 2", f"epochs: {EPOCHS}").replace("0.01}", "1.0e-5}")
        Path("small.yaml").write_text(text + "tensorboard: {every: 1, images: 4}\n")
        done = CliRunner().invoke(app, ["fit", "small.yaml"])
        assert done.exit_code == 0, done.output
        yield folder / "runs/small/latest", done.output


def side(fitted: tuple[Path, str], name: str) -> Board:
    return Board(fitted[0] / "tensorboard" / name)


def test_scalars_of_both_sides_have_one_tag(fitted: tuple[Path, str]) -> None:
    train, validation = side(fitted, "train"), side(fitted, "validation")
    rows = list(csv.DictReader((fitted[0] / "history.csv").open()))
    for tag, board, column in (
        ("metrics/loss", train, "loss"),
        ("metrics/loss", validation, "val_loss"),
        ("metrics/categorical_accuracy", train, "categorical_accuracy"),
        ("metrics/categorical_accuracy", validation, "val_categorical_accuracy"),
        ("optimizer/learning_rate", train, "learning_rate"),
    ):
        assert board.steps(tag) == [1, 2, 3]
        assert np.allclose(board.scalars(tag), [float(row[column]) for row in rows])
    for tag in ("optimizer/gradient_norm", "optimizer/weight_norm", "speed/images_per_second",
                "speed/input_wait", "speed/step_ms"):  # fmt: skip
        assert train.plugin(tag) == "scalars"
        assert np.isfinite(train.scalars(tag)).all()
    assert not [tag for tag in validation.tags if "val_" in tag or "rate" in tag]


def test_every_dashboard_has_its_pages(fitted: tuple[Path, str]) -> None:
    train, validation = side(fitted, "train"), side(fitted, "validation")
    pages = {
        "images": {"train": ["images"], "validation": [
            "confusion/per_cent", "confusion/pictures", "gradcam", "mistakes", "reliability",
        ]},
        "pr_curves": {"validation": [
            "pr_curves/all labels", "pr_curves/blue", "pr_curves/green", "pr_curves/red",
        ]},
        "histograms": {"train": [
            "weights/conv2d/bias", "weights/conv2d/kernel", "weights/dense/bias",
            "weights/dense/kernel",
        ]},
        "text": {"train": ["config"]},
    }  # fmt: skip
    for plugin, tags in pages.items():
        for name, board in (("train", train), ("validation", validation)):
            found = [tag for tag in board.tags if board.plugin(tag) == plugin]
            assert found == tags.get(name, []), (plugin, name)
            for tag in found:
                assert board.steps(tag) == ([0] if tag == "config" else [1, 2, 3])
    assert "units: $classes" in train.arrays("config")[0].item().decode()
    assert [node.op for node in train.graph.node] == [
        "InputLayer", "Rescaling", "Conv2D", "Flatten", "Dropout", "Dense",
    ]  # fmt: skip


def test_pictures_are_pictures(fitted: tuple[Path, str]) -> None:
    train, validation = side(fitted, "train"), side(fitted, "validation")
    epochs = train.images("images")
    assert not np.array_equal(epochs[0], epochs[1])  # other ones
    for tag in ("confusion/pictures", "gradcam", "mistakes"):
        for pixels in validation.images(tag):
            assert pixels.std() > 20


def test_curves_are_those_of_the_last_validation(fitted: tuple[Path, str]) -> None:
    """At a threshold of 0 every label is found, and accuracy is a matter of thresholds apart."""
    counts = json.loads((fitted[0] / "data.json").read_text())
    validation = side(fitted, "validation")
    rows = [validation.arrays(f"pr_curves/{name}")[-1] for name in ("blue", "green", "red")]
    assert all(row[:, 0][2:4].tolist() == [0, 0] for row in rows)
    total = sum(row[0, 0] for row in rows)  # true ones of all classes: the pictures
    assert str(int(total)) in json.dumps(counts)


def test_a_row_of_the_table_of_runs(fitted: tuple[Path, str]) -> None:
    board = side(fitted, "hparams")
    assert {"result/val_loss", "result/val_categorical_accuracy", "result/test_accuracy"} <= set(
        board.tags
    )
    tested = json.loads((fitted[0] / "metrics.json").read_text())
    assert np.allclose(board.scalars("result/test_accuracy"), [tested["accuracy"]])
    content = board._events.SummaryMetadata(hparams.SESSION_START_INFO_TAG).plugin_data.content
    start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    assert start.group_name == f"{fitted[0].resolve().name[5:]} small"
    values = {name: value.number_value or value.string_value or value.bool_value
              for name, value in start.hparams.items()}  # fmt: skip
    assert values == {
        "seed": 1,
        "data.source.kind": "folder",
        "data.image_size": "16x20",
        "data.split.validation": 0.25,
        "data.split.test": 0.25,
        "data.batch_size": 5,
        "data.augment": "HorizontalFlip, RandomBrightnessContrast",
        "model.kind": "layers",
        "model.parameters": 3139,
        "training.optimizer.Adam.learning_rate": 1.0e-5,
        "training.epochs": 3,
    }


def test_it_says_what_it_cost(fitted: tuple[Path, str]) -> None:
    assert re.search(
        r"^board    \d+\.\d s for TensorBoard, \d+\.\d% of the time; pages were drawn 3 times$",
        fitted[1],
        flags=re.MULTILINE,
    )
    assert "\nhint     tensorboard.every: auto draws pages in about 2% of the time\n" in fitted[1]


def test_each_page_can_be_switched_off(small: Path, trainer: Trainer) -> None:
    off = [
        *("config=false", "graph=false", "norms=false", "histograms=false", "images=0"),
        *("confusion=false", "pr_curves=false", "reliability=false", "mistakes=0", "gradcam=0"),
        "hparams=false",
    ]
    overrides = [part for each in off for part in ("--set", f"tensorboard.{each}")]
    done = trainer("fit", small, "--set", "training.epochs=1", *overrides)
    assert done.code == 0, done.err
    folder = Path("runs/small/latest/tensorboard")
    assert sorted(each.name for each in folder.iterdir()) == ["train", "validation"]
    assert Board(folder / "validation").tags == ["metrics/categorical_accuracy", "metrics/loss"]
    assert Board(folder / "train").tags == [
        "metrics/categorical_accuracy", "metrics/loss", "optimizer/learning_rate",
        "speed/images_per_second", "speed/input_wait", "speed/step_ms",
    ]  # fmt: skip


def test_all_of_it_can_be_switched_off_and_changes_nothing(small: Path, trainer: Trainer) -> None:
    histories = []
    for enabled in ("true", "false"):
        done = trainer("fit", small, "--set", f"tensorboard.enabled={enabled}")
        assert done.code == 0, done.err
        assert ("board  " in done.out) == ("watch  " in done.out) == (enabled == "true")
        run = Path("runs/small/latest")
        assert (run / "tensorboard").exists() == (enabled == "true")
        histories.append((run / "history.csv").read_bytes())
    assert histories[0] == histories[1]


def test_event_files_go_on_with_the_run(small: Path, trainer: Trainer) -> None:
    for epochs in (2, 3):
        done = trainer("fit", small, "--resume", "--set", f"training.epochs={epochs}")
        assert done.code == 0, done.err
    resumed = Path("runs/small/latest")
    whole = trainer("fit", small, "--set", "training.epochs=3", "--set", "name=whole")
    assert whole.code == 0, whole.err
    for name in ("train", "validation"):
        board, other = (
            Board(Path(f"runs/{run}/latest/tensorboard", name)) for run in ("small", "whole")
        )
        for tag in board.tags:
            if board.plugin(tag) == "scalars":
                assert board.steps(tag) == [1, 2, 3]
                if not tag.startswith("speed/"):
                    assert board.scalars(tag) == other.scalars(tag), tag
    assert len(list((resumed / "tensorboard/train").iterdir())) == 2
    rows = (resumed / "history.csv").read_bytes()
    assert rows == Path("runs/whole/latest/history.csv").read_bytes()


def write_several_labels(small: Path) -> None:
    """Makes of the config one whose every other picture has a second label."""
    files = sorted(Path("pictures").rglob("*.png"))
    rows = [f"{file},{file.parent.name}{'|bright' * (n % 2)}" for n, file in enumerate(files)]
    Path("labels.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    text = small.read_text().replace(
        "{kind: folder, path: pictures}", "{kind: csv, path: labels.csv, separator: '|'}"
    )
    text = text.replace("softmax", "sigmoid")
    small.write_text(text + "  loss: BinaryCrossentropy\n  metrics: [BinaryAccuracy]\n")


def test_of_several_labels_there_is_no_matrix(small: Path, trainer: Trainer) -> None:
    write_several_labels(small)
    done = trainer("fit", small, "--set", "training.epochs=1")
    assert done.code == 0, done.err
    assert "left out" not in done.err
    board = Board(Path("runs/small/latest/tensorboard/validation"))
    assert [tag for tag in board.tags if not tag.startswith("metrics/")] == [
        "gradcam", "mistakes", "pr_curves/all labels", "pr_curves/blue", "pr_curves/bright",
        "pr_curves/green", "pr_curves/red", "reliability",
    ]  # fmt: skip


def test_what_cannot_be_drawn_does_not_end_a_training(small: Path, trainer: Trainer) -> None:
    """A network without a map of the picture has no Grad-CAM."""
    text = small.read_text()
    line = "    - Conv2D: {filters: 4, kernel_size: 3, activation: relu}\n"
    assert line in text
    small.write_text(text.replace(line, ""))
    done = trainer("fit", small)
    assert done.code == 0, done.err
    warned = [each for each in done.err.splitlines() if each.startswith("warning: tensorboard.")]
    assert len(warned) == 1
    assert warned[0].startswith("warning: tensorboard.gradcam is left out from here on: ")
    assert "confusion/pictures" in Board(Path("runs/small/latest/tensorboard/validation")).tags


def test_a_training_that_is_stopped_early_has_its_last_epoch_drawn(tmp_path: Path) -> None:
    spec = Spec.model_validate(
        {"every": 5, "graph": False, "config": False, "norms": False, "histograms": False}
    )
    page = Page("page", "train", lambda _: [])
    with Watch(tmp_path, spec, [page], epochs=9, pictures=1, config="") as watch:
        model = SimpleNamespace(stop_training=False)
        watch.set_model(model)
        for epoch, drawn in enumerate((1, 1, 2)):
            watch.on_epoch_begin(epoch)
            model.stop_training = epoch == 2
            watch.on_epoch_end(epoch, {"loss": 1.0, "gradient_norm": 1.0})
            assert watch.drawn["page"] == drawn


# --- trainer tensorboard --------------------------------------------------------------------------


def boards(*names: str) -> None:
    for name in names:
        Path(name, "tensorboard", "train").mkdir(parents=True)
        Path(name, "config.yaml").touch()


def links(folder: Path) -> dict[str, str]:
    return {
        str(each.relative_to(folder)): str(each.resolve().relative_to(Path.cwd()))
        for each in sorted(folder.rglob("*"))
        if each.is_symlink()
    }


def test_every_run_has_one_link_with_a_short_name(workplace: Path) -> None:
    boards("runs/rps/one", "runs/rps/two", "runs/hunt/trial_0/three")
    Path("runs/rps/latest").symlink_to("two")
    for part in ("runs/hunt/tensorboard/search", "runs/rps/tensorboard/preview"):
        Path(part).mkdir(parents=True)
    assert verb.link([Path("runs").resolve()], workplace / "links") == 5
    assert links(workplace / "links") == {
        "rps/one": "runs/rps/one/tensorboard",
        "rps/two": "runs/rps/two/tensorboard",
        "rps/preview": "runs/rps/tensorboard/preview",
        "hunt/search": "runs/hunt/tensorboard/search",
        "hunt/trial_0/three": "runs/hunt/trial_0/three/tensorboard",
    }
    boards("runs/flowers/four")
    assert verb.link([Path("runs").resolve()], workplace / "links") == 6
    assert "flowers/four" in links(workplace / "links")


def test_runs_that_are_named_have_the_same_names(workplace: Path) -> None:
    boards("runs/rps/one", "runs/rps/two", "elsewhere/rps/one")
    places = [Path("runs/rps/one").resolve(), Path("elsewhere/rps").resolve()]
    assert verb.link(places, workplace / "links") == 2
    assert links(workplace / "links") == {
        "elsewhere/rps/one": "elsewhere/rps/one/tensorboard",
        "runs/rps/one": "runs/rps/one/tensorboard",
    }
    assert verb.link(places[:1], workplace / "other") == 1
    assert list(links(workplace / "other")) == ["rps/one"]


def test_what_explain_drew_elsewhere_is_shown_too(workplace: Path) -> None:
    Path("asked/tensorboard/explain").mkdir(parents=True)
    assert verb.link([Path("asked").resolve()], workplace / "links") == 1
    assert links(workplace / "links") == {"explain": "asked/tensorboard/explain"}


def test_it_says_what_is_wrong(workplace: Path, trainer: Trainer) -> None:
    done = trainer("tensorboard")
    assert (done.code, done.err) == (
        2,
        "error: nothing to show in runs yet\n"
        "  start a run with trainer fit, or give the folder of one\n",
    )
    done = trainer("tensorboard", "runs/none")
    assert done.err == (
        "error: runs/none: no such run\n  give a folder such as runs/rps/latest, or a config\n"
    )
    boards("runs/rps/one")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = trainer("tensorboard", "--port", port)
    assert (done.code, done.err) == (
        2,
        f"error: --port: port {port} is taken\n  choose another one; --port 0 takes a free one\n",
    )


def test_it_serves_until_ctrl_c(fitted: tuple[Path, str]) -> None:
    folder = fitted[0].parents[2]
    process = subprocess.Popen(
        [sys.executable, "-m", "trainer", "tensorboard", "--port", "0"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert process.stdout
        assert process.stdout.readline() == "showing  1 run of runs\n"
        address = process.stdout.readline().removeprefix("address  ").strip()
        name = f"small/{fitted[0].resolve().name}"
        for _ in range(100):
            with urllib.request.urlopen(f"{address}data/runs", timeout=30) as answer:
                found = set(json.load(answer))
            if len(found) == 3:
                break
        assert found == {f"{name}/hparams", f"{name}/train", f"{name}/validation"}
        visit(address)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (0, "stopped\n", "")


def visit(address: str) -> None:
    """What the browser asks of every dashboard. One loads TensorFlow, were it there."""
    with urllib.request.urlopen(f"{address}data/plugins_listing", timeout=60) as answer:
        names = set(json.load(answer))
    assert {"timeseries", "images", "pr_curves", "graphs", "text", "hparams"} <= names
    assert "debugger-v2" not in names
    for path in ("scalars/tags", "images/tags", "pr_curves/tags", "histograms/tags", "text/tags",
                 "distributions/tags", "timeseries/tags", "graphs/info"):  # fmt: skip
        with urllib.request.urlopen(f"{address}data/plugin/{path}", timeout=60) as answer:
            assert json.load(answer), path
    name = {"experimentName": "."}
    rows = {**name, "allowedStatuses": [], "colParams": [], "startIndex": 0, "sliceSize": 9}
    for path, asked in (("experiment", name), ("session_groups", rows)):
        request = urllib.request.Request(
            f"{address}data/plugin/hparams/{path}", json.dumps(asked).encode(),
            {"Content-Type": "application/json"},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert json.load(answer)


def test_two_replicas_draw_every_page_of_several_labels(small: Path) -> None:
    """Grad-CAM included, whose gradients no replica computes."""
    write_several_labels(small)
    with small.open("a") as file:
        file.write("  strategy: mirrored\ntensorboard: {every: 1}\n")
    code = (
        "import sys, tensorflow as tf\n"
        "[cpu] = tf.config.list_physical_devices('CPU')\n"
        "two = [tf.config.LogicalDeviceConfiguration()] * 2\n"
        "tf.config.set_logical_device_configuration(cpu, two)\n"
        "from trainer.cli import app\n"
        "app(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", code, "fit", str(small)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "mirrored over 2 replicas (training.strategy mirrored)" in done.stdout
    assert "left out" not in done.stderr
    board = Board(Path("runs/small/latest/tensorboard/validation"))
    assert {"gradcam", "reliability", "pr_curves/bright"} <= set(board.tags)
    assert board.steps("gradcam") == [1, 2]


def test_the_folder_of_events_belongs_to_the_run(fitted: tuple[Path, str]) -> None:
    this = runs.Run(fitted[0])
    assert list(runs.boards(fitted[0])) == [this.tensorboard]
    assert this.hparams.is_dir()
