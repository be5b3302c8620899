"""Examples -> batches."""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import draw_pictures
from trainer.config.data import Data, Folder
from trainer.data import augment, pipeline, stream
from trainer.data.decode import decode
from trainer.data.examples import Examples
from trainer.data.sources import folder
from trainer.errors import UserError


@pytest.fixture
def examples(tmp_path: Path) -> Examples:
    draw_pictures(tmp_path, {"a": 4, "b": 3})
    return folder.read(Folder(kind="folder", path=str(tmp_path)))


def spec(batch_size: int = 3) -> Data:
    source = Folder(kind="folder", path="unused")
    return Data(source=source, image_size=[8, 10], batch_size=batch_size)  # type: ignore[arg-type]


def faults() -> pipeline.Faults:
    return pipeline.Faults({}, [])


def take(dataset, count: int) -> list[pipeline.Batch]:  # type: ignore[no-untyped-def]
    return list(dataset.take(count).as_numpy_iterator())


def pixels(path: str) -> np.ndarray:
    return decode(Path(path).read_bytes(), (8, 10))


def test_training_follows_the_stream_and_never_ends(examples: Examples) -> None:
    batches = take(pipeline.training(examples, augment.build(()), spec(), 1, faults()), 20)
    for step, (images, labels, weights) in enumerate(batches):
        for row in range(3):
            index = stream.example(1, 3 * step + row, 7)
            assert np.array_equal(images[row], pixels(examples.paths[index]))
            assert np.array_equal(labels[row], examples.labels_NK[index])
        assert weights.tolist() == [1, 1, 1]


def test_training_starts_at_any_step(examples: Examples) -> None:
    calls = spec().model_validate({**spec().model_dump(), "augment": ["HorizontalFlip"]}).augment
    whole = take(pipeline.training(examples, augment.build(calls), spec(), 1, faults()), 9)
    later = take(pipeline.training(examples, augment.build(calls), spec(), 1, faults(), start=6), 3)
    for one, other in zip(whole[6:], later, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_evaluation_is_one_pass_padded_with_weight_0(examples: Examples) -> None:
    batches = take(pipeline.evaluation(examples, spec(), faults()), 99)
    images, labels, weights = (np.concatenate(each) for each in zip(*batches, strict=True))
    assert weights.tolist() == [1] * 7 + [0] * 2
    assert np.array_equal(labels[:7], examples.labels_NK)
    assert all(np.array_equal(images[i], pixels(examples.paths[i])) for i in range(7))
    assert images[7:].max() == 0


def test_an_unreadable_picture_is_named_counted_and_left_out(
    examples: Examples, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(examples.paths[2]).write_bytes(b"no picture")
    Path(examples.paths[5]).unlink()
    found = faults()
    batches = take(pipeline.training(examples, augment.build(()), spec(7), 1, found), 6)
    substitutes = {2: 3, 5: 6}
    for step, (images, labels, weights) in enumerate(batches):
        for row in range(7):
            index = stream.example(1, 7 * step + row, 7)
            index = substitutes.get(index, index)
            assert np.array_equal(images[row], pixels(examples.paths[index]))
            assert np.array_equal(labels[row], examples.labels_NK[index])
        assert weights.min() == 1
    assert found.unreadable == {
        examples.paths[2]: "no picture of a known format",
        examples.paths[5]: "No such file or directory",
    }
    [(_, _, weights)] = take(pipeline.evaluation(examples, spec(7), faults()), 1)
    assert weights.tolist() == [1, 1, 0, 1, 1, 0, 1]
    warned = capsys.readouterr().err
    assert f"warning: {examples.paths[2]} is left out: no picture of a known format" in warned


def test_nothing_but_unreadable_pictures_ends_the_run(examples: Examples) -> None:
    for path in examples.paths:
        Path(path).write_bytes(b"no picture")
    found = faults()
    batches = pipeline.training(examples, augment.build(()), spec(), 1, found)
    with pytest.raises(UserError) as error, pipeline.reported(found):
        take(batches, 1)
    assert "data.source: not one of 7 training pictures can be read, as " in str(error.value)
