"""`files.nearly`: what a mistyped path may mean."""

from pathlib import Path

from trainer import files


def test_the_first_missing_part_is_mended(workplace: Path) -> None:
    Path("runs/small/latest").mkdir(parents=True)
    assert files.nearly(Path("runs/smal")) == Path("runs/small")
    assert files.nearly(Path("rnus/small/latest")) == Path("runs/small/latest")
    for there_or_far in ("runs/small", "runs/nix", "runs/smal/earliest", "/nowhere/at/all"):
        assert files.nearly(Path(there_or_far)) is None


def test_a_name_that_no_file_can_have_is_like_none() -> None:
    assert files.nearly(Path("x" * 5000)) is None
