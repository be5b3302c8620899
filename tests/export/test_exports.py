"""Exporters: the battery, what the files say of themselves, and the gate."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

from tests import families
from tests.conftest import Outcome
from trainer.commands import export
from trainer.config.about import About
from trainer.config.export import Keras, Onnx, OpenVino, SavedModel, TfLite
from trainer.data import feed
from trainer.export.parity import compare
from trainer.runtimes import opened

LABELS = ("paper", "rock", "scissors")
ABOUT = About(
    name="hands", task="single_label", labels=LABELS, image_size=(12, 10), metrics={"accuracy": 0.5}
)
SPECS = [
    SavedModel(kind="saved_model"),
    Onnx(kind="onnx"),
    Onnx(kind="onnx", input="float32"),
    Onnx(kind="onnx", opset=13),
    TfLite(kind="tflite"),
    TfLite(kind="tflite", precision="float16"),
    TfLite(kind="tflite", precision="int8", tolerance=0.05),  # of noise, which it was calibrated on
    OpenVino(kind="openvino"),
    Keras(kind="keras"),
]


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """With what used to go wrong: constants of Normalization, BatchNorm, Dropout, regularisers."""
    keras.utils.set_random_seed(1)
    normalization = keras.layers.Normalization()
    normalization.adapt(np.random.default_rng(0).uniform(0, 255, (32, 12, 10, 3)))
    model = keras.Sequential(
        [
            keras.Input((12, 10, 3)),
            normalization,
            keras.layers.Conv2D(8, 3, activation="relu", kernel_regularizer="l2"),
            keras.layers.BatchNormalization(),
            keras.layers.DepthwiseConv2D(3, activation="silu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.layers[2].moving_mean.assign(np.linspace(0, 1, 8))
    model.layers[2].moving_variance.assign(np.linspace(0.2, 2, 8))
    return model


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_exporters(spec: Any, network: keras.Model, tmp_path: Path) -> None:
    families.exporter(spec, network, ABOUT, tmp_path)


@pytest.mark.parametrize(("kind", "element"), [("uint8", 2), ("float32", 1)])
def test_an_onnx_file_describes_itself(
    kind: str, element: int, network: keras.Model, tmp_path: Path
) -> None:
    spec = Onnx(kind="onnx", input=kind)  # type: ignore[arg-type]
    proto = onnx.load(families.exporter(spec, network, ABOUT, tmp_path))
    [image] = proto.graph.input
    assert (image.name, image.type.tensor_type.elem_type) == ("image", element)
    dims = [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim]
    assert dims == ["batch", 12, 10, 3]
    outputs = {o.name: o.type.tensor_type.shape.dim[0].dim_param for o in proto.graph.output}
    assert outputs == {"probabilities": "batch", "label_index": "batch"}
    metadata = {each.key: json.loads(each.value) for each in proto.metadata_props}
    assert metadata == ABOUT.model_dump(mode="json")
    assert [(each.domain, each.version) for each in proto.opset_import] == [("", 18)]


def test_an_onnx_file_gives_the_index_of_the_best_label(
    network: keras.Model, tmp_path: Path
) -> None:
    path = families.exporter(Onnx(kind="onnx"), network, ABOUT, tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (9, 12, 10, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(path)
    scores_NK, index_N = session.run(None, {"image": images})
    assert np.array_equal(scores_NK.argmax(axis=1), index_N)


@pytest.mark.parametrize("spec", [SavedModel(kind="saved_model"), OpenVino(kind="openvino")])
def test_the_file_that_makes_a_folder_a_model_stands_for_it(
    spec: Any, network: keras.Model, tmp_path: Path
) -> None:
    folder = families.exporter(spec, network, ABOUT, tmp_path)
    file = folder / {"saved_model": "saved_model.pb", "openvino": "model.xml"}[spec.kind]
    assert opened.kind_of(file) == spec.kind
    assert opened.open(file).about == ABOUT


def test_a_saved_model_gives_names(network: keras.Model, tmp_path: Path) -> None:
    path = families.exporter(SavedModel(kind="saved_model"), network, ABOUT, tmp_path)
    loaded = tf.saved_model.load(str(path))
    result = loaded.signatures["serving_default"](image=tf.zeros((2, 12, 10, 3), tf.uint8))
    assert sorted(result) == ["label_index", "labels", "probabilities"]
    names = [LABELS[index].encode() for index in result["probabilities"].numpy().argmax(axis=1)]
    assert result["labels"].numpy().tolist() == names


def test_agreement() -> None:
    truth = np.array([[1, 0], [1, 0]])
    expected = np.array([[0.6, 0.4], [0.3, 0.7]])
    near = {1: expected + [[1e-6, -2e-6], [0, 0]], 3: expected}
    assert compare(truth, expected, near, 1e-5) == {
        "images": 2,
        "largest_difference": pytest.approx(2e-6),
        "by_batch_size": {1: pytest.approx(2e-6), 3: 0.0},
        "same_label": 2,
        "accuracy": 0.5,
        "accuracy_of_keras": 0.5,
        "accuracy_lost": 0.0,
        "tolerance": 1e-5,
        "max_drop": None,
        "agrees": True,
    }
    assert not compare(truth, expected, {1: expected, 3: expected + 2e-5}, 1e-5)["agrees"]
    turned = compare(truth, expected, {1: expected[:, ::-1]}, 1e-5)
    assert (turned["same_label"], turned["accuracy"]) == (0, 0.5)
    assert not compare(truth, expected, {1: expected * np.nan, 2: expected}, 1e-5)["agrees"]
    rounded = {1: np.array([[0.4, 0.6], [0.4, 0.6]])}
    assert not compare(truth, expected, rounded, None, 0.4)["agrees"]  # one picture of two less
    assert compare(truth, expected, rounded, None, 0.5)["agrees"]
    twenty = np.tile([[1, 0]], (20, 1))
    four, three = twenty.astype(float), twenty.astype(float)
    four[4:], three[3:] = [0, 1], [0, 1]
    assert compare(twenty, four, {1: three}, None, 0.05)["agrees"]  # 0.2 - 0.05 is above 0.15
    assert not compare(twenty, four, {1: three}, None, 0.0499)["agrees"]
    for wrong in (np.nan, np.inf):
        assert not compare(truth, expected, {1: expected * wrong}, None, 1.0)["agrees"]
    assert compare(truth, expected, {1: expected, 3: expected[:1]}, 1e-5) == {
        "images": 2, "agrees": False, "reason": "shape [1, 2] instead of [2, 2] in batches of 3",
    }  # fmt: skip
    assert compare(truth, expected, "it crashed", 1e-5) == {
        "images": 2, "agrees": False, "reason": "it crashed",
    }  # fmt: skip


def test_a_refused_export_leaves_the_proof_of_those_before_it(
    small: Path, trainer: Callable[..., Outcome]
) -> None:
    assert trainer("fit", small, "--set", "training.epochs=1").code == 0
    folder = Path("runs/small/latest/export")
    folder.mkdir()
    (folder / "parity.json").write_text("of an older export")
    option = "export=[{kind: keras}, {kind: web, runtime: nowhere}]"
    done = trainer("export", "--set", option)
    assert done.code == 2
    assert done.err.startswith(f"error: --set {option}: export[1].runtime: nowhere has no dist/")
    assert sorted(path.name for path in folder.iterdir()) == ["model.keras", "parity.json"]
    [row] = json.loads((folder / "parity.json").read_text())
    assert (row["kind"], row["agrees"]) == ("keras", True)
    done = trainer("export", "--set", "export=[]")
    expected = "--set export=[]: export: the list is empty\n  as in export: [{kind: onnx}]\n"
    assert (done.code, done.err) == (2, f"error: {expected}")


def test_calibration_takes_so_many_pictures_of_however_many_classes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Examples:
        """Two pictures of each class, which are their own numbers."""

        def __init__(self, classes: int) -> None:
            self.classes = classes

        def __len__(self) -> int:
            return 2 * self.classes

        def targets(self, indices: np.ndarray) -> np.ndarray:
            return np.eye(self.classes)[indices // 2]

        def take(self, indices: np.ndarray) -> np.ndarray:
            return indices

    def evaluation(indices: np.ndarray, *_: Any) -> list[tuple[tf.Tensor, None, tf.Tensor]]:
        return [(tf.constant(indices), None, tf.ones(len(indices)))]

    monkeypatch.setattr(feed, "evaluation", evaluation)
    trained: Any = SimpleNamespace(config=SimpleNamespace(data=None))
    for classes, count, expected in ((3, 4, 4), (3, 64, 6), (500, 64, 64)):
        pictures = export._calibration(trained, Examples(classes))(count)  # type: ignore[arg-type]
        assert len(pictures) == expected
        assert len(set(pictures // 2)) == min(classes, count)
        assert (pictures[0] // 2, pictures[-1] // 2) == (0, classes - 1)
