"""Which pictures are computed together, and that everybody gets their own."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from trainer.serving.batcher import Batcher, Full
from trainer.serving.limits import Limits

NEVER = 60.0  # seconds that no test waits for


def image(value: int) -> np.ndarray:
    return np.full((1, 1, 1), value, np.uint8)


def echo(images: np.ndarray) -> np.ndarray:
    """Of a picture its pixel: whose answer it is can be seen."""
    return images[:, 0, 0, :].astype(np.float32)


def batched(
    story: Callable[[Batcher], Coroutine[Any, Any, Any]],
    compute: Callable[[np.ndarray], np.ndarray] = echo,
    **limits: float,
) -> tuple[Any, list[int]]:
    """What the story returns, and the sizes of the batches."""
    sizes: list[int] = []
    batcher = Batcher(compute, Limits(**limits), lambda size, _: sizes.append(size))  # type: ignore[arg-type]

    async def told() -> Any:
        task = asyncio.create_task(batcher.run())
        try:
            return await asyncio.wait_for(story(batcher), 20)
        finally:
            task.cancel()

    found = asyncio.run(told())
    assert batcher.inside == 0
    return found, sizes


async def asked(batcher: Batcher, *values: int) -> list[float]:
    with batcher.places(len(values)):
        return (await batcher.scores([image(value) for value in values])).ravel().tolist()


def test_what_comes_while_a_batch_is_computed_makes_the_next() -> None:
    begun, go = threading.Event(), threading.Event()

    def compute(images: np.ndarray) -> np.ndarray:
        begun.set()
        go.wait(20)
        return echo(images)

    async def story(batcher: Batcher) -> list[list[float]]:
        tasks = [asyncio.create_task(asked(batcher, 0))]
        await asyncio.to_thread(begun.wait, 20)
        tasks += [asyncio.create_task(asked(batcher, value)) for value in range(1, 8)]
        tasks.append(asyncio.create_task(asked(batcher, 8, 9, 10)))
        await asyncio.sleep(0)
        go.set()
        return await asyncio.gather(*tasks)

    found, sizes = batched(story, compute, batch=4, wait=NEVER)
    assert found == [[0], [1], [2], [3], [4], [5], [6], [7], [8, 9, 10]]
    assert sizes == [1, 4, 4, 2]


def test_whoever_asks_alone_waits_for_nobody() -> None:
    found, sizes = batched(lambda batcher: asked(batcher, 7), wait=NEVER)
    assert (found, sizes) == ([7], [1])


def test_what_is_being_decoded_is_waited_for() -> None:
    async def story(batcher: Batcher) -> list[list[float]]:
        with batcher.places(1):
            first = asyncio.create_task(asked(batcher, 1))
            await asyncio.sleep(0.02)
            second = (await batcher.scores([image(2)])).tolist()
        return [await first, *second]

    found, sizes = batched(story, wait=NEVER)
    assert (found, sizes) == ([[1], [2]], [2])


def test_but_not_for_long() -> None:
    async def story(batcher: Batcher) -> list[float]:
        with batcher.places(1):
            return await asked(batcher, 1)

    found, sizes = batched(story, wait=0.001)
    assert (found, sizes) == ([1], [1])


def test_the_places_are_counted() -> None:
    async def story(batcher: Batcher) -> None:
        with batcher.places(3):
            assert not batcher.full
            with pytest.raises(Full), batcher.places(2):
                pass
            with batcher.places(1):
                assert batcher.full
        assert batcher.inside == 0

    batched(story, waiting=4)


def test_a_failure_reaches_all_who_asked_and_nobody_after() -> None:
    def compute(images: np.ndarray) -> np.ndarray:
        if images.max() > 9:
            raise RuntimeError("too bright")
        return echo(images)

    async def story(batcher: Batcher) -> list[Any]:
        both = [asked(batcher, 3), asked(batcher, 99)]
        first = await asyncio.gather(*both, return_exceptions=True)
        return [*map(str, first), await asked(batcher, 5)]

    found, sizes = batched(story, compute)
    assert (found, sizes) == (["too bright", "too bright", [5]], [1])


def test_a_model_that_answers_too_few_does_not_stop_the_server() -> None:
    async def story(batcher: Batcher) -> list[Any]:
        [error] = await asyncio.gather(asked(batcher, 3, 4), return_exceptions=True)
        return [type(error), await asked(batcher, 5)]

    found, _ = batched(story, lambda images: echo(images)[:1])
    assert found == [ValueError, [5]]


def test_who_gives_up_takes_nothing_from_the_others() -> None:
    begun, go = threading.Event(), threading.Event()

    def compute(images: np.ndarray) -> np.ndarray:
        begun.set()
        go.wait(20)
        return echo(images)

    async def story(batcher: Batcher) -> list[Any]:
        tasks = [asyncio.create_task(asked(batcher, 0, 1))]
        await asyncio.to_thread(begun.wait, 20)
        tasks += [asyncio.create_task(asked(batcher, value)) for value in (2, 3)]
        await asyncio.sleep(0)
        tasks[0].cancel()  # is being computed
        tasks[1].cancel()  # waits
        await asyncio.wait(tasks[:2])
        assert batcher.inside == 1
        go.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        return [type(found[0]), type(found[1]), found[2], await asked(batcher, 4)]

    found, _ = batched(story, compute, wait=NEVER)
    assert found == [asyncio.CancelledError, asyncio.CancelledError, [3], [4]]


def test_one_thread_calls_the_model() -> None:
    """An interpreter of TensorFlow Lite may not be used by several, nor twice at once."""
    threads: set[int] = set()

    def compute(images: np.ndarray) -> np.ndarray:
        threads.add(threading.get_ident())
        return echo(images)

    async def story(batcher: Batcher) -> None:
        for _ in range(5):
            await asyncio.gather(*(asked(batcher, value) for value in range(5)))

    batched(story, compute, batch=2)
    assert len(threads) == 1
