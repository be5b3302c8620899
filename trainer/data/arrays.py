"""Named arrays -> Examples: what the sources `idx` and `npz` share.

N pictures, K classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from trainer import terminal
from trainer.data.examples import SIDES, Arrays, Examples, renamed, side_of
from trainer.errors import UserError

WHERE = "data.source"


def combined(
    arrays: Mapping[str, np.ndarray],
    names: Sequence[str] | None,
    path: str,
    files: Mapping[str, str],
) -> Examples:
    """Pairs images ([N, H, W] or [N, H, W, C] uint8) with labels ([N], [N, 1], or [N, K] of 0 and
    1: multi-label) of the same side, which the names of the arrays tell.

    Args:
        names: of the labels 0, 1, …; else their numbers.
        path: of the file or folder that they came from.
        files: the file of each array.

    Raises: UserError for images without labels, other shapes or types, and unknown labels.
    """
    images = {side_of(key): key for key, array in arrays.items() if array.ndim >= 3}
    labels = {side_of(key): key for key, array in arrays.items() if array.ndim in (1, 2)}
    if not images or set(images) != set(labels) or len(images) + len(labels) != len(arrays):
        listed = ", ".join(f"{key} {list(array.shape)}" for key, array in arrays.items())
        hint = "expected an array of images and one of labels for each of train, validation, test"
        raise UserError(WHERE, f"{path} has the arrays {listed}", hint)
    order = sorted(images, key=lambda side: SIDES.index(side or SIDES[0]))
    for side in order:
        _demand_images(images[side], arrays[images[side]], arrays[labels[side]])
    numbers = [_flat(labels[side], arrays[labels[side]]) for side in order]
    if len({each.shape[1:] for each in numbers}) > 1:
        shapes = ", ".join(str(list(each.shape)) for each in numbers)
        problem = f"the labels of {path} are {shapes}"
        raise UserError(WHERE, problem, "expected [N] on every side, or [N, K] with the same K")
    joined = np.concatenate(numbers)
    indices, classes = named(joined, names, path)
    counts = [len(each) for each in numbers]
    sides = np.repeat([SIDES.index(side or SIDES[0]) for side in order], counts).astype(np.int8)
    keys = {side or "images": images[side] for side in order}
    pictures = Arrays(
        path,
        {block: arrays[key] for block, key in keys.items()},
        {block: files[key] for block, key in keys.items()},
    )
    return Examples(pictures, indices, classes, sides if len(order) > 1 else None)


def named(
    labels: np.ndarray, names: Sequence[str] | None, path: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels and their K class names, in sorted order.

    Args:
        labels: whole numbers from 0 [N], or multi-hot uint8 [N, K].
        names: of the labels 0, 1, …; else the numbers are the names, padded with zeros so that they
            sort as they count. Numbers that no picture has are no classes; those with a name, or
            with a column, are warned of.

    Raises: UserError if there are too few names (multi-hot: or too many), or one stands twice.
    """
    several = labels.ndim == 2
    present = np.flatnonzero(labels.any(axis=0)) if several else np.unique(labels)
    numbers = present.tolist()
    count = labels.shape[1] if several else max(numbers, default=-1) + 1
    if names is None:
        width = len(str(count - 1))
        called = {each: str(each).zfill(width) for each in (range(count) if several else numbers)}
    else:
        _demand_names(names, count, several, path)
        called = dict(enumerate(names))
    for number in sorted(called.keys() - set(numbers)):
        terminal.warn(f"{path} has no picture of '{called[number]}', so it is no class")
    chosen = [called[number] for number in numbers]
    if len(chosen) < 2:
        problem = f"{path} has {len(chosen)} class{'es' * (len(chosen) != 1)} ({', '.join(chosen)})"
        raise UserError(WHERE, problem, "a classifier needs two")
    return renamed(labels[:, present] if several else np.searchsorted(present, labels), chosen)


def _demand_images(key: str, images: np.ndarray, labels: np.ndarray) -> None:
    if images.dtype != np.uint8 or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        problem = f"'{key}' is {images.dtype} {list(images.shape)}"
        raise UserError(WHERE, problem, "expected uint8 [N, H, W] or [N, H, W, 1 or 3]")
    if len(images) != len(labels):
        raise UserError(WHERE, f"'{key}' has {len(images)} images but {len(labels)} labels")


def _flat(key: str, labels: np.ndarray) -> np.ndarray:
    """uint64 [N], which holds every one, or uint8 [N, K] where several labels may hold."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    whole = labels.dtype.kind in "iub"
    if not whole or labels.min(initial=0) < 0:
        kind = "text" if labels.dtype.kind in "US" else str(labels.dtype)
        received = f"from {labels.min(initial=0)}" if whole else kind
        raise UserError(
            WHERE, f"the labels '{key}' are {received}", "expected whole numbers from 0"
        )
    if labels.ndim == 2 and labels.max(initial=0) > 1:
        problem = f"the labels '{key}' are {list(labels.shape)}, but not 0 and 1 only"
        raise UserError(WHERE, problem, "expected one number per picture, or a 0 or 1 per class")
    return labels.astype(np.uint64 if labels.ndim == 1 else np.uint8)


def _demand_names(names: Sequence[str], count: int, exactly: bool, path: str) -> None:
    different = len(set(names))
    if different < count or different < len(names) or (exactly and different > count):
        problem = f"{different} different names for the labels 0 to {count - 1} of {path}"
        raise UserError(f"{WHERE}.classes", problem, "one name for each label, in their order")
