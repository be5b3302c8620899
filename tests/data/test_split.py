"""Examples -> three sides."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainer.config.data import Split
from trainer.data import split, split_file
from trainer.data.examples import SIDES, Chosen, Examples, Files, Texts
from trainer.data.inspect.duplicates import Pairs
from trainer.errors import UserError


def examples(
    counts: Mapping[str, int],
    sides: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
) -> Examples:
    labels = [index for index, count in enumerate(counts.values()) for _ in range(count)]
    names = [f"{name}/{n}.png" for name, count in counts.items() for n in range(count)]
    return Examples(
        Files("pictures", Texts(names)),
        np.array(labels, np.int32),
        tuple(counts),
        None if sides is None else np.array([SIDES.index(side) for side in sides], np.int8),
        None if groups is None else Texts(groups),
    )


def alike(every: Examples, *pairs: tuple[int, int]) -> split.Alike:
    first, second = np.array(sorted(pairs), np.int64).reshape(-1, 2).T
    found = split.by_name()
    return found._replace(pairs=Pairs(first, second, np.zeros(len(first), bool)))


def sides_of(
    every: Examples, spec: Split | None = None, seed: int = 1, pairs: Sequence = (), **options: dict
) -> dict[str, str]:
    """name -> side, `out` for what is left out."""
    sides, out = split.split(every, spec or Split(), seed, alike(every, *pairs), **options)
    found = {name: side for name, _, side in split_file.rows(sides)}
    return found | {every.pictures.name(index): "out" for index in out}


def test_the_shares_hold_in_every_class_within_a_third_and_twice() -> None:
    for seed in range(20):
        every = examples({"a": 2000, "b": 40, "c": 9, "d": 3})
        sides, _ = split.split(every, Split(), seed, alike(every))
        for side, share in ((sides.train, 0.7), (sides.validation, 0.15), (sides.test, 0.15)):
            counts = side.counts()
            assert (counts >= np.maximum(1, np.floor(share / 3 * np.array([2000, 40, 9, 3])))).all()
            assert (counts <= np.ceil(share * 2 * np.array([2000, 40, 9, 3]))).all()
            assert abs(counts[0] / 2000 - share) < 0.035  # 4 standard deviations
        assert sum(map(len, sides)) == 2052


def test_neither_the_order_nor_the_folder_matters_but_the_seed_does() -> None:
    every = examples({"a": 20, "b": 20})
    order = np.random.default_rng(0).permutation(40)
    moved = Examples(
        Chosen(replace(every.pictures, root="elsewhere"), order),
        every.labels[order],
        every.classes,
    )
    assert sides_of(every) == sides_of(moved) != sides_of(every, seed=2)


@pytest.mark.parametrize("seed", range(10))
def test_files_that_are_added_move_no_other(seed: int) -> None:
    every = examples({"a": 110, "b": 220, "c": 1100})
    tenth = np.random.default_rng(seed).permutation(1430)[:143]
    fewer = every.take(np.setdiff1d(np.arange(1430), tenth))
    before, after = sides_of(fewer, seed=seed), sides_of(every, seed=seed)
    assert {name: after[name] for name in before} == before


def test_duplicates_and_groups_stay_together() -> None:
    every = examples({"a": 100, "b": 100}, groups=["g" if i % 9 == 0 else "" for i in range(200)])
    chain = [(i, i + 1) for i in range(20, 40)]
    for seed in range(10):
        found = sides_of(every, seed=seed, pairs=chain)
        together = {*range(0, 200, 9), *range(20, 41)}  # 27 and 36 are in both
        assert len({found[every.pictures.name(index)] for index in together}) == 1


def test_sides_of_the_source_stay_and_missing_ones_come_from_training() -> None:
    sides = ["train"] * 8 + ["validation"] * 2
    found = sides_of(examples({"a": 5, "b": 5}, sides))
    assert [name for name, side in found.items() if side == "validation"] == ["b/3.png", "b/4.png"]
    assert sorted(name[0] for name, side in found.items() if side == "test") == ["a", "b"]
    assert sum(side == "train" for side in found.values()) == 6


def test_all_sides_of_the_source() -> None:
    sides = ["train", "validation", "test", "test", "validation", "train"]
    assert list(sides_of(examples({"a": 3, "b": 3}, sides)).values()).count("test") == 2


def test_a_duplicate_on_a_lesser_side_of_the_source_is_left_out() -> None:
    sides = ["train", "train", "validation", "test"] * 2
    every = examples({"a": 4, "b": 4}, sides)
    found = sides_of(every, pairs=[(0, 2), (2, 3), (4, 5)])
    assert [found[every.pictures.name(i)] for i in range(8)] == [
        "out", "train", "out", "test", "train", "train", "validation", "test",
    ]  # fmt: skip
    given = examples({"a": 6, "b": 6}, [*["train"] * 5, "test"] * 2)
    found = sides_of(given, pairs=[(0, 1), (1, 5)])
    assert [name for name, side in found.items() if side == "out"] == ["a/0.png", "a/1.png"]


def test_a_group_on_two_sides_of_the_source_is_an_error() -> None:
    every = examples({"a": 2, "b": 2}, ["train", "test"] * 2, ["x", "y", "z", "x"])
    with pytest.raises(UserError) as error:
        sides_of(every)
    assert str(error.value) == (
        "data.source: group 'x' is on two sides, train and test\n"
        "  a group stays on one side: change its split or its group"
    )


def test_what_an_earlier_run_decided_stays_and_new_duplicates_follow() -> None:
    every = examples({"a": 30, "b": 30})
    before = {"a/0.png": 2, "a/1.png": 0, "b/0.png": 1}
    found = sides_of(every, pairs=[(0, 5), (1, 6), (0, 7), (1, 7), (30, 31)], kept=before)
    assert [found[f"a/{i}.png"] for i in (0, 1, 5, 6, 7)] == ["test", "train", "out", "out", "out"]
    found = sides_of(every, pairs=[(0, 5), (1, 6), (30, 31)], kept=before)
    assert [found[f"a/{i}.png"] for i in (0, 1, 5, 6)] == ["test", "train", "test", "train"]
    assert found["b/0.png"] == found["b/1.png"] == "validation"


def test_folds_cut_what_is_not_for_testing_into_equal_parts() -> None:
    every = examples({"a": 500, "b": 500})
    folds = [sides_of(every, Split(folds=5, fold=fold)) for fold in range(5)]
    tested = [{name for name, side in fold.items() if side == "test"} for fold in folds]
    validated = [{name for name, side in fold.items() if side == "validation"} for fold in folds]
    assert tested == [tested[0]] * 5
    assert 100 < len(tested[0]) < 200
    assert sum(map(len, validated)) == len(set.union(*validated)) == 1000 - len(tested[0])
    assert all(abs(len(fold) - 170) < 50 for fold in validated)


def test_multi_label_shares_hold_for_every_label() -> None:
    generator = np.random.default_rng(0)
    labels = (generator.random((600, 4)) < [0.5, 0.2, 0.05, 0.01]).astype(np.uint8)
    every = replace(examples({"x": 600}), labels=labels, classes=("k", "l", "m", "n"))
    sides, _ = split.split(every, Split(), 1, alike(every))
    total = labels.sum(axis=0)
    for side, share in zip(sides, (0.7, 0.15, 0.15), strict=True):
        assert (side.counts() >= np.maximum(1, np.floor(share / 3 * total))).all()
        assert (side.counts() <= np.ceil(share * 2 * total)).all()


def test_every_class_needs_a_picture_on_every_side() -> None:
    with pytest.raises(UserError) as error:
        sides_of(examples({"a": 20, "b": 2}))
    assert str(error.value) == (
        "data.split: class 'b' has 2 pictures, too few to split: 1 for validation, "
        "1 for test and at least 1 to train on\n  add pictures of the class or remove it"
    )
    with pytest.raises(UserError) as error:
        sides_of(examples({"a": 20, "b": 3}), pairs=[(20, 21), (21, 22)])
    assert str(error.value) == (
        "data.split: class 'b' has 3 pictures in 1 group that stay together (duplicates do), too "
        "few to split: 1 for validation, 1 for test and at least 1 to train on\n"
        "  add pictures of the class or remove it"
    )


@pytest.mark.parametrize("missing", [["test"] * 2, ["validation"] * 2])
def test_a_class_that_is_not_in_the_training_root(missing: list[str]) -> None:
    sides = ["train"] * 2 + ["validation"] * 2 + ["test"] * 2 + ["train"] * 6
    every = examples({"a": 2, "b": 2, "c": 2, "d": 6}, sides)
    with pytest.raises(UserError) as error:
        sides_of(every)
    assert str(error.value) == (
        "data.source: class 'b' has no training picture\n"
        "  add pictures of the class or remove it from the other sides"
    )
    with pytest.raises(UserError, match="class 'b' has no training picture"):
        sides_of(examples({"a": 9, "b": 2}, ["train"] * 9 + missing))


def test_gaps_name_the_classes_that_a_side_lacks() -> None:
    sides = ["train", "validation", "test", "train", "test", "test"]
    found, _ = split.split(every := examples({"a": 3, "b": 3}, sides), Split(), 1, alike(every))
    assert split.gaps(found) == [("validation", "b")]


def test_the_written_split_reads_as_it_was(tmp_path: Path) -> None:
    every = examples({"a": 9, 'b,"ü': 5})
    sides, _ = split.split(every, Split(), 1, alike(every))
    split_file.write(sides, tmp_path / "split.csv")
    assert split_file.read(tmp_path / "split.csv") == list(split_file.rows(sides))
    # A class that came since moves the numbers of the others, a picture is gone.
    now = examples({"Z": 4, "a": 8, 'b,"ü': 5})
    again, gone = split_file.restore(tmp_path / "split.csv", now, every.classes)
    assert gone == ["a/8.png"]
    expected = [row for row in split_file.rows(sides) if row[0] != "a/8.png"]
    assert list(split_file.rows(again)) == expected
    assert again.train.classes == every.classes


def test_a_multi_label_split_reads_as_it_was(tmp_path: Path) -> None:
    labels = np.array([[1, 0], [1, 1], [0, 0], [0, 1], [1, 1], [1, 0]] * 5, np.uint8)
    every = replace(examples({"x": 30}), labels=labels, classes=("k", "l"))
    sides, _ = split.split(every, Split(), 1, alike(every))
    split_file.write(sides, tmp_path / "split.csv")
    again, _ = split_file.restore(tmp_path / "split.csv", every, ("k", "l"))
    for one, other in zip(sides, again, strict=True):
        assert np.array_equal(one.labels, other.labels)
    assert {label for _, label, _ in split_file.rows(sides)} == {"k", "l", "k|l", ""}


def test_what_is_no_split(tmp_path: Path) -> None:
    path = tmp_path / "split.csv"
    path.write_text("path,label,split\na,b,somewhere\n")
    with pytest.raises(UserError) as error:
        split_file.read(path)
    assert str(error.value) == f"{path}: expected train, validation, test in the column split"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="is no split of pictures: 'path'"):
        split_file.read(path)


def test_equal_pictures_on_all_sides_of_the_source_stay_on_the_greatest_alone() -> None:
    """Of equal pictures the pairs name each with the first only, which is for training here."""
    every = examples({"a": 5, "b": 3}, ["train", "validation", "test", "train", "train", "train", "validation", "test"])  # fmt: skip
    found = split.by_name()
    pairs = Pairs(np.array([0, 0, 0]), np.array([1, 2, 3]), np.array([True, True, False]))
    _, out = split.split(every, Split(), 1, found._replace(pairs=pairs))
    assert out.tolist() == [0, 1, 3]  # 3 resembles all three


def test_known_pictures_that_have_become_duplicates_do_not_stay_on_two_sides() -> None:
    every = examples({"a": 30, "b": 30})
    before = {"a/0.png": 2, "a/1.png": 0, "a/2.png": 1}
    found = sides_of(every, pairs=[(0, 1), (1, 2)], kept=before)
    assert [found[f"a/{index}.png"] for index in range(3)] == ["test", "out", "validation"]


def test_many_small_additions_keep_the_shares() -> None:
    every = examples({f"{number:02d}": 20 for number in range(50)})
    kept = {name: SIDES.index(side) for name, side in sides_of(every).items()}
    for step in range(1, 11):
        every = examples({f"{number:02d}": 20 + 3 * step for number in range(50)})
        kept = {name: SIDES.index(side) for name, side in sides_of(every, kept=kept).items()}
    shares = np.bincount(list(kept.values())) / len(kept)
    assert shares == pytest.approx([0.7, 0.15, 0.15], abs=0.03)


def test_a_series_and_three_single_pictures_are_enough() -> None:
    every = examples({"a": 30, "b": 30})
    series = [(index, index + 1) for index in range(26)]
    for seed in range(100):
        sides_of(every, seed=seed, pairs=series)  # raises where it cannot


def test_what_cannot_be_trained_or_validated_at_all() -> None:
    with pytest.raises(UserError) as error:
        sides_of(examples({"a": 2, "b": 2}, ["validation", "test"] * 2))
    assert str(error.value) == (
        "data.source: no picture is for training\n"
        "  most should be: a network learns from these alone"
    )
    for seed in range(30):
        with pytest.raises(UserError, match=r"^data.split: class '.' has 2 pictures, too few to "):
            sides_of(examples({"a": 2, "b": 2}), seed=seed)
    with pytest.raises(UserError) as error:
        every = examples({"a": 3, "b": 3}, ["train", "validation", "test"] * 2)
        sides_of(every, pairs=[(1, 2), (4, 5)])
    assert str(error.value) == (
        "data.split: of 6 pictures none is left for validation\n"
        "  are they duplicates of test pictures?"
    )


def test_names_are_asked_for_only_where_a_side_is_drawn() -> None:
    class Nameless(Files):
        def name(self, index: int) -> str:
            raise AssertionError(index)

    every = examples({"a": 5, "b": 3}, ["train", "validation", "test", "train", "train", "train", "validation", "test"])  # fmt: skip
    nameless = Examples(Nameless("", Texts([""] * 8)), every.labels, every.classes, every.sides)
    assert not split.draws(Split(), nameless)
    sides, out = split.split(nameless, Split(), 1, split.by_name())
    assert [len(side) for side in sides] == [4, 2, 2]
    assert not len(out)
    drawn = Examples(nameless.pictures, every.labels, every.classes)
    assert split.draws(Split(), drawn)
    with pytest.raises(AssertionError):
        split.split(drawn, Split(), 1, split.by_name())
