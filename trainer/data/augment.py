"""The one module that knows albumentations."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import albumentations
import numpy as np

from trainer import objects
from trainer.config.base import Call
from trainer.errors import UserError

# (pixels uint8 [H, W, C], numpy generator, Python generator) -> pixels uint8 [H, W, C]
Augment = Callable[[np.ndarray, np.random.Generator, random.Random], np.ndarray]


def build(calls: Sequence[Call], where: str = "data.augment") -> Augment:
    """The transforms in order, as one function whose draws depend on the generators alone.

    A pipeline works on one picture at a time: shared by threads, it would mix their draws.
    TensorFlow calls from ever new threads, so idle pipelines wait in a list, not in thread-local
    storage.
    `set_random_state` hands one generator to all transforms; `set_random_seed` would give each the
    same seed and so correlated draws.
    """
    idle = [_compose(calls, where)]  # mistakes belong here, not into a thread

    def augment(
        pixels: np.ndarray, generator: np.random.Generator, python: random.Random
    ) -> np.ndarray:
        try:
            pipeline = idle.pop()
        except IndexError:
            pipeline = _compose(calls, where)
        pipeline.set_random_state(generator, python)
        result = pipeline(image=pixels)["image"]
        idle.append(pipeline)
        return result

    return augment


def check(calls: Sequence[Call], shape: tuple[int, int, int], where: str = "data.augment") -> None:
    """Applies every transform to one picture of noise, of shape [H, W, C].

    Raises: UserError when one does not fit such pictures or changes their shape or type.
    """
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, shape, dtype=np.uint8)
    for index, call in enumerate(calls):
        here = f"{where}[{index}]"
        for transform in _leaves(_compose([call], where, index)):
            _check_one(transform, pixels, here)


def _check_one(transform: Any, pixels: np.ndarray, where: str) -> None:
    name = type(transform).__name__
    transform.p = 1.0
    for seed in range(8):  # RandomRotate90 turns a quarter in some draws only
        transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
        try:
            result = transform(image=pixels.copy())["image"]
        except Exception as error:
            raise UserError(where, f"{name} fails on a picture: {error}") from None
        if result.shape != pixels.shape:
            sizes = ["x".join(map(str, each.shape)) for each in (pixels, result)]
            raise UserError(
                where,
                f"{name} turns {sizes[0]} pixels (height, width, channels) into {sizes[1]}",
                "pictures have data.image_size before and after augmentation; "
                "RandomResizedCrop with that size zooms and keeps it",
            )
        if result.dtype != np.uint8:
            raise UserError(
                where,
                f"{name} turns pixels into {result.dtype}; they stay uint8, 0 to 255",
                "scale inside the model, as with Rescaling: {scale: 0.00392156862745098}",
            )


def _compose(calls: Sequence[Call], where: str, first: int = 0) -> Any:
    transforms = [
        objects.make(call, "albumentations", f"{where}[{index}]")
        for index, call in enumerate(calls, start=first)
    ]
    return albumentations.Compose(transforms)


def _leaves(transform: Any) -> Iterator[Any]:
    """The single transforms inside OneOf, Sequential and their like."""
    if isinstance(transform, albumentations.BaseCompose):
        for inner in transform.transforms:
            yield from _leaves(inner)
    else:
        yield transform
