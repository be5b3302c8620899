"""MixUp and CutMix: what becomes of pictures, labels and weights."""

from collections.abc import Callable

import numpy as np
import pytest
from pydantic import ValidationError

from trainer.config.data import Mix
from trainer.data import mix as module
from trainer.data.batch import Batch
from trainer.data.mix import blend, mix, mixing, paste
from trainer.data.stream import Shard

OTHERS = np.array([1, 0])


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def batch(count: int = 4, size: tuple[int, int, int] = (6, 5, 3)) -> Batch:
    """Row i is of grey 50 i, of class i % 2 and of weight 1."""
    images = np.zeros((count, *size), np.uint8)
    images += (50 * np.arange(count, dtype=np.uint8))[:, None, None, None]
    labels = np.eye(2, dtype=np.float32)[np.arange(count) % 2]
    return images, labels, np.ones(count, np.float32)


def apply(found: Batch, spec: Mix, seed: int, step: int) -> None:
    drawn = mixing(spec, seed, step, len(found[0]))
    if drawn:
        mix(found, drawn)


@pytest.mark.parametrize("channels", [1, 3])
def test_blending_adds_both_by_their_shares(channels: int) -> None:
    images = np.zeros((2, 4, 3, channels), np.uint8)
    images[0], images[1] = 200, 101
    assert blend(images, OTHERS, 0.75, generator()) == 0.75
    assert set(images[0].ravel()) == {175}  # 150 + 25.25
    assert set(images[1].ravel()) == {126}  # 75.75 + 50


class _Centre:
    """Draws these integers in turn: the centre of the box."""

    def __init__(self, *values: int) -> None:
        self.values = list(values)

    def integers(self, _: int) -> int:
        return self.values.pop(0)


@pytest.mark.parametrize(
    ("centre", "box", "kept"),
    [
        ((4, 4), (slice(2, 6), slice(2, 6)), 0.75),  # half of each side of 8: 4 pixels
        ((0, 7), (slice(0, 2), slice(5, 8)), 1 - 6 / 64),  # what lies outside is lost
    ],
)
def test_pasting_takes_a_box_of_the_other(
    centre: tuple[int, int], box: tuple[slice, slice], kept: float
) -> None:
    images = np.zeros((2, 8, 8, 3), np.uint8)
    images[1] = 9
    drawn: np.random.Generator = _Centre(*centre)  # type: ignore[assignment]
    assert paste(images, OTHERS, 0.75, drawn) == kept
    expected = np.zeros((8, 8, 3), np.uint8)
    expected[box] = 9
    assert np.array_equal(images[0], expected)
    assert np.array_equal(images[1], 9 - expected)


def test_labels_and_weights_are_mixed_as_the_loss_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "blend", lambda *_: 0.8)
    images, labels, weights = batch(2)
    weights[:] = 1, 3
    fixed = type("Fixed", (), {
        "random": lambda _: 0.0, "integers": lambda *_: 0, "beta": lambda *_: 0.8,
        "permutation": lambda *_: OTHERS,
    })()  # fmt: skip
    monkeypatch.setattr(module.stream, "of_batch", lambda *_: fixed)
    apply((images, labels, weights), Mix(mixup=1.0), 1, 0)
    assert weights == pytest.approx([0.8 * 1 + 0.2 * 3, 0.8 * 3 + 0.2 * 1])
    # Crossentropy is linear in the labels: w · CE(label) = 0.8 · 1 · CE(a) + 0.2 · 3 · CE(b).
    assert labels[0] * weights[0] == pytest.approx([0.8, 0.6])
    assert labels[1] * weights[1] == pytest.approx([0.2, 2.4])


@pytest.mark.parametrize("spec", [Mix(mixup=0.4), Mix(cutmix=1.0), Mix(mixup=0.4, cutmix=1.0)])
def test_a_batch_is_a_function_of_seed_and_step(spec: Mix) -> None:
    def mixed(seed: int, step: int) -> Batch:
        found = batch(8)
        apply(found, spec, seed, step)
        return found

    one, again = mixed(1, 5), mixed(1, 5)
    assert all(map(np.array_equal, one, again))
    assert not np.array_equal(one[0], mixed(2, 5)[0])
    assert not np.array_equal(one[0], mixed(1, 6)[0])
    assert one[1].sum(axis=1) == pytest.approx(np.ones(8))
    assert one[2] == pytest.approx(np.ones(8))
    assert one[0].dtype == np.uint8


def changed(spec: Mix, steps: int = 400) -> Callable[[Callable[[Batch], bool]], float]:
    """The share of the batches of which something holds."""

    def share(holds: Callable[[Batch], bool]) -> float:
        count = 0
        for step in range(steps):
            found = batch(6, (8, 8, 1))
            apply(found, spec, 3, step)
            count += holds(found)
        return count / steps

    return share


def test_p_and_both_ways_have_their_shares() -> None:
    def untouched(found: Batch) -> bool:
        return np.array_equal(found[1], batch(6)[1])

    def pasted(found: Batch) -> bool:
        return all(value % 50 == 0 for value in np.unique(found[0]))

    # A permutation that moves nobody to another class, or a share of all but 1, leaves labels too.
    assert changed(Mix(mixup=1.0, p=0.25))(untouched) == pytest.approx(0.76, abs=0.06)
    assert changed(Mix(mixup=1.0, cutmix=1.0))(pasted) == pytest.approx(0.5, abs=0.08)
    assert changed(Mix(cutmix=1.0))(pasted) == 1


@pytest.mark.parametrize("given", [{}, {"p": 0.5}])
def test_no_way_is_a_mistake(given: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="expected mixup, cutmix or both, as in"):
        Mix.model_validate(given)


@pytest.mark.parametrize("spec", [Mix(mixup=0.4), Mix(cutmix=1.0)])
@pytest.mark.parametrize("count", [2, 3])
def test_parts_of_a_batch_are_mixed_as_the_whole(spec: Mix, count: int) -> None:
    """7 rows, divisible by neither."""
    whole = batch(7)
    apply(whole, spec, 1, 5)
    for index in range(count):
        rows = list(Shard(index, count).rows(7))
        drawn = mixing(spec, 1, 5, 7)
        assert drawn
        needed, local = drawn.needed(rows)
        assert needed[: len(rows)] == rows
        assert len(needed) <= 2 * len(rows)
        part = tuple(each[needed] for each in batch(7))
        mix(part, local)
        for found, expected in zip(part, whole, strict=True):
            assert np.array_equal(found[: len(rows)], expected[rows])
