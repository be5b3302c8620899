"""Drawings by their numbers."""

import re
import xml.etree.ElementTree as ET

import pytest

from trainer.report.charts import Line, lines, reliability, ticks


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.7, 2.4, [0.5, 1, 1.5, 2, 2.5]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (1, 30, [0, 10, 20, 30]),
        (0.0001, 0.003, [0, 0.001, 0.002, 0.003]),
        (5, 5, [2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_ticks_are_round_and_hold_the_values(
    low: float, high: float, expected: list[float]
) -> None:
    assert ticks(low, high) == expected


def points(svg: str, kind: str) -> list[tuple[float, float]]:
    (path,) = re.findall(rf'class="{kind}" d="([^"]*)"', svg)
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)]


def test_a_line_goes_from_corner_to_corner() -> None:
    svg = lines("loss", [Line("training", [1.0, 0.5, 0.0])])
    assert points(svg, "one") == [(46, 10), (188, 95), (330, 180)]
    ET.fromstring(svg)


def test_a_line_has_gaps_where_there_is_no_number() -> None:
    nan = float("nan")
    svg = lines("loss", [Line("a", [1.0, nan, 0.0, 0.0])], best=3)
    (path,) = re.findall(r'class="one" d="([^"]*)"', svg)
    assert re.sub(r"[\d. ]", "", path) == "MML"
    assert "best" in svg
    assert lines("loss", [Line("a", [nan])]) == ""


def test_one_epoch_is_a_dot() -> None:
    assert "h.1" in lines("loss", [Line("a", [1.0])])


def test_long_lines_are_thinned() -> None:
    svg = lines("loss", [Line("a", [float(n) for n in range(5000)])])
    assert len(points(svg, "one")) < 400
    assert points(svg, "one")[-1][0] == 330


def test_names_are_escaped() -> None:
    svg = lines("<i>", [Line("<a>", [1.0]), Line("b", [1.0])])
    assert "<i>" not in svg and "&lt;a&gt;" in svg


def test_bars_are_as_high_as_what_is_right() -> None:
    svg = reliability("it", [0, 0.5, 1], [0, 4], [0, 0.8], [0, 0.5])
    heights = re.findall(r'class="column"[^>]* height="([\d.]+)"', svg)
    assert heights == ["85.0"]  # half of 170
    assert re.findall(r'class="count"[^>]* height="([\d.]+)"', svg) == ["0.0", "46.0"]
    ET.fromstring(svg)
