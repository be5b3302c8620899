"""Mean and deviation over folds."""

from trainer.evaluation import folds


def test_the_deviation_is_that_of_a_sample() -> None:
    found = folds.spread([{"accuracy": 0.5}, {"accuracy": 0.75}, {"accuracy": 1.0}])
    assert found == {"accuracy": folds.Spread(0.75, 0.25)}  # √((0.0625 + 0 + 0.0625) / 2)


def test_what_a_fold_does_not_have_is_left_out() -> None:
    rows = [{"accuracy": 1.0, "roc_auc": 0.5}, {"accuracy": 1.0}]
    assert list(folds.spread(rows)) == ["accuracy"]
