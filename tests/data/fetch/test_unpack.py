"""Archives, the hostile ones above all: nothing outside the folder, nothing beyond the bounds."""

import random
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.data.fetch.server import tarred, zipped
from trainer.data.fetch import unpack as module
from trainer.data.fetch.unpack import unpack
from trainer.errors import UserError

REFUSED = "  nothing was put in place; such an archive is refused"


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def link_in_zip(name: str) -> bytes:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return zipped({info: b"/etc/passwd"})  # type: ignore[dict-item]


def everything(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def unpacked(folder: Path, content: bytes, kind: str, most: int = 10_000, take: str = "") -> int:
    (folder / "a.bin").write_bytes(content)
    (folder / "out").mkdir()
    return unpack(folder / "a.bin", kind, folder / "out", most, take)


def mistake(folder: Path, content: bytes, kind: str, **options: object) -> str:
    with pytest.raises(UserError) as caught:
        unpacked(folder, content, kind, **options)  # type: ignore[arg-type]
    return str(caught.value).replace(f"{folder}/", "")


@pytest.mark.parametrize(("pack", "kind"), [(zipped, "zip"), (tarred, "tar")])
def test_files_come_out_as_they_went_in(tmp_path: Path, pack: object, kind: str) -> None:
    members = {"a/1.txt": b"one", "a/b/2.txt": b"two", "3.txt": b"three"}
    assert unpacked(tmp_path, pack(members), kind) == 11  # type: ignore[operator]
    assert everything(tmp_path / "out") == members


@pytest.mark.parametrize(("pack", "kind"), [(zipped, "zip"), (tarred, "tar")])
def test_one_folder_alone_without_its_name(tmp_path: Path, pack: object, kind: str) -> None:
    members = {"a/b/1.txt": b"one", "a/bc/2.txt": b"two", "3.txt": b"three"}
    assert unpacked(tmp_path, pack(members), kind, take="a/b") == 3  # type: ignore[operator]
    assert everything(tmp_path / "out") == {"1.txt": b"one"}


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert mistake(tmp_path, zipped({"a/1.txt": b"1"}), "zip", take="b") == (
        f"a.bin: has no folder 'b'\n{REFUSED}"
    )


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "a\\..\\evil", "C:/evil"])
@pytest.mark.parametrize(("pack", "kind"), [(zipped, "zip"), (tarred, "tar")])
def test_no_name_leads_out_of_the_folder(
    tmp_path: Path, pack: object, kind: str, name: str
) -> None:
    assert mistake(tmp_path, pack({"1.txt": b"1", name: b"2"}), kind) == (  # type: ignore[operator]
        f"a.bin: has a member that leads out of the folder, {name!r}\n{REFUSED}"
    )
    assert set(everything(tmp_path)) == {"a.bin", "out/1.txt"}
    assert not Path("/evil").exists()


@pytest.mark.parametrize(
    ("content", "kind", "what"),
    [
        (tarred({}, special("x", tarfile.SYMTYPE, "/etc/passwd")), "tar", "link"),
        (tarred({}, special("x", tarfile.SYMTYPE, "..")), "tar", "link"),
        (tarred({}, special("x", tarfile.LNKTYPE, "../a.bin")), "tar", "link"),
        (tarred({}, special("x", tarfile.CHRTYPE)), "tar", "device"),
        (tarred({}, special("x", tarfile.FIFOTYPE)), "tar", "device"),
        (link_in_zip("x"), "zip", "link"),
    ],
    ids=["symlink", "symlink up", "hardlink", "device", "fifo", "zip symlink"],
)
def test_links_and_devices_are_refused(
    tmp_path: Path, content: bytes, kind: str, what: str
) -> None:
    assert mistake(tmp_path, content, kind) == f"a.bin: has a {what}, 'x'\n{REFUSED}"
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("pack", "kind"), [(zipped, "zip"), (tarred, "tar")])
def test_a_bomb_stops_at_the_stated_size(tmp_path: Path, pack: object, kind: str) -> None:
    bomb = pack({"1": bytes(3_000_000), "2": bytes(3_000_000)})  # type: ignore[operator]
    assert len(bomb) < 10_000
    assert mistake(tmp_path, bomb, kind, most=4_000_000) == (
        f"a.bin: holds more than the recipe says is in it\n{REFUSED}"
    )
    assert sum(map(len, everything(tmp_path / "out").values())) <= 4_000_000


def test_a_header_that_claims_less_does_not_help(tmp_path: Path) -> None:
    content = zipped({"1": bytes(50_000)})
    lie = content.replace((50_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lie != content
    assert "cannot be unpacked" in mistake(tmp_path, lie, "zip", most=1000)
    assert sum(map(len, everything(tmp_path / "out").values())) <= 1000


def test_members_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MEMBERS", 2)
    message = mistake(tmp_path, zipped({"1": b"", "2": b"", "3": b""}), "zip")
    assert message == f"a.bin: has more than 2 members\n{REFUSED}"


def test_two_members_for_one_place(tmp_path: Path) -> None:
    content = zipped({"x": b"1", "y": b"2"}).replace(b"y", b"x")
    assert mistake(tmp_path, content, "zip") == (
        f"a.bin: has two members for one place, 'x'\n{REFUSED}"
    )


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    content = tarred({"x": b"1", "x/y": b"2"})
    assert "has two members for one place, 'x/y'" in mistake(tmp_path, content, "tar")


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("content", [b"", b"<html>no archive</html>"])
def test_what_is_no_archive(tmp_path: Path, content: bytes, kind: str) -> None:
    message = mistake(tmp_path, content, kind)
    assert message.startswith("a.bin: cannot be unpacked: ")
    assert message.endswith(
        "\n  the recipe may name the wrong `unpack`, or the publisher's file is damaged"
    )


@pytest.mark.parametrize(("pack", "kind"), [(zipped, "zip"), (tarred, "tar")])
def test_a_damaged_archive(tmp_path: Path, pack: object, kind: str) -> None:
    content = pack({"1": random.Random(1).randbytes(5000)})  # type: ignore[operator]
    damaged = content[:2000] + bytes(1000) + content[3000:]
    for broken in (damaged, content[:2000]):
        assert "cannot be unpacked" in mistake(tmp_path, broken, kind)
        shutil.rmtree(tmp_path / "out")
