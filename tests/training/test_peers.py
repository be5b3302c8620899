"""What workers tell each other: one alone here, several by a stand-in for the collective."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from trainer.data.stream import Shard
from trainer.errors import UserError
from trainer.training.peers import Peers


def everywhere(work: Callable[[Peers], Any], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the work gives at each of three workers, or the error it raises; the collective is a
    meeting of three threads."""
    meeting, held = threading.Barrier(3, timeout=20), dict[int, np.ndarray]()

    def gather(self: Peers, words: np.ndarray) -> np.ndarray:
        held[self.worker] = words
        meeting.wait()
        found = np.stack([held[worker] for worker in range(3)])
        meeting.wait()
        return found

    monkeypatch.setattr(Peers, "_gather", gather)
    found: dict[int, Any] = {}

    def run(worker: int) -> None:
        try:
            found[worker] = work(Peers(tf.distribute.get_strategy(), worker, 3))
        except Exception as error:
            found[worker] = error

    threads = [threading.Thread(target=run, args=(worker,)) for worker in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[worker] for worker in range(3)]


def test_one_alone_tells_itself() -> None:
    peers = Peers.of(tf.distribute.get_strategy())
    assert (peers.worker, peers.workers, peers.replicas, peers.chief) == (0, 1, 1, True)
    assert peers.exchange(b"hello") == [b"hello"]
    assert peers.most(3, 4) == (3, 4)
    assert peers.told(lambda: {"a": 1}) == {"a": 1}
    peers.demand_same("pictures", "text")


def test_messages_may_have_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [b"", b"12345", b"1234512345"]
    found = everywhere(lambda peers: peers.exchange(b"12345" * peers.worker), monkeypatch)
    assert found == [expected] * 3
    assert everywhere(lambda peers: peers.exchange(b""), monkeypatch) == [[b""] * 3] * 3


def test_the_largest_of_all_is_known_to_all(monkeypatch: pytest.MonkeyPatch) -> None:
    found = everywhere(lambda peers: peers.most(peers.worker, -peers.worker), monkeypatch)
    assert found == [(2, 0)] * 3


def test_arrays_come_from_all_workers_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(peers: Peers) -> list[list[Any]]:
        arrays = peers.gather(np.full(peers.worker, 7, np.int64), np.float32(peers.worker))
        return [[each.tolist() for each in worker] for worker in arrays]

    assert everywhere(gather, monkeypatch) == [[[[], 0.0], [[7], 1.0], [[7, 7], 2.0]]] * 3


def test_what_several_name_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = everywhere(lambda peers: peers.union({f"{peers.worker // 2}", "\udce4"}), monkeypatch)
    assert found == [["0", "1", "\udce4"]] * 3


def test_rows_come_in_the_order_of_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches of 7 rows: workers have 3, 2 and 2 of each."""

    def rows(peers: Peers) -> list[int]:
        shard = Shard(peers.worker, 3).rows(7)
        mine = [10 * step + row for step in range(2) for row in shard]
        return peers.rows(np.array(mine), 2).tolist()

    assert everywhere(rows, monkeypatch) == [[*range(7), *range(10, 17)]] * 3


def test_what_the_first_finds_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = everywhere(lambda peers: peers.told(lambda: f"by {peers.worker}"), monkeypatch)
    assert found == ["by 0"] * 3


def test_an_error_of_the_first_is_told_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(peers: Peers) -> Any:
        return peers.told(lambda: {}["none"])

    first, *others = everywhere(work, monkeypatch)
    assert isinstance(first, KeyError)
    assert [str(other) for other in others] == ["worker 0 has ended; it says why"] * 2


def test_the_first_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[int] = []

    def work(peers: Peers) -> None:
        with peers.chief_first():
            order.append(peers.worker)

    everywhere(work, monkeypatch)
    assert order[0] == 0
    assert sorted(order) == [0, 1, 2]


def test_what_differs_is_said_at_all_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    found = everywhere(
        lambda peers: peers.demand_same("pictures", str(peers.worker // 2)), monkeypatch
    )
    assert [type(each) for each in found] == [UserError] * 3
    assert {str(each) for each in found} == {
        "worker 2 has other pictures than worker 0\n"
        "  all need the same config, the same pictures and the same folder of runs"
    }
