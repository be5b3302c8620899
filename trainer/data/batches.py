"""Examples -> batches of arrays. What of it runs where, threads or processes, is decided elsewhere:
this imports neither TensorFlow nor Keras.

A batch is (images uint8 [N, H, W, C], labels float32 [N, K], weights float32 [N]): weight 0 marks a
row that counts for nothing. N is the global batch size, or of several machines the rows that are
made here; K classes.
"""

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from trainer.config.data import Data
from trainer.data import augment, stream
from trainer.data.batch import Batch, Fill, Made, Shapes, empty
from trainer.data.cache import Store
from trainer.data.decode import decode, load, present
from trainer.data.examples import Examples
from trainer.data.mix import mix, mixing
from trainer.data.stream import WHOLE, Shard
from trainer.errors import UserError, suggestion

TIMED = 8  # every so many pictures: to ask for the time of a thread takes half a microsecond

Make = Callable[["bytes | np.ndarray"], np.ndarray]  # content -> pixels [H, W, C]


def shapes(spec: Data, classes: int, shard: Shard = WHOLE) -> Shapes:
    """Of the arrays of a batch."""
    return Shapes(len(shard.rows(spec.batch_size)), spec.input_shape, classes)


def training(
    examples: Examples,
    spec: Data,
    seed: int,
    store: Store | None = None,
    shard: Shard = WHOLE,
) -> Fill:
    """Batches of the endless stream, with the weights of `class_weights`, mixed by `mix`.

    The place of a picture that cannot be decoded is taken by the next one of `examples`.

    Args:
        store: keeps decoded pictures, of the shape that `data.decode.load` gives.
        shard: what is made here; nothing else is read, but for the pictures that others are mixed
            with.
    """
    order, augmented = sampled(examples, spec, seed), augmentation(examples, spec, seed)
    weights_K = class_weights(examples, spec)
    read = _Reader(examples, lambda content: load(content, spec), store)

    def plain(positions: Sequence[int], batch: Batch) -> Made:
        """The batch of these positions, not mixed."""
        images, labels, weights = batch
        size, shape, known = len(images), images.shape[1:], len(read.unreadable)
        indices = np.empty(size, np.int64)
        decoding = augmenting = 0.0
        for row, position in enumerate(positions):
            timed = row % TIMED == 0
            begun = time.thread_time() if timed else 0.0
            indices[row], pixels = read.next(order(position))
            decoded = time.thread_time() if timed else 0.0
            images[row] = _applied(augmented, pixels, position, shape)
            if timed:
                decoding += decoded - begun
                augmenting += time.thread_time() - decoded
        labels[:] = examples.targets(indices)
        weights[:] = 1 if weights_K is None else weights_K[examples.labels[indices]]
        share = size / -(-size // TIMED)
        return Made(decoding * share, augmenting * share, size, read.since(known))

    def fill(step: int, batch: Batch) -> Made:
        size = spec.batch_size
        drawn = mixing(spec.mix, seed, step, size) if spec.mix else None
        if drawn is None:
            return plain(stream.positions(step, size, shard), batch)
        rows, local = drawn.needed(shard.rows(size))
        more = len(rows) > len(batch[0])  # those that ours are mixed with are another's
        whole = (
            empty(Shapes(len(rows), *shapes(spec, len(examples.classes))[1:])) if more else batch
        )
        made = plain([step * size + row for row in rows], whole)
        begun = time.thread_time()
        mix(whole, local)
        for ours, found in zip(batch, whole, strict=True):
            if more:
                ours[:] = found[: len(ours)]
        return made._replace(augmenting=made.augmenting + time.thread_time() - begun)

    return fill


def augmentation(examples: Examples, spec: Data, seed: int) -> augment.Augment:
    """What `data.augment` does to these pictures at each position of the stream."""
    return augment.build(spec.augment, seed, warmup=spec.augment_warmup * len(examples))


def evaluation(
    examples: Examples, spec: Data, store: Store | None = None, shard: Shard = WHOLE
) -> Fill:
    """One pass in order. The last batch is filled with black rows of weight 0, and so is the row of
    a picture that cannot be decoded: every batch feeds every replica."""
    read = _Reader(examples, lambda content: present(decode(content), spec), store)

    def fill(step: int, batch: Batch) -> Made:
        images, labels, weights = batch
        for array in batch:
            array[:] = 0
        known, start = len(read.unreadable), time.thread_time()
        indices = np.array(stream.positions(step, spec.batch_size, shard), np.int64)
        indices = indices[indices < len(examples)]
        targets = examples.targets(indices)
        for row, index in enumerate(indices):
            pixels = read(int(index))
            if pixels is not None:
                images[row], labels[row], weights[row] = pixels, targets[row], 1
        return Made(time.thread_time() - start, 0.0, len(indices), read.since(known))

    return fill


def sampled(examples: Examples, spec: Data, seed: int) -> stream.Order:
    """The order of `data.sampling`. Of multi-label pictures, those with no label count as one more
    class, and a picture is shown as often as the label of it that is shown most.

    Raises: UserError for names that are no classes.
    """
    labels = examples.labels
    if spec.sampling == "sequential":
        return stream.sequential(len(examples))
    if spec.sampling == "shuffled":
        return stream.shuffled(seed, len(examples))
    if isinstance(spec.sampling, Mapping):
        weights_K = _by_class(spec.sampling, examples, "data.sampling")
        if not examples.multi_label:
            return stream.weighted(seed, weights_K[labels])
        most = (labels * weights_K).max(axis=1)
        return stream.weighted(seed, np.where(labels.any(axis=1), most, 1.0))
    if examples.multi_label:
        members = [np.flatnonzero(column) for column in labels.T]
        members.append(np.flatnonzero(labels.sum(axis=1) == 0))
    else:
        ordered = np.argsort(labels, kind="stable")
        members = np.split(ordered, np.cumsum(examples.counts())[:-1])
    return stream.balanced(seed, [each for each in members if len(each)])


def class_weights(examples: Examples, spec: Data) -> np.ndarray | None:
    """float32 [K], or None where all count the same. `balanced` is N / (K n_k), as scikit-learn has
    it: every class weighs the same in all, and pictures weigh 1 on average.

    Raises: UserError for multi-label examples and for names that are no classes.
    """
    where = "data.class_weights"
    if spec.class_weights is None:
        return None
    if examples.multi_label:
        problem = "a picture has one weight, but may have several labels"
        raise UserError(where, problem, "write sampling: balanced instead")
    if spec.class_weights == "balanced":
        counts_K = np.maximum(examples.counts(), 1)
        return (len(examples) / (len(counts_K) * counts_K)).astype(np.float32)
    return _by_class(spec.class_weights, examples, where).astype(np.float32)


def _by_class(given: Mapping[str, float], examples: Examples, where: str) -> np.ndarray:
    """float64 [K]: the weight of each class, 1 if it is not named. Raises UserError."""
    for name, weight in given.items():
        if name not in examples.classes:
            problem = f"no class is called '{name}'"
            raise UserError(f"{where}.{name}", problem, suggestion(name, examples.classes))
        if not 0 < weight < float("inf"):
            raise UserError(f"{where}.{name}", f"expected a number above 0, received {weight}")
    return np.array([given.get(name, 1.0) for name in examples.classes])


class _Reader:
    """Pictures by their index, through the store if there is one. What cannot be read is tried
    once."""

    def __init__(self, examples: Examples, make: Make, store: Store | None) -> None:
        self._pictures, self._make, self._store = examples.pictures, make, store
        self.unreadable: dict[int, str] = {}  # index -> reason, in the order of their discovery

    def __call__(self, index: int) -> np.ndarray | None:
        """The pixels [H, W, C]; None if they cannot be decoded. Whoever takes them must not change
        them."""
        if index in self.unreadable:
            return None
        try:
            if self._store is None:
                return self._make(self._pictures.content(index))
            return self._store.fetch(index, lambda: self._pictures.content(index), self._make)
        except (OSError, ValueError) as error:
            self.unreadable[index] = getattr(error, "strerror", None) or str(error)
            return None

    def next(self, index: int) -> tuple[int, np.ndarray]:
        """The picture, or the next one that can be decoded. Raises UserError if there is none."""
        count = len(self._pictures)
        for other in range(index, index + count):
            pixels = self(other % count)
            if pixels is not None:
                return other % count, pixels
        path, why = self._pictures.place(index), self.unreadable[index]
        problem = f"not one of {count} training pictures can be read, as {path}: {why}"
        raise UserError("data.source", problem, "look at the files: is this a folder of pictures?")

    def since(self, known: int) -> dict[str, str]:
        """Why, by their places, of those that were found after so many."""
        if len(self.unreadable) == known:
            return {}
        found = list(self.unreadable.items())[known:]
        return {self._pictures.place(index): why for index, why in found}


def _applied(
    augmented: augment.Augment, pixels: np.ndarray, position: int, shape: tuple[int, ...]
) -> np.ndarray:
    """The augmented picture. Raises UserError for whatever a transform raises or makes of it."""
    try:
        result = augmented(pixels, position)
    except Exception as error:
        size = "x".join(map(str, pixels.shape))
        problem = f"fails on a picture of {size}: {type(error).__name__}: {error}"
        raise UserError("data.augment", problem) from error
    if result.shape != shape or result.dtype != np.uint8:
        augment.demand(result, pixels.shape, shape)
    return result
