"""Batteries that every member of a family passes, whatever its kind."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from trainer.config.about import About
from trainer.data.decode import decode
from trainer.data.examples import Examples, Pictures
from trainer.export.material import Material
from trainer.parts import part
from trainer.runtimes import opened as runtimes


def source(read: Callable[[], Examples]) -> Examples:
    """A source gives sorted classes, a label or several per picture, pictures that can be read,
    pickled and told apart; and twice the same."""
    first, again = read(), read()
    count, classes = len(first), len(first.classes)
    assert list(first.classes) == sorted(set(first.classes))
    assert classes >= 2
    if first.multi_label:
        assert (first.labels.shape, first.labels.dtype) == ((count, classes), np.uint8)
        assert first.labels.max() == 1
    else:
        assert (first.labels.shape, first.labels.dtype) == ((count,), np.int32)
        assert set(first.labels.tolist()) == set(range(classes))
    assert np.array_equal(first.labels, again.labels)
    if first.sides is not None:
        assert (first.sides.shape, first.sides.dtype) == ((count,), np.int8)
        assert set(first.sides.tolist()) <= {0, 1, 2}
    assert first.groups is None or len(first.groups) == count
    _pictures(first.pictures, again.pictures)
    _pictures(
        first.take(np.arange(count)[::-1]).pictures, again.take(np.arange(count)[::-1]).pictures
    )
    return first


def _pictures(first: Pictures, again: Pictures) -> None:
    names = [first.name(index) for index in range(len(first))]
    assert names
    assert len(set(names)) == len(names)
    assert names == [again.name(index) for index in range(len(again))]
    copy = pickle.loads(pickle.dumps(first))
    for index, name in enumerate(names):
        content = first.content(index)
        assert decode(content).shape[2] == 3
        assert np.array_equal(content, copy.content(index))
        assert first.place(index).endswith(name)
        size, changed = first.stamp(index)
        assert size > 0
        assert changed > 0
        assert again.stamp(index) == (size, changed)


def model(build: Callable[[], keras.Model], classes: int, folder: Path) -> None:
    """A notation gives a network that scores, saves and loads to equal scores."""
    keras.utils.set_random_seed(3)
    network = build()
    images = np.random.default_rng(0).uniform(0, 255, (5, *network.input_shape[1:]))
    scores_NK = np.asarray(network(images))  # predict would compile it with XLA: minutes, if large
    assert scores_NK.shape == (5, classes)
    assert np.isfinite(scores_NK).all()
    assert np.ptp(scores_NK, axis=0).max() > 0  # the picture matters
    network.save(folder / "model.keras")
    loaded = keras.models.load_model(folder / "model.keras")
    assert np.array_equal(loaded(images), scores_NK)


def exporter(
    spec: Any, network: keras.Model, about: About, folder: Path, apart: float | None = None
) -> Path:
    """An exporter's file, opened again, gives Keras's scores for every batch size, and says what it
    was told; returns it.

    Args:
        apart: largest difference of a probability; the tolerance if not given.
    """
    path = folder / spec.file
    images = np.random.default_rng(0).integers(0, 256, (7, *network.input_shape[1:]), np.uint8)
    calibration = np.random.default_rng(1).integers(0, 256, (24, *images.shape[1:]), np.uint8)
    material = Material(network, about, lambda count: calibration[:count])
    part("export", spec.kind).write(material, spec, path)
    opened = runtimes.open(path)
    assert opened.about == about
    expected_NK = network.predict(images.astype(np.float32), verbose=0)
    assert np.ptp(expected_NK, axis=0).max() > 0.01  # else anything would agree
    for count in (1, 3, 7):
        difference = np.abs(opened.scores(images[:count]) - expected_NK[:count]).max()
        assert difference <= (apart or spec.most)
    return path
