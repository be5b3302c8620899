"""Event files read back by TensorBoard's own reader."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.util import tensor_util

ALL = dict.fromkeys(("tensors", "scalars", "images", "histograms"), 0)  # 0: keep everything


class Board:
    """One run of TensorBoard: a folder with event files."""

    def __init__(self, folder: Path) -> None:
        self._events = EventAccumulator(str(folder), size_guidance=ALL).Reload()

    @property
    def tags(self) -> list[str]:
        return sorted(self._events.Tags()["tensors"])

    @property
    def graph(self) -> GraphDef:
        return self._events.Graph()

    def plugin(self, tag: str) -> str:
        return self._events.SummaryMetadata(tag).plugin_data.plugin_name

    def steps(self, tag: str) -> list[int]:
        return [event.step for event in self._events.Tensors(tag)]

    def arrays(self, tag: str) -> list[Any]:
        return [tensor_util.make_ndarray(each.tensor_proto) for each in self._events.Tensors(tag)]

    def scalars(self, tag: str) -> list[float]:
        return [float(each) for each in self.arrays(tag)]

    def images(self, tag: str) -> list[np.ndarray]:
        """uint8 [H, W, 3], as the dashboard gets them."""
        found = []
        for width, height, png in self.arrays(tag):
            pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR_RGB)
            assert pixels is not None
            assert pixels.shape == (int(height), int(width), 3)
            found.append(pixels)
        return found
