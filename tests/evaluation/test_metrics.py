"""Figures by hand, and equal to scikit-learn's."""

import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from sklearn import metrics as sk

from trainer.evaluation import metrics
from trainer.evaluation.metrics import Scored


def near(value: float) -> object:
    return pytest.approx(value, abs=1e-9, rel=1e-9)


def single(examples: int, classes: int, seed: int = 0, absent: int | None = None) -> Scored:
    """Random probabilities, some equal, that are better than chance."""
    random = np.random.default_rng(seed)
    there = [index for index in range(classes) if index != absent]
    truth = random.choice(there, examples)
    truth[: len(there)] = there
    logits = random.normal(size=(examples, classes)) + 1.5 * np.eye(classes)[truth]
    scores = np.exp(np.round(logits, 1))
    return Scored(truth, scores / scores.sum(axis=1, keepdims=True))


def several(examples: int, classes: int, seed: int = 0) -> Scored:
    random = np.random.default_rng(seed)
    truth = random.random((examples, classes)) < 0.3
    truth[:2] = [[0] * classes, [1] * classes]
    scores = np.round(1 / (1 + np.exp(-random.normal(size=truth.shape) - truth + 0.5)), 2)
    return Scored(truth.astype(np.uint8), scores, random.uniform(0.2, 0.8, classes))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, of classes that are not there
        yield


def test_confusion_has_the_truth_in_rows() -> None:
    predicted = np.eye(3)[[0, 1, 1, 0]]
    found = metrics.confusion(Scored(np.array([0, 0, 1, 2]), predicted))
    assert found.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_figures_by_hand() -> None:
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.5, 0.5]])
    found = metrics.whole(Scored(np.array([0, 0, 1, 1]), scores), (1, 2, 5))
    assert found["accuracy"] == 0.5  # of equal scores the first
    assert not any(name.startswith("top_") for name in found)  # 2 of 2 is always right
    assert (found["balanced_accuracy"], found["worst_recall"]) == (0.5, 0.5)
    assert found["log_loss"] == pytest.approx(-np.log([0.9, 0.4, 0.8, 0.5]).mean())
    assert found["brier"] == pytest.approx(np.mean([0.01, 0.36, 0.04, 0.25]))
    assert found["roc_auc"] == pytest.approx(3 / 4)
    assert found["calibration_error"] == pytest.approx((0.1 + 0.2 + 0.6 + 0.5) / 4)


@pytest.mark.parametrize(
    "scored",
    [single(300, 2), single(200, 3, 1), single(500, 11, 2), single(60, 4, 3, absent=2)],
    ids=["two", "three", "eleven", "absent"],
)
def test_figures_of_one_label_are_scikit_learns(scored: Scored) -> None:
    truth, scores, _ = scored
    classes, predicted = scores.shape[1], scores.argmax(axis=1)
    labels, there = list(range(classes)), np.unique(truth)
    found = metrics.whole(scored, (3,))
    assert found["accuracy"] == near(sk.accuracy_score(truth, predicted))
    assert found["balanced_accuracy"] == near(sk.balanced_accuracy_score(truth, predicted))
    assert found["matthews_correlation"] == near(sk.matthews_corrcoef(truth, predicted))
    assert found["cohen_kappa"] == near(sk.cohen_kappa_score(truth, predicted))
    assert found["log_loss"] == near(sk.log_loss(truth, scores, labels=labels))
    assert found["brier"] == near(sk.brier_score_loss(truth, scores, labels=labels))
    for average in ("macro", "micro", "weighted"):
        over = there if average == "macro" else labels
        wanted = sk.precision_recall_fscore_support(
            truth, predicted, labels=over, average=average, zero_division=0
        )
        assert found[f"{average}_precision"] == near(wanted[0])
        assert found[f"{average}_recall"] == near(wanted[1])
        assert found[f"{average}_f1"] == near(wanted[2])
    hot = np.eye(classes)[truth]
    assert found["roc_auc"] == near(sk.roc_auc_score(hot[:, there], scores[:, there]))
    wanted = sk.average_precision_score(hot[:, there], scores[:, there])
    assert found["mean_average_precision"] == near(wanted)
    if classes > 3:
        untied = scores - 1e-12 * np.arange(classes)  # of equal scores the first
        wanted = sk.top_k_accuracy_score(truth, untied, k=3, labels=labels)
        assert found["top_3_accuracy"] == near(wanted)


@pytest.mark.parametrize("scored", [several(200, 5), several(50, 2, 1)], ids=["five", "two"])
def test_figures_of_several_labels_are_scikit_learns(scored: Scored) -> None:
    truth, scores, thresholds = scored
    predicted = scores >= thresholds
    found = metrics.whole(scored)
    assert found["exact_match"] == near(sk.accuracy_score(truth, predicted))
    assert found["hamming_loss"] == near(sk.hamming_loss(truth, predicted))
    for average in ("macro", "micro", "weighted"):
        wanted = sk.precision_recall_fscore_support(
            truth, predicted, average=average, zero_division=0
        )
        assert found[f"{average}_precision"] == near(wanted[0])
        assert found[f"{average}_recall"] == near(wanted[1])
        assert found[f"{average}_f1"] == near(wanted[2])
    pairs = list(zip(truth.T, scores.T, strict=True))
    assert found["log_loss"] == near(np.mean([sk.log_loss(*pair) for pair in pairs]))
    assert found["brier"] == near(np.mean([sk.brier_score_loss(*pair) for pair in pairs]))
    assert found["roc_auc"] == near(sk.roc_auc_score(truth, scores))
    assert found["mean_average_precision"] == near(sk.average_precision_score(truth, scores))
    flat = truth.ravel(), predicted.ravel()
    assert found["matthews_correlation"] == near(sk.matthews_corrcoef(*flat))
    assert found["cohen_kappa"] == near(sk.cohen_kappa_score(*flat))


@pytest.mark.parametrize("scored", [single(200, 4), several(120, 3)], ids=["one", "several"])
def test_weights_are_repetitions(scored: Scored) -> None:
    weights = np.random.default_rng(5).integers(0, 4, len(scored.truth))
    repeated = scored.take(np.repeat(np.arange(len(weights)), weights))
    found = metrics.figures(scored, (2,))(weights)
    assert found == pytest.approx(metrics.whole(repeated, (2,)), abs=1e-12)


def test_figures_of_each_class() -> None:
    scored = single(60, 4, 3, absent=2)
    found = metrics.per_class(scored, ("a", "b", "c", "d"))
    wanted = sk.precision_recall_fscore_support(
        scored.truth, scored.scores_NK.argmax(axis=1), labels=[0, 1, 2, 3], zero_division=0
    )
    for index, name in enumerate("abcd"):
        row = found[name]
        ratios = [row[key] for key in ("precision", "recall", "f1", "support")]
        assert ratios == near([part[index] for part in wanted])
    assert (found["c"]["roc_auc"], found["c"]["average_precision"]) == (None, None)
    assert "threshold" not in found["a"]
    assert metrics.per_class(several(20, 2), ("a", "b"))["a"]["threshold"] == pytest.approx(
        0.5, abs=0.3
    )


def test_a_class_that_is_never_predicted_or_never_there_scores_0() -> None:
    scored = Scored(np.array([0, 0, 0, 1, 1]), np.eye(3)[[0] * 5])
    found = metrics.per_class(scored, ("a", "b", "c"))
    assert [found["b"][key] for key in ("precision", "recall", "f1", "support")] == [0, 0, 0, 2]
    assert [found["c"][key] for key in ("precision", "recall", "f1", "support")] == [0, 0, 0, 0]
    assert metrics.whole(scored)["worst_recall"] == 0
    assert metrics.whole(scored)["matthews_correlation"] == 0
    assert metrics.whole(scored)["balanced_accuracy"] == 0.5  # of what is there


def test_means_are_over_the_classes_that_are_there() -> None:
    """Five of class a, four found and one taken for c, which no example has."""
    found = metrics.whole(Scored(np.array([0, 0, 0, 0, 0]), np.eye(3)[[0, 0, 0, 0, 2]]))
    means = [found[f"macro_{name}"] for name in ("precision", "recall", "f1")]
    assert means == pytest.approx([1, 4 / 5, 8 / 9])
    assert (found["balanced_accuracy"], found["worst_recall"]) == (4 / 5, 4 / 5)
    assert found["micro_f1"] == found["accuracy"] == 4 / 5


def test_means_are_over_the_labels_that_are_there() -> None:
    truth = np.array([[1, 0], [1, 0], [0, 0], [1, 0]], np.uint8)
    scores = np.array([[0.9, 0.9], [0.8, 0.1], [0.7, 0.1], [0.2, 0.1]])
    found = metrics.whole(Scored(truth, scores, np.array([0.5, 0.5])))
    wanted = sk.precision_recall_fscore_support(
        truth, scores >= 0.5, labels=[0], average="macro", zero_division=0
    )
    means = [found[f"macro_{name}"] for name in ("precision", "recall", "f1")]
    assert means == near(list(wanted[:3]))
    assert means == pytest.approx([2 / 3] * 3)
    none = metrics.whole(Scored(0 * truth, scores, np.array([0.5, 0.5])))
    assert (none["macro_f1"], none["worst_recall"]) == (0, 0)  # what is not known passes no gate


def test_one_class_alone_has_no_roc() -> None:
    found = metrics.whole(Scored(np.array([0, 0]), np.array([[0.9, 0.1], [0.8, 0.2]])))
    assert "roc_auc" not in found
    assert found["mean_average_precision"] == 1


def test_slices_are_figures_of_their_examples() -> None:
    scored = single(40, 3)
    values = ["night" if index % 4 == 0 else "day" for index in range(40)]
    found = metrics.by_value(scored, values, (2,))
    assert [(name, row["examples"]) for name, row in found.items()] == [("day", 30), ("night", 10)]
    night = scored.take(np.arange(0, 40, 4))
    assert found["night"] == {"examples": 10, **metrics.whole(night, (2,))}


def test_intervals_are_the_same_again_and_hold_the_figure() -> None:
    scored = single(400, 3)
    found = metrics.intervals(scored, 1, 300, 0.95)
    assert found == metrics.intervals(scored, 1, 300, 0.95)
    assert found != metrics.intervals(scored, 2, 300, 0.95)
    whole = metrics.whole(scored)
    assert found.keys() == whole.keys()
    for name in ("accuracy", "macro_f1", "log_loss", "roc_auc"):
        low, high = found[name]
        assert low < whole[name] < high
    accuracy, (low, high) = whole["accuracy"], found["accuracy"]
    normal = 1.96 * (accuracy * (1 - accuracy) / 400) ** 0.5  # what theory says of a share
    assert (high - low) / 2 == pytest.approx(normal, rel=0.15)


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [(297, 297, 0.98723, 1), (0, 10, 0, 0.27753), (81, 263, 0.25529, 0.36621)],
)
def test_a_share_has_the_score_interval(right: int, of: int, low: float, high: float) -> None:
    """The last is Newcombe's (1998) example: 0.2553 to 0.3662."""
    assert metrics.wilson(right / of, of, 0.95) == pytest.approx([low, high], abs=1e-5)


def test_what_is_perfect_has_no_interval_of_no_width() -> None:
    scored = Scored(np.arange(12) % 3, 0.7 * np.eye(3)[np.arange(12) % 3] + 0.1)
    found = metrics.intervals(scored, 1, 50, 0.95, (2,))
    assert found == {name: metrics.wilson(1, 12, 0.95) for name in ("accuracy", "top_2_accuracy")}
    labels = Scored(
        np.eye(2, dtype=np.uint8)[np.arange(4) % 2], np.eye(2)[[0, 1, 1, 1]], np.full(2, 0.5)
    )
    assert metrics.intervals(labels, 1, 50, 0.9)["exact_match"] == metrics.wilson(0.75, 4, 0.9)
    assert metrics.intervals(scored, 1, 0, 0.95) == {}


def test_many_scores_are_not_ranked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "RANKED", 299)
    found = metrics.intervals(single(100, 3), 1, 5, 0.9)
    assert "accuracy" in found
    assert "roc_auc" not in found
