"""Can it be shipped?"""

from pathlib import Path
from typing import Any

from tests.report.folders import ASKED, GATES, METRICS, PARITY, evaluated, found, trained
from trainer.report.found import Found, read
from trainer.report.verdict import checks, verdict


def titles(found: Found, against: int = 0) -> dict[str, str]:
    return {check.title: check.level for check in checks(found, against, 300)}


def good(folder: Path, **changes: Any) -> Found:
    """A run that nothing speaks against, but for what is changed."""
    classes = {name: {"precision": 0.9, "recall": 0.9, "f1": 0.9, "support": 100} for name in "ab"}
    metrics = {
        "split": "test",
        "examples": 200,
        "accuracy": 0.9,
        "calibration_error": 0.02,
        "intervals": {"accuracy": [0.87, 0.93]},
        "classes": classes,
    }
    values = {"metrics": metrics, "gates": GATES[:1], "parity": PARITY[:1], "left_out": {}}
    return found(folder, **{**values, **changes})


def test_what_speaks_against_a_run(tmp_path: Path) -> None:
    assert titles(found(tmp_path / "run"), 2) == {
        "Accuracy 66.7% on 6 test pictures: hardly better than guessing": "problem",
        "1 of 2 gates missed: latency": "problem",
        "1 of 2 exports disagree with Keras": "problem",
        "Worst class: of '<b>dog</b>' it finds 50.0%": "good",
        "2 classes were measured on fewer than 20 pictures": "warning",
        "Confidence is off by 20.0% on the mean": "warning",
        "1 of the test pictures could not be read": "warning",
        "1 pictures are left out of all figures": "note",
        "2 of 300 labels are contradicted with great confidence": "warning",
    }


def test_the_worst_comes_first(tmp_path: Path) -> None:
    levels = [check.level for check in checks(found(tmp_path / "run"), 0, 300)]
    assert levels == sorted(levels, key=["problem", "warning", "note", "good"].index)


def test_gates_are_those_of_the_config(tmp_path: Path) -> None:
    run = evaluated(tmp_path / "run")
    said = read(run, "pets", {"accuracy": 0.7, "latency_ms": 5, "worst_recall": 0.5})
    assert [gate["name"] for gate in said.gates] == ["latency_ms"]
    wanted = "2 gates were not asked since the config has them: accuracy, worst recall"
    assert titles(said)[wanted] == titles(said)["1 of 1 gates missed: latency"] == "problem"
    only = titles(read(run, "pets", {"brier": 1}))
    assert only["1 gate was not asked since the config has it: Brier"] == "problem"
    assert "No gates are set" not in only
    assert titles(read(run, "pets", {}))["No gates are set"] == "note"


def test_several_labels_are_counted_by_pictures(tmp_path: Path) -> None:
    several = found(tmp_path / "run", multi_label=True, metrics={})
    for count, verb in ((1, "has"), (2, "have")):
        title = f"{count} of 300 pictures {verb} a label that is contradicted with great confidence"
        assert titles(several, count)[title] == "warning"


def test_no_without_reservation(tmp_path: Path) -> None:
    run = found(tmp_path / "run")
    answer = verdict(checks(run, 0, 300), run)
    assert (answer.level, answer.word) == ("problem", "Not yet.")
    assert answer.because == (
        "Accuracy 66.7% on 6 test pictures: hardly better than guessing, and 2 more below."
    )


def test_yes_wants_gates(tmp_path: Path) -> None:
    run = good(tmp_path / "run")
    assert verdict(checks(run, 0, 300), run).word == "Yes."
    without = run._replace(gates=[])
    assert verdict(checks(without, 0, 300), without) == (
        "warning",
        "That is for you to say.",
        "Nothing speaks against it, but no gates say what is good enough.",
    )


def test_yes_with_reservations(tmp_path: Path) -> None:
    run = good(tmp_path / "run")
    answer = verdict(checks(run, 1, 300), run)
    assert (answer.word, answer.because) == (
        "Yes, with reservations.",
        "1 of 300 labels is contradicted with great confidence.",
    )


def test_nobody_knows_of_a_run_that_was_not_evaluated(tmp_path: Path) -> None:
    run = read(trained(tmp_path / "run"), "pets", ASKED)
    answer = verdict(checks(run, 0, 300), run)
    assert (answer.word, answer.because) == ("Nobody knows.", "It was not evaluated.")


def test_a_class_of_which_less_than_half_is_found_is_a_problem(tmp_path: Path) -> None:
    classes = {
        "a": {"recall": 0.49, "support": 100},
        "b": {"recall": 0.99, "support": 100},
        "gone": {"recall": 0.0, "support": 0},
    }
    metrics = {**good(tmp_path / "run").metrics, "classes": classes}
    found = titles(good(tmp_path / "other", metrics=metrics))
    assert found["Worst class: of 'a' it finds 49.0%"] == "problem"
    assert found["1 class was measured on fewer than 20 pictures"] == "warning"


def test_figures_of_validation_are_too_good(tmp_path: Path) -> None:
    run = good(tmp_path / "run", split="validation")
    assert titles(run)["Accuracy 90.0% on 200 validation pictures"] == "warning"


def test_few_pictures_leave_much_open(tmp_path: Path) -> None:
    metrics = {**good(tmp_path / "run").metrics, "intervals": {"accuracy": [0.8, 0.96]}}
    found = titles(good(tmp_path / "other", metrics=metrics))
    assert found["Accuracy 90.0% on 200 test pictures, give or take 8.0%"] == "warning"


def test_a_time_missed_on_a_busy_machine_is_a_problem_with_a_name(tmp_path: Path) -> None:
    disturbed = {**GATES[1], "others": 0.625, "disturbed": True}
    run = good(tmp_path / "run", gates=[GATES[0], disturbed])
    answer = verdict(checks(run, 0, 300), run)
    assert (answer.word, answer.because) == (
        "Not yet.",
        "1 of 2 gates missed: latency (on a busy machine).",
    )
    assert checks(run, 0, 300)[0].meaning == (
        "latency 7.2 ms, wanted at most 5 ms, while others used 62% of the CPU. "
        "Evaluate again when the machine is calm."
    )


def test_a_temperature_at_an_end_of_the_search_is_not_recommended(tmp_path: Path) -> None:
    run = found(tmp_path / "run", confidence={"temperature": 20.0, "applied": False, "end": "most"})
    (check,) = [each for each in checks(run, 0, 300) if "Confidence" in each.title]
    assert check.meaning == (
        "Its probabilities are not to be taken at their word. The temperature of validation is at "
        "an end of the search: on the validation pictures the probabilities say next to nothing "
        "about the labels; look at the accuracy there, and whether the labels are right."
    )


def test_the_temperature_that_helps_is_named(tmp_path: Path) -> None:
    (check,) = [
        each for each in checks(found(tmp_path / "run"), 0, 300) if "Confidence" in each.title
    ]
    assert check.meaning == (
        "Its probabilities are not to be taken at their word. With the temperature 2 it would be "
        "10.0%: evaluation.confidence.temperature: true builds it in."
    )
    assert METRICS["confidence"]["calibration_error"]["with"] == 0.1
