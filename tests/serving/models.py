"""A model that knows colours, as numpy and as an ONNX file; a server of it in a thread."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper

from trainer.config.about import About
from trainer.data.decode import decode, present
from trainer.serving import app, server
from trainer.serving.limits import Limits

ABOUT = About(
    name="colours",
    task="single_label",
    labels=("red", "green", "blue"),
    image_size=(4, 6),
    config_sha256="5a" * 32,
    metrics={"accuracy": 0.875},
    trainer="0.1.0",
)
MANY = ABOUT.model_copy(update={"task": "multi_label", "thresholds": (0.5, 0.2, 0.9)})
LIMITS = Limits()
STEP = 64  # of a pixel, that makes a logit


def scores(images: np.ndarray) -> np.ndarray:
    """Softmax of the mean of each channel / STEP: uint8 [N, H, W, 3] -> float32 [N, 3]."""
    logits_NK = np.exp(images.mean(axis=(1, 2)) / STEP)
    return (logits_NK / logits_NK.sum(axis=1, keepdims=True)).astype(np.float32)


def write(path: Path, about: About = ABOUT) -> Path:
    """The same as an ONNX file."""
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "step"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
        helper.make_node("ArgMax", ["probabilities"], ["label_index"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 4, 6, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3]),
            helper.make_tensor_value_info("label_index", TensorProto.INT64, ["batch"]),
        ],
        [
            helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
            helper.make_tensor("step", TensorProto.FLOAT, [], [STEP]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, about.written())
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def png(*rgb: int) -> bytes:
    """A picture of one colour."""
    pixels = np.full((8, 12, 3), rgb[::-1], np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


class Answer(NamedTuple):
    """Of a server."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(port: int, method: str, path: str, body: Any = None, kind: str | None = None) -> Answer:
    """One request over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request(method, path, body, {"Content-Type": kind} if kind else {})
        reply = connection.getresponse()
        headers = {name.lower(): value for name, value in reply.getheaders()}
        return Answer(reply.status, headers, reply.read())
    finally:
        connection.close()


def form(
    *files: tuple[str, bytes], field: str = 'name="image"; filename="{}"'
) -> tuple[bytes, str]:
    """The body and the content type of files by name."""
    parts = [
        b"--edge\r\nContent-Disposition: form-data; " + field.format(name).encode()
        + b"\r\n\r\n" + content + b"\r\n"
        for name, content in files
    ]  # fmt: skip
    return b"".join(parts) + b"--edge--\r\n", "multipart/form-data; boundary=edge"


@contextmanager
def serving(
    about: About = ABOUT,
    limits: Limits = LIMITS,
    compute: Callable[[np.ndarray], np.ndarray] = scores,
) -> Iterator[int]:
    """A server for the block; yields its port."""

    def read(content: bytes) -> np.ndarray:
        return present(decode(content), about)

    listening = server.listen("127.0.0.1", 0)
    web = server.server(app.application(compute, about, "onnx", read, limits), limits)
    thread = threading.Thread(target=web.run, args=([listening],))
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        web.should_exit = True
        thread.join()
