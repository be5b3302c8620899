"""`trainer serve` as its users start it: the command, the file, the signals, many clients."""

import http.client
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Outcome
from tests.serving.models import ABOUT, ask, png, scores, write

Trainer = Callable[..., Outcome]
CLIENTS, REQUESTS = 16, 320


class Started:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen, port: int) -> None:
        self.process, self.port = process, port

    def memory(self) -> float:
        """MB that it has had at most."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", text)[1]) / 1000  # type: ignore[index]

    def libraries(self) -> str:
        """What it has loaded of other languages."""
        return Path(f"/proc/{self.process.pid}/maps").read_text()

    def stop(self, number: int) -> tuple[int, str]:
        """Its exit code and what it said after the address."""
        self.process.send_signal(number)
        said, _ = self.process.communicate(timeout=20)
        return self.process.returncode, said


@contextmanager
def started(*arguments: object, imports: Path | None = None) -> Iterator[Started]:
    """Waits until the address is said.

    Args:
        imports: gets the names of all modules that are imported.
    """
    command = [sys.executable, *(["-X", "importtime"] if imports else []), "-m", "trainer", "serve"]
    command += [*map(str, arguments), "--port", "0"]
    with (imports or Path(os.devnull)).open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            assert process.stdout
            lines = [process.stdout.readline() for _ in range(2)]
            found = re.fullmatch(r"address  http://127\.0\.0\.1:(\d+)\n", lines[1])
            assert found, lines
            yield Started(process, int(found[1]))
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("serve") / "model.onnx")


def test_tensorflow_is_not_imported_and_ctrl_c_is_a_normal_end(model: Path, tmp_path: Path) -> None:
    said = tmp_path / "imports"
    with started(model, imports=said) as server:
        answer = ask(server.port, "POST", "/predict", png(0, 255, 0), "image/png")
        assert answer.json["predictions"][0]["label"] == "green"
        libraries = server.libraries()
        assert server.stop(signal.SIGINT) == (0, "stopped\n")
    assert "onnxruntime" in libraries
    assert "tensorflow" not in libraries
    names = {line.rpartition("|")[2].strip().split(".")[0] for line in said.open()}
    assert {"trainer", "uvicorn"} <= names  # and what is not silenced, as opening the file is
    assert not {"tensorflow", "keras", "albumentations", "matplotlib"} & names


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_being_asked_when_it_stops_is_answered(model: Path, number: int) -> None:
    with started(model) as server:
        body = png(255, 0, 0)
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:20])
        while 'path="/health"' not in ask(server.port, "GET", "/metrics").body.decode():
            ask(server.port, "GET", "/health")  # it works meanwhile
        server.process.send_signal(number)
        with pytest.raises(OSError):
            while True:
                ask(server.port, "GET", "/health")
        connection.send(body[20:])
        assert connection.getresponse().status == 200
        assert server.process.wait(timeout=20) == 0


def test_many_clients_get_their_own_answers_and_none_is_lost(model: Path) -> None:
    """Bad requests in between; then the metrics have counted every one."""
    colours = np.random.default_rng(0).integers(0, 256, (REQUESTS, 3))
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(REQUESTS):
        todo.put(number)
    status, found = np.zeros(REQUESTS, int), np.zeros((REQUESTS, 3))

    def client(port: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        while True:
            try:
                number = todo.get_nowait()
            except queue.Empty:
                return
            body = b"hello" if number % 10 == 0 else png(*colours[number])
            connection.request("POST", "/predict", body, {"Content-Type": "image/png"})
            reply = connection.getresponse()
            status[number] = reply.status
            content = reply.read()
            if reply.status == 200:
                found[number] = list(_probabilities(content).values())

    with started(model, "--batch", 8) as server:
        threads = [threading.Thread(target=client, args=(server.port,)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        figures = ask(server.port, "GET", "/metrics").body.decode()
    bad = np.arange(REQUESTS) % 10 == 0
    assert set(status[bad]) == {400}
    assert set(status[~bad]) == {200}
    images = np.broadcast_to(colours[:, None, None], (REQUESTS, 4, 6, 3)).astype(np.uint8)
    assert np.abs(found[~bad] - scores(images)[~bad]).max() < 2e-6
    assert f'{{path="/predict",status="200"}} {0.9 * REQUESTS}' in figures
    assert 'trainer_batch_pictures_bucket{le="8.0"} ' in figures
    assert f"trainer_pictures_total {0.9 * REQUESTS}" in figures
    batches = float(re.search(r"trainer_batch_pictures_count (\S+)", figures)[1])  # type: ignore[index]
    assert batches < 0.9 * REQUESTS  # some were computed together


def _probabilities(content: bytes) -> dict[str, float]:
    return json.loads(content)["predictions"][0]["probabilities"]


def test_an_oversized_body_costs_no_memory(model: Path) -> None:
    with started(model, "--body", 1) as server:
        assert ask(server.port, "POST", "/predict", png(1, 2, 3)).status == 200
        before = server.memory()
        for body in (b"x" * 50_000_000, (b"x" * 100_000 for _ in range(500))):
            answer = ask(server.port, "POST", "/predict", body, "image/png")
            assert (answer.status, answer.json) == (413, {"error": "the body is larger than 1 MB"})
        assert server.memory() - before < 10


# --- mistakes -------------------------------------------------------------------------------------


def test_a_run_without_the_file(workplace: Path, trainer: Trainer) -> None:
    run = workplace / "runs/small/first"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.yaml").write_text("name: small\n")
    expected = (
        "error: runs/small/first: there is no export/model.onnx in it\n"
        "  write it: trainer export runs/small/first\n"
    )
    for arguments in ([], ["runs/small/first"]):
        done = trainer("serve", *arguments)
        assert (done.code, done.err) == (2, expected)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("model.onnx", "model.onnx: no such file or folder\n  expected "),
        ("runs/nowhere", "runs/nowhere: no such run\n  give a folder such as"),
    ],
)
def test_a_target_that_is_not_there(
    workplace: Path, trainer: Trainer, target: str, message: str
) -> None:
    done = trainer("serve", target)
    assert done.code == 2
    assert done.err.startswith(f"error: {message}")


def test_a_model_that_fails_on_pictures(workplace: Path, trainer: Trainer) -> None:
    path = write(workplace / "model.onnx", ABOUT.model_copy(update={"image_size": (5, 5)}))
    done = trainer("serve", path)
    assert done.code == 2
    assert done.err.startswith(f"error: {path}: fails on pictures: ")
    write(path, ABOUT.model_copy(update={"labels": ("one", "two")}))
    assert trainer("serve", path).err == (
        f"error: {path}: gives [1, 3] numbers for 1 pictures and 2 labels\n"
    )


def test_a_host_that_cannot_be_one(model: Path, trainer: Trainer) -> None:
    done = trainer("serve", model, "--host", "a..b")
    assert done.code == 2
    assert "error: --host, --port: cannot listen on a..b:8000: " in done.err


def test_a_body_without_bound_is_refused(model: Path, trainer: Trainer) -> None:
    assert trainer("serve", model, "--body", "inf").code == 2


def test_a_port_that_is_taken(model: Path, trainer: Trainer) -> None:
    with started(model) as server:
        done = trainer("serve", model, "--port", server.port)
    assert (done.code, done.err) == (
        2,
        f"error: --host, --port: cannot listen on 127.0.0.1:{server.port}: Address already in use\n"
        "  choose others; --port 0 takes a free one\n",
    )


def test_without_the_extra(model: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("trainer.serving.server")
    monkeypatch.delitem(sys.modules, "trainer.serving.server")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = trainer("serve", model)
    assert (done.code, done.err) == (
        2,
        'error: serve: needs an extra: pip install "keras-image-trainer[serve]"\n',
    )


def test_another_host_is_warned_of(
    model: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.serving import server

    monkeypatch.setattr(server, "serve", lambda *_: None)
    done = trainer("serve", model, "--host", "0.0.0.0", "--port", "0")
    assert done.code == 0
    assert (
        done.err
        == "warning: whoever reaches 0.0.0.0 can use this server: it asks for no password\n"
    )
    assert re.fullmatch(
        r"model    \S+/model\.onnx: colours, 3 labels\naddress  http://0\.0\.0\.0:\d+\nstopped\n",
        done.out,
    )
    assert trainer("serve", model, "--host", "::1", "--port", "0").err == ""
