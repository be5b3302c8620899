"""Batteries that every member of a family passes, whatever its kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from trainer.data.examples import Examples
from trainer.parts import part


def source(read: Callable[[], Examples]) -> Examples:
    """A source gives sorted classes, one label per picture, files that are there, twice the same."""
    first, again = read(), read()
    assert list(first.classes) == sorted(set(first.classes))
    assert len(first.classes) >= 2
    assert first.labels_NK.shape == (len(first.paths), len(first.classes))
    assert first.labels_NK.dtype == np.uint8
    assert (first.labels_NK.sum(axis=1) == 1).all()
    assert all(Path(path).is_file() for path in first.paths)
    assert len(set(first.paths)) == len(first.paths)
    assert list(first.paths) == list(again.paths)
    assert np.array_equal(first.labels_NK, again.labels_NK)
    return first


def model(build: Callable[[], keras.Model], classes: int, folder: Path) -> None:
    """A notation gives a network that scores, saves and loads to equal scores."""
    keras.utils.set_random_seed(3)
    network = build()
    images = np.random.default_rng(0).uniform(0, 255, (5, *network.input_shape[1:]))
    scores_NK = network.predict(images, verbose=0)
    assert scores_NK.shape == (5, classes)
    assert np.isfinite(scores_NK).all()
    assert np.ptp(scores_NK, axis=0).max() > 0  # the picture matters
    network.save(folder / "model.keras")
    loaded = keras.models.load_model(folder / "model.keras")
    assert np.array_equal(loaded.predict(images, verbose=0), scores_NK)


def exporter(spec: Any, network: keras.Model, labels: tuple[str, ...], folder: Path) -> Any:
    """An exporter's file, opened again, gives Keras's scores for every batch size; returns it."""
    module = part("export", spec.kind)
    path = folder / module.NAME
    module.write(network, spec, labels, path)
    score = module.open(path)
    images = np.random.default_rng(0).integers(0, 256, (7, *network.input_shape[1:]), np.uint8)
    expected_NK = network.predict(images.astype(np.float32), verbose=0)
    assert np.ptp(expected_NK, axis=0).max() > 0.01  # else anything would agree
    for count in (1, 3, 7):
        assert np.abs(score(images[:count]) - expected_NK[:count]).max() <= spec.tolerance
    return path
