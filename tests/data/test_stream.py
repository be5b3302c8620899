"""Position -> example and generators."""

import numpy as np

from trainer.data import stream


def test_every_pass_holds_every_example_once_in_an_order_of_its_own() -> None:
    order = stream.shuffled(7, 10)
    passes = [[order(turn * 10 + k) for k in range(10)] for turn in range(3)]
    assert [sorted(each) for each in passes] == [list(range(10))] * 3
    assert passes[0] != passes[1] != passes[2] != passes[0]


def test_any_position_is_reached_without_the_ones_before() -> None:
    members = [np.arange(0, 700), np.arange(700, 1000)]
    for make in (
        lambda: stream.shuffled(7, 1000),
        lambda: stream.balanced(7, members),
        lambda: stream.weighted(7, np.linspace(0, 1, 1000)),
        lambda: stream.sequential(1000),
    ):
        order = make()
        far, near = order(10**9 + 3), order(3)
        order = make()
        assert (order(3), order(10**9 + 3)) == (near, far)


def test_a_balanced_stream_holds_every_class_equally_often_and_all_its_examples_in_turn() -> None:
    members = [np.array([3, 5]), np.array([0, 1, 2, 4]), np.array([6])]
    order = stream.balanced(1, members)
    drawn = [order(k) for k in range(3 * 12)]
    kinds = [next(c for c, each in enumerate(members) if index in each) for index in drawn]
    assert all(sorted(kinds[k : k + 3]) == [0, 1, 2] for k in range(0, 36, 3))
    assert len({tuple(kinds[k : k + 3]) for k in range(0, 36, 3)}) > 1
    second = [index for index, kind in zip(drawn, kinds, strict=True) if kind == 1]
    assert [sorted(second[k : k + 4]) for k in (0, 4, 8)] == [[0, 1, 2, 4]] * 3
    assert len({tuple(second[k : k + 4]) for k in (0, 4, 8)}) > 1


def test_the_seed_and_the_position_alone_decide_the_draws() -> None:
    def draws(seed: int, position: int) -> tuple[float, float]:
        draws = stream.Draws(seed)
        draws.at(position)
        return float(draws.generator.random()), draws.python.random()

    assert draws(1, 5) == draws(1, 5)
    assert len({draws(1, 5), draws(1, 6), draws(2, 5)}) == 3


def test_what_was_drawn_at_one_position_changes_nothing_at_another() -> None:
    def drawn(draws: stream.Draws) -> list[float]:
        draws.at(7)
        python = draws.python
        return [*draws.generator.random(3), python.random(), python.gauss(0, 1)]

    draws = stream.Draws(1)
    draws.at(6)
    draws.generator.integers(5, dtype=np.uint32)  # leaves half of 64 bits behind
    draws.python.gauss(0, 1)  # computes two and leaves one behind
    assert drawn(draws) == drawn(stream.Draws(1))


def test_the_largest_seed_has_positions_too() -> None:
    draws = [stream.Draws(0), stream.Draws(2**32 - 1)]
    for each in draws:
        each.at(2**62)
    assert draws[0].generator.random() != draws[1].generator.random()


def test_a_sequential_stream_goes_round() -> None:
    assert [stream.sequential(3)(k) for k in range(7)] == [0, 1, 2, 0, 1, 2, 0]


def test_a_weighted_pass_holds_each_example_its_share_rounded_up_or_down() -> None:
    weights = np.array([0, 3.0, 1.0, 0.5, 0.25, 0.25])  # shares of 6: 0, 3.6, 1.2, 0.6, 0.3, 0.3
    order = stream.weighted(2, weights)
    counts = np.array(
        [np.bincount([order(6 * t + k) for k in range(6)], minlength=6) for t in range(2000)]
    )
    assert counts.min(axis=0).tolist() == [0, 3, 1, 0, 0, 0]
    assert counts.max(axis=0).tolist() == [0, 4, 2, 1, 1, 1]
    assert np.abs(counts.mean(axis=0) - [0, 3.6, 1.2, 0.6, 0.3, 0.3]).max() < 0.05  # 4 errors


def test_equal_weights_show_every_example_once_a_pass_in_another_order() -> None:
    order = stream.weighted(1, np.ones(6))
    passes = [[order(6 * t + k) for k in range(6)] for t in range(4)]
    assert all(sorted(each) == list(range(6)) for each in passes)
    assert len({tuple(each) for each in passes}) > 1


def test_workers_share_out_the_positions_of_a_step() -> None:
    assert stream.positions(5, 4) == range(20, 24)
    shares = [stream.positions(5, 7, stream.Shard(worker, 3)) for worker in range(3)]
    assert [list(each) for each in shares] == [[35, 36, 37], [38, 39], [40, 41]]


def test_the_draws_of_neighbours_are_not_correlated() -> None:
    at = stream.Draws(1)
    draws = np.array([(at.at(k), at.generator.random(4))[1] for k in range(4000)])
    neighbours = np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]
    columns = np.corrcoef(draws.T) - np.eye(4)
    assert abs(neighbours) < 0.06  # 4 standard errors of 1 / sqrt(4000)
    assert np.abs(columns).max() < 0.07


def test_the_order_cannot_be_changed_by_whoever_reads_it() -> None:
    assert not stream.permutation(1, 0, 5).flags.writeable
