"""Event files, in the forms that TensorBoard's dashboards read.

TensorBoard's own messages and writer: no TensorFlow, and nothing of it runs.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.histogram import metadata as histograms
from tensorboard.plugins.image import metadata as images
from tensorboard.plugins.pr_curve import metadata as pr_curves
from tensorboard.plugins.scalar import metadata as scalars
from tensorboard.plugins.text import metadata as texts
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util import tensor_util

from trainer import files

Value: TypeAlias = Summary.Value

VERSION = "brain.Event:2"  # of the format, in the first record of every file
BINS = 30  # of a histogram, as TensorBoard's own
THRESHOLDS = 101  # of a curve: whole percents


class Events:
    """An event file more in a folder. Of what several files say of a step the last one counts."""

    def __init__(self, folder: Path) -> None:
        self._writer = EventFileWriter(str(folder))

    def write(self, step: int, values: Iterable[Value]) -> None:
        """What belongs to a step."""
        self._writer.add_event(_event(values, step))

    def write_graph(self, graph: GraphDef) -> None:
        """Of the Graphs dashboard; the last one counts."""
        content = graph.SerializeToString()
        self._writer.add_event(Event(wall_time=time.time(), graph_def=content))

    def flush(self) -> None:
        """Brings to the file what was written."""
        self._writer.flush()

    def close(self) -> None:
        """Nothing more is written."""
        self._writer.close()


@contextmanager
def alone(folder: Path) -> Iterator[Callable[[Value], None]]:
    """Yields `add(value)`, for values of no step. Their event file is alone in its folder, and
    takes the place of what was there when the block ends well.

    Until then it is a file without `tfevents` in its name, which TensorBoard takes for none of
    its own; a folder beside it would be a run.

    Raises: UserError if it cannot be written.
    """
    earlier = [*folder.glob("*.tfevents.*")]
    names = (f"events.out.tfevents.{time.time():.0f}.{number}" for number in itertools.count())
    with files.adding(folder, names) as partial, partial.open("wb") as file:
        records = RecordWriter(file)
        records.write(Event(wall_time=time.time(), file_version=VERSION).SerializeToString())
        yield lambda value: records.write(_event([value]).SerializeToString())
    for each in earlier:
        each.unlink(missing_ok=True)


def write_alone(folder: Path, values: Iterable[Value]) -> None:
    """These values, as `alone` does."""
    with alone(folder) as add:
        for value in values:
            add(value)


def _event(values: Iterable[Value], step: int = 0) -> Event:
    return Event(wall_time=time.time(), step=step, summary=Summary(value=values))


def png(pixels: np.ndarray) -> bytes:
    """uint8 RGB [H, W, 3] as a PNG."""
    return cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()


def scalar(tag: str, value: float) -> Value:
    """A point of a curve."""
    return _tensor(tag, np.array(value, np.float32), scalars.create_summary_metadata("", ""))


def text(tag: str, markdown: str) -> Value:
    """A page of text."""
    content = np.array(markdown.encode("utf-8", "backslashreplace"), object)
    return _tensor(tag, content, texts.create_summary_metadata("", ""))


def image(tag: str, pixels: np.ndarray, description: str = "") -> Value:
    """A picture uint8 [H, W, 3].

    Args:
        description: Markdown, shown beside it.
    """
    height, width = pixels.shape[:2]
    sizes = [str(width).encode(), str(height).encode()]
    content = np.array([*sizes, png(pixels)], object)
    metadata = images.create_summary_metadata(display_name="", description=description)
    return _tensor(tag, content, metadata)


def histogram(tag: str, values: np.ndarray) -> Value:
    """The distribution of values of any shape; of those that are no numbers nothing is shown."""
    finite = values[np.isfinite(values)]
    counts, edges = np.histogram(finite, BINS)
    content = np.stack([edges[:-1], edges[1:], counts], axis=1)
    return _tensor(tag, content, histograms.create_summary_metadata("", ""))


def pr_curve(tag: str, truth_N: np.ndarray, scores_N: np.ndarray) -> Value:
    """Precision and recall of one label at THRESHOLDS equally spaced thresholds from 0 to 1: what
    scores at least as much counts as found. The numbers of the PR Curves dashboard: true and false
    positives, true and false negatives, precision (1 where nothing is found), recall.

    Args:
        truth_N: bool, whether the label holds.
        scores_N: its probability.
    """
    # One sort instead of a comparison per threshold: at_T is how many lie below each.
    thresholds_T = np.linspace(0, 1, THRESHOLDS)
    truth_N = np.asarray(truth_N, bool)
    right, wrong = np.sort(scores_N[truth_N]), np.sort(scores_N[~truth_N])
    missed_T = np.searchsorted(right, thresholds_T.astype(right.dtype))
    spared_T = np.searchsorted(wrong, thresholds_T.astype(wrong.dtype))
    found_T, mistaken_T = len(right) - missed_T, len(wrong) - spared_T
    said_T = found_T + mistaken_T
    precision_T = np.where(said_T, found_T / np.maximum(said_T, 1), 1)  # else a line down to 0
    recall_T = found_T / max(len(right), 1)
    rows = np.stack([found_T, mistaken_T, spared_T, missed_T, precision_T, recall_T])
    metadata = pr_curves.create_summary_metadata("", "", THRESHOLDS)
    return _tensor(tag, rows.astype(np.float32), metadata)


def _tensor(tag: str, content: np.ndarray, metadata: SummaryMetadata) -> Value:
    tag = tag.encode("utf-8", "backslashreplace").decode()  # names of folders may be anything
    return Value(tag=tag, tensor=tensor_util.make_tensor_proto(content), metadata=metadata)
