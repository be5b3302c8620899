"""Copies, re-encoded, resized, changed a little or mirrored: found. Others: not."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from trainer.data.examples import Arrays
from trainer.data.inspect import duplicates, survey

COUNT = 40
Change = Callable[[np.ndarray], np.ndarray]


def find(records: np.ndarray) -> duplicates.Pairs:
    """Among pictures without groups."""
    return duplicates.find(records, np.arange(len(records)))


def scene(seed: int, height: int = 200, width: int = 260) -> np.ndarray:
    """Patches of colour under a texture: no two are alike."""
    generator = np.random.default_rng(seed)
    patches = generator.integers(0, 256, (8, 10, 3)).astype(np.float32)
    pixels = cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)
    return (
        (pixels * 0.8 + generator.normal(25, 12, (height, width, 1))).clip(0, 255).astype(np.uint8)
    )


def looked(tmp_path: Path, *pictures: np.ndarray) -> np.ndarray:
    blocks = {str(number): pixels[None] for number, pixels in enumerate(pictures)}
    return survey.survey(Arrays("a", blocks), tmp_path / "kept.npz").records


def pairs(found: duplicates.Pairs) -> list[tuple[int, int, bool]]:
    return [tuple(each) for each in zip(*map(np.ndarray.tolist, found), strict=True)]


def scaled(pixels: np.ndarray) -> np.ndarray:
    return cv2.resize(pixels, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)


def jpeg(pixels: np.ndarray) -> np.ndarray:
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 60])
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)


CHANGES: dict[str, Change] = {
    "re-encoded": jpeg,
    "resized": scaled,
    "brighter": lambda p: (p * 1.1).clip(0, 255).astype(np.uint8),
    "darker": lambda p: (p * 0.9).astype(np.uint8),
    "cropped by 2 %": lambda p: p[2:-2, 3:-3],
    "mirrored": lambda p: np.ascontiguousarray(p[:, ::-1]),
    "mirrored, resized and re-encoded": lambda p: jpeg(scaled(np.ascontiguousarray(p[:, ::-1]))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_and_nothing_else(tmp_path: Path, change: str) -> None:
    scenes = [scene(seed) for seed in range(COUNT)]
    copies = [CHANGES[change](pixels) for pixels in scenes]
    found = pairs(find(looked(tmp_path, *scenes, *copies)))
    wanted = {(index, index + COUNT, False) for index in range(COUNT)}
    assert set(found) <= wanted
    assert len(found) >= 0.9 * COUNT


def test_equal_ones_form_a_star_around_the_first(tmp_path: Path) -> None:
    one, other = scene(1), scene(2)
    records = looked(tmp_path, other, one, other, one, one, scaled(one))
    assert pairs(find(records)) == [
        (0, 2, True),
        (1, 3, True),
        (1, 4, True),
        (1, 5, False),
    ]


def test_pictures_of_one_colour_are_alike_only_when_equal(tmp_path: Path) -> None:
    black, grey = np.zeros((50, 50, 3), np.uint8), np.full((50, 50, 3), 99, np.uint8)
    records = looked(tmp_path, black, grey, black, grey[:40])
    assert pairs(find(records)) == [(0, 2, True)]


def test_unreadable_pictures_are_no_duplicates() -> None:
    assert pairs(find(np.zeros(3, survey.RECORD))) == []
    assert pairs(find(np.zeros(0, survey.RECORD))) == []


@pytest.mark.parametrize(("side", "found"), [(64, 1), (63, 0)])
def test_small_pictures_must_be_more_alike(side: int, found: int) -> None:
    generator = np.random.default_rng(0)
    thumb = generator.integers(60, 180, (16, 16))
    records = np.zeros(2, survey.RECORD)
    records["readable"], records["spread"], records["content"] = True, 30, (1, 2)
    records["height"], records["width"] = 300, side
    records["thumb"] = thumb, thumb + generator.normal(0, 4, (16, 16)).round()
    one, other = duplicates._normal(records["thumb"])
    assert duplicates.ALIKE < (one * other).sum() < duplicates.ALIKE_SMALL
    assert len(find(records).first) == found


def alike_by_hash() -> np.ndarray:
    """Two records with the same hash and the same thumb."""
    records = np.zeros(2, survey.RECORD)
    records["readable"], records["spread"], records["content"] = True, 30, (1, 2)
    records["height"], records["width"] = 300, 300
    records["thumb"] = np.random.default_rng(0).integers(60, 200, (16, 16))
    return records


def test_equal_hashes_do_not_do_if_the_thumbs_differ() -> None:
    records = alike_by_hash()
    assert len(find(records).first) == 1
    records["thumb"][1] += np.random.default_rng(1).integers(-20, 20, (16, 16)).astype(np.uint8)
    assert len(find(records).first) == 0


def test_pictures_with_hardly_any_contrast_are_not_compared() -> None:
    records = alike_by_hash()
    records["spread"][1] = 0.9
    assert len(find(records).first) == 0


def by_hand(records: np.ndarray, bits: int) -> set[tuple[int, int]]:
    """All pairs whose hashes differ in at most so many bits, one of them mirrored perhaps."""
    plain, mirrored = records["hash"], records["mirrored"]
    return {
        (i, j)
        for i in range(len(records))
        for j in range(i + 1, len(records))
        if min(int(plain[i] ^ plain[j]).bit_count(), int(plain[i] ^ mirrored[j]).bit_count(),
               int(mirrored[i] ^ plain[j]).bit_count()) <= bits
    }  # fmt: skip


@pytest.mark.parametrize("many", [0, 10**6])
def test_the_bands_miss_nothing_that_counts(monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    generator = np.random.default_rng(0)
    records = np.zeros(400, survey.RECORD)
    records["readable"], records["spread"] = True, 50
    records["content"] = np.arange(400)
    records["thumb"] = generator.integers(0, 256, (16, 16))  # the same for all
    for field in ("hash", "mirrored"):
        records[field] = generator.integers(0, 2**63, 400)
    for index in range(200, 400):  # a copy with up to 8 bits flipped, every other one mirrored
        field = "mirrored" if index % 2 else "hash"
        flips = generator.choice(64, index % 9, replace=False)
        records["hash"][index] = records[field][index - 200] ^ np.uint64(
            sum(1 << int(b) for b in flips)
        )
    monkeypatch.setattr(duplicates, "MANY", many)
    found = {(i, j) for i, j, _ in pairs(find(records))}
    assert found <= by_hand(records, duplicates.BITS)
    if many:
        assert found == by_hand(records, duplicates.BITS)
    assert found >= by_hand(records, 4)  # even of very many pictures


def test_groups_have_the_name_of_their_smallest_member() -> None:
    first, second = np.array([1, 2, 5]), np.array([4, 4, 6])
    assert duplicates.groups(8, (first, second)).tolist() == [0, 1, 1, 3, 1, 5, 5, 7]
    more = (np.array([0]), np.array([2]))
    assert duplicates.groups(8, (first, second), more).tolist() == [0, 0, 0, 3, 0, 5, 5, 7]


def test_frames_of_one_video_are_not_compared() -> None:
    records = np.zeros(4, survey.RECORD)
    records["readable"], records["spread"] = True, 30
    records["height"] = records["width"] = 100
    records["content"] = range(4)
    records["thumb"] = np.random.default_rng(0).integers(0, 256, (16, 16))
    assert len(find(records).first) == 6
    assert pairs(duplicates.find(records, np.array([0, 0, 0, 3]))) == [
        (0, 3, False), (1, 3, False), (2, 3, False),
    ]  # fmt: skip
