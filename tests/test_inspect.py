"""`trainer data inspect` from the command line: what it says, writes and leaves to fit."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import SMALL, Outcome, draw_pictures
from trainer.commands._gather import gather
from trainer.config.load import load

Command = Callable[..., Outcome]
LISTING, PAGE = Path("runs/small/quarantine.csv"), Path("runs/small/inspection.html")


@pytest.fixture
def messy(workplace: Path) -> Path:
    """A config with 3 × 24 pictures: one cannot be read, one is black, two are equal but called red
    and green, one PNG is called .jpg."""
    draw_pictures(workplace / "pictures", {"blue": 24, "green": 24, "red": 24}, (60, 60))
    Path("pictures/blue/00.png").write_bytes(b"")
    Image.new("RGB", (60, 60)).save("pictures/blue/01.png")
    shutil.copy("pictures/red/03.png", "pictures/green/03.png")
    Path("pictures/red/05.png").rename("pictures/red/05.jpg")
    path = Path("small.yaml")
    path.write_text(SMALL)
    return path


def rows(path: Path = LISTING) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


OURS = [
    ["path", "reason"],
    ["blue/00.png", "inspect: cannot be read: empty file"],
    ["blue/01.png", "inspect: one colour only"],
    ["green/03.png", "inspect: the same picture as red/03.png (red)"],
    ["red/03.png", "inspect: the same picture as green/03.png (green)"],
]


class Page(HTMLParser):
    """What stands in a page: its texts, and whatever a browser would fetch or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.tags, self.sources, self.open = "", set(), [], []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.tags.add(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


def test_the_terminal(messy: Path, trainer: Command) -> None:
    done = trainer("data", "inspect", messy)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "pictures 72 in 3 classes; 71 can be read"
    assert lines[1].startswith("split    ")
    assert lines[1].endswith("; 4 left out")
    assert lines[2:6] == [
        "formats  71 PNG",
        "height   60, all",
        "width    60, all",
        "aspect   1, all",
    ]
    at = lines.index("problem  1 picture cannot be read")
    assert lines[at : at + 5] == [
        "problem  1 picture cannot be read",
        "         Training and evaluation go on without what cannot be read.",
        "         Replace these files, or remove them from the source.",
        "           blue/00.png: empty file",
        "",
    ]
    heads = [line[9:] for line in lines if line.startswith(("problem", "warning", "note "))]
    assert heads == [
        "1 picture cannot be read",
        "1 picture is there twice or more, with different labels",
        "1 picture shows one colour only",
        "1 file is of another format than its name says",
    ]
    assert lines[-4:] == [
        "",
        "written  runs/small/quarantine.csv (4 pictures that fit leaves out)",
        "written  runs/small/inspection.html (with thumbnails)",
        "every file by name: --json FILE",
    ]
    assert max(map(len, lines)) < 80


def test_the_quarantine_is_what_fit_leaves_out(messy: Path, trainer: Command) -> None:
    report = Path("report.json")
    trainer("data", "inspect", messy, "--json", report)
    assert rows() == OURS
    gathered = gather(load(messy))
    assert {gathered.examples.pictures.name(i) for i in gathered.quarantined} == {
        row[0] for row in OURS[1:]
    }
    shown = json.loads(report.read_text())["sides"]
    assert shown == {name: len(side) for name, side in gathered.sides._asdict().items()}
    assert sum(shown.values()) == 68


def test_json_holds_everything_in_sorted_order(messy: Path, trainer: Command) -> None:
    trainer("data", "inspect", messy, "--json", "all/report.json")
    text = Path("all/report.json").read_text()
    report = json.loads(text)
    assert text == json.dumps(report, indent=2, sort_keys=True) + "\n"
    assert report.keys() == {
        *("classes", "findings", "formats", "left_out", "multi_label", "name", "pictures"),
        *("quarantine", "readable", "sides", "sizes", "source"),
    }
    assert report["quarantine"] == {
        "file": "runs/small/quarantine.csv",
        "pictures": dict(OURS[1:]),
    }
    assert [each["kind"] for each in report["findings"]] == [
        *("unreadable", "conflicting_labels", "one_colour", "wrong_suffix"),
    ]
    again = Path("again.json")
    trainer("data", "inspect", messy, "--json", again)
    assert again.read_text() == text


def test_the_page_stands_alone(messy: Path, trainer: Command) -> None:
    trainer("data", "inspect", messy)
    page = Page(PAGE.read_text())
    assert page.open == []
    assert not page.tags & {"script", "link", "iframe"}
    assert all(each.startswith(("data:image/jpeg;base64,", "#finding-")) for each in page.sources)
    assert (
        sum(each.startswith("data:") for each in page.sources) == 4
    )  # the unreadable one has none
    for text in (
        "1 picture cannot be read",
        "unreadable",
        "blue/00.png",
        "empty file",
        "red/05.jpg",
    ):
        assert text in page.text
    assert "url(" not in PAGE.read_text()


def test_names_cannot_break_the_page(messy: Path, trainer: Command) -> None:
    Path("pictures/red/<img src=x onerror=alert(1)>&.png").write_bytes(b"")
    Path(b"pictures/red/\xe9.png".decode("utf-8", "surrogateescape")).write_bytes(b"")
    done = trainer("data", "inspect", messy, "--json", "report.json")
    assert done.code == 0
    text = PAGE.read_text()
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;&amp;.png" in text
    assert "red/\\udce9.png" in text
    assert "red/\udce9.png" in json.loads(Path("report.json").read_text())["quarantine"]["pictures"]
    listed = {name for name, _ in gather(load(messy)).left_out().items()}
    assert "red/\udce9.png" in listed


def test_the_page_stays_small(workplace: Path, trainer: Command) -> None:
    draw_pictures(workplace / "pictures", {"blue": 60, "red": 60}, (300, 300))
    for path in list(Path("pictures").glob("*/*.png"))[::2]:
        Image.open(path).convert("RGBA").save(path)
    Path("small.yaml").write_text(SMALL)
    trainer("data", "inspect", "small.yaml")
    page = Page(PAGE.read_text())
    assert "60 pictures have an alpha channel" in page.text
    assert "and 36 more" in page.text
    assert sum(each.startswith("data:") for each in page.sources) == 24


def test_rows_of_the_user_stay_and_ours_are_renewed(messy: Path, trainer: Command) -> None:
    trainer("data", "inspect", messy)
    mine = [
        ["path", "reason", "by"],
        ["red/09.png", "blurred", "me"],
        ["blue/01.png", "black, but leave it out", ""],
        ["green/03.png", "inspect: an old reason", ""],
        ["gone.png", "inspect: cannot be read: empty file", ""],
        ["other.png", "", ""],
    ]
    with LISTING.open("w", newline="") as file:
        csv.writer(file).writerows(mine)
    done = trainer("data", "inspect", messy)
    assert "(6 pictures that fit leaves out, 3 of them by hand)" in done.out
    assert rows() == [
        *(mine[0], mine[1], mine[2], mine[5]),
        *([*row, ""] for row in OURS[1:] if row[0] != "blue/01.png"),
    ]
    assert "red/09.png" in gather(load(messy)).left_out()


def test_a_list_is_emptied_when_all_is_mended(messy: Path, trainer: Command) -> None:
    trainer("data", "inspect", messy)
    for name in ("blue/00.png", "blue/01.png", "green/03.png"):
        Path("pictures", name).unlink()
    Path("pictures/red/05.jpg").rename("pictures/red/05.png")
    done = trainer("data", "inspect", messy)
    assert "all is well: nothing was found that needs a hand" in done.out
    assert "written  runs/small/quarantine.csv (empty)" in done.out
    assert rows() == [["path", "reason"]]
    assert "Nothing was found" in PAGE.read_text()


def test_a_list_of_another_name(messy: Path, trainer: Command) -> None:
    done = trainer("data", "inspect", messy, "--set", "data.quarantine=mine.csv")
    assert "written  mine.csv (4 pictures that fit leaves out)" in done.out
    assert rows(Path("mine.csv")) == OURS
    assert not LISTING.exists()
    assert len(gather(load(messy, ["data.quarantine=mine.csv"])).quarantined) == 4


def test_no_list_at_all(messy: Path, trainer: Command) -> None:
    done = trainer("data", "inspect", messy, "--set", "data.quarantine=none")
    assert "quarantine.csv" not in done.out
    assert "With quarantine: none fit uses all of it." in " ".join(done.out.split())
    assert not LISTING.exists()


def test_what_is_no_list_is_not_overwritten(messy: Path, trainer: Command) -> None:
    Path("notes.csv").write_text("name,why\na,b\n")
    done = trainer("data", "inspect", messy, "--set", "data.quarantine=notes.csv")
    assert done.code == 2
    assert done.err == (
        "error: --set data.quarantine=notes.csv: data.quarantine: notes.csv is no list of pictures "
        "with a column path: its columns are name, why\n"
    )
    assert Path("notes.csv").read_text() == "name,why\na,b\n"


def test_what_stops_fit_does_not_stop_the_report(messy: Path, trainer: Command) -> None:
    for path in list(Path("pictures/red").iterdir())[2:]:
        path.unlink()
    Path("pictures/red/03.png").unlink(missing_ok=True)
    done = trainer("data", "inspect", messy)
    assert done.code == 0
    assert "problem  the pictures cannot be split" in done.out
    assert "fit would stop: class 'red' has" in done.out
    assert PAGE.exists()


def test_of_many_classes_only_the_ends_are_shown(workplace: Path, trainer: Command) -> None:
    draw_pictures(workplace / "pictures", {f"class{index:02d}": 4 + index for index in range(25)})
    Path("small.yaml").write_text(SMALL)
    done = trainer("data", "inspect", "small.yaml")
    assert "the largest and smallest 10 of 25 classes" in done.out
    assert "class24" in done.out
    assert "class00" in done.out
    assert "│ class12 " not in done.out
    assert "class12" in PAGE.read_text()


def test_a_place_that_cannot_be_written_is_told_first(messy: Path, trainer: Command) -> None:
    Path("file").write_text("in the way")
    done = trainer("data", "inspect", messy, "--json", "file/report.json")
    assert done.code == 2
    assert "--json: file/report.json cannot be written" in done.err
    assert not PAGE.exists()


def test_arrays_and_several_labels(workplace: Path, trainer: Command) -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (60, 28, 28), np.uint8)
    labels = generator.integers(0, 2, (60, 3), np.uint8)
    labels[0] = 0
    np.savez("arrays.npz", images=images, labels=labels)
    Path("small.yaml").write_text(
        SMALL.replace("{kind: folder, path: pictures}", "{kind: npz, path: arrays.npz}")
    )
    done = trainer("data", "inspect", "small.yaml", "--json", "report.json")
    assert (done.code, done.err) == (0, "")
    report = json.loads(Path("report.json").read_text())
    assert report["multi_label"]
    assert report["formats"] == {"pixels": 60}
    kinds = [each["kind"] for each in report["findings"]]
    assert "no_label" in kinds
    assert "grey" in kinds
    assert "small" not in kinds


def test_no_tensorflow_is_loaded(messy: Path) -> None:
    code = (
        "import sys; from trainer.cli import app; sys.argv = ['trainer', 'data', 'inspect', "
        "'small.yaml'];\ntry: app()\nexcept SystemExit as end: assert not end.code\n"
        "assert not {'tensorflow', 'keras', 'albumentations'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
