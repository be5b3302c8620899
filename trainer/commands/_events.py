"""Pictures for TensorBoard."""

import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from trainer import files


def png(pixels: np.ndarray) -> bytes:
    """uint8 RGB [H, W, 3] as a PNG."""
    return cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes()


@contextmanager
def images(folder: Path) -> Iterator[Callable[[str, bytes], None]]:
    """Yields `add(tag, png)`: one picture for TensorBoard. The folder holds nothing else, and
    takes its place when the block ends well."""
    with files.replacing(folder) as partial:
        writer = EventFileWriter(str(partial))

        def add(tag: str, encoded: bytes) -> None:
            width, height = struct.unpack(">II", encoded[16:24])  # of the PNG's first chunk
            image = Summary.Image(
                height=height, width=width, colorspace=3, encoded_image_string=encoded
            )
            summary = Summary(value=[Summary.Value(tag=tag, image=image)])
            writer.add_event(Event(wall_time=time.time(), step=0, summary=summary))

        try:
            yield add
        finally:
            writer.close()
