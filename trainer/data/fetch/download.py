"""Files from the network, whole and verified. The only file that uses it.

What has arrived is kept beside the file as `<name>.partial`, with the server's own mark of that
version (ETag or Last-Modified) in `<name>.version`: the next attempt goes on there if the server
still has the same file, and starts anew if not.
"""

import hashlib
import http.client
import json
import shutil
import socket
import ssl
import string
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit

from trainer import __version__, files, terminal
from trainer.config.recipe import File
from trainer.errors import UserError

ATTEMPTS = 5
PAUSE_SECONDS = 1.0  # before the second attempt; doubles with each
TIMEOUT_SECONDS = 30.0  # without a single byte
BLOCK = 1 << 18

# Of one picture, which is not worth as much patience as a dataset.
PICTURE_BYTES = 100_000_000
PICTURE_SECONDS = 10.0  # without a single byte; six times that in all

_HEADERS = {"User-Agent": f"trainer/{__version__}", "Accept-Encoding": "identity"}

Tick = Callable[[int], None]


class _CutError(Exception):
    """The connection gave way; another attempt may do better."""


def fetch(wanted: File, path: Path, tick: Tick) -> None:
    """The file at `path`, with the size and sha256 of the recipe.

    Goes on with what an earlier call left there. Connections that break are taken up again, four
    times, after 1, 2, 4 and 8 seconds.

    Args:
        tick: is told the bytes that have arrived.

    Raises: UserError when there is no connection, the server refuses, or the file is another one.
    """
    partial = path.with_name(f"{path.name}.partial")
    if path.exists():
        path.replace(partial)  # of an interrupted call: verified again below
    for attempt in range(1, ATTEMPTS + 1):
        if partial.exists() and partial.stat().st_size == wanted.bytes:
            break
        try:
            _receive(wanted, partial, tick)
        except _CutError as cut:
            if attempt == ATTEMPTS:
                hint = "what has arrived is kept: the same command goes on there"
                raise UserError(wanted.url, f"{cut}, {ATTEMPTS} times", hint) from None
            pause = PAUSE_SECONDS * 2 ** (attempt - 1)
            terminal.warn(f"{wanted.name}: {cut}; trying again in {pause:g} s")
            time.sleep(pause)
    verify(wanted, partial)
    with _written(path):
        _version_of(partial).unlink(missing_ok=True)
        partial.replace(path)


def content(url: str) -> bytes:
    """What an address answers with, if that may be a picture. One attempt.

    Raises: ValueError with the reason if it answers nothing, or no picture, or too much.
    """
    try:
        request = urllib.request.Request(quote(url, safe=string.punctuation), headers=_HEADERS)
        response = _opener().open(request, timeout=PICTURE_SECONDS)
    except (OSError, http.client.HTTPException, ValueError) as error:
        explained = _explained(url, error)
        raise ValueError(getattr(explained, "problem", str(explained))) from None
    with response:
        return _whole(response)


def verify(wanted: File, path: Path) -> None:
    """Removes the file and raises UserError if its sha256 is not the recipe's; without one in the
    recipe a warning says that only the size was checked."""
    if wanted.sha256 is None:
        terminal.warn(f"{wanted.name}: no sha256 is published, so only its size was checked")
        return
    with path.open("rb") as file:
        received = hashlib.file_digest(file, "sha256").hexdigest()
    if received != wanted.sha256:
        _discard(path)
        problem = f"sha256 is {received}, the recipe says {wanted.sha256}"
        hint = "the download was removed; try once more, then ask whether the publisher changed it"
        raise UserError(wanted.url, problem, hint)


def demand_space(folder: Path, needed: int) -> None:
    """Raises UserError if the disk of the folder, which may not exist yet, has less free bytes."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        problem = f"{files.size(needed)} are needed on this disk, {files.size(free)} are free"
        raise UserError(str(folder), problem, "make room, or choose another disk with --into")


# --- one connection -----------------------------------------------------------------------------


def _receive(wanted: File, partial: Path, tick: Tick) -> None:
    """Appends to the partial what is missing, or writes it anew. Raises _CutError."""
    held, version = _held(wanted, partial)
    with _connected(wanted, partial, held, version) as response:
        if held and not _continues(response, wanted, held, version):
            held = 0
            if response.status == HTTPStatus.PARTIAL_CONTENT:
                _discard(partial)
                raise _CutError("the server sent another part than the one asked for")
        _demand_size(response, wanted, held)
        if not held:
            _discard(partial)  # first: a new mark must never stand beside old bytes
            _remember(wanted, partial, _version(response))
        with _written(partial), partial.open("ab") as file:
            for block in _blocks(response):
                held += len(block)
                if held > wanted.bytes:
                    _discard(partial)
                    raise _another_file(wanted, "more")
                file.write(block)
                tick(held)
    if held < wanted.bytes:
        raise _CutError(f"the connection broke after {held:,} of {wanted.bytes:,} bytes")


@contextmanager
def _connected(
    wanted: File, partial: Path, held: int, version: str
) -> Iterator[http.client.HTTPResponse]:
    headers = dict(_HEADERS)
    if held:
        headers |= {"Range": f"bytes={held}-", "If-Range": version}
    request = urllib.request.Request(wanted.url, headers=headers)
    try:
        response = _opener().open(request, timeout=TIMEOUT_SECONDS)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if (
            isinstance(error, HTTPError)
            and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        ):
            _discard(partial)  # the file became shorter: the next attempt starts anew
        raise _explained(wanted.url, error) from None
    with response:
        yield response


def _opener() -> urllib.request.OpenerDirector:
    """For http and https alone: a redirect must not lead to ftp or to a file of this computer."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            block = response.read1(BLOCK)
        except (OSError, http.client.HTTPException) as error:
            raise _CutError(f"the connection broke: {error or type(error).__name__}") from None
        if not block:
            return
        yield block


def _whole(response: http.client.HTTPResponse) -> bytes:
    """All of a picture. Raises ValueError."""
    kind = response.headers.get("Content-Type", "").partition(";")[0]
    if kind.startswith("text/"):
        raise ValueError(f"the server sends {kind}, which is no picture")
    begun, held = time.monotonic(), bytearray()
    try:
        for block in _blocks(response):
            held += block
            if len(held) > PICTURE_BYTES:
                raise ValueError(f"it has more than {files.size(PICTURE_BYTES)}")
            if time.monotonic() - begun > 6 * PICTURE_SECONDS:
                raise ValueError("the server is too slow")
    except _CutError as cut:
        raise ValueError(str(cut)) from None
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and len(held) < int(announced):
        raise ValueError(f"the connection broke after {len(held):,} of {int(announced):,} bytes")
    return bytes(held)


def _explained(url: str, error: Exception) -> Exception:
    """What went wrong before the first byte: _CutError if it may pass, else the UserError."""
    if isinstance(error, HTTPError):
        error.close()
        answer = f"the server answers {error.code} {error.reason}".rstrip()
        if error.code >= 500 or error.code in (408, 416, 429):
            return _CutError(answer)
        hint = "the file may have moved: look for it on the homepage that the recipe names"
        return UserError(url, answer, hint)
    if isinstance(error, ValueError):
        return UserError(url, f"is no address: {error}")
    reason = error.reason if isinstance(error, URLError) else error
    host = urlsplit(url).hostname
    if isinstance(reason, socket.gaierror):
        hint = "is this computer online? The same command goes on where this one stopped"
        return UserError(url, f"the host {host} was not found", hint)
    if isinstance(reason, ssl.SSLCertVerificationError):
        problem = f"the certificate of {host} is not accepted: {reason.verify_message}"
        hint = (
            "a wrong clock, a proxy in between or outdated certificates can be the cause; "
            "SSL_CERT_FILE names a file with other ones"
        )
        return UserError(url, problem, hint)
    if isinstance(reason, str):  # urllib's own: an unknown scheme, a redirect without end
        return UserError(url, reason)
    return _CutError(f"no connection to {host}: {getattr(reason, 'strerror', None) or reason}")


# --- is it the same file? -----------------------------------------------------------------------


def _demand_size(response: http.client.HTTPResponse, wanted: File, held: int) -> None:
    """Raises UserError if the server announces another size than the recipe's."""
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and held + int(announced) != wanted.bytes:
        raise _another_file(wanted, f"{held + int(announced):,} bytes")


def _another_file(wanted: File, found: str) -> UserError:
    problem = f"the server sends {found}, the recipe says {wanted.bytes:,}"
    return UserError(wanted.url, problem, "the file was changed since the recipe was written")


def _continues(response: http.client.HTTPResponse, wanted: File, held: int, version: str) -> bool:
    """Whether the answer is the rest of what is held, of the same version of the file."""
    return (
        response.status == HTTPStatus.PARTIAL_CONTENT
        and response.headers.get("Content-Range")
        == f"bytes {held}-{wanted.bytes - 1}/{wanted.bytes}"
        and _version(response) in (version, "")
    )


def _version(response: http.client.HTTPResponse) -> str:
    """The server's mark of this version of the file; a weak ETag does not vouch for the bytes."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _version_of(partial: Path) -> Path:
    return partial.with_suffix(".version")


def _remember(wanted: File, partial: Path, version: str) -> None:
    files.write_json(_version_of(partial), {"url": wanted.url, "version": version})


def _held(wanted: File, partial: Path) -> tuple[int, str]:
    """The bytes that can be gone on with, and their version; 0 if that is not certain."""
    try:
        remembered = json.loads(_version_of(partial).read_text(encoding="utf-8"))
        count = partial.stat().st_size
    except (OSError, ValueError):
        return 0, ""
    same = remembered.get("url") == wanted.url and remembered.get("version")
    return (count, remembered["version"]) if same and count < wanted.bytes else (0, "")


def _discard(partial: Path) -> None:
    _version_of(partial).unlink(missing_ok=True)
    partial.unlink(missing_ok=True)


@contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise files.not_writable(path, error) from None
