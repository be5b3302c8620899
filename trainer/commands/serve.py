"""`trainer serve`: answers over HTTP what is on pictures."""

from pathlib import Path

import numpy as np

from trainer import run as runs
from trainer import terminal
from trainer.commands import _opened
from trainer.data.decode import decode, present
from trainer.errors import UserError
from trainer.runtimes import opened

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def run(target: str | None, host: str, port: int, batch: int, wait: float, body: float) -> None:
    """Serves until Ctrl-C or SIGTERM, which is its normal end.

    Args:
        target: a run, whose ONNX file is meant; or a model file.
        wait: ms.
        body: MB.
    """
    try:
        from trainer.serving import app, server
        from trainer.serving.limits import Limits
    except ImportError:
        problem = 'needs an extra: pip install "keras-image-trainer[serve]"'
        raise UserError("serve", problem) from None
    path = model(target)
    about, scores = _opened.open(path)
    shape = (1, *about.image_size, about.channels)
    scores(np.zeros(shape, np.uint8))  # what is slow once is done before the first request
    limits = Limits(batch=batch, wait=wait / 1000, body=round(body * 10**6))
    if host not in LOOPBACK:
        terminal.warn(f"whoever reaches {host} can use this server: it asks for no password")

    def read(content: bytes) -> np.ndarray:
        return present(decode(content), about)

    kind = str(opened.kind_of(path))
    service = app.application(scores, about, kind, read, limits)
    with server.listen(host, port) as listening:
        terminal.say(f"model    {path}: {about.name}, {len(about.labels)} labels")
        terminal.say(f"address  {_address(host, listening.getsockname()[1])}")
        server.serve(service, listening, limits)
    terminal.say("stopped")


def model(target: str | None) -> Path:
    """The model file that is meant. Raises: UserError if there is none."""
    found = _opened.find(target)
    if not isinstance(found, runs.Run):
        return found
    path = found.export / "model.onnx"
    if not path.is_file():
        problem = f"there is no {path.relative_to(found.folder)} in it"
        raise UserError(str(found.folder), problem, f"write it: trainer export {found.folder}")
    return path


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
