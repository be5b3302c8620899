"""Chromium without a window, driven over a pair of pipes (Chrome DevTools Protocol): no library.

Every message is JSON with a zero byte behind it; commands go in through file descriptor 3, answers
and events come out of 4.
"""

import base64
import functools
import http.server
import json
import os
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
PATIENCE = 120.0  # seconds; a busy machine


class Page:
    """One tab: what is asked of it, and what it complained of."""

    def __init__(self, process: subprocess.Popen, into: int, out: int) -> None:
        self._process, self._into, self._out = process, into, out
        self._buffer, self._number, self._loaded = b"", 0, False
        self._session: str | None = None
        self.complaints: list[
            str
        ] = []  # errors and warnings of the console, exceptions, failed loads
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command and its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._into, json.dumps(message).encode() + b"\0")
        while True:
            found = self._next(PATIENCE)
            if found.get("id") == self._number:
                assert "error" not in found, found["error"]
                return found["result"]

    def _next(self, patience: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._out], [], [], patience)[0], "Chromium is silent"
            part = os.read(self._out, 1 << 16)
            assert part, "Chromium has ended"
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(line)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, event: str | None, params: dict[str, Any]) -> None:
        if event == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        elif event == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"] + " " + params["entry"].get("url", ""))
        elif event == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.complaints.append(json.dumps(params["args"]))
        elif event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def open(self, address: str) -> None:
        """Goes there, and waits until everything that the page names has come."""
        self._loaded = False
        self.call("Page.navigate", url=address)
        while not self._loaded:
            self._next(PATIENCE)

    def run(self, script: str) -> Any:
        """The value of an expression in the page; promises are awaited, user gestures assumed."""
        found = self.call(
            "Runtime.evaluate",
            expression=script,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, condition: str) -> Any:
        """Waits for an expression to become true; returns its value."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if found := self.run(condition):
                return found
            time.sleep(0.05)
        raise AssertionError(f"never true: {condition}; the console said {self.complaints}")

    def picture(self, path: Path, whole: bool = False) -> None:
        """A screenshot as PNG."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))


@contextmanager
def browser(profile: Path, *options: str) -> Iterator[Page]:
    """A fresh Chromium; it ends with the block."""
    assert CHROMIUM
    (our_in, into), (out, our_out) = os.pipe(), os.pipe()
    # The descriptors have to be 3 and 4. `our_in` is the lowest of ours, so neither hides another.
    become = f"import os, sys; os.dup2({our_in}, 3); os.dup2({our_out}, 4); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-I", "-S", "-c", become, CHROMIUM, "--headless=new"]
    command += ["--no-sandbox", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run"]
    command += ["--disable-dev-shm-usage", f"--user-data-dir={profile}", *options]
    process = subprocess.Popen(
        command,
        pass_fds=(our_in, our_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(our_in)
    os.close(our_out)
    try:
        yield Page(process, into, out)
    finally:
        os.close(into)  # Chromium ends when its pipe does
        os.close(out)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The folder behind Python's own static file server; yields its address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
