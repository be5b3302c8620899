"""The page for browsers, by its ONNX file."""

from pathlib import Path

from trainer.runtimes import onnx
from trainer.runtimes.opened import Opened


def open(path: Path) -> Opened:
    """The network that the page runs; by onnxruntime, as no browser is at hand here.

    Raises: UserError as for ONNX.
    """
    return onnx.open(path / "model.onnx")
