"""One file from the network: whole, verified, and gone on with after whatever happened."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.data.fetch.server import Server, described, serving
from trainer import files
from trainer.config.recipe import File
from trainer.data.fetch import download
from trainer.errors import UserError

CONTENT = bytes(range(256)) * 400  # 102,400 bytes


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving({"a.bin": CONTENT}) as running:
        yield running


def fetch(server: Server, folder: Path, **changes: object) -> list[int]:
    """Downloads a.bin; returns the bytes that were told on the way."""
    told: list[int] = []
    download.fetch(File(**described(server, "a.bin", **changes)), folder / "a.bin", told.append)
    return told


def mistake(server: Server, folder: Path, **changes: object) -> str:
    with pytest.raises(UserError) as caught:
        fetch(server, folder, **changes)
    return str(caught.value).replace(server.url(""), "http://host/")


def test_a_file_arrives_and_nothing_else_stays(server: Server, tmp_path: Path) -> None:
    told = fetch(server, tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert told[-1] == len(CONTENT)
    assert told == sorted(told)


def test_a_cut_connection_is_taken_up_where_it_broke(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.cut = [1000, 500]
    fetch(server, tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.asked] == [None, "bytes=1000-", "bytes=1500-"]
    assert "a.bin: the connection broke after 1,000 of 102,400 bytes; trying again" in (
        capfd.readouterr().err
    )


def test_it_gives_up_after_five_attempts_and_the_next_call_goes_on(
    server: Server, tmp_path: Path
) -> None:
    server.cut = [100] * 5
    assert mistake(server, tmp_path) == (
        "http://host/a.bin: the connection broke after 500 of 102,400 bytes, 5 times\n"
        "  what has arrived is kept: the same command goes on there"
    )
    fetch(server, tmp_path)
    assert server.asked[-1] == ("a.bin", "bytes=500-")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_not_spliced(server: Server, tmp_path: Path) -> None:
    server.cut = [1000] + [0] * 4
    mistake(server, tmp_path)
    server.contents["a.bin"], server.tag = CONTENT[::-1], '"two"'
    fetch(server, tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT[::-1]


def test_a_server_without_ranges_sends_it_anew(server: Server, tmp_path: Path) -> None:
    server.ranges, server.cut = False, [1000]
    fetch(server, tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("tag", ["", 'W/"weak"'])
def test_without_a_sure_mark_of_the_version_it_starts_anew(
    server: Server, tmp_path: Path, tag: str
) -> None:
    server.tag, server.cut = tag, [1000]
    fetch(server, tmp_path)
    assert server.asked == [("a.bin", None), ("a.bin", None)]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_partial_of_another_address_is_not_gone_on_with(server: Server, tmp_path: Path) -> None:
    server.contents["old/a.bin"] = b"?" * len(CONTENT)
    server.cut = [1000] * 1 + [0] * 4
    mistake(server, tmp_path, url=server.url("old/a.bin"))
    fetch(server, tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_wrong_checksum_is_told_and_nothing_stays(server: Server, tmp_path: Path) -> None:
    right = described(server, "a.bin")["sha256"]
    assert mistake(server, tmp_path, sha256="0" * 64) == (
        f"http://host/a.bin: sha256 is {right}, the recipe says {'0' * 64}\n"
        "  the download was removed; try once more, then ask whether the publisher changed it"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_finished_file_is_verified_again_without_the_network(
    server: Server, tmp_path: Path
) -> None:
    fetch(server, tmp_path)
    fetch(server, tmp_path)
    assert len(server.asked) == 1
    (tmp_path / "a.bin").write_bytes(CONTENT[::-1])
    assert "sha256 is" in mistake(server, tmp_path)


def test_without_a_checksum_the_size_alone_is_checked_and_that_is_said(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fetch(server, tmp_path, sha256=None)
    assert capfd.readouterr().err == (
        "warning: a.bin: no sha256 is published, so only its size was checked\n"
    )


def test_another_size_is_refused_before_the_first_byte(server: Server, tmp_path: Path) -> None:
    assert mistake(server, tmp_path, bytes=1000) == (
        "http://host/a.bin: the server sends 102,400 bytes, the recipe says 1,000\n"
        "  the file was changed since the recipe was written"
    )
    assert list(tmp_path.iterdir()) == []


def test_more_bytes_than_stated_are_never_kept(server: Server, tmp_path: Path) -> None:
    server.announces = 0
    told: list[int] = []
    with pytest.raises(UserError, match="the server sends more, the recipe says 1,000"):
        download.fetch(
            File(**described(server, "a.bin", bytes=1000)), tmp_path / "a.bin", told.append
        )
    assert max(told, default=0) <= 1000
    assert list(tmp_path.iterdir()) == []


def test_redirects_are_followed_but_not_out_of_the_web(server: Server, tmp_path: Path) -> None:
    server.moved["old.bin"] = "/a.bin"
    fetch(server, tmp_path, url=server.url("old.bin"))
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    server.moved["b.bin"] = "ftp://127.0.0.1/a.bin"
    with pytest.raises(UserError, match="unknown url type: ftp"):
        wanted = described(server, "a.bin", url=server.url("b.bin"))
        download.fetch(File(**wanted), tmp_path / "b.bin", lambda _: None)


def test_a_missing_file_is_told_at_once(server: Server, tmp_path: Path) -> None:
    server.status = 404
    assert mistake(server, tmp_path) == (
        "http://host/a.bin: the server answers 404 Not Found\n"
        "  the file may have moved: look for it on the homepage that the recipe names"
    )
    assert len(server.asked) == 1


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.status = 503
    assert "the server answers 503 Service Unavailable, 5 times" in mistake(server, tmp_path)
    assert len(server.asked) == 5


def test_being_offline_is_told_at_once(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        fetch(server, tmp_path, url="http://nowhere.invalid/a.bin")
    assert str(caught.value) == (
        "http://nowhere.invalid/a.bin: the host nowhere.invalid was not found\n"
        "  is this computer online? The same command goes on where this one stopped"
    )


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with serving({"a.bin": b"x"}) as gone:
        pass
    assert mistake(gone, tmp_path) == (
        "http://host/a.bin: no connection to 127.0.0.1: Connection refused, 5 times\n"
        "  what has arrived is kept: the same command goes on there"
    )


def test_a_full_disk_is_told_before_the_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=2_000_000))
    download.demand_space(tmp_path / "new" / "folder", 2_000_000)
    with pytest.raises(UserError) as caught:
        download.demand_space(tmp_path / "new" / "folder", 230_000_000)
    assert str(caught.value) == (
        f"{tmp_path}/new/folder: 230 MB are needed on this disk, 2.0 MB are free\n"
        "  make room, or choose another disk with --into"
    )


@pytest.mark.parametrize(
    ("count", "text"),
    [(7, "7 bytes"), (4542, "4.5 kB"), (999_600, "1.0 MB"), (824_887_076, "825 MB"), (1_204_887_076, "1.2 GB")],
)  # fmt: skip
def test_sizes_for_people(count: int, text: str) -> None:
    assert files.size(count) == text
