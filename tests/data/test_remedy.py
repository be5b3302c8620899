"""What is said where a training waits for its input."""

import pytest

from trainer.config.data import Data
from trainer.data.remedy import Cost, Room, remedy

DECODING = Cost(0.8, 0.2, 1000)  # seconds for 1000 pictures
AUGMENTING = Cost(0.2, 9.8, 1000)
FITS, DISK, NOWHERE = (
    Room("1.2 GB", True, True),
    Room("1.2 GB", False, True),
    Room("9 TB", False, False),
)


def spec(**options: object) -> Data:
    source = {"kind": "folder", "path": "unused"}
    return Data.model_validate({"source": source, "image_size": [8, 10], **options})


@pytest.mark.parametrize(
    ("cost", "room", "options", "processes", "expected"),
    [
        (DECODING, FITS, {}, 0, "data.cache: memory would keep the decoded pictures (1.2 GB)"),
        (DECODING, DISK, {}, 0, "data.jpeg_scaling: true decodes large JPEGs faster"),
        (DECODING, DISK, {"jpeg_scaling": True}, 0, "data.cache: disk would keep the decoded pictures (1.2 GB)"),
        (DECODING, None, {"load_size": "original"}, 0, "a data.load_size of [height, width] makes less of large pictures"),
        (DECODING, NOWHERE, {"jpeg_scaling": True}, 0, "fewer and cheaper transforms, or more CPU cores than the 2 there are"),
        (AUGMENTING, FITS, {"workers": "threads"}, 0, "data.workers: 2 would augment in processes"),
        (AUGMENTING, FITS, {"load_size": [16, 20]}, 2, "a smaller data.load_size, or fewer and cheaper transforms"),
        (AUGMENTING, FITS, {}, 2, "fewer and cheaper transforms, or more CPU cores than the 2 there are"),
        (DECODING, FITS, {"cache": "memory"}, 2, "fewer and cheaper transforms, or more CPU cores than the 2 there are"),
    ],
)  # fmt: skip
def test_the_cheapest_remedy(
    cost: Cost, room: Room | None, options: dict, processes: int, expected: str
) -> None:
    line = remedy(0.36, cost, spec(**options), processes, 2, room)
    assert line == f"36% of the time waits for input (a picture takes {cost.said()}): {expected}"


def test_nothing_is_said_where_nothing_is_gained() -> None:
    assert remedy(0.09, DECODING, spec(), 0, 2, FITS) == ""


def test_a_cost_is_that_of_one_picture() -> None:
    assert AUGMENTING.said() == "0.2 ms to decode, 9.8 ms to augment"
    assert Cost(0.0, 0.0, 0).said() == "0 ms to decode, 0 ms to augment"
