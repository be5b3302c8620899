"""What both caches promise: the same pixels as without one, each picture made once."""

import gc
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.data.cache.helpers import SHAPE, Source, child, ended, new, pixels
from trainer.data.cache.disk import Disk
from trainer.data.cache.memory import Memory

linux = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts in /proc")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture(params=["memory", "disk"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def store(kind: str, tmp_path: Path) -> Iterator[Memory | Disk]:
    with new(kind, tmp_path) as made:
        yield made


def test_each_picture_is_read_and_made_once(store: Memory | Disk) -> None:
    source = Source()
    for index in [3, 0, 9, 3, 0, 9, 9, 1]:
        source.fetch(store, index)
    assert source.read == source.made == [3, 0, 9, 1]


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 5, 1), (300, 200, 3)])
def test_any_shape(kind: str, tmp_path: Path, shape: tuple[int, int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with Memory(3, shape) if kind == "memory" else Disk(tmp_path, "", 3, shape) as store:
        for _ in range(3):
            found = store.fetch(2, lambda: picture, lambda content: np.flip(content))
            assert np.array_equal(found, np.flip(picture))


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("no picture")])
@pytest.mark.parametrize("when", ["reading", "making"])
def test_what_is_unreadable_passes_through_and_is_asked_again(
    store: Memory | Disk, error: Exception, when: str
) -> None:
    def fails(*_: object) -> np.ndarray:
        raise error

    for _ in range(2):
        with pytest.raises(type(error), match=str(error)):
            store.fetch(4, *((fails, pixels) if when == "reading" else (lambda: b"4", fails)))
    source = Source()
    source.fetch(store, 4)
    assert source.made == [4]


def test_a_caller_cannot_damage_it(store: Memory | Disk) -> None:
    made = pixels(2)
    first = store.fetch(2, lambda: b"2", lambda _: made)
    kept = Source().fetch(store, 2)
    for found in (first, kept):
        with pytest.raises(ValueError, match="read-only"):
            found[0, 0, 0] = 0
    made[:] = 0
    Source().fetch(store, 2)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((16, 20, 1), np.uint8), np.zeros((1, 1, 3), np.uint8), np.zeros(SHAPE, np.int8)],
)
def test_pixels_of_another_shape_or_type_are_a_mistake(
    store: Memory | Disk, wrong: np.ndarray
) -> None:
    with pytest.raises(TypeError, match="in a cache of uint8"):
        store.fetch(0, lambda: b"", lambda _: wrong)
    Source().fetch(store, 0)


def test_threads_share_it(store: Memory | Disk) -> None:
    source = Source()
    orders = [np.random.default_rng(seed).permutation(10).tolist() for seed in range(40)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda order: [source.fetch(store, index) for index in order], orders))
    assert sorted(set(source.made)) == list(range(10))
    assert len(source.made) <= 80  # threads that came at once


def test_processes_share_it(store: Memory | Disk) -> None:
    source = Source()
    for index in (0, 1, 2):
        source.fetch(store, index)
    process = child(store, [0, 1, 2, 3, 4])
    assert ended(process) == ({"read": [3, 4], "made": [3, 4]}, "")
    for index in range(5):
        source.fetch(store, index)
    assert source.read == [0, 1, 2]


def test_a_copy_closes_nothing(store: Memory | Disk) -> None:
    copy = pickle.loads(pickle.dumps(store))
    source = Source()
    source.fetch(copy, 1)
    copy.close()
    source.fetch(store, 1)
    assert source.read == [1]
    assert ended(child(store, [1]))[0] == {"read": [], "made": []}


def test_after_closing_pictures_are_made_and_views_stay_valid(store: Memory | Disk) -> None:
    source = Source()
    before = source.fetch(store, 5)
    store.close()
    store.close()
    for _ in range(2):
        source.fetch(store, 5)
    assert source.made == [5, 5, 5]
    assert np.array_equal(before, pixels(5))


@linux
@pytest.mark.parametrize("close", [True, False])
def test_no_descriptor_is_left(kind: str, tmp_path: Path, close: bool) -> None:
    before = descriptors()
    store = new(kind, tmp_path)
    Source().fetch(store, 1)
    assert descriptors() > before
    if close:
        store.close()
    del store
    gc.collect()
    assert descriptors() == before


@linux
def test_threads_that_come_and_go_leave_nothing(store: Memory | Disk) -> None:
    source = Source()
    source.fetch(store, 0)
    before = descriptors()
    for number in range(100):
        thread = threading.Thread(target=source.fetch, args=(store, number % 10))
        thread.start()
        thread.join()
    assert descriptors() == before


@linux
def test_memory_is_taken_by_what_is_kept() -> None:
    def taken() -> int:
        status = Path("/proc/self/status").read_text()
        return int(status.split("RssShmem:")[1].split()[0]) * 1024

    with Memory(1_000_000, (256, 256, 3)) as store:  # 197 GB
        before = taken()
        store.fetch(999_999, lambda: b"", lambda _: np.ones((256, 256, 3), np.uint8))
        assert taken() - before < 500_000
