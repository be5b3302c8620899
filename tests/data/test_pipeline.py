"""Examples -> batches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import draw_pictures
from trainer.config.data import Data, Folder
from trainer.data import batches as made
from trainer.data import feed, pipeline, stream
from trainer.data.batch import Batch
from trainer.data.decode import decode, present
from trainer.data.examples import Examples
from trainer.data.sources import folder
from trainer.errors import UserError


@pytest.fixture
def examples(tmp_path: Path) -> Examples:
    draw_pictures(tmp_path, {"a": 4, "b": 3})
    return folder.read(Folder(kind="folder", path=str(tmp_path)))


def spec(batch_size: int = 3, **options: object) -> Data:
    source = {"kind": "folder", "path": "unused"}
    return Data.model_validate(
        {"source": source, "image_size": [8, 10], "batch_size": batch_size, **options}
    )


def faults() -> pipeline.Faults:
    return pipeline.Faults({}, [])


def take(dataset, count: int) -> list[Batch]:  # type: ignore[no-untyped-def]
    return list(dataset.take(count).as_numpy_iterator())


def pixels(examples: Examples, index: int) -> np.ndarray:
    return present(decode(examples.pictures.content(index)), spec())


def one_hot(examples: Examples, index: int) -> list[int]:
    return [int(label == examples.labels[index]) for label in range(len(examples.classes))]


def test_training_follows_the_stream_and_never_ends(examples: Examples) -> None:
    batches = take(feed.training(examples, spec(), 1, faults()), 20)
    for step, (images, labels, weights) in enumerate(batches):
        for row in range(3):
            index = stream.shuffled(1, 7)(3 * step + row)
            assert np.array_equal(images[row], pixels(examples, index))
            assert labels[row].tolist() == one_hot(examples, index)
        assert weights.tolist() == [1, 1, 1]


def test_training_starts_at_any_step(examples: Examples) -> None:
    flipped = spec(augment=["HorizontalFlip"])
    whole = take(feed.training(examples, flipped, 1, faults()), 9)
    later = take(feed.training(examples, flipped, 1, faults(), start=6), 3)
    for one, other in zip(whole[6:], later, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_evaluation_is_one_pass_padded_with_weight_0(examples: Examples) -> None:
    batches = take(feed.evaluation(examples, spec(), faults()), 99)
    images, labels, weights = (np.concatenate(each) for each in zip(*batches, strict=True))
    assert weights.tolist() == [1] * 7 + [0] * 2
    assert labels[:7].tolist() == [one_hot(examples, index) for index in range(7)]
    assert all(np.array_equal(images[i], pixels(examples, i)) for i in range(7))
    assert images[7:].max() == 0


def test_an_unreadable_picture_is_named_counted_and_left_out(
    examples: Examples, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(examples.pictures.place(2)).write_bytes(b"no picture")
    Path(examples.pictures.place(5)).unlink()
    found = faults()
    batches = take(feed.training(examples, spec(7), 1, found), 6)
    substitutes = {2: 3, 5: 6}
    for step, (images, labels, weights) in enumerate(batches):
        for row in range(7):
            index = stream.shuffled(1, 7)(7 * step + row)
            index = substitutes.get(index, index)
            assert np.array_equal(images[row], pixels(examples, index))
            assert labels[row].tolist() == one_hot(examples, index)
        assert weights.min() == 1
    assert found.unreadable == {
        examples.pictures.place(2): "no picture of a known format",
        examples.pictures.place(5): "No such file or directory",
    }
    [(_, _, weights)] = take(feed.evaluation(examples, spec(7), faults()), 1)
    assert weights.tolist() == [1, 1, 0, 1, 1, 0, 1]
    warned = capsys.readouterr().err
    assert (
        f"warning: {examples.pictures.place(2)} is left out: no picture of a known format" in warned
    )


def test_nothing_but_unreadable_pictures_ends_the_run(examples: Examples) -> None:
    for index in range(7):
        Path(examples.pictures.place(index)).write_bytes(b"no picture")
    found = faults()
    batches = feed.training(examples, spec(), 1, found)
    with pytest.raises(UserError) as error, pipeline.reported(found):
        take(batches, 1)
    assert "data.source: not one of 7 training pictures can be read, as " in str(error.value)


def test_class_weights_are_the_weights_of_the_rows(examples: Examples) -> None:
    for given, expected in (
        ("balanced", {0: 7 / (2 * 4), 1: 7 / (2 * 3)}),
        ({"b": 2.5}, {0: 1.0, 1: 2.5}),
    ):
        weighted = spec(7, class_weights=given)
        [(_, labels, weights)] = take(feed.training(examples, weighted, 1, faults()), 1)
        assert weights == pytest.approx([expected[label] for label in labels.argmax(axis=1)])
        [(_, _, weights)] = take(feed.evaluation(examples, weighted, faults()), 1)
        assert weights.tolist() == [1] * 7


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"c": 1}, "data.class_weights.c: no class is called 'c'\n  expected one of: a, b"),
        ({"a": 0}, "data.class_weights.a: expected a number above 0, received 0.0"),
    ],
)
def test_class_weights_of_classes_that_are_none(
    examples: Examples, given: dict, message: str
) -> None:
    with pytest.raises(UserError) as error:
        made.class_weights(examples, spec(class_weights=given))
    assert str(error.value) == message


def test_balanced_sampling_draws_every_class_equally_often(examples: Examples) -> None:
    few = examples.take(np.array([0, 1, 2, 3, 4]))
    dataset = feed.training(few, spec(6, sampling="balanced"), 1, faults())
    for _, labels, _ in take(dataset, 5):
        assert labels.sum(axis=0).tolist() == [3, 3]


def test_multi_label_rows_are_multi_hot_and_sampled_by_label(examples: Examples) -> None:
    labels = np.array([[0, 1], [0, 0], [1, 1], [1, 0], [1, 0], [1, 0], [1, 0]], np.uint8)
    several = replace(examples, labels=labels)
    [(_, targets, _)] = take(feed.evaluation(several, spec(7), faults()), 1)
    assert np.array_equal(targets, labels)
    dataset = feed.training(several, spec(3, sampling="balanced"), 1, faults())
    for _, targets, _ in take(dataset, 9):  # one with label a, one with b, the one without any
        assert (targets.sum(axis=1) == 0).sum() == 1
        assert targets.max(axis=0).tolist() == [1, 1]
    with pytest.raises(UserError) as error:
        made.class_weights(several, spec(class_weights="balanced"))
    assert str(error.value) == (
        "data.class_weights: a picture has one weight, but may have several labels\n"
        "  write sampling: balanced instead"
    )


def test_grey_pictures_have_one_channel(examples: Examples) -> None:
    grey = spec(2, channels=1, fit="pad")
    [(images, _, _)] = take(feed.training(examples, grey, 1, faults()), 1)
    assert images.shape == (2, 8, 10, 1)


def test_the_order_of_data_sampling(examples: Examples) -> None:
    def drawn(count: int, **options: object) -> list[int]:
        order = made.sampled(examples, spec(**options), 1)
        return [order(k) for k in range(count)]

    assert drawn(9, sampling="sequential") == [0, 1, 2, 3, 4, 5, 6, 0, 1]
    counts = np.bincount(drawn(7000, sampling={"b": 3}), minlength=7) / 1000
    assert counts == pytest.approx([7 / 13] * 4 + [21 / 13] * 3, abs=0.06)
    several = replace(
        examples, labels=np.array([[0, 1], [0, 0], [1, 1], [1, 0]] + [[1, 0]] * 3, np.uint8)
    )
    order = made.sampled(several, spec(sampling={"a": 2, "b": 5}), 1)
    counts = np.bincount([order(k) for k in range(7000)], minlength=7) / 1000
    assert counts == pytest.approx([7 * w / 19 for w in (5, 1, 5, 2, 2, 2, 2)], abs=0.06)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"c": 1}, "data.sampling.c: no class is called 'c'\n  expected one of: a, b"),
        ({"a": -1}, "data.sampling.a: expected a number above 0, received -1.0"),
    ],
)
def test_sampling_of_classes_that_are_none(examples: Examples, given: dict, message: str) -> None:
    with pytest.raises(UserError) as error:
        made.sampled(examples, spec(sampling=given), 1)
    assert str(error.value) == message


def test_pictures_are_loaded_larger_and_cropped(examples: Examples) -> None:
    cropped = spec(7, load_size=[16, 20], augment=[{"RandomCrop": {"height": 8, "width": 10}}])
    [(images, _, _)] = take(feed.training(examples, cropped, 1, faults()), 1)
    order = stream.shuffled(1, 7)
    for row in range(7):
        content = examples.pictures.content(order(row))
        large = present(decode(content), spec(), (16, 20))
        places = [
            (top, left)
            for top in range(9)
            for left in range(11)
            if np.array_equal(large[top : top + 8, left : left + 10], images[row])
        ]
        assert len(places) == 1
    [(images, _, _)] = take(feed.evaluation(examples, cropped, faults()), 1)
    assert np.array_equal(images[0], pixels(examples, 0))  # evaluation does not crop


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (
            "tests.data.transforms.Failing",
            "data.augment: fails on a picture of 8x10x3: ValueError: no",
        ),
        (
            "tests.data.transforms.Halving",
            "data.augment: it turns 8x10x3 pixels (height, width, channels) into 4x10x3\n"
            "  pictures have data.image_size before and after augmentation; "
            "RandomResizedCrop with that size zooms and keeps it",
        ),
    ],
)
def test_a_transform_that_fails_on_some_pictures(
    examples: Examples, transform: str, message: str
) -> None:
    found = faults()
    batches = feed.training(examples, spec(augment=[{transform: {"p": 1.0}}]), 1, found)
    with pytest.raises(UserError) as error, pipeline.reported(found):
        take(batches, 1)
    assert str(error.value) == message
