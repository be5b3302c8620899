"""The one module that knows albumentations."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import albumentations
import numpy as np

from trainer import objects
from trainer.config.base import Call
from trainer.data import stream
from trainer.errors import UserError

# (pixels uint8 [H, W, C], position in the stream) -> pixels uint8 [H, W, C]
Augment = Callable[[np.ndarray, int], np.ndarray]


def build(
    calls: Sequence[Call], seed: int, where: str = "data.augment", warmup: float = 0.0
) -> Augment:
    """The transforms in order, as one function whose draws depend on seed and position alone.

    Args:
        warmup: the position from which on every picture is augmented; before it, a picture is with
            a probability that rises from 0 linearly (easy examples first: curriculum learning,
            Bengio et al. 2009), and stays as it is otherwise.

    A pipeline works on one picture at a time: shared by threads, it would mix their draws.
    TensorFlow calls from ever new threads, so idle pipelines wait in a list, not in thread-local
    storage.
    `set_random_state` hands one generator to all transforms; `set_random_seed` would give each the
    same seed and so correlated draws.
    """

    def new() -> tuple[list[Any], stream.Draws]:
        pipeline, draws = _compose(calls, where), stream.Draws(seed)
        pipeline.set_random_state(draws.generator, draws.python)
        # Called one by one: Compose looks for boxes and masks first, which takes 4 µs.
        return pipeline.transforms, draws

    idle = [new()]  # mistakes belong here, not into a thread
    modules = (type(leaf).__module__ for each in idle[0][0] for leaf in _leaves(each))
    own = not all(name.startswith("albumentations.") for name in modules)

    def augment(pixels: np.ndarray, position: int) -> np.ndarray:
        try:
            transforms, draws = idle.pop()
        except IndexError:
            transforms, draws = new()
        draws.at(position)
        if position < warmup and draws.generator.random() >= position / warmup:
            idle.append((transforms, draws))
            return pixels
        if own and not pixels.flags.writeable:  # none of albumentations' own writes to its input
            pixels = pixels.copy()
        for transform in transforms:
            pixels = transform(image=pixels)["image"]
        idle.append((transforms, draws))
        return pixels

    return augment


def check(
    calls: Sequence[Call],
    shape: tuple[int, int, int],
    loaded: tuple[int, int, int] | None = None,
    where: str = "data.augment",
) -> None:
    """Applies the transforms to pictures of noise.

    Args:
        shape: [H, W, C] that the network takes.
        loaded: that the transforms begin with, if it is another; else each has to keep it.

    Raises: UserError when one does not fit such pictures or makes other shapes or types of them.
    """
    if loaded:
        _check_all(calls, shape, loaded, where)
        return
    pixels = _noise(shape)
    for index, call in enumerate(calls):
        here = f"{where}[{index}]"
        for transform in _leaves(_compose([call], where, index)):
            _check_one(transform, pixels, here)


def demand(
    result: np.ndarray,
    before: tuple[int, ...],
    shape: tuple[int, ...],
    where: str = "data.augment",
    name: str = "",
) -> None:
    """Raises UserError for a picture that is not uint8 [H, W, C] as the network takes it.

    Args:
        before: the shape that the transforms began with.
        name: of the transform that did it, if one alone did.
    """
    if result.shape != shape:
        sizes = ["x".join(map(str, each)) for each in (before, result.shape)]
        what = f"{sizes[0]} pixels (height, width, channels)"
        problem = f"{name or 'it'} turns {what} into {sizes[1]}"
        if result.shape == before:
            problem = f"{name or 'it'} leaves {what} as large as they are"
        if before == shape:
            hint = (
                "pictures have data.image_size before and after augmentation; "
                "RandomResizedCrop with that size zooms and keeps it"
            )
        else:
            height, width = shape[:2]
            hint = (
                "with data.load_size the transforms have to end in data.image_size, as with "
                f"RandomResizedCrop: {{size: [{height}, {width}]}}"
            )
        raise UserError(where, problem, hint)
    if result.dtype != np.uint8:
        raise UserError(
            where,
            f"{name or 'it'} turns pixels into {result.dtype}; they stay uint8, 0 to 255",
            "scale inside the model, as with Rescaling: {scale: 0.00392156862745098}",
        )


def _noise(shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _check_one(transform: Any, pixels: np.ndarray, where: str) -> None:
    name = type(transform).__name__
    transform.p = 1.0
    for seed in range(8):  # RandomRotate90 turns a quarter in some draws only
        transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
        try:
            result = transform(image=pixels.copy())["image"]
        except Exception as error:
            raise UserError(where, f"{name} fails on a picture: {error}") from None
        demand(result, pixels.shape, pixels.shape, where, name)


def _check_all(
    calls: Sequence[Call],
    shape: tuple[int, int, int],
    loaded: tuple[int, int, int],
    where: str,
) -> None:
    """One after the other, whatever becomes of the shape on the way."""
    transforms = [_compose([call], where, index) for index, call in enumerate(calls)]
    for seed in range(8):
        pixels = _noise(loaded)
        for index, transform in enumerate(transforms):
            transform.set_random_state(np.random.default_rng(seed), random.Random(seed))
            try:
                pixels = transform(image=pixels)["image"]
            except Exception as error:
                raise UserError(f"{where}[{index}]", f"fails on a picture: {error}") from None
        demand(pixels, loaded, shape, where)


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
