"""Warm-up requests for TensorFlow Serving: what it sends to itself before it takes others.

The first request to a signature takes seconds, since everything is prepared then.
https://www.tensorflow.org/tfx/serving/saved_model_warmup
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

FILE = Path("assets.extra", "tf_serving_warmup_requests")


def write(folder: Path, requests: Mapping[str, Mapping[str, Any]], name: str) -> None:
    """A TFRecord file of PredictionLog messages inside the SavedModel.

    Args:
        requests: signature -> its inputs: a name -> an array, or a list of bytes.
        name: of the model.
    """
    path = folder / FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests.items():
            writer.write(_log(signature, inputs, name))


def _log(signature: str, inputs: Mapping[str, Any], name: str) -> bytes:
    """PredictionLog{predict_log: PredictLog{request: PredictRequest{model_spec, inputs}}} of
    tensorflow_serving/apis. Its package would bring TensorFlow along once more; of its messages
    these six fields are needed, all of them bytes with a length before them."""
    spec = _field(1, name.encode()) + _field(3, signature.encode())  # name, signature_name
    request = _field(1, spec)
    for key, value in inputs.items():  # a map is a list of entries {1: key, 2: value}
        tensor = tf.make_tensor_proto(value).SerializeToString()
        request += _field(2, _field(1, key.encode()) + _field(2, tensor))
    return _field(6, _field(1, request))  # predict_log, request


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field: https://protobuf.dev/programming-guides/encoding"""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that more follow."""
    groups = [value >> shift & 127 for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([*(group | 128 for group in groups[:-1]), groups[-1]])
