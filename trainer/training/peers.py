"""What the workers of a training tell each other; a worker alone tells itself.

Each of these is a collective: all workers have to call it, in the same order, or they wait for each
other. W workers.
"""

import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from trainer.errors import UserError

WORD = np.dtype(np.int32)  # what every collective of TensorFlow can carry


class Peers(NamedTuple):
    """The workers of a strategy, as one of them sees them."""

    strategy: tf.distribute.Strategy
    worker: int = 0
    workers: int = 1

    @classmethod
    def of(cls, strategy: tf.distribute.Strategy) -> "Peers":
        """Those of a strategy."""
        resolver = strategy.cluster_resolver
        workers = resolver.cluster_spec().as_dict().get("worker", []) if resolver else []
        if len(workers) < 2:
            return cls(strategy)
        return cls(strategy, int(resolver.task_id), len(workers))

    @property
    def chief(self) -> bool:
        """Whether it is this one that writes the run."""
        return self.worker == 0

    @property
    def replicas(self) -> int:
        """Of this worker."""
        return self.strategy.num_replicas_in_sync // self.workers

    def exchange(self, message: bytes) -> list[bytes]:
        """What each worker says, in their order; of any length."""
        if self.workers == 1:
            return [message]
        lengths = self._gather(np.array([len(message)], WORD))
        words = np.zeros(-(-int(lengths.max()) // WORD.itemsize), WORD)
        words.view(np.uint8)[: len(message)] = np.frombuffer(message, np.uint8)
        every = self._gather(words) if len(words) else np.zeros((self.workers, 0), WORD)
        return [each.tobytes()[:length] for each, [length] in zip(every, lengths, strict=True)]

    def union(self, names: Iterable[str]) -> list[str]:
        """What any worker names, sorted; of all together each once."""
        said = self.exchange(json.dumps(sorted(names)).encode())
        return sorted({name for each in said for name in json.loads(each)})

    def gather(self, *arrays: np.ndarray) -> list[list[np.ndarray]]:
        """The arrays of each worker, of any shapes."""
        if self.workers == 1:
            return [list(arrays)]
        block = io.BytesIO()
        np.savez(block, *arrays)
        found = []
        for said in self.exchange(block.getvalue()):
            with np.load(io.BytesIO(said), allow_pickle=False) as every:
                found.append([every[f"arr_{number}"] for number in range(len(arrays))])
        return found

    def rows(self, here: np.ndarray, steps: int) -> np.ndarray:
        """Rows [n, ...] of so many batches, in the order of the batches: each worker has its
        `data.stream.Shard` of every batch, one batch after another."""
        if self.workers == 1:
            return here
        parts = [part.reshape(steps, -1, *part.shape[1:]) for [part] in self.gather(here)]
        return np.concatenate(parts, axis=1).reshape(-1, *here.shape[1:])

    def most(self, *values: int) -> tuple[int, ...]:
        """The largest that any worker has, of each; below 2³¹."""
        if self.workers == 1:
            return values
        return tuple(self._gather(np.array(values, WORD)).max(axis=0).tolist())

    def told(self, value: Callable[[], Any]) -> Any:
        """What the chief finds, anything that JSON can hold; the others are told.

        Raises: whatever `value` raises, at the chief; then UserError at the others.
        """
        said = b""
        try:
            said = json.dumps(value()).encode() if self.chief else said
        finally:  # nobody waits for what does not come
            found = self.exchange(said)[0]
        if not found:
            raise UserError("", "worker 0 has ended; it says why")
        return json.loads(found)

    @contextmanager
    def chief_first(self) -> Iterator[None]:
        """The block is the chief's first, then the others', who find what it has made."""
        if not self.chief:
            self.most(0)
        try:
            yield
        finally:
            if self.chief:
                self.most(0)

    def demand_same(self, what: str, text: str) -> None:
        """Raises UserError, at all workers, if the text is not the same everywhere.

        Args:
            what: the text stands for, in the plural.
        """
        texts = self.exchange(text.encode())
        for index, other in enumerate(texts):
            if other != texts[0]:
                problem = f"worker {index} has other {what} than worker 0"
                hint = "all need the same config, the same pictures and the same folder of runs"
                raise UserError("", problem, hint)

    def _gather(self, words: np.ndarray) -> np.ndarray:
        """Words [n] of each worker, of equal n: [W, n]."""
        return _gathered(self.strategy, tf.constant(words[None])).numpy()[:: self.replicas]


@tf.function(reduce_retracing=True)
def _gathered(strategy: tf.distribute.Strategy, words: tf.Tensor) -> tf.Tensor:
    """[1, n] of each replica: [R, n], of R replicas."""

    def every(words: tf.Tensor) -> tf.Tensor:
        here = tf.identity(words)  # on this replica's device, which a gathering asks for
        return tf.distribute.get_replica_context().all_gather(here, axis=0)

    return strategy.experimental_local_results(strategy.run(every, args=(words,)))[0]
