"""`trainer data fetch`, from a server on this computer to a folder that a source can read."""

import fcntl
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from tests.conftest import Outcome
from tests.data.fetch.server import Server, described, serving, tarred, write_recipe, zipped
from trainer import files
from trainer.data.fetch import dataset, download
from trainer.errors import UserError

ROOT = Path(__file__).parent.parent.parent


def picture(value: int) -> bytes:
    return cv2.imencode(".png", np.full((8, 8, 3), value, np.uint8))[1].tobytes()


PICTURES = {f"little/{name}/{n}.png": picture(60 * n) for name in ("cat", "dog") for n in range(3)}


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0)


@pytest.fixture
def server(workplace: Path) -> Iterator[Server]:
    """With a recipe in ./datasets for the one archive it has."""
    with serving({"little.zip": zipped(PICTURES)}) as running:
        write_recipe(
            Path("datasets/little.yaml"), [described(running, "little.zip", take="little")]
        )
        yield running


def test_from_the_name_to_pictures_that_a_source_reads(
    server: Server, trainer: Callable[..., Outcome]
) -> None:
    size = files.size(len(server.contents["little.zip"]))
    done = trainer("data", "fetch", "little")
    assert done.code == 0, done.err
    assert (
        done.out
        == f"""\
recipe   Little: 6 pictures, 2 classes
licence  CC0
homepage http://example.org
size     {size} to download, into datasets/little
written  datasets/little
6 pictures
┏━━━━━━━┳━━━━━━━━━━┓
┃ class ┃ pictures ┃
┡━━━━━━━╇━━━━━━━━━━┩
│ cat   │        3 │
│ dog   │        3 │
└───────┴──────────┘
source: {{kind: folder, path: datasets/little}}
next: trainer init datasets/little
"""
    )
    assert sorted(path.name for path in Path("datasets").iterdir()) == ["little", "little.yaml"]


def test_what_is_there_is_not_fetched_again(
    server: Server, trainer: Callable[..., Outcome]
) -> None:
    trainer("data", "fetch", "little")
    done = trainer("data", "fetch", "little")
    assert "datasets/little is there already" in done.out
    assert len(server.asked) == 1


def test_another_folder_and_a_recipe_by_its_path(
    server: Server, trainer: Callable[..., Outcome]
) -> None:
    done = trainer("data", "fetch", "datasets/little.yaml", "--into", "my/own")
    assert done.code == 0, done.err
    assert "source: {kind: folder, path: my/own}" in done.out
    assert Path("my/own/cat/0.png").is_file()


def test_files_that_stay_packed_and_archives_side_by_side(
    server: Server, trainer: Callable[..., Outcome]
) -> None:
    server.contents |= {"plain.txt": b"as it is", "more.tgz": tarred(PICTURES)}
    files = [
        described(server, "little.zip", take="little", into="train"),
        described(server, "more.tgz", take="little", into="test"),
        described(server, "plain.txt"),
    ]
    write_recipe(Path("datasets/both.yaml"), files, pictures=12)
    done = trainer("data", "fetch", "both")
    assert done.code == 0, done.err
    assert "12 pictures" in done.out
    assert Path("datasets/both/test/dog/2.png").is_file()
    assert Path("datasets/both/plain.txt").read_bytes() == b"as it is"


def test_the_marker_comes_last(server: Server, trainer: Callable[..., Outcome]) -> None:
    """Stopped before the marker is written, the next call unpacks anew what was downloaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "_marker", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            trainer("data", "fetch", "little")
    assert not Path("datasets/little").exists()
    half = Path("datasets/.little.fetching/whole")
    assert (half / "cat/0.png").exists()
    (half / "cat/0.png").write_bytes(b"half a pic")
    assert trainer("data", "fetch", "little").code == 0
    assert Path("datasets/little/cat/0.png").read_bytes() == PICTURES["little/cat/0.png"]
    assert len(server.asked) == 1
    marker = json.loads(Path("datasets/little/complete.json").read_text())
    wanted = described(server, "little.zip")
    assert marker == {
        "recipe": "little",
        "files": [{key: wanted[key] for key in ("url", "bytes", "sha256")}],
    }


def test_ctrl_c_keeps_what_has_arrived(
    server: Server, trainer: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: float) -> None:
        raise KeyboardInterrupt

    server.cut = [100]
    with monkeypatch.context() as patch:
        patch.setattr(download.time, "sleep", stop)
        done = trainer("data", "fetch", "little")
    assert done.code == 130
    kept = Path("datasets/.little.fetching").resolve()
    assert done.err.splitlines()[-2:] == [
        f"error: stopped; what has arrived is kept in {kept}",
        "  the same command goes on there",
    ]
    assert trainer("data", "fetch", "little").code == 0
    assert server.asked[-1] == ("little.zip", "bytes=100-")


def test_the_disk_is_looked_at_before_the_network(
    server: Server, trainer: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=100_000))
    done = trainer("data", "fetch", "little")
    assert done.code == 2
    assert "are needed on this disk, 100 kB are free" in done.err
    assert server.asked == []


def test_a_folder_with_anything_else_is_left_alone(
    server: Server, trainer: Callable[..., Outcome]
) -> None:
    Path("datasets/little").mkdir()
    Path("datasets/little/mine.png").write_bytes(b"precious")
    done = trainer("data", "fetch", "little")
    assert done.code == 2
    assert done.err == (
        "error: datasets/little: is there already and has no complete.json, so it was not fetched\n"
        "  choose another place with --into, or move the folder away\n"
    )
    assert Path("datasets/little/mine.png").read_bytes() == b"precious"


def test_another_version_of_a_recipe_is_told(
    server: Server, trainer: Callable[..., Outcome]
) -> None:
    trainer("data", "fetch", "little")
    text = Path("datasets/little.yaml").read_text()
    Path("datasets/little.yaml").write_text(text.replace("little.zip", "newer.zip"))
    assert trainer("data", "fetch", "little").err == (
        "error: datasets/little: was fetched by another recipe, or another version of little\n"
        "  remove the folder to fetch it anew, or choose another place with --into\n"
    )


def test_two_at_once_do_not_meet(server: Server, trainer: Callable[..., Outcome]) -> None:
    Path("datasets/.little.fetching").mkdir()
    with Path("datasets/.little.fetching/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = trainer("data", "fetch", "little")
    assert done.err == (
        f"error: {Path('datasets/.little.fetching').resolve()}: another process is fetching into "
        "it\n  wait for it, then call again\n"
    )
    assert server.asked == []


def test_a_hostile_archive_puts_nothing_in_place(
    server: Server, trainer: Callable[..., Outcome]
) -> None:
    server.contents["bad.zip"] = zipped(PICTURES | {"../../evil.txt": b"!"})
    write_recipe(Path("datasets/bad.yaml"), [described(server, "bad.zip")])
    done = trainer("data", "fetch", "bad")
    assert done.code == 2
    assert "has a member that leads out of the folder, '../../evil.txt'" in done.err
    assert not list(Path().rglob("evil.txt"))
    assert not Path("datasets/bad").exists()


def test_the_bound_holds_for_all_archives_together(
    server: Server, trainer: Callable[..., Outcome]
) -> None:
    total = sum(map(len, PICTURES.values()))
    server.contents["more.zip"] = server.contents["little.zip"]
    files = [
        described(server, "little.zip", into="train"),
        described(server, "more.zip", into="test"),
    ]
    write_recipe(Path("datasets/both.yaml"), files, unpacked=2 * total - 1)
    assert "more.zip: holds more than the recipe says is in it" in (
        trainer("data", "fetch", "both").err
    )


def test_voc_lists_become_a_table_with_a_column_per_class(
    server: Server, trainer: Callable[..., Outcome]
) -> None:
    members = {f"VOC/JPEGImages/{n}.jpg": picture(n) for n in range(1, 4)} | {
        "VOC/ImageSets/Main/cat_trainval.txt": b"1  1\n2 -1\n3  0\n",
        "VOC/ImageSets/Main/dog_trainval.txt": b"1  1\n2  1\n3 -1\n",
        "VOC/ImageSets/Main/trainval.txt": b"1\n2\n3\n",
    }
    server.contents["voc.tgz"] = tarred(members)
    write_recipe(
        Path("datasets/voc.yaml"),
        [described(server, "voc.tgz", take="VOC")],
        layout="voc",
        source={"kind": "csv", "path": "datasets/voc/labels.csv"},
    )
    done = trainer("data", "fetch", "voc", "--into", "elsewhere")
    assert Path("elsewhere/labels.csv").read_text().splitlines() == [
        "path,cat,dog",
        "JPEGImages/1.jpg,1,1",
        "JPEGImages/2.jpg,0,1",
        "JPEGImages/3.jpg,0,0",
    ]
    assert done.code == 0, done.err
    assert "source: {kind: csv, path: elsewhere/labels.csv}" in done.out
    assert "│ dog   │        2 │" in done.out


def test_an_unknown_name_lists_the_known_ones(
    workplace: Path, trainer: Callable[..., Outcome]
) -> None:
    known = (
        "cats_vs_dogs, fashion_mnist, flower_photos, kuzushiji_mnist, mnist, rock_paper_scissors, "
        "voc2007"
    )
    assert trainer("data", "fetch", "mnits").err == (
        "error: NAME: there is no recipe called 'mnits'\n"
        f"  did you mean 'mnist'? The recipes are: {known}\n"
    )
    done = trainer("data", "fetch", "xyzzy")
    assert done.code == 2
    assert done.err == (
        f"error: NAME: there is no recipe called 'xyzzy'\n  expected one of: {known}\n"
    )


def test_mistakes_in_a_recipe_have_their_lines(
    server: Server, trainer: Callable[..., Outcome]
) -> None:
    path = Path("datasets/little.yaml")
    text = path.read_text().replace("CC0", "3").replace("take: little", "take: ../up")
    path.write_text(text.replace("kind: folder", "kind: foldr").replace("http://127", "ftp://127"))
    lines = path.read_text().splitlines()
    place = {line.split(":")[0].strip(" -"): number for number, line in enumerate(lines, 1)}
    done = trainer("data", "fetch", "little")
    assert done.code == 2
    found = [line for line in done.err.splitlines() if line.startswith("error")]
    assert [line.split(": ")[1:3] for line in found] == [
        [f"{path}:{place['licence']}", "licence"],
        [f"{path}:{place['url']}", "files[0].url"],
        [f"{path}:{place['take']}", "files[0].take"],
        [f"{path}:{place['kind']}", "source.kind"],
    ]


def test_without_a_name_the_recipes_are_listed(
    server: Server, trainer: Callable[..., Outcome]
) -> None:
    done = trainer("data", "fetch")
    assert done.code == 0
    assert "│ mnist               │ 12 MB    │   70,000 │      10 │ CC BY-SA 3.0" in done.out
    assert "│ little " in done.out


def test_the_command_needs_no_tensorflow(server: Server) -> None:
    code = (
        "import sys; from trainer.commands.data.fetch import run; run('little', None); "
        "assert 'tensorflow' not in sys.modules and 'keras' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_place_that_cannot_be_written_is_told(
    server: Server, trainer: Callable[..., Outcome]
) -> None:
    Path("file").write_text("in the way")
    done = trainer("data", "fetch", "little", "--into", "file/below")
    assert done.code == 2
    assert "cannot be written" in done.err
    with pytest.raises(UserError, match="is a file, not a folder"):
        dataset.is_there(None, Path("file"))  # type: ignore[arg-type]
