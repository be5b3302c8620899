"""The page and the card of runs in all states, from files alone."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.report.folders import ASKED, METRICS, evaluated, found, trained
from trainer import files
from trainer.errors import UserError
from trainer.report import card, page, tables
from trainer.report.found import Found, read
from trainer.report.mistakes import mistakes, worst
from trainer.report.page import Looked, Sample, Shown
from trainer.report.verdict import checks, verdict


def written(found: Found, looked: Looked | None = None) -> str:
    every = checks(found, 0, 300)
    return page.page(found, every, verdict(every, found), looked or Looked())


def carded(found: Found) -> str:
    every = checks(found, 0, 300)
    return card.card(found, every, verdict(every, found), {"Input": "8 × 8"})


class Outline(HTMLParser):
    """Opened and closed tags, and what is asked of the network."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.asked: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag not in ("meta", "img", "path", "rect", "circle"):
            self.open.append(tag)
        self.ids += [named["id"] or ""] if "id" in named else []
        for name in ("src", "href"):
            where = named.get(name) or ""
            if where.startswith("#"):
                self.links.append(where[1:])
            elif where and not where.startswith("data:"):
                self.asked.append(where)
        assert tag not in ("script", "link", "iframe", "b ")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_asks_for_nothing(tmp_path: Path) -> None:
    outline = Outline(written(found(tmp_path / "run")))
    assert (outline.open, outline.asked) == ([], [])
    assert set(outline.links) <= set(outline.ids)
    assert len(outline.ids) == 13


def test_classes_without_pictures_come_last_and_are_named(tmp_path: Path) -> None:
    gone = {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0, "roc_auc": None}
    classes = {"cat": gone, "<b>dog</b>": METRICS["classes"]["<b>dog</b>"]}
    run = found(tmp_path / "run", metrics={**METRICS, "classes": classes, "absent": ["cat"]})
    said = "No picture of &#x27;cat&#x27;: means over classes are over the other one."
    assert f'<p class="muted">{said}</p>' in tables.figures(run)
    rows = tables.classes(run)
    assert rows.index("dog") < rows.index(">cat<")
    assert "<td>cat</td><td>–</td><td>–</td><td>–</td><td>–</td><td>0</td><td></td>" in rows
    assert "means over classes are over the other one" in carded(run)
    assert "| cat | – | – | – | 0 |" in carded(run)


def test_the_card_says_what_intervals_and_temperature_mean(tmp_path: Path) -> None:
    metrics = {**METRICS, "interval": {"level": 0.9, "resamples": 1000}}
    run = found(tmp_path / "run", metrics=metrics)
    told = carded(run)
    assert "90 % of such intervals would hold the true figure." in told
    assert "| figure | value | 90 % interval |" in told
    assert "<th>90 % interval</th>" in tables.figures(run)
    assert "after a temperature" not in told
    run = run._replace(confidence={"temperature": 2.5, "applied": True})
    assert (
        "Its probabilities are those after a temperature of 2.5, by which its logits are divided: "
        "fitted on the validation pictures, and built into what is exported since."
    ) in carded(run)
    assert "interval" not in carded(run._replace(metrics={**METRICS, "intervals": {}}))


def test_the_page_says_where_confidence_ends(tmp_path: Path) -> None:
    run = found(tmp_path / "run")
    shown = [
        Shown(each, "", "") for each in worst(mistakes(run.predictions, run.classes, False))[:1]
    ]
    looked = Looked(confident=shown, sure=1, wrong=2, asked="It was asked.")
    assert "These are all of that kind; mistakes.csv has all 2 mistakes." in written(run, looked)
    looked = looked._replace(sure=1234, wrong=2345)
    assert "The first 1 of 1,234 of that kind; mistakes.csv has all 2,345 mistakes." in written(
        run, looked
    )
    assert "None of 2,345 mistakes; mistakes.csv has them." in written(
        run, looked._replace(confident=[])
    )


def test_names_labels_paths_and_config_are_text(tmp_path: Path) -> None:
    run = found(tmp_path / "run")
    wrong = mistakes(run.predictions, run.classes, multi_label=False)
    shown = [Shown(each, "", "") for each in worst(wrong)]
    samples = [Sample("<u>.png", "<b>dog</b>", [])]
    text = written(run, Looked(worst=shown, samples=samples, notes=["<oops>"]))
    for markup in ("<b>dog</b>", "dog/<0>", "<u>", "<oops>", "<script>", "a <copy>", "no <scores>"):
        assert markup not in text
    assert "name: pets # &lt;script&gt;" in text
    assert "&lt;b&gt;dog&lt;/b&gt;" in text


def test_what_stands_on_it(tmp_path: Path) -> None:
    text = Outline(written(found(tmp_path / "run"), Looked(best=2, reliability="<svg></svg>"))).text
    for part in (
        "Not yet.",
        "0.500 to 1.000",  # the interval
        "By camera",
        "at most 5 ms7.2 msmissed",  # a gate
        "1 × quarantine, 1 × unreadable",
        "epoch 2, the best",
        f"model.onnx{files.size(2048)}6 of 60.500 (Keras 0.500)1.2e-06 of 1e-05agrees",
        "100 images/s",
        "2 by validation, not built in",
    ):
        assert part in text, part
    assert "micro" not in text


def test_a_matrix_counts_and_lists_what_is_confused(tmp_path: Path) -> None:
    drawn = tables.confusion(found(tmp_path / "run"))
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", drawn)
    assert cells[:4] == ["3", "1", "1", "1"]
    assert cells[4:8] == ["cat", "&lt;b&gt;dog&lt;/b&gt;", "1", "25.0%"]


def test_of_many_classes_there_is_no_matrix(tmp_path: Path) -> None:
    names = tuple(f"n{number}" for number in range(30))
    counts = [[2 * (row == column) for column in range(30)] for row in range(30)]
    counts[3][7] = 5
    drawn = tables.confusion(
        found(tmp_path / "run", classes=names, metrics={**METRICS, "confusion": counts})
    )
    assert "matrix" not in drawn
    assert "<td>n3</td><td>n7</td><td>5</td><td>71.4%</td>" in drawn


def test_a_run_that_was_not_evaluated_says_so(tmp_path: Path) -> None:
    run = read(trained(tmp_path / "run"), "pets", ASKED)
    text = Outline(written(run)).text
    assert text.count("Not evaluated yet") == 5
    assert f"trainer evaluate {tmp_path / 'run'}" in text
    assert "Not exported yet" in text
    assert "Not evaluated." in carded(run)


def test_a_run_of_an_earlier_version_has_no_predictions(tmp_path: Path) -> None:
    text = Outline(written(found(tmp_path / "run", predictions=[]))).text
    assert text.count("predictions.csv is missing: trainer evaluate ") == 2


def test_a_run_without_an_epoch_says_so(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    run.history.unlink()
    run.timing.unlink()
    run.environment.unlink()
    text = Outline(written(read(run, "pets", ASKED))).text
    assert text.count("No epoch was finished.") == 2
    assert "environment.json is missing" in text


def test_validation_stands_in_for_test(tmp_path: Path) -> None:
    run = evaluated(tmp_path / "run")
    place = run.evaluated("validation")
    place.folder.mkdir(parents=True)
    run.metrics.rename(place.metrics)
    run.evaluated("test").predictions.rename(place.predictions)
    found = read(run, "pets", ASKED)
    assert (found.split, len(found.predictions), found.others) == ("validation", 6, {})


@pytest.mark.parametrize(
    ("name", "content", "problem", "hint"),
    [
        ("metrics.json", "{", "Expecting property name", "trainer evaluate writes it anew"),
        ("split.csv", "path,label,split\ncat/a.png,cat\n", "not enough values to unpack", ""),
    ],
)
def test_a_damaged_file_is_named(
    name: str, content: str, problem: str, hint: str, tmp_path: Path
) -> None:
    run = evaluated(tmp_path / "run")
    (run.folder / name).write_text(content)
    with pytest.raises(UserError, match=f"{name}: cannot be read: {problem}") as caught:
        read(run, "pets", ASKED)
    assert caught.value.hint == hint


def test_a_figure_that_is_not_logged_from_the_first_epoch_on(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    run.history.write_text("epoch,loss,val_loss\n1,2.0,\n2,1.0,1.5\n")
    assert "validation" in tables.curves(read(run, "pets", ASKED), None)


def test_signs_of_markdown_in_names_are_text(tmp_path: Path) -> None:
    """GitHub strikes out between tildes and typesets between dollars."""
    text = carded(found(tmp_path / "run", name="~~a~~ $x$"))
    assert text.startswith("# \\~\\~a\\~\\~ \\$x\\$\n")


def test_the_card_is_markdown_with_names_as_text(tmp_path: Path) -> None:
    text = carded(found(tmp_path / "run"))
    assert text.startswith("# pets\n\nOne label per picture, of 2: cat, \\<b\\>dog\\</b\\>.\n")
    assert "**Not yet.**" in text
    assert "| accuracy | 0.667 | 0.500 to 1.000 |" in text
    assert "| \\<b\\>dog\\</b\\> | 0.500 | 0.500 | 0.500 | 2 |" in text
    assert "- Of '\\<b\\>dog\\</b\\>' it finds 50.0%." in text
    assert "- tflite: disagrees with Keras, so it was not written" in text
    widths = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    assert set(widths) == {4, 6}


@pytest.mark.parametrize(
    ("name", "number", "said"),
    [
        ("size_mb", 0.0153, "0.015 MB"),
        ("size_mb", 0.879, "0.88 MB"),
        ("size_mb", 92.42, "92 MB"),
        ("size_mb", 344.4, "344 MB"),
        ("latency_ms", 0.0, "0 ms"),
        ("latency_ms", 6.81, "6.8 ms"),
        ("worst_recall", 0.5556, "0.556"),
        ("worst_recall", None, "–"),
    ],
)
def test_what_has_a_unit_has_two_digits(name: str, number: float | None, said: str) -> None:
    assert tables.value(name, number) == said


def test_a_bound_has_its_unit_too() -> None:
    assert tables.wanted({"name": "latency_ms", "bound": "at most", "wanted": 50.0}) == (
        "at most 50 ms"
    )
    assert tables.wanted({"name": "accuracy", "bound": "at least", "wanted": 0.9}) == "at least 0.9"
