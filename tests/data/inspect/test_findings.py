"""Survey, duplicates and sides -> what `data inspect` says: exact words, on records made by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from trainer.config.data import Data
from trainer.data.examples import Examples, Files, Texts
from trainer.data.inspect import survey
from trainer.data.inspect.checks import CHECKS
from trainer.data.inspect.duplicates import Pairs
from trainer.data.inspect.findings import findings, to_quarantine
from trainer.errors import UserError

SPEC = {"source": {"kind": "folder", "path": "pictures"}, "image_size": [100, 100]}


class Case:
    """N readable colour pictures of 100 x 100 in the classes `a` and `b` by turns, 40 of them by
    default, all of them for training but the last four: two for validation, two for testing."""

    def __init__(self, count: int = 40, labels: Sequence[int] | np.ndarray | None = None) -> None:
        self.names = [f"{index:02d}.jpg" for index in range(count)]
        self.labels = np.array(np.arange(count) % 2 if labels is None else labels)
        self.records = np.zeros(count, survey.RECORD)
        self.records["readable"], self.records["format"] = True, "JPEG"
        self.records["height"], self.records["width"], self.records["spread"] = 100, 100, 50
        self.reasons: dict[int, str] = {}
        self.pairs: list[tuple[int, int, bool]] = []
        self.sides = np.array([0] * (count - 4) + [1, 1, 2, 2])
        self.given: np.ndarray | None = None

    def unreadable(self, index: int, why: str) -> None:
        self.records[index] = np.zeros((), survey.RECORD)
        self.reasons[index], self.sides[index] = why, -1

    def parts(self) -> tuple[Examples, survey.Survey, Pairs]:
        classes = ("a", "b", "c")[: self.labels.max() + 1 if self.labels.ndim == 1 else None]
        examples = Examples(
            Files("pictures", Texts(self.names)), self.labels, classes, sides=self.given
        )
        pairs = np.array(sorted(self.pairs), np.int64).reshape(-1, 3)
        return (
            examples,
            survey.Survey(self.records, self.reasons),
            Pairs(pairs[:, 0], pairs[:, 1], pairs[:, 2].astype(bool)),
        )

    def report(self, stopped: Sequence[UserError] = (), **spec: Any) -> dict[str, Any]:
        data = Data.model_validate(SPEC | spec)
        return findings(*self.parts(), data, self.sides.astype(np.int8), stopped)

    def only(self, **spec: Any) -> dict[str, Any]:
        """The one finding there is."""
        (found,) = self.report(**spec)["findings"]
        return found


def test_nothing_to_find() -> None:
    report = Case().report()
    assert report == {
        "pictures": 40,
        "readable": 40,
        "multi_label": False,
        "sides": {"train": 36, "validation": 2, "test": 2},
        "left_out": 0,
        "classes": [
            {"class": name, "pictures": 20, "train": 18, "validation": 1, "test": 1, "left_out": 0}
            for name in "ab"
        ],
        "sizes": {
            "height": {"smallest": 100, "median": 100.0, "largest": 100},
            "width": {"smallest": 100, "median": 100.0, "largest": 100},
            "aspect": {"smallest": 1.0, "median": 1.0, "largest": 1.0},
        },
        "formats": {"JPEG": 40},
        "findings": [],
    }


def test_sizes_are_those_of_readable_pictures() -> None:
    case = Case()
    case.records["width"][:3] = 80, 120, 150
    case.unreadable(5, "empty file")
    assert case.report()["sizes"] == {
        "height": {"smallest": 100, "median": 100.0, "largest": 100},
        "width": {"smallest": 80, "median": 100.0, "largest": 150},
        "aspect": {"smallest": 0.8, "median": 1.0, "largest": 1.5},
    }


def test_unreadable() -> None:
    case = Case(44)
    case.unreadable(3, "empty file")
    found = case.only()
    assert (found["kind"], found["severity"]) == ("unreadable", "problem")
    assert found["title"] == "1 picture cannot be read"
    assert found["pictures"] == [
        {
            "index": 3,
            "path": "03.jpg",
            "labels": ["b"],
            "side": "left out",
            "height": 0,
            "width": 0,
            "why": "empty file",
        }
    ]


def test_equal_pictures_with_different_labels() -> None:
    case = Case(48)
    case.pairs = [(0, 1, True), (0, 2, True)]
    found = case.only()
    assert (found["kind"], found["severity"]) == ("conflicting_labels", "problem")
    assert found["title"] == "1 picture is there twice or more, with different labels"
    assert [[each["path"] for each in group] for group in found["groups"]] == [
        ["00.jpg", "01.jpg", "02.jpg"]
    ]
    assert "by the quarantine list" in found["advice"]
    assert "fit uses all of it" in case.only(quarantine="none")["advice"]


def test_what_goes_to_quarantine() -> None:
    case = Case(48)
    case.unreadable(9, "empty file")
    case.records["spread"][7] = 0.9
    case.pairs = [(0, 1, True), (0, 2, True), (3, 5, True), (10, 11, False)]
    assert to_quarantine(*case.parts()) == {
        "00.jpg": "the same picture as 01.jpg (b)",
        "01.jpg": "the same picture as 00.jpg (a)",
        "02.jpg": "the same picture as 01.jpg (b)",
        "07.jpg": "one colour only",
        "09.jpg": "cannot be read: empty file",
    }


def test_a_leak_where_duplicates_are_ignored() -> None:
    case = Case()
    case.pairs = [(0, 36, True), (2, 38, False)]
    found = case.report(split={"duplicates": "ignore"})["findings"]
    assert found[0]["kind"] == "leak"
    assert found[0]["title"] == ("2 validation or test pictures have a duplicate on another side")
    assert [[each["side"] for each in group] for group in found[0]["groups"]] == [
        ["train", "validation"],
        ["train", "test"],
    ]


def test_what_would_have_leaked_is_left_out() -> None:
    case = Case(44)
    case.given = case.sides.copy()
    case.pairs = [(0, 40, True), (2, 42, False)]
    case.sides[[0, 2]] = -1
    found = case.report()["findings"][0]
    assert (found["kind"], found["severity"]) == ("kept_apart", "warning")
    assert found["title"] == "2 pictures are left out, because a duplicate is on another side"
    assert {each["path"]: each["why"] for each in found["pictures"]} == {
        "00.jpg": "like 40.jpg in validation",
        "02.jpg": "like 42.jpg in test",
    }


def test_duplicates_on_one_side() -> None:
    case = Case(80)
    case.pairs = [(0, 2, True), (0, 4, True), (6, 8, False)]
    case.pairs += [(index, index + 2, False) for index in range(10, 32, 2)]
    long, near, exact = case.report()["findings"]
    assert (long["kind"], long["severity"]) == ("sequences", "warning")
    assert long["title"] == (
        "12 pictures belong to 1 long series of near duplicates, up to 12 in one"
    )
    assert near["title"] == "2 pictures resemble another one closely, in 1 group"
    assert exact["title"] == "2 pictures are copies of another one, in 1 group"
    assert "The split keeps them on one side" in exact["meaning"]
    ignored = case.report(split={"duplicates": "ignore"})["findings"]
    assert "they may be on two sides" in ignored[0]["meaning"]


def test_near_duplicates_with_different_labels() -> None:
    case = Case()
    case.pairs = [(0, 1, False), (1, 3, False)]
    found = case.only()
    assert found["kind"] == "alike_with_other_labels"
    assert found["title"] == "1 group of near duplicates with different labels"
    assert [each["labels"] for each in found["groups"][0]] == [["a"], ["b"], ["b"]]


def test_a_class_missing_on_a_side() -> None:
    case = Case()
    case.labels[36:] = 0, 0, 0, 1
    assert [each["title"] for each in case.report()["findings"]] == [
        "no validation picture of class 'b'",
        "1 class has fewer than 20 pictures: b 19",
    ]


@pytest.mark.parametrize(
    ("spec", "severity", "advice"),
    [
        ({}, "warning", "Write class_weights: balanced or sampling: balanced under data, and read the F1 per class rather than the accuracy."),
        ({"sampling": "balanced"}, "note", "There is nothing to do: sampling: balanced shows all equally often."),
        ({"class_weights": "balanced"}, "note", "There is nothing to do: class_weights counters it."),
    ],
)  # fmt: skip
def test_imbalance(spec: dict[str, Any], severity: str, advice: str) -> None:
    case = Case(104, [0] * 79 + [1] * 23 + [0, 1])
    found = next(each for each in case.report(**spec)["findings"] if each["kind"] == "imbalance")
    assert found["title"] == "'a' has 3.3 times the pictures of 'b': 80 and 24"
    assert (found["severity"], found["advice"]) == (severity, advice)


def test_three_times_is_no_imbalance() -> None:
    case = Case(96, [0, 0, 0, 1] * 24)
    case.sides[:] = 0
    assert case.report()["findings"] == []


def test_several_labels() -> None:
    labels = np.zeros((104, 3), np.uint8)
    labels[:80, 0], labels[60:90, 1], labels[84:, 2] = 1, 1, 1
    labels[100] = 0
    case = Case(104, labels)
    report = case.report()
    assert [row["pictures"] for row in report["classes"]] == [80, 30, 19]
    imbalance = report["findings"][-3]
    assert imbalance["title"] == "'a' has 4.2 times the pictures of 'c': 80 and 19"
    assert imbalance["advice"] == (
        "Write sampling: balanced under data, and read the F1 per class."
    )
    assert report["findings"][-1]["title"] == "1 picture has no label at all"
    assert report["findings"][-1]["pictures"][0]["labels"] == []


def test_few_pictures() -> None:
    case = Case(24)
    found = case.only()
    assert found["title"] == "2 classes have fewer than 20 pictures: a 12, b 12"
    assert found["classes"] == {"a": 12, "b": 12}


def test_one_colour() -> None:
    case = Case()
    case.records["spread"][:2] = 0.99, 1.0
    found = case.only()
    assert found["title"] == "1 picture shows one colour only"


def test_wrong_suffixes() -> None:
    case = Case()
    case.names[:7] = "0.png", "1.PNG", "2.jpg", "3.JPEG", "4.JFIF", "5", "6.data"
    case.records["format"][:3] = "WEBP", "JPEG", "MPO"
    case.records["format"][7] = ""  # Pillow does not know it
    found = case.only()
    assert found["title"] == "2 files are of another format than their names say"
    assert {each["path"]: each["why"] for each in found["pictures"]} == {
        "0.png": "is WEBP",
        "1.PNG": "is JPEG",
    }


def test_small_pictures() -> None:
    case = Case()
    case.records["height"][:4], case.records["width"][:4] = (49, 49, 31, 50), (49, 51, 50, 50)
    found = case.only()
    assert found["title"] == (
        "2 pictures are small: less than half of 100 × 100 in both sides, or below 32 pixels"
    )
    assert [each["path"] for each in found["pictures"]] == ["00.jpg", "02.jpg"]


def test_where_most_are_small_the_network_can_be_too() -> None:
    case = Case()
    case.records["format"] = "pixels"
    case.records["height"], case.records["width"] = 28, 30
    advice = "Most pictures are like that: image_size: [28, 30] loses nothing and trains faster."
    assert case.only()["advice"] == advice
    assert case.report(image_size=[28, 30])["findings"] == []  # of arrays, 28 is no mistake


@pytest.mark.parametrize(
    ("fit", "meaning", "advice"),
    [
        ("stretch", "fit: stretch squeezes them.", "Try fit: crop or fit: pad"),
        ("crop", "fit: crop cuts off a third of them, or more.", "Try fit: pad"),
        ("pad", "fit: pad fills a third of the image with black, or more.", "Try fit: crop"),
    ],
)
def test_another_shape(fit: str, meaning: str, advice: str) -> None:
    case = Case()
    case.records["width"][:21] = 160
    found = case.only(fit=fit)
    assert found["title"] == "21 pictures have another shape than 100 × 100, by more than a half"
    assert found["meaning"] == f"In the middle they are 1.60 times as wide as high. {meaning}"
    assert found["advice"] == f"{advice}, or an image_size of their shape, such as [62, 100]."
    case.records["width"][20] = 150
    assert case.report()["findings"] == []


def test_no_colour_at_all() -> None:
    case = Case()
    case.records["grey"] = True
    assert case.only()["advice"].startswith("Write channels: 1 under data")
    assert case.report(channels=1)["findings"] == []
    case.records["grey"][0] = False
    assert case.report()["findings"] == []


def test_what_the_header_tells() -> None:
    case = Case()
    case.records["orientation"][:3] = 1, 6, 3
    for field in ("alpha", "deep", "animated"):
        case.records[field][0] = True
    assert [each["title"] for each in case.report()["findings"]] == [
        "2 pictures are turned upright by EXIF",
        "1 picture has an alpha channel",
        "1 picture has 16 bits per channel",
        "1 picture is animated",
    ]


def test_what_stops_fit_comes_first() -> None:
    case = Case()
    case.sides[:] = -1
    (found,) = case.report([UserError("data.split", "too few", "add some")])["findings"]
    assert (found["severity"], found["meaning"]) == ("problem", "fit would stop: too few.")
    assert found["advice"] == "Add some."


def test_the_gravest_come_first_and_all_have_sentences() -> None:
    case = Case(60)
    case.unreadable(1, "empty file")
    case.records["alpha"][3], case.records["spread"][5] = True, 0
    found = case.report()["findings"]
    assert [each["severity"] for each in found] == ["problem", "warning", "note"]
    assert all(each["meaning"].endswith(".") and each["advice"].endswith(".") for each in found)
    assert len(CHECKS) == 15
