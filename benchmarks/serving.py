"""What `trainer serve` stands: a thousand requests from sixteen clients, bad ones, and a body that
is far too large. Linux.

    python benchmarks/serving.py [RUN | MODEL] [--requests 1000] [--clients 16]

The server is a process of its own, started as a user starts it, on a free port of this computer;
the clients are threads of this process, each with one connection that it keeps. So they share the
cores: on a machine with two, a third of the latency is theirs. Pictures are JPEG files of 320 × 240
pixels, all different; every answer is compared with the one that the same picture got alone before.
Latency is measured by the client, from the first byte sent to the last one received.
"""

import argparse
import http.client
import json
import os
import queue
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

JPEG = "image/jpeg"
PARTS = 2**14  # of 64 kB: a gigabyte


class Answer(NamedTuple):
    """Of the server to one picture."""

    status: int
    body: bytes
    seconds: float


@contextmanager
def started(arguments: list[str]) -> Iterator[tuple[subprocess.Popen, int]]:
    """The server and its port."""
    command = [sys.executable, "-m", "trainer", "serve", *arguments, "--port", "0"]
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        for line in process.stdout:
            print(line, end="")
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                print(f"started in {time.perf_counter() - begun:.1f} s\n", flush=True)
                yield process, int(found[1])
                break
        else:
            raise SystemExit(process.wait())
    finally:
        process.kill()
        process.wait()


def drawn(number: int) -> bytes:
    """A JPEG of smooth colours and some noise, one of its own for every number."""
    generator = np.random.default_rng(number)
    coarse = generator.integers(0, 256, (6, 8, 3), np.uint8)
    pixels = cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC)
    noise = generator.integers(0, 24, pixels.shape, np.uint8)
    return cv2.imencode(".jpg", cv2.add(pixels, noise))[1].tobytes()


def memory(process: subprocess.Popen) -> dict[str, float]:
    """MB that the process has now, and has had at most."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return {
        name: int(re.search(rf"{name}:\s+(\d+)", text)[1]) / 1000 for name in ("VmRSS", "VmHWM")
    }


def post(connection: http.client.HTTPConnection, body: Any, kind: str = JPEG) -> Answer:
    """One picture."""
    begun = time.perf_counter()
    connection.request("POST", "/predict", body, {"Content-Type": kind})
    reply = connection.getresponse()
    content = reply.read()
    return Answer(reply.status, content, time.perf_counter() - begun)


def connected(port: int) -> http.client.HTTPConnection:
    """A connection that is kept."""
    return http.client.HTTPConnection("127.0.0.1", port, timeout=60)


def at_once(port: int, bodies: list[bytes], clients: int) -> tuple[list[Answer | None], float]:
    """All bodies, by so many clients: what came back, and how long it took altogether."""
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(bodies)):
        todo.put(number)
    found: list[Answer | None] = [None] * len(bodies)

    def client() -> None:
        connection = connected(port)
        while True:
            try:
                number = todo.get_nowait()
            except queue.Empty:
                return
            found[number] = post(connection, bodies[number])

    threads = [threading.Thread(target=client) for _ in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found, time.perf_counter() - begun


def apart(one: bytes, other: bytes) -> float:
    """The largest difference of a probability between two answers."""
    first, second = (json.loads(body)["predictions"][0]["probabilities"] for body in (one, other))
    return max(abs(first[name] - second[name]) for name in first)


def figure(port: int, name: str) -> float:
    """One of the server's own figures."""
    connection = connected(port)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    return float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE)[1])


def line(name: str, value: str) -> None:
    """One line of the report."""
    print(f"{name:<44} {value}", flush=True)


def percentiles(answers: list[Answer]) -> str:
    """Of their latency."""
    taken = sorted(1000 * each.seconds for each in answers)
    parts = statistics.quantiles(taken, n=100)
    return f"p50 {parts[49]:.1f} ms, p99 {parts[98]:.1f} ms, slowest {taken[-1]:.1f} ms"


def load(process: subprocess.Popen, port: int, requests: int, clients: int) -> None:
    """Good requests: one client alone, then all at once."""
    bodies = [drawn(number) for number in range(requests)]
    connection = connected(port)
    for body in bodies[:50]:
        post(connection, body)
    alone = [post(connection, body) for body in bodies]
    line(f"one client, {requests:,} requests", percentiles(alone))
    before = memory(process)
    names = ("trainer_pictures_total", "trainer_batch_pictures_count")
    earlier = [figure(port, name) for name in names]
    answers, seconds = at_once(port, bodies, clients)
    pictures, batches = (
        figure(port, name) - start for name, start in zip(names, earlier, strict=True)
    )
    came = [each for each in answers if each and each.status == 200]
    line(f"{clients} clients, {requests:,} requests", percentiles(came))
    line("answered, lost", f"{len(came):,}, {requests - len(came):,}")
    line("requests per second", f"{requests / seconds:,.0f}")
    line("pictures per batch, on average", f"{pictures / batches:.1f}")
    furthest = max(
        apart(one.body, each.body) for one, each in zip(alone, answers, strict=True) if each
    )
    line("furthest from the answer that it got alone", f"{furthest:.0e}")
    after = memory(process)
    line(
        "memory before, after, at most",
        f"{before['VmRSS']:.0f}, {after['VmRSS']:.0f}, {after['VmHWM']:.0f} MB",
    )


def bad(port: int) -> None:
    """A table of what is not taken."""
    picture = drawn(0)
    cases: list[tuple[str, Any, str]] = [
        ("text", b"hello", JPEG),
        ("nothing", b"", JPEG),
        ("half a picture", picture[: len(picture) // 2], JPEG),
        ("a form's content type", picture, "application/x-www-form-urlencoded"),
        ("JSON that is none", b"{", "application/json"),
        ("JSON without images", b"{}", "application/json"),
        ("a form cut off", b"nonsense", "multipart/form-data; boundary=x"),
    ]
    print()
    connection = connected(port)
    for name, body, kind in cases:
        answer = post(connection, body, kind)
        line(f"  {name}", f"{answer.status}  {json.loads(answer.body)['error'][:70]}")


def oversized(process: subprocess.Popen, port: int) -> None:
    """A gigabyte, announced and not; of the latter as much is held as a body may have."""
    print()
    part = b"x" * 2**16
    cases = [
        ("1 GB, announced", ("Content-Length", str(len(part) * PARTS)), part, b""),
        (
            "1 GB, not announced",
            ("Transfer-Encoding", "chunked"),
            b"%x\r\n%s\r\n" % (len(part), part),
            b"0\r\n\r\n",
        ),
    ]
    for name, header, sent, end in cases:
        connection, before = connected(port), memory(process)
        connection.putrequest("POST", "/predict")
        connection.putheader(*header)
        connection.endheaders()
        begun = time.perf_counter()
        for _ in range(PARTS):
            connection.sock.sendall(sent)
        connection.sock.sendall(end)
        status, after = connection.getresponse().status, memory(process)
        taken, grown = time.perf_counter() - begun, after["VmHWM"] - before["VmHWM"]
        line(f"  {name}", f"{status}  {taken:.1f} s to send; memory at most {grown:+.1f} MB")


def stopped(process: subprocess.Popen, port: int, clients: int) -> None:
    """SIGTERM while all clients ask: who was being answered is answered."""
    bodies = [drawn(number) for number in range(clients * 20)] * 10
    found: list[Answer | Exception] = []

    def client(part: list[bytes]) -> None:
        connection = connected(port)
        for body in part:
            try:
                found.append(post(connection, body))
            except (OSError, http.client.HTTPException) as error:
                found.append(error)
                return

    threads = [threading.Thread(target=client, args=(bodies[n::clients],)) for n in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    begun = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    code = process.wait(60)
    taken = time.perf_counter() - begun
    for thread in threads:
        thread.join()
    good = sum(isinstance(each, Answer) and each.status == 200 for each in found)
    refused = sum(isinstance(each, Exception) for each in found)
    other = len(found) - good - refused
    print()
    line("SIGTERM under load: exit code, seconds", f"{code}, {taken:.1f}")
    line("answered; refused a connection; else", f"{good:,}; {refused}; {other}")


def main() -> None:
    """Prints it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="?", help="as of trainer serve")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    with started([options.target] if options.target else []) as (process, port):
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        load(process, port, options.requests, options.clients)
        bad(port)
        oversized(process, port)
        stopped(process, port, options.clients)


if __name__ == "__main__":
    main()
