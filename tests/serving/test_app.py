"""What each path answers, to good requests and bad ones."""

import base64
import http.client
import json
import re
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.serving.models import ABOUT, MANY, ask, form, png, scores, serving
from trainer.serving import server
from trainer.serving.limits import Limits
from trainer.serving.page import page

RED, DIM = png(255, 0, 0), png(64, 64, 0)
LIMITS = Limits(body=200_000, pictures=4)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving(limits=LIMITS) as port:
        yield port


def test_a_picture_as_it_is(port: int) -> None:
    answer = ask(port, "POST", "/predict", RED, "image/png")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == {
        "model": "colours",
        "config_sha256": "5a" * 32,
        "task": "single_label",
        "predictions": [
            {
                "name": None,
                "label": "red",
                "probability": 0.964127,
                "probabilities": {"red": 0.964127, "green": 0.017937, "blue": 0.017937},
            }
        ],
    }


@pytest.mark.parametrize("kind", ["image/png", "IMAGE/jpeg; q=1", "application/octet-stream", None])
def test_the_content_decides_what_it_is(port: int, kind: str | None) -> None:
    assert ask(port, "POST", "/predict", RED, kind).json["predictions"][0]["label"] == "red"


def test_files_of_a_form(port: int) -> None:
    body, kind = form(("a.png", RED), ("übung.png", png(0, 0, 255)))
    rows = ask(port, "POST", "/predict", body, kind).json["predictions"]
    assert [(row["name"], row["label"]) for row in rows] == [
        ("a.png", "red"),
        ("übung.png", "blue"),
    ]


def test_pictures_in_json(port: int) -> None:
    images = [base64.b64encode(each).decode() for each in (png(0, 255, 0), RED)]
    answer = ask(port, "POST", "/predict", json.dumps({"images": images}), "application/json")
    assert [row["label"] for row in answer.json["predictions"]] == ["green", "red"]


def test_several_labels_hold_from_their_thresholds_on() -> None:
    with serving(MANY) as port:
        [row] = ask(port, "POST", "/predict", DIM, "image/png").json["predictions"]
        [none] = ask(port, "POST", "/predict", png(0, 0, 0), "image/png").json["predictions"]
    assert row["probabilities"] == {"red": 0.422319, "green": 0.422319, "blue": 0.155362}
    assert list(row) == ["name", "labels", "probability", "probabilities"]
    assert (row["labels"], row["probability"]) == (["green"], 0.422319)  # thresholds 0.5, 0.2, 0.9
    assert none["labels"] == ["green"]


BROKEN = "no picture of a known format"
JSON = "application/json"
WANTED = "expected image/…, application/octet-stream, multipart/form-data or application/json"
INPUT = 'expected one input: {"name": "image", "datatype": "UINT8", "shape", "data"}'
INFER = "/v2/models/colours/infer"


def tensor(**changes: Any) -> dict[str, Any]:
    """An inference request of one black picture."""
    fields = {"name": "image", "datatype": "UINT8", "shape": [1, 4, 6, 3], "data": [0] * 72}
    return {"inputs": [fields | changes]}


@pytest.mark.parametrize(
    ("status", "path", "body", "kind", "error"),
    [
        (400, "/predict", b"hello", "image/png", BROKEN),
        (400, "/predict", b"", "image/png", "empty file"),
        (400, "/predict", RED[:60], "image/png", None),
        (400, "/predict", *form(("a.png", RED), ("b.txt", b"b"), ("c.txt", b"c")), f"b.txt: {BROKEN}; c.txt: {BROKEN}"),
        (400, "/predict", json.dumps({"images": ["aGVsbG8=", "aGVsbG8="]}), JSON, f"1: {BROKEN}; 2: {BROKEN}"),
        (400, "/predict", '{"images": ["?"]}', JSON, None),
        (400, "/predict", "{", JSON, None),
        (400, "/predict", "[" * 100_000, JSON, None),
        (400, "/predict", "[]", JSON, "the body is not a JSON object"),
        (400, "/predict", b"nonsense", "multipart/form-data; boundary=edge", "Invalid multipart data."),
        (400, "/predict", b"", "multipart/form-data", "Missing boundary in multipart."),
        (400, "/predict", *form(*[("a.png", RED)] * 5), "Too many files. Maximum number of files is 4."),
        (422, "/predict", "{}", JSON, 'expected {"images": ["<base64>", …]}'),
        (422, "/predict", '{"images": [3]}', JSON, 'expected {"images": ["<base64>", …]}'),
        (422, "/predict", '{"images": []}', JSON, "no picture in the request"),
        (400, "/predict", json.dumps({"images": [""] * 5}), JSON, "5 pictures in the request, at most 4 are taken"),
        (422, "/predict", *form(), "no picture in the request"),
        (422, "/predict", *form(("", b"x"), field='name="text"'), "the field 'text' is no file: it has no filename"),
        (415, "/predict", b"a=b", "application/x-www-form-urlencoded", f"{WANTED}, received application/x-www-form-urlencoded"),
        (413, "/predict", b"x" * 200_001, "image/png", "the body is larger than 0.2 MB"),
        (404, "/predictions", RED, "image/png", "Not Found"),
        (405, "/health", RED, "image/png", "Method Not Allowed"),
        (404, "/v2/models/other/infer", "{}", JSON, "no model 'other' here, only 'colours'"),
        (413, INFER, b"x" * 200_001, JSON, "the body is larger than 0.2 MB"),
        (400, INFER, "nonsense", JSON, None),
        (400, INFER, "{}", JSON, INPUT),
        (400, INFER, json.dumps({"inputs": 3}), JSON, INPUT),
        (400, INFER, json.dumps(tensor(name="picture")), JSON, INPUT),
        (400, INFER, json.dumps(tensor(datatype="FP32")), JSON, INPUT),
        (400, INFER, json.dumps(tensor(shape=[4, 6, 3])), JSON, "expected shape [1 to 4, 4, 6, 3], received [4, 6, 3]"),
        (400, INFER, json.dumps(tensor(shape=[])), JSON, "expected shape [1 to 4, 4, 6, 3], received []"),
        (400, INFER, json.dumps(tensor(shape=[5, 4, 6, 3])), JSON, "expected shape [1 to 4, 4, 6, 3], received [5, 4, 6, 3]"),
        (400, INFER, json.dumps(tensor(shape=[-1, 4, 6, 3])), JSON, "expected shape [1 to 4, 4, 6, 3], received [-1, 4, 6, 3]"),
        (400, INFER, json.dumps(tensor(data=[0] * 71)), JSON, "71 values in data, but shape [1, 4, 6, 3] has 72"),
        (400, INFER, json.dumps(tensor(data=[[1, 2], [3]])), JSON, "the rows of data differ in length"),
        (400, INFER, json.dumps(tensor(data=[256] * 72)), JSON, "expected whole numbers from 0 to 255 in data"),
        (400, INFER, json.dumps(tensor(data=[-1] * 72)), JSON, "expected whole numbers from 0 to 255 in data"),
        (400, INFER, json.dumps(tensor(data=[0.5] * 72)), JSON, "expected whole numbers from 0 to 255 in data"),
        (400, INFER, json.dumps(tensor(data=["0"] * 72)), JSON, "expected whole numbers from 0 to 255 in data"),
        (400, INFER, json.dumps(tensor(data=[2**70] * 72)), JSON, "expected whole numbers from 0 to 255 in data"),
        (400, INFER, json.dumps(tensor(data=[None] * 72)), JSON, "expected whole numbers from 0 to 255 in data"),
        (400, INFER, json.dumps(tensor(shape=[1, 4, 6, [3] * 1000])), JSON, "expected shape [1 to 4, 4, 6, 3], received [1, 4, 6, [3, 3, 3, 3, 3, 3, ...]]"),
        (400, INFER, json.dumps(tensor() | {"id": 7}), JSON, "expected a text as id"),
        (400, INFER, json.dumps({**tensor(), "outputs": [{"name": "probabilities"}] * 2}), JSON, 'expected outputs of [{"name": "probabilities"}, {"name": "label_index"}]'),
        (400, INFER, json.dumps({**tensor(), "outputs": [{"name": "logits"}]}), JSON, 'expected outputs of [{"name": "probabilities"}, {"name": "label_index"}]'),
        (400, INFER, json.dumps({**tensor(), "outputs": 3}), JSON, 'expected outputs of [{"name": "probabilities"}, {"name": "label_index"}]'),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 40 else "",
)  # fmt: skip
def test_bad_requests(
    port: int, status: int, path: str, body: Any, kind: str, error: str | None
) -> None:
    answer = ask(port, "POST", path, body, kind)
    assert answer.status == status, answer.body
    assert list(answer.json) == ["error"]
    assert answer.json["error"]
    if error:
        assert answer.json["error"] == error


def test_small_answers_are_sent_at_once() -> None:
    """Else the body of an answer waits for the client's system to confirm its head: 40 ms."""
    with server.listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_what_is_not_http_at_all(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.connect()
    connection.sock.sendall(b"nonsense\r\n\r\n")
    assert connection.sock.recv(100).startswith(b"HTTP/1.1 400 ")
    connection.close()


def test_a_body_without_a_length_is_counted(port: int) -> None:
    """What comes after the limit is thrown away, and the connection can be used again."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    chunks = (b"x" * 10_000 for _ in range(100))
    connection.request("POST", "/predict", chunks, {"Content-Type": "image/png"})
    reply = connection.getresponse()
    assert (reply.status, reply.read()) == (413, b'{"error":"the body is larger than 0.2 MB"}')
    connection.request(
        "POST", "/predict", iter([RED[:50], RED[50:]]), {"Content-Type": "image/png"}
    )
    assert connection.getresponse().status == 200
    connection.close()


def test_a_body_that_says_it_is_too_large_is_not_waited_for(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_a_body_that_stops_coming() -> None:
    with serving(limits=Limits(silence=0.1)) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b"x" * 10)
        reply = connection.getresponse()
        assert (reply.status, json.load(reply)) == (
            408,
            {"error": "nothing of the body came for 0.1 seconds"},
        )
        connection.close()


def test_a_client_that_goes_away(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Length", "1000")
        connection.endheaders(b"x" * 10)
        connection.close()
        counted = 'trainer_requests_total{path="/predict",status="499"} 1.0'
        deadline = time.monotonic() + 10
        while counted not in ask(port, "GET", "/metrics").body.decode():
            assert time.monotonic() < deadline
    assert caplog.text == ""


def test_more_bodies_than_memory() -> None:
    limits = Limits(body=1000, bodies=1)
    with serving(limits=limits) as port:
        first = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        first.putrequest("POST", "/predict")
        first.putheader("Content-Length", "990")
        first.endheaders(b"x" * 980)  # is held while the rest is waited for
        deadline = time.monotonic() + 10
        while (answer := ask(port, "POST", "/predict", RED, "image/png")).status == 200:
            assert time.monotonic() < deadline
        assert (answer.status, answer.json) == (503, {"error": "too many requests at once"})
        assert answer.headers["retry-after"] == "1"
        first.send(b"x" * 10)
        assert first.getresponse().status == 400
        first.close()
        assert ask(port, "POST", "/predict", RED, "image/png").status == 200


def test_more_pictures_than_places() -> None:
    begun, go = threading.Event(), threading.Event()

    def compute(images: np.ndarray) -> np.ndarray:
        begun.set()
        go.wait(20)
        return scores(images)

    with serving(limits=Limits(waiting=2), compute=compute) as port:
        answers = []
        body = form(("a.png", RED), ("b.png", RED))
        thread = threading.Thread(
            target=lambda: answers.append(ask(port, "POST", "/predict", *body))
        )
        thread.start()
        begun.wait(20)
        refused = ask(port, "POST", "/predict", RED, "image/png")
        ready = [ask(port, "GET", path) for path in ("/health", "/v2/health/ready")]
        live = ask(port, "GET", "/v2/health/live")
        go.set()
        thread.join()
        assert (refused.status, refused.json) == (503, {"error": "too many pictures at once"})
        assert refused.headers["retry-after"] == "1"
        assert [(each.status, each.json["ready"]) for each in ready] == [(503, False)] * 2
        assert (live.status, live.json) == (200, {"live": True})
        assert answers[0].status == 200
        assert ask(port, "GET", "/health").status == 200


def test_a_runtime_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    def compute(images: np.ndarray) -> np.ndarray:
        raise RuntimeError("out of memory")

    with serving(compute=compute) as port:
        answer = ask(port, "POST", "/predict", RED, "image/png")
        figures = ask(port, "GET", "/metrics").body.decode()
    assert (answer.status, answer.json) == (500, {"error": "the server failed: RuntimeError"})
    assert 'trainer_requests_total{path="/predict",status="500"} 1.0' in figures
    assert "out of memory" in caplog.text


def test_health(port: int) -> None:
    assert ask(port, "GET", "/health").json == {
        "live": True,
        "ready": True,
        "model": "colours",
        "config_sha256": "5a" * 32,
        "task": "single_label",
        "labels": ["red", "green", "blue"],
    }


def test_metrics() -> None:
    with serving() as port:
        ask(port, "POST", "/predict", *form(("a.png", RED), ("b.png", DIM), ("c.png", DIM)))
        ask(port, "POST", "/predict", b"hello", "image/png")
        ask(port, "GET", "/made/up")
        answer = ask(port, "GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    lines = answer.body.decode().splitlines()
    assert set(lines) >= {
        'trainer_requests_total{path="/predict",status="200"} 1.0',
        'trainer_requests_total{path="/predict",status="400"} 1.0',
        'trainer_requests_total{path="other",status="404"} 1.0',
        'trainer_request_seconds_count{path="/predict"} 2.0',
        "trainer_pictures_total 3.0",
        'trainer_batch_pictures_bucket{le="2.0"} 0.0',
        'trainer_batch_pictures_bucket{le="4.0"} 1.0',
        "trainer_batch_pictures_sum 3.0",
        "trainer_batch_seconds_count 1.0",
        "trainer_queue_pictures 0.0",
        f'trainer_model_info{{config_sha256="{"5a" * 32}",name="colours",trainer="0.1.0"}} 1.0',
    }
    assert any(line.startswith("process_resident_memory_bytes ") for line in lines)


# --- the Open Inference Protocol ------------------------------------------------------------------


def test_the_protocol_describes_server_and_model(port: int) -> None:
    server = ask(port, "GET", "/v2").json
    assert (server["name"], server["extensions"], sorted(server)) == (
        "trainer",
        [],
        ["extensions", "name", "version"],
    )
    assert ask(port, "GET", "/v2/health/live").json == {"live": True}
    assert ask(port, "GET", "/v2/health/ready").json == {"live": True, "ready": True}
    assert ask(port, "GET", "/v2/models/colours").json == {
        "name": "colours",
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [-1, 4, 6, 3]}],
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]},
            {"name": "label_index", "datatype": "INT64", "shape": [-1]},
        ],
    }
    assert ask(port, "GET", "/v2/models/colours/ready").json == {"name": "colours", "ready": True}
    assert ask(port, "GET", "/v2/models/other/ready").status == 404


@pytest.mark.parametrize("nested", [False, True])
def test_inference(port: int, nested: bool) -> None:
    images = np.zeros((2, 4, 6, 3), np.uint8)
    images[0, ..., 2], images[1, ..., 1] = 255, 128
    data = images.tolist() if nested else images.ravel().tolist()
    request = tensor(shape=[2, 4, 6, 3], data=data, parameters={}) | {"id": "42"}
    answer = ask(port, "POST", INFER, json.dumps(request), JSON).json
    probabilities, index = answer.pop("outputs")
    assert answer == {
        "model_name": "colours",
        "id": "42",
        "parameters": {"config_sha256": "5a" * 32},
    }
    expected = scores(images)
    assert np.array_equal(np.float32(probabilities.pop("data")).reshape(2, 3), expected)
    assert probabilities == {"name": "probabilities", "datatype": "FP32", "shape": [2, 3]}
    assert index == {"name": "label_index", "datatype": "INT64", "shape": [2], "data": [2, 1]}


def test_only_the_outputs_asked_for(port: int) -> None:
    request = tensor() | {"outputs": [{"name": "label_index", "parameters": {}}]}
    answer = ask(port, "POST", INFER, json.dumps(request), JSON).json
    assert "id" not in answer
    assert [each["name"] for each in answer["outputs"]] == ["label_index"]


def test_what_json_can_say_and_utf_8_cannot(port: int) -> None:
    request = json.dumps(tensor(shape=[1.0, 4, 6, 3]))
    assert ask(port, "POST", INFER, request, JSON).status == 400
    request = json.dumps(tensor(shape=[1, 4.0, 6, 3]) | {"id": "\ud800ü"})
    answer = ask(port, "POST", INFER, request, JSON)
    assert (answer.status, answer.json["id"]) == (200, "\ud800ü")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (INFER, tensor(data=["x" * 400_000] + [""] * 71)),
        ("/predict", {"images": [""] * 200_000}),
    ],
)
def test_a_body_does_not_grow_when_it_is_read(path: str, body: Any) -> None:
    """An array of texts takes 72 times the longest; what is too many is not taken apart."""
    most = 0
    limits = Limits(body=10**6)
    tracemalloc.start()
    try:
        with serving(limits=limits) as port:
            assert ask(port, "POST", path, json.dumps(body), JSON).status in (400, 422)
            most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 10 * 10**6


# --- the page -------------------------------------------------------------------------------------


def test_the_page_asks_nobody_else(port: int) -> None:
    answer = ask(port, "GET", "/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; ")
    text = answer.body.decode()
    assert not re.search(r"https?://|//[a-z]+\.[a-z]|@import|url\(", text)
    assert "<h1>colours</h1><p>3 labels · sees 4 × 6 pixels · accuracy 0.875 on test" in text


def test_the_page_shows_labels_as_text() -> None:
    nasty = "</script><script>alert(1)</script>"
    about = ABOUT.model_copy(update={"labels": (nasty, "b"), "name": "<b>"})
    text = page(about)
    assert "alert(1)</script>" not in text.replace("\\u003c", "")
    assert text.count("</script>") == 2
    assert "<h1>&lt;b&gt;</h1>" in text
    found = re.search(r'id="about">(.*?)</script>', text)
    assert found
    assert json.loads(found[1])["labels"] == [nasty, "b"]
