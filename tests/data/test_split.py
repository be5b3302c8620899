"""Examples -> three sides."""

from pathlib import Path

import numpy as np
import pytest

from trainer.config.data import Split
from trainer.data.examples import Examples, one_hot
from trainer.data.split import read, split, write
from trainer.errors import UserError


def examples(counts: dict[str, int], sides: list[str] | None = None) -> Examples:
    labels = [index for index, count in enumerate(counts.values()) for _ in range(count)]
    paths = [f"{name}/{n}.png" for name, count in counts.items() for n in range(count)]
    return Examples(paths, one_hot(labels, len(counts)), tuple(counts), sides)


def test_the_shares_hold_in_every_class() -> None:
    sides = split(examples({"a": 20, "b": 7}), Split(validation=0.25, test=0.1), seed=1)
    # a: 5 and 2 of 20; b: 2 (1.75) and 1 (0.7) of 7
    assert sides.validation.labels_NK.sum(axis=0).tolist() == [5, 2]
    assert sides.test.labels_NK.sum(axis=0).tolist() == [2, 1]
    assert sides.train.labels_NK.sum(axis=0).tolist() == [13, 4]


def test_no_picture_is_lost_or_on_two_sides() -> None:
    every = examples({"a": 9, "b": 5})
    sides = split(every, Split(), seed=1)
    paths = [path for side in sides for path in side.paths]
    assert sorted(paths) == sorted(every.paths)


def test_neither_the_order_nor_the_folder_matters_but_the_seed_does() -> None:
    every = examples({"a": 20, "b": 20})
    order = np.random.default_rng(0).permutation(40)
    moved = every.take(order)._replace(paths=[f"/x/{every.paths[i]}" for i in order])
    first, second = (split(each, Split(), seed=1) for each in (every, moved))
    assert sorted(f"/x/{path}" for path in first.test.paths) == sorted(second.test.paths)
    assert first.test.paths != split(every, Split(), seed=2).test.paths


def test_sides_of_the_source_stay_and_missing_ones_come_from_training() -> None:
    sides = ["train"] * 8 + ["validation"] * 2
    found = split(examples({"a": 5, "b": 5}, sides)._replace(sides=sides), Split(), seed=1)
    assert found.validation.paths == ["b/3.png", "b/4.png"]
    assert found.test.labels_NK.sum(axis=0).tolist() == [1, 1]
    assert len(found.train.paths) == 6


def test_without_a_test_share_there_is_no_test_side() -> None:
    assert split(examples({"a": 4, "b": 4}), Split(test=0), seed=1).test.paths == []


def test_a_class_with_too_few_pictures() -> None:
    with pytest.raises(UserError) as error:
        split(examples({"a": 20, "b": 2}), Split(), seed=1)
    assert str(error.value) == (
        "data.split: class 'b' has 2 training pictures, too few to split: 1 for validation, "
        "1 for test and at least 1 to train on\n  add pictures of the class or remove its folder"
    )


def test_a_class_that_is_not_in_the_training_root() -> None:
    sides = ["train"] * 2 + ["validation"] * 2 + ["test"] * 2
    with pytest.raises(UserError) as error:
        split(examples({"a": 2, "b": 2, "c": 2}, sides), Split(), seed=1)
    assert str(error.value).startswith("data.source.path: class 'b' has no training picture\n")


def test_the_written_split_reads_as_it_was(tmp_path: Path) -> None:
    sides = split(examples({"a": 9, 'b,"ü': 5}), Split(), seed=1)
    write(sides, tmp_path / "split.csv")
    again = read(tmp_path / "split.csv", sides.train.classes)
    for side, other in zip(sides, again, strict=True):
        assert side.paths == other.paths
        assert side.labels_NK.tolist() == other.labels_NK.tolist()
