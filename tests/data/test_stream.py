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
    for make in (lambda: stream.shuffled(7, 1000), lambda: stream.balanced(7, members)):
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
        generator, python = stream.generators(seed, position)
        return float(generator.random()), python.random()

    assert draws(1, 5) == draws(1, 5)
    assert len({draws(1, 5), draws(1, 6), draws(2, 5)}) == 3


def test_the_draws_of_neighbours_are_not_correlated() -> None:
    draws = np.array([stream.generators(1, k)[0].random(4) for k in range(4000)])
    neighbours = np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]
    columns = np.corrcoef(draws.T) - np.eye(4)
    assert abs(neighbours) < 0.06  # 4 standard errors of 1 / sqrt(4000)
    assert np.abs(columns).max() < 0.07


def test_the_order_cannot_be_changed_by_whoever_reads_it() -> None:
    assert not stream.permutation(1, 0, 5).flags.writeable
