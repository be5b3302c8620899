"""`trainer data preview`: the sheet shows what training sees, to the pixel."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.board.reading import Board
from tests.conftest import Outcome, draw_pictures
from trainer.commands._gather import gather
from trainer.commands.data import preview
from trainer.config.load import load
from trainer.data import contact, feed
from trainer.data.decode import decode, present
from trainer.data.pipeline import Faults

Trainer = Callable[..., Outcome]


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[contact.Row]:
    """What is drawn, row by row."""
    caught: list[contact.Row] = []

    def draw(heads: list[str], rows: list[contact.Row], missing: str) -> Image.Image:
        caught.extend(rows)
        return plain(heads, rows, missing)

    plain = contact.draw
    monkeypatch.setattr(contact, "draw", draw)
    return caught


def batches(config: Path, overrides: list[str], augmented: bool) -> np.ndarray:
    """The pictures of the first epochs as training gets them: uint8 [epochs, positions, H, W, C]."""
    settings = load(config, overrides)
    examples, spec = gather(settings).sides.train, settings.data
    steps = -(-len(examples) // spec.batch_size)
    if not augmented:
        spec = spec.model_copy(update={"augment": (), "mix": None})
    passed = steps * preview.skipped(spec)
    endless = feed.training(examples, spec, settings.seed, Faults({}, []), passed)
    images = [each[0].numpy() for each in endless.take(steps * preview.EPOCHS)]
    return np.concatenate(images).reshape(
        preview.EPOCHS, steps * spec.batch_size, *spec.input_shape
    )


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["data.channels=1", "data.augment=[HorizontalFlip]"],
        ["data.class_weights=balanced", "seed=7", "data.batch_size=3"],
        ["data.sampling=balanced", "data.fit=pad"],
        ["data.mix.mixup=0.4", "data.mix.cutmix=1.0"],
        ["data.augment_warmup=1.5", "data.augment=[InvertImg]"],
    ],
    ids=["shuffled", "grey", "weighted", "balanced", "mixed", "warmed up"],
)
def test_every_cell_is_the_picture_that_training_gets(
    small: Path, trainer: Trainer, rows: list[contact.Row], overrides: list[str]
) -> None:
    draw_pictures(small.parent / "pictures", {"yellow": 23}, (20, 24))  # many: balance shows
    done = trainer(
        "data", "preview", small, *(part for each in overrides for part in ("--set", each))
    )
    assert done.code == 0, done.err
    plain, varied = batches(small, overrides, False), batches(small, overrides, True)
    missing = 0
    for row in rows:
        assert len(row.pictures) == 1 + preview.EPOCHS
        original, *seen = row.pictures
        for epoch, picture in enumerate(seen):
            here = np.flatnonzero((plain[epoch] == original).all(axis=(1, 2, 3)))
            missing += not len(here)
            if len(here):
                assert np.array_equal(picture, varied[epoch, here[0]])
            else:
                assert picture is None
    assert missing or "data.sampling=balanced" not in overrides


def test_the_original_is_the_picture_as_the_network_sees_it_without_augmentation(
    small: Path, trainer: Trainer, rows: list[contact.Row]
) -> None:
    assert trainer("data", "preview", small).code == 0
    for row in rows:
        name, spec = row.note, load(small).data
        assert row.caption == name.split("/")[0]
        content = (Path("pictures") / name).read_bytes()
        assert np.array_equal(row.pictures[0], present(decode(content), spec))


def test_rows_are_spread_over_the_classes_and_follow_the_seed(
    small: Path, trainer: Trainer, rows: list[contact.Row]
) -> None:
    trainer("data", "preview", small)
    captions = [row.caption for row in rows]
    assert captions == sorted(captions)
    assert sorted(map(captions.count, ("blue", "green", "red"))) == [2, 3, 3]
    first, rows[:] = [row.note for row in rows], []
    trainer("data", "preview", small)
    again, rows[:] = [row.note for row in rows], []
    trainer("data", "preview", small, "--set", "seed=2")
    assert first == again != [row.note for row in rows]


def test_it_writes_a_png_and_the_same_for_tensorboard(small: Path, trainer: Trainer) -> None:
    for _ in range(2):  # the second sheet takes the place of the first
        done = trainer("data", "preview", small)
    assert done.out.splitlines()[-2:] == [
        "written  runs/small/preview.png",
        "watch    trainer tensorboard runs/small",
    ]
    [image] = Board(Path("runs/small/tensorboard/preview")).images("preview")
    with Image.open("runs/small/preview.png") as sheet:
        assert (np.asarray(sheet) == image).all()
    assert len(list(Path("runs/small/tensorboard/preview").iterdir())) == 1


def test_out_names_another_png(small: Path, trainer: Trainer) -> None:
    assert (
        "written  elsewhere/a.png"
        in trainer("data", "preview", small, "--out", "elsewhere/a.png").out
    )
    assert Path("elsewhere/a.png").is_file() and not Path("runs/small/preview.png").exists()
    Path("folder").mkdir()
    done = trainer("data", "preview", small, "--out", "folder")
    assert done.code == 2
    assert done.err == (
        "error: --out: folder cannot be written: is a folder\n"
        "  choose another place or make it writable\n"
    )


def test_a_mistake_in_the_augmentation_is_said_as_by_fit(small: Path, trainer: Trainer) -> None:
    done = trainer("data", "preview", small, "--set", "data.augment=[HorizontalFlop]")
    assert done.code == 2 and "albumentations has no 'HorizontalFlop'" in done.err


def test_multi_label_pictures_are_captioned_with_all_their_labels(
    workplace: Path, small: Path, trainer: Trainer, rows: list[contact.Row]
) -> None:
    names = [
        path.relative_to(workplace / "pictures")
        for path in Path(workplace / "pictures").rglob("*.png")
    ]
    lines = [f"{name},{number % 2},{number % 3 // 2}" for number, name in enumerate(sorted(names))]
    Path("pictures/table.csv").write_text("path,odd,third\n" + "\n".join(lines) + "\n")
    source = "data.source={kind: csv, path: pictures/table.csv}"
    assert trainer("data", "preview", small, "--set", source).code == 0
    assert {row.caption for row in rows} == {"no label", "odd", "third", "odd, third"}


@pytest.mark.parametrize(
    ("size", "drawn"),
    [
        ((28, 28), (140, 140)),
        ((1, 3), (48, 144)),
        ((144, 100), (144, 100)),
        ((300, 400), (108, 144)),
    ],
)
def test_tiny_pictures_grow_by_whole_factors_and_large_ones_shrink(
    size: tuple[int, int], drawn: tuple[int, int]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 1), np.uint8)
    assert contact.scaled(pixels).shape == (*drawn, 3)
    if size[0] < 100:
        factor = drawn[0] // size[0]
        assert np.array_equal(contact.scaled(pixels)[::factor, ::factor, :1], pixels)


def test_long_names_are_cut_in_the_middle_and_no_name_breaks_the_sheet() -> None:
    assert contact.fitting("daisy/1.jpg", 12) == "daisy/1.jpg"
    cut = contact.fitting("daisy/" + "x" * 100 + "last.jpg", 12)
    assert cut.startswith("daisy/") and cut.endswith("last.jpg") and "…" in cut
    assert contact.fitting("a\nb\udcff", 12) == "a?b\\udcff"
