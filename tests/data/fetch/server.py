"""A web server on this computer that behaves as badly as it is told to."""

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml


class Server(ThreadingHTTPServer):
    """Serves `contents` by path.

    Args:
        cut: how many bytes to send of each of the next answers before closing, None for all.
        ranges: whether it knows Range.
        status: answers every request with it.
        announces: the Content-Length to claim; 0 for none.
        moved: path -> address to redirect to.
        kind: the Content-Type to claim; "" for none.
    """

    def __init__(self, contents: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.contents, self.tag = contents, '"one"'
        self.cut: list[int | None] = []
        self.ranges, self.status, self.announces = True, 200, -1
        self.moved: dict[str, str] = {}
        self.kind = ""
        self.asked: list[tuple[str, str | None]] = []  # (path, Range)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        server, name = self.server, self.path.strip("/")
        wanted = self.headers.get("Range")
        server.asked.append((name, wanted))
        if name in server.moved:
            self.send_response(302)
            self.send_header("Location", server.moved[name])
            self.end_headers()
            return
        if server.status != 200 or name not in server.contents:
            self.send_error(server.status if server.status != 200 else 404)
            return
        content = server.contents[name]
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        part = bool(wanted) and server.ranges and self.headers.get("If-Range") == server.tag
        body = content[start:] if part else content
        self.send_response(206 if part else 200)
        if part:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if server.announces:
            announced = len(body) if server.announces < 0 else server.announces
            self.send_header("Content-Length", str(announced))
        if server.kind:
            self.send_header("Content-Type", server.kind)
        if server.tag:
            self.send_header("ETag", server.tag)
        self.end_headers()
        cut = server.cut.pop(0) if server.cut else None
        self.wfile.write(body if cut is None else body[:cut])


@contextmanager
def serving(contents: dict[str, bytes]) -> Iterator[Server]:
    """A server for the block."""
    with Server(contents) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(members: dict[str, bytes], *others: tarfile.TarInfo) -> bytes:
    """Gzipped; `others` are members without content, such as links."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in others:
            archive.addfile(info)
    return buffer.getvalue()


def described(server: Server, name: str, **changes: Any) -> dict[str, Any]:
    """The recipe's entry of a file that the server has."""
    content = server.contents[name]
    entry = {
        "url": server.url(name),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "unpack": "zip" if name.endswith("zip") else "tar" if name.endswith("tgz") else "none",
    }
    return entry | changes


def write_recipe(path: Path, files: list[dict[str, Any]], **changes: Any) -> Path:
    """A recipe called as its file, of a folder of pictures."""
    recipe = {
        "name": path.stem,
        "title": "Little",
        "description": "Small squares.",
        "licence": "CC0",
        "homepage": "http://example.org",
        "figures": "made by the test",
        "pictures": 6,
        "classes": 2,
        "files": files,
        "unpacked": 100_000,
        "source": {"kind": "folder", "path": f"datasets/{path.stem}"},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(recipe | changes, sort_keys=False))
    return path
