"""The socket and the signals."""

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from trainer.errors import UserError
from trainer.serving.limits import Limits

BACKLOG = 2048  # connections that wait to be taken


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections; port 0 is any free one. Raises: UserError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        # With the protocol: asyncio sends small answers at once (TCP_NODELAY) only on sockets that
        # name it, which those of socket.create_server do not: an answer took 47 instead of 12 ms.
        listening = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # Windows would let two servers share a port
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
        except OSError:
            listening.close()
            raise
    except (OSError, UnicodeError) as error:  # Unicode: no name of a host can look like that
        problem = f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}"
        hint = "choose others; --port 0 takes a free one"
        raise UserError("--host, --port", problem, hint) from None
    return listening


def server(app: ASGIApp, limits: Limits) -> uvicorn.Server:
    """What `serve` runs: it ends when `should_exit` is set."""
    # A client that sends nonsense has its answer: a line of it each would only fill the log.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    config = uvicorn.Config(
        app,
        lifespan="on",
        ws="none",
        log_config=None,  # tracebacks go to standard error
        log_level="error",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=limits.farewell,
    )
    return uvicorn.Server(config)


def serve(app: ASGIApp, listening: socket.socket, limits: Limits) -> None:
    """Until SIGINT or SIGTERM: what is being answered then is answered; a second Ctrl-C does not
    wait for it."""
    made = server(app, limits)
    with listening, _heeded(made.handle_exit):
        made.run([listening])


@contextmanager
def _heeded(handler: Callable[..., None]) -> Iterator[None]:
    """uvicorn has handlers of its own only while it serves, and raises what they caught once more
    at the end: that must find a handler too, or it would end this process."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, kept in before.items():
            signal.signal(number, kept or signal.SIG_DFL)  # None: not set by Python
