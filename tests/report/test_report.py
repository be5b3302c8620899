"""`trainer report`, from end to end."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import browser
from tests.conftest import Outcome, draw_pictures
from trainer.commands import _mistakes
from trainer.run import find

Trainer = Callable[..., Outcome]
QUICK = ("--set", "training.epochs=1", "--set", "evaluation.bootstrap=20")


@pytest.fixture
def fitted(small: Path, trainer: Trainer) -> Path:
    """The folder of a run that knows little, with a name that would be markup."""
    Path("pictures/red").rename("pictures/<i>red")
    assert trainer("fit", small, *QUICK).code == 0
    return find(str(small)).folder


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "mistakes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_report_of_a_run(fitted: Path, trainer: Trainer) -> None:
    done = trainer("report", fitted)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("verdict  ")
    names = ("report.html", "model_card.md", "mistakes.csv")
    assert lines[-3:] == [f"written  {fitted / name}" for name in names]
    page = (fitted / "report.html").read_text()
    assert "The network was asked about all 6 test, all 6 validation and all 12 training" in page
    assert "<i>red" not in page and "&lt;i&gt;red" in page
    wrong = rows(fitted)
    assert wrong
    sure = [float(row["sure"]) for row in wrong]
    assert sure == sorted(sure, reverse=True)
    assert all(row["truth"] != row["label"] for row in wrong)
    assert {row["split"] for row in wrong} <= {"train", "validation", "test"}
    tested = sum(row["split"] == "test" for row in wrong)
    # Each with its picture and the heat on it; 3 training pictures at least, as they are and seen.
    confident = sum(each >= 1 / 3 for each in sure)
    assert page.count("<img") == 2 * confident + 2 * tested + 5 * 5
    assert (fitted / "model_card.md").read_text().startswith("# small\n")


def test_the_same_run_gives_the_same_report(fitted: Path, trainer: Trainer) -> None:
    names = ("report.html", "model_card.md", "mistakes.csv")
    trainer("report", fitted)
    first = [(fitted / name).read_bytes() for name in names]
    trainer("report", fitted)
    assert first == [(fitted / name).read_bytes() for name in names]


def test_what_is_missing_is_said(fitted: Path, trainer: Trainer) -> None:
    shutil.rmtree("pictures")
    done = trainer("report", fitted)
    assert done.code == 0
    assert "warning: without the pictures: " in done.err
    assert "--set data.source.path=…" in done.err
    page = (fitted / "report.html").read_text()
    assert '<p class="muted">Without the pictures: ' in page
    assert "picture is gone" in page
    assert "<img" not in page
    tested = {row["split"] for row in rows(fitted)}
    assert tested == {"test"}

    (fitted / "checkpoints" / "best.keras").unlink()
    done = trainer("report", fitted)
    assert done.code == 0
    assert "warning: without the network: there is no checkpoints/best.keras" in done.err
    for name in ("metrics.json", "predictions.csv", "confidence.json", "history.csv"):
        (fitted / name).unlink()
    assert trainer("report", fitted).code == 0
    assert "Nobody knows." in (fitted / "report.html").read_text()


def test_a_fair_part_of_many_training_pictures_has_to_do(
    fitted: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_mistakes, "LEAST", 1)
    trainer("report", fitted, "--seconds", "0")
    page = (fitted / "report.html").read_text()
    assert "all 6 test, 5 of 6 validation and 5 of 12 training pictures" in page


def test_what_evaluate_has_seen_is_not_asked_again(
    fitted: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer("report", fitted)
    before = rows(fitted)
    for side in ("train", "validation"):
        trainer("evaluate", fitted, "--split", side, "--set", "evaluation.bootstrap=20")
    monkeypatch.delattr(_mistakes, "_answers")
    trainer("report", fitted)
    assert {row["path"] for row in rows(fitted)} == {row["path"] for row in before}


def test_grey_pictures_and_a_network_without_convolution(small: Path, trainer: Trainer) -> None:
    layers = "[Flatten, {Dense: {units: $classes, activation: softmax}}]"
    changes = ("--set", f"model.layers={layers}", "--set", "data.channels=1", *QUICK)
    grey = ("--set", "data.augment=[HorizontalFlip]")
    assert trainer("fit", small, *changes, *grey).code == 0
    done = trainer("report", small)
    assert done.code == 0, done.err
    page = (find(str(small)).folder / "report.html").read_text()
    assert "There is no Grad-CAM: the network has no convolution" in page
    assert "<img" in page


def test_several_labels(workplace: Path, small: Path, trainer: Trainer) -> None:
    shutil.rmtree("pictures")
    draw_pictures(workplace / "pictures", {"blue": 12, "red": 12})
    lines = [f"pictures/blue/{n:02d}.png,blue|wet" for n in range(12)]
    lines += [f"pictures/red/{n:02d}.png,{'' if n % 2 else 'wet'}" for n in range(12)]
    Path("table.csv").write_text("\n".join(["path,labels", *lines, ""]))
    source = "data.source={kind: csv, path: table.csv, label: labels, separator: '|'}"
    head = "model.layers=[{Conv2D: {filters: 2, kernel_size: 3}}, Flatten, "
    head += "{Dense: {units: $classes, activation: sigmoid}}]"
    loss = "training.loss=BinaryCrossentropy"
    metrics = "training.metrics=[BinaryAccuracy]"
    changes = [each for one in (source, head, loss, metrics) for each in ("--set", one)]
    fit = trainer("fit", small, *changes, *QUICK)
    assert fit.code == 0, fit.err
    done = trainer("report", small)
    assert done.code == 0, done.err
    page = (find(str(small)).folder / "report.html").read_text()
    assert "Several labels may hold at once" in page
    assert "What a label&#x27;s probability is worth" in page
    assert "a label holds from" in page


@pytest.mark.slow
@pytest.mark.skipif(not browser.CHROMIUM, reason="no Chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(fitted: Path, trainer: Trainer, tmp_path: Path, scheme: str) -> None:
    trainer("report", fitted)
    file = (fitted / "report.html").resolve()
    with browser.browser(tmp_path / "profile") as page:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.call("Emulation.setEmulatedMedia", features=features)
        for width in (360, 1200):
            page.call(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=800,
                deviceScaleFactor=1,
                mobile=width < 500,
            )
            page.open(file.as_uri())
            assert page.run("document.documentElement.scrollWidth") <= width  # nothing sticks out
        shown = page.run("[...document.images].every(each => each.naturalWidth > 0)")
        colour = page.run("getComputedStyle(document.body).backgroundColor")
        assert shown
        assert colour == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 24, 27)"}[scheme]
        asked = [each for each in page.requests if not each.startswith("data:")]
        assert set(asked) == {file.as_uri()}
        assert page.complaints == []
