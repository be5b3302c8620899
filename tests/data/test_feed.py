"""Whoever makes the batches, and whatever keeps the pictures, the batches are the same."""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import draw_pictures
from trainer.config.data import Data, Folder
from trainer.data import feed
from trainer.data.cache import room
from trainer.data.pipeline import Faults, reported
from trainer.data.sources import folder
from trainer.data.split import Sides
from trainer.errors import UserError

STEPS = 7


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    draw_pictures(tmp_path / "pictures", {"a": 6, "b": 5}, (40, 30))
    every = folder.read(Folder(kind="folder", path=str(tmp_path / "pictures")))
    nobody = every.take(np.arange(0))
    return Sides(every.take(np.arange(1, 9)), every.take(np.array([0, 9, 10])), nobody)


def spec(**options: object) -> Data:
    return Data.model_validate(
        {
            "source": {"kind": "folder", "path": "unused"},
            "image_size": [16, 12],
            "load_size": [20, 15],
            "batch_size": 3,
            "augment": [{"RandomCrop": {"height": 16, "width": 12}}, "RandomBrightnessContrast"],
            "mix": {"mixup": 0.4, "cutmix": 1.0, "p": 0.8},
            **options,
        }
    )


def batches(sides: Sides, place: Path, start: int = 0, **options: object) -> list[np.ndarray]:
    """All arrays of some steps of training and of two validations."""
    faults = Faults({}, [])
    with feed.opened(sides, spec(**options), 1, faults, place, start) as fed, reported(faults):
        rows = list(fed.training.take(STEPS).as_numpy_iterator())
        for _ in range(2):
            rows += list(fed.validation.as_numpy_iterator())
    return [array for row in rows for array in row]


WAYS = [
    {"workers": "threads"},
    {"workers": "auto"},
    {"workers": 2},
    {"workers": "threads", "cache": "memory"},
    {"workers": 2, "cache": "memory"},
    {"workers": "threads", "cache": "disk"},
    {"workers": 2, "cache": "disk"},
]


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("start", [0, 5])
def test_every_way_gives_the_same_batches(
    sides: Sides, tmp_path: Path, way: dict, start: int
) -> None:
    expected = [
        array
        for each in feed.training(sides.train, spec(), 1, Faults({}, []), start).take(STEPS)
        for array in each
    ]
    for _ in range(2 if way.get("cache") == "disk" else 1):  # filled, then found
        found = batches(sides, tmp_path / "cache", start, **way)
        assert all(map(np.array_equal, expected, found))
        assert len(found) == 3 * (STEPS + 2)


@pytest.mark.parametrize("way", [{"workers": "auto"}, {"workers": 2, "cache": "memory"}], ids=str)
def test_a_warmup_of_the_augmentation_is_counted_in_passes_over_the_pictures(
    sides: Sides, tmp_path: Path, way: dict
) -> None:
    still = {"load_size": None, "mix": None, "augment": [{"InvertImg": {"p": 1}}]}
    warmed = batches(sides, tmp_path, **way, **still, augment_warmup=1.5)  # 12 positions: 4 batches
    plain = batches(sides, tmp_path, **{**still, "augment": []})
    inverted = np.array(
        [
            not np.array_equal(one, other)
            for ours, theirs in zip(warmed[: 3 * STEPS : 3], plain[: 3 * STEPS : 3], strict=True)
            for one, other in zip(ours, theirs, strict=True)
        ]
    )
    assert not inverted[0]
    assert 0 < inverted[:12].sum() < 12
    assert inverted[12:].all()


def test_validation_is_decoded_exactly_and_not_cropped(sides: Sides, tmp_path: Path) -> None:
    scaled = batches(sides, tmp_path / "cache", jpeg_scaling=True, cache="memory")
    plain = batches(sides, tmp_path / "cache", load_size=None, augment=())
    assert all(map(np.array_equal, scaled[3 * STEPS :], plain[3 * STEPS :]))


@pytest.mark.parametrize("workers", ["threads", 2])
def test_a_transform_of_ones_own_may_write_into_pictures_of_a_cache(
    sides: Sides, tmp_path: Path, workers: str | int
) -> None:
    own = {"load_size": None, "augment": [{"tests.data.transforms.Marking": {"p": 0.5}}]}
    without = batches(sides, tmp_path / "cache", **own)
    kept = batches(sides, tmp_path / "cache", cache="memory", workers=workers, **own)
    assert all(map(np.array_equal, without, kept))
    assert len({array[0, 0].tobytes() for array in without[0 : 3 * STEPS : 3]}) > 1


@pytest.mark.parametrize("workers", ["threads", 2])
def test_unreadable_pictures_are_told_of_once(
    sides: Sides, tmp_path: Path, workers: str | int, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = sides.train.pictures.place(2)
    Path(bad).write_bytes(b"no picture")
    found = Faults({}, [])
    with feed.opened(sides, spec(workers=workers), 1, found, tmp_path) as fed:
        list(fed.training.take(STEPS).as_numpy_iterator())
    assert found.unreadable == {bad: "no picture of a known format"}
    assert capsys.readouterr().err.count(f"{bad} is left out: no picture of a known format") == 1


def test_errors_of_a_worker_are_those_of_a_thread(sides: Sides, tmp_path: Path) -> None:
    texts = []
    for workers in ("threads", 1):
        with pytest.raises(UserError) as error:
            batches(
                sides,
                tmp_path,
                workers=workers,
                augment=[{"tests.data.transforms.Failing": {"p": 1.0}}],
            )
        texts.append(str(error.value))
    assert texts[0] == texts[1] == "data.augment: fails on a picture of 20x15x3: ValueError: no"


def said(sides: Sides, place: Path, **options: object) -> tuple[str, str]:
    with feed.opened(sides, spec(**options), 1, Faults({}, []), place) as fed:
        return fed.stores.said, fed.maker.reason


def test_what_the_user_is_told(sides: Sides, tmp_path: Path) -> None:
    assert said(sides, tmp_path, workers="threads") == ("off", "threads, as data.workers says")
    cache, workers = said(sides, tmp_path, workers=1, cache="memory")
    assert (
        cache
        == "in memory, 8.9 kB for 8 pictures of 20 x 15 x 3 and 3 of 16 x 12 x 3; the first epoch fills it"
    )
    assert workers == "1 process, as data.workers says"
    cache, workers = said(sides, tmp_path, cache="disk")
    assert cache.endswith(f" for 8 pictures of 20 x 15 x 3 and 3 of 16 x 12 x 3, in {tmp_path}")
    assert workers.startswith("threads: ")


def test_a_cache_that_does_not_fit_is_refused(
    sides: Sides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "available_memory", lambda: 10_000)
    with pytest.raises(UserError) as error:
        said(sides, tmp_path, cache="memory")
    assert str(error.value) == (
        "data.cache: memory: 8.9 kB for 8 pictures of 20 x 15 x 3 and 3 of 16 x 12 x 3, "
        "but 10 kB are free; a cache may take 80% of that\n"
        "  write data.cache: disk, a smaller data.load_size, or off"
    )


def test_other_settings_of_decoding_are_other_files() -> None:
    texts = {
        text
        for options in (
            {}, {"fit": "pad"}, {"resize": "bilinear"}, {"channels": 1}, {"jpeg_scaling": True},
            {"load_size": [20, 16]},
        )
        for text in feed.settings(spec(**options))[:1]
    }  # fmt: skip
    assert len(texts) == 6
    one, other = feed.settings(spec(load_size=None))
    assert one == other  # training and validation share theirs


def test_the_advice_knows_what_would_fit(sides: Sides, tmp_path: Path) -> None:
    options = spec(workers="threads")
    with feed.opened(sides, options, 1, Faults({}, []), tmp_path) as fed:
        list(fed.training.take(2))
        assert feed.advice(fed, options, 0.05) == ""
        line = feed.advice(fed, options, 0.5)
    assert line.startswith("50% of the time waits for input (a picture takes ")
