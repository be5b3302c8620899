"""The list of pictures that are left out: rows of the user stay as they wrote them."""

from pathlib import Path

import pytest

from trainer.data.inspect import quarantine


@pytest.mark.parametrize(
    ("header", "row", "reason", "written"),
    [
        ("path,reason", "a.jpg,blurry, and dark", "blurry, and dark", 'a.jpg,"blurry, and dark"'),
        ("path,reason,by", "a.jpg,dark,me,you", "dark", 'a.jpg,dark,"me,you"'),
        ("path,reason,", "a.jpg,blurry, and dark", "blurry", "a.jpg,blurry, and dark"),
        ("path", "a.jpg,blurry, and dark", "blurry, and dark", 'a.jpg,"blurry, and dark"'),
    ],
)
def test_commas_without_quotes_lose_nothing(
    tmp_path: Path, header: str, row: str, reason: str, written: str
) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"{header}\n{row}\n")
    assert quarantine.reasons(path) == {"a.jpg": reason}
    for _ in range(2):
        assert quarantine.renew(path, {"b.jpg": "dark"}) == {
            "a.jpg": reason,
            "b.jpg": "inspect: dark",
        }
        assert path.read_text().splitlines()[1] == written
