"""A SavedModel's signatures, and what TensorFlow Serving finds in it."""

from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from trainer.config.about import About
from trainer.config.export import SavedModel
from trainer.data import decode
from trainer.export import _warmup, saved_model
from trainer.export.material import Material

ABOUT = About(
    name="leaves",
    task="single_label",
    labels=("ash", "béech", "oak"),
    image_size=(12, 10),
    fit="crop",
)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((12, 10, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


@pytest.fixture(scope="module")
def folder(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "saved_model"
    material = Material(network, ABOUT, lambda count: np.zeros((0, 12, 10, 3), np.uint8))
    saved_model.write(material, SavedModel(kind="saved_model"), path)
    return path


def test_every_signature_gives_the_scores_of_keras(folder: Path, network: keras.Model) -> None:
    drawn = np.random.default_rng(0)
    pictures = [
        drawn.integers(0, 256, size, np.uint8) for size in ((30, 40, 3), (12, 10, 3), (9, 7, 3))
    ]
    files = [cv2.imencode(suffix, each)[1].tobytes() for suffix, each in zip((".jpg", ".png", ".png"), pictures, strict=True)]  # fmt: skip
    images = np.stack([decode.present(decode.decode(file), ABOUT) for file in files])
    expected_NK = network(images.astype(np.float32), training=False).numpy()
    best_N = expected_NK.argmax(axis=1)
    loaded = tf.saved_model.load(str(folder))
    answers = [
        loaded.signatures["serving_default"](image=tf.constant(images)),
        loaded.signatures["serve_float"](image=tf.constant(images, tf.float32)),
        loaded.signatures["serve_bytes"](image_bytes=tf.constant(files)),
    ]
    for answer in answers:
        assert sorted(answer) == ["label_index", "labels", "probabilities"]
        assert np.abs(answer["probabilities"] - expected_NK).max() < 1e-6
        assert np.array_equal(answer["label_index"], best_N)
        names = [ABOUT.labels[index].encode() for index in best_N]
        assert answer["labels"].numpy().tolist() == names


def test_it_describes_itself(folder: Path) -> None:
    assert (folder / "assets" / "classes.txt").read_text("utf-8") == "ash\nbéech\noak\n"
    assert About.model_validate_json((folder / "assets" / "about.json").read_text("utf-8")) == ABOUT


def test_warm_up_requests_are_prediction_logs(folder: Path, network: keras.Model) -> None:
    """Read back through descriptors with the public field numbers of tensorflow_serving/apis."""
    log, loaded = _prediction_log(), tf.saved_model.load(str(folder))
    found = {}
    for record in tf.data.TFRecordDataset(str(folder / _warmup.FILE)):
        message = log()
        message.ParseFromString(record.numpy())
        assert message.SerializeToString(deterministic=True) == record.numpy()  # nothing unknown
        request = message.predict_log.request
        assert request.model_spec.name == "leaves"
        [(name, tensor)] = request.inputs.items()
        proto = tf.make_tensor_proto(0)
        proto.ParseFromString(tensor)
        found[request.model_spec.signature_name] = {name: tf.make_ndarray(proto)}
    assert set(found) == {"serving_default", "serve_float", "serve_bytes"}
    for signature, inputs in found.items():
        answer = loaded.signatures[signature](**{k: tf.constant(v) for k, v in inputs.items()})
        assert answer["probabilities"].shape == (1, 3)


def _prediction_log() -> type:
    """PredictionLog and what it holds; a tensor stays bytes."""
    file = descriptor_pb2.FileDescriptorProto(name="log.proto", package="x", syntax="proto3")
    text, bytes_, message = 9, 12, 11  # types of fields
    fields = {
        "ModelSpec": [("name", 1, text, ""), ("signature_name", 3, text, "")],
        "PredictRequest": [("model_spec", 1, message, ".x.ModelSpec")],
        "PredictLog": [("request", 1, message, ".x.PredictRequest")],
        "PredictionLog": [("predict_log", 6, message, ".x.PredictLog")],
    }
    for name, members in fields.items():
        kind = file.message_type.add(name=name)
        for member, number, type_, of in members:
            kind.field.add(name=member, number=number, type=type_, label=1, type_name=of or None)
        if name == "PredictRequest":
            entry = kind.nested_type.add(name="InputsEntry")
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, type=text, label=1)
            entry.field.add(name="value", number=2, type=bytes_, label=1)
            where = ".x.PredictRequest.InputsEntry"
            kind.field.add(name="inputs", number=2, type=message, type_name=where, label=3)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("x.PredictionLog"))
