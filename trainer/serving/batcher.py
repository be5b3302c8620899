"""Pictures of many requests, computed together.

N pictures, K labels; H, W, C the shape that the network takes.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from trainer.serving.limits import Limits


class Full(Exception):
    """There is no room for so many pictures now."""


class _Waiting(NamedTuple):
    image: np.ndarray  # uint8 [H, W, C]
    scores: asyncio.Future[np.ndarray]  # float32 [K]


class Batcher:
    """One queue and one thread that computes: what has come while a batch is computed makes the
    next one.

    A batch that is not full waits only for pictures that are known to come, because they are being
    decoded: whoever asks alone waits for nobody.

    Args:
        scores: uint8 images [N, H, W, C] -> probabilities float32 [N, K].
        watch: is told the size of every batch and the seconds that it took.
    """

    def __init__(
        self,
        scores: Callable[[np.ndarray], np.ndarray],
        limits: Limits,
        watch: Callable[[int, float], None],
    ) -> None:
        self.inside = 0  # pictures that have a place: being decoded, waiting or being computed
        self._arrived = 0  # of these, the ones that are decoded
        self._scores, self._limits, self._watch = scores, limits, watch
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()

    @property
    def full(self) -> bool:
        """Whether there is not one place left."""
        return self.inside >= self._limits.waiting

    @contextmanager
    def places(self, count: int) -> Iterator[None]:
        """So many pictures will come inside the block. Raises: Full."""
        if self.inside + count > self._limits.waiting:
            raise Full
        self.inside += count
        try:
            yield
        finally:
            self.inside -= count

    async def scores(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Probabilities float32 [N, K] of N > 0 images uint8 [H, W, C], which have places."""
        loop = asyncio.get_running_loop()
        asked = [_Waiting(image, loop.create_future()) for image in images]
        self._arrived += len(asked)
        try:
            for each in asked:
                self._queue.put_nowait(each)
            return np.stack(await asyncio.gather(*(each.scores for each in asked)))
        finally:
            self._arrived -= len(asked)

    async def run(self) -> None:
        """Answers what comes, until it is cancelled."""
        with ThreadPoolExecutor(1, "compute") as thread:
            while True:
                await self._answer(await self._collected(), thread)

    async def _collected(self) -> list[_Waiting]:
        batch = [await self._queue.get()]
        end = asyncio.get_running_loop().time() + self._limits.wait
        while len(batch) < self._limits.batch:
            if not self._queue.empty():
                batch.append(self._queue.get_nowait())
            elif self.inside == self._arrived:
                break
            else:
                try:
                    async with asyncio.timeout_at(end):
                        batch.append(await self._queue.get())
                except TimeoutError:
                    break
        return batch

    async def _answer(self, batch: Sequence[_Waiting], thread: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        images = np.stack([each.image for each in batch])
        try:
            scores_NK = await loop.run_in_executor(thread, self._scores, images)
            answers = list(zip(batch, scores_NK, strict=True))
        except Exception as error:  # whatever a runtime raises: all who asked are told
            for each in batch:
                if not each.scores.done():
                    each.scores.set_exception(error)
            return
        self._watch(len(batch), loop.time() - start)
        for each, scores_K in answers:
            if not each.scores.done():  # cancelled: the server is stopped
                each.scores.set_result(scores_K)
