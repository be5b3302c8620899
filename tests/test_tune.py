"""`trainer tune`: the learning rate, the batch size, a search."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata as hparams

from tests.config.test_search import SPACE
from tests.conftest import SMALL, Outcome, draw_pictures
from trainer import files, places
from trainer.commands import _child
from trainer.commands.tune import _trial, batch, search
from trainer.config import tree
from trainer.config.load import load, read
from trainer.config.search import Search
from trainer.data.cache import room
from trainer.errors import UserError, leaves
from trainer.training import finder, study
from trainer.training.objective import Objective

Trainer = Callable[..., Outcome]

# --- the curve of a learning-rate range test --------------------------------------------------------

RATES = 10 ** np.linspace(-7, 1, 81)  # ten a decade


def curve(loss: Callable[[np.ndarray], np.ndarray]) -> finder.Curve:
    return finder.Curve(RATES, loss(np.log10(RATES)))


def test_a_tenth_of_the_least_loss_is_suggested() -> None:
    found = finder.advice(curve(lambda log: 1 + (log + 2) ** 2))
    assert found == (pytest.approx(0.01), pytest.approx(0.001))


def test_noise_does_not_move_the_suggestion_by_more_than_half_a_decade() -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, 81)
    found = finder.advice(curve(lambda log: 2 - np.exp(-((log + 2) ** 2)) + noise))
    assert found
    assert -3.5 < math.log10(found.suggested) < -2.5


def test_a_loss_that_does_not_fall_suggests_nothing() -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, 81)
    assert finder.advice(curve(lambda log: np.ones(81))) is None
    assert finder.advice(curve(lambda log: 1 + 10**log)) is None
    assert finder.advice(curve(lambda log: 1 + noise + 10**log)) is None
    few = curve(lambda log: 1 + (log + 2) ** 2)
    assert finder.advice(finder.Curve(few.rates_S[40:59], few.losses_S[40:59])) is None


def test_smoothing_keeps_a_line_and_weighs_by_distance() -> None:
    line = curve(lambda log: 3 - log)
    assert line.smoothed[20:60] == pytest.approx(line.losses_S[20:60])
    bump = curve(lambda log: np.eye(81)[40])
    ratio = bump.smoothed[40] / bump.smoothed[40 + round(10 * finder.WIDTH * 2)]
    assert ratio == pytest.approx(math.exp(0.5 * 2**2), rel=0.01)  # two widths away


@pytest.mark.parametrize(
    ("losses", "expected"),
    [([1, 1, 3.5], False), ([1, 1, 4.5], True), ([-1, -1, -0.5], False), ([-1, -1, 2.5], True)],
)
def test_diverged_is_four_times_the_best(losses: list[float], expected: bool) -> None:
    assert finder.diverged(finder.Curve(np.array([1e-7, 1e-4, 1e-1]), np.array(losses))) is expected


def measured(
    optimizer: keras.Optimizer, loss: Callable[[int], float], steps: int, batches: int = 1
) -> list[tuple[float, float]]:
    """The points of a training that updates after so many batches."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    optimizer.build([keras.Variable(0.0)])
    done = 0

    def step(_: Any) -> dict[str, float]:
        nonlocal done
        done += 1
        if done % batches == 0:
            inner.iterations.assign_add(1)
        return {"loss": loss(done)}

    mean, norm = keras.metrics.Mean("loss"), keras.metrics.Mean("gradient_norm")
    objective = Objective(None, lambda scores: scores, optimizer, (mean,), norm)
    return list(finder.measure(step, iter(range(10**6)), objective, steps))


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(0.5),
        lambda: keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(0.1, 5)),
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()),
    ],
)
def test_the_rate_rises_exponentially_whatever_it_was(optimizer: Callable[[], Any]) -> None:
    rates = [rate for rate, _ in measured(optimizer(), lambda _: 1.0, 9)]
    assert rates == pytest.approx([1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10], rel=1e-4)


def test_the_batches_of_one_update_are_one_point() -> None:
    rates = [rate for rate, _ in measured(keras.optimizers.SGD(), lambda _: 1.0, 9, batches=3)]
    assert rates == pytest.approx([10.0**k for k in range(-7, 2)], rel=1e-4)


def test_a_loss_that_is_not_finite_is_the_last_one() -> None:
    points = measured(keras.optimizers.SGD(), lambda n: math.nan if n == 5 else 1.0, 9)
    assert [loss for _, loss in points] == pytest.approx([1, 1, 1, 1, math.nan], nan_ok=True)
    assert len(finder.curve(points).losses_S) == 4


def test_a_training_that_never_updates_ends() -> None:
    assert measured(keras.optimizers.SGD(), lambda _: 1.0, 9, batches=10**9) == []


@pytest.mark.parametrize(
    ("training", "place"),
    [
        ({"optimizer": "AdamW"}, "training.optimizer.AdamW.learning_rate"),
        ({"optimizer": {"SGD": {"learning_rate": 0.1}}}, "training.optimizer.SGD.learning_rate"),
        ({"optimizer": {"SGD": {"learning_rate": {"CosineDecay": {"initial_learning_rate": 0.1}}}}},
         "training.optimizer.SGD.learning_rate.CosineDecay.initial_learning_rate"),
        ({"optimizer": {"SGD": {"learning_rate": {"CosineDecay": {"initial_learning_rate": 0, "warmup_target": 1}}}}},
         "training.optimizer.SGD.learning_rate.CosineDecay.warmup_target"),
        ({"optimizer": {"SGD": {"learning_rate": {"PiecewiseConstantDecay": {"values": [1, 2]}}}}},
         "training.optimizer.SGD.learning_rate"),
        ({"optimizer": {"LossScaleOptimizer": {"inner_optimizer": {"Adam": {}}}}},
         "training.optimizer.LossScaleOptimizer.inner_optimizer.Adam.learning_rate"),
        ({"optimizer": "AdamW", "phases": [{"epochs": 1, "learning_rate": 0.1}]}, "training.phases[0].learning_rate"),
        ({"optimizer": "AdamW", "phases": [{"epochs": 1}]}, "training.optimizer.AdamW.learning_rate"),
    ],
)  # fmt: skip
def test_where_the_rate_stands(training: dict[str, Any], place: str) -> None:
    assert finder.place(training) == place


# --- tune lr ----------------------------------------------------------------------------------------


def test_tune_lr_writes_curve_and_plot_and_suggests(small: Path, trainer: Trainer) -> None:
    schedule = "{CosineDecay: {initial_learning_rate: 0.1, decay_steps: $total_steps}}"
    done = trainer(
        "tune",
        "lr",
        small,
        "--steps",
        60,
        "--set",
        f"training.optimizer.Adam.learning_rate={schedule}",
    )
    assert done.code == 0, done.err
    suggested = done.out.split("CosineDecay.initial_learning_rate=")[1].strip()
    assert 1e-5 < float(suggested) < 1
    with Path("runs/small/lr.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["learning_rate", "loss", "smoothed"]
    assert float(rows[0]["learning_rate"]) == pytest.approx(1e-7)
    assert 20 < len(rows) <= 60
    assert cv2.imread("runs/small/lr.png").shape == (750, 1200, 3)
    assert sorted(path.name for path in Path("runs/small").iterdir()) == ["lr.csv", "lr.png"]


def test_tune_lr_refuses_too_few_steps_and_a_loss_that_is_none(
    small: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = trainer("tune", "lr", small, "--steps", 5)
    assert (done.code, done.err) == (
        2,
        "error: --steps: expected at least 20 steps, received 5\n  200 make a curve that can be read\n",
    )
    monkeypatch.setattr(finder, "measure", lambda *_: iter([(1e-7, math.nan)]))
    done = trainer("tune", "lr", small)
    assert (done.code, done.err) == (
        2,
        "error: small.yaml:18: training.loss: the loss is nan at the first step, at a learning rate of 1e-07\n"
        "  it is not the rate then: look at the pictures, the network and the loss\n",
    )


def test_tune_lr_says_when_nothing_can_be_suggested(
    small: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [(10.0**-k, 1.0) for k in range(7, 4, -1)]
    monkeypatch.setattr(finder, "measure", lambda *_: iter(points))
    done = trainer("tune", "lr", small)
    assert (done.code, done.err) == (
        1,
        "error: the loss diverged after 3 of 200 steps, at a learning rate of 1e-05: too few to read "
        "anything from; give more --steps\n",
    )
    monkeypatch.setattr(finder, "measure", lambda *_: iter(()))
    done = trainer("tune", "lr", small)
    assert (done.code, done.err) == (
        1, "error: 1000 batches made no update: are gradients never finite?\n"
    )  # fmt: skip
    monkeypatch.setattr(finder, "measure", lambda *_: ((rate, 1.0) for rate in RATES))
    done = trainer("tune", "lr", small)
    assert (done.code, done.err) == (
        1,
        "error: the loss never fell by more than its own noise, so no learning rate can be suggested: "
        "more --steps than 200 make the curve clearer, trainer fit shows whether the network learns "
        "at all\n",
    )


def test_ctrl_c_leaves_what_was_measured(
    small: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> Iterator[tuple[float, float]]:
        for number, rate in enumerate(RATES):
            if number == 3:
                os.kill(os.getpid(), signal.SIGINT)
            yield rate, 1.0

    monkeypatch.setattr(finder, "measure", stopped)
    done = trainer("tune", "lr", small)
    assert (done.code, done.err) == (
        130,
        "error: stopped after 4 of 200 steps; runs/small/lr.csv holds what was measured\n",
    )
    assert len(Path("runs/small/lr.csv").read_text().splitlines()) == 5


# --- tune batch -------------------------------------------------------------------------------------


def asked(memory: int, start: int, limit: int) -> tuple[int, list[int]]:
    tried: list[int] = []

    def fits(size: int) -> bool:
        tried.append(size)
        return size <= memory

    return batch.largest(fits, start, limit), tried


def test_batches_are_doubled_then_bisected_to_an_eighth() -> None:
    assert asked(100, 1, 1000) == (96, [2, 4, 8, 16, 32, 64, 128, 96, 112, 104])
    assert asked(100, 1, 50) == (50, [2, 4, 8, 16, 32, 50])
    assert asked(1, 1, 50) == (1, [2])
    assert asked(5, 2, 7) == (5, [4, 7, 5, 6])
    assert asked(9, 4, 4) == (4, [])


def test_the_largest_batch_is_found_whatever_fits() -> None:
    for memory in range(1, 200):
        for limit in (1, 7, 28, 64, 150, 1000):
            found, tried = asked(memory, 1, limit)
            best = min(memory, limit)
            assert found <= best <= found * 9 / 8 + 1, (memory, limit, found)
            assert len(set(tried)) == len(tried)
            assert max(tried, default=1) <= limit


def attempt(size: int, speed: float) -> batch.Attempt:
    return batch.Attempt(size, True, 10**9, speed, 0.001, 100, "fits")


def test_the_fastest_is_the_smallest_that_is_nearly_as_fast() -> None:
    speeds = [attempt(8, 100.0), attempt(16, 196.0), attempt(32, 200.0), attempt(64, 150.0)]
    assert batch.fastest(speeds).batch == 16


def test_tune_batch_tries_sizes_in_processes_of_their_own(small: Path, trainer: Trainer) -> None:
    done = trainer("tune", "batch", small, "--max", 2)
    assert done.code == 0, done.err
    rows = [line.split("│")[1:-1] for line in done.out.splitlines() if line.startswith("│")]
    assert [(row[0].strip(), row[4].strip()) for row in rows] == [("1", "fits"), ("2", "fits")]
    assert all(" MB" in row[1] for row in rows)
    assert "--set data.batch_size=2" in done.out
    assert not Path("runs").exists()


def test_a_process_that_takes_too_much_is_killed(
    small: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "available_memory", lambda: 100_000_000)
    done = trainer("tune", "batch", small)
    assert (done.code, done.err) == (
        1, "error: not even a batch of 1 fits: needs more than 80 MB\n"
    )  # fmt: skip
    assert "│ needs more than 80 MB │" in done.out


@pytest.mark.slow
def test_mistakes_in_the_config_of_a_batch_keep_their_lines(small: Path, trainer: Trainer) -> None:
    done = trainer("tune", "batch", small, "--set", "model.layers[1].Conv2D.kernel_size=99")
    assert done.code == 2
    assert done.err.startswith(
        "error: small.yaml:14: model.layers[1].Conv2D: does not fit its input"
    )


# --- what a search tries ----------------------------------------------------------------------------


@pytest.fixture
def hunt(small: Path) -> Path:
    """A search of 4 trials over the small config."""
    path = Path("search.yaml")
    path.write_text(SPACE)
    return path


def spec_of(path: Path, old: str = "", new: str = "") -> Search:
    path.write_text(path.read_text().replace(old, new))
    return read(path, Search)


def test_the_space_is_optunas(hunt: Path) -> None:
    found = study.distributions(spec_of(hunt))
    assert [repr(each) for each in found.values()] == [
        "FloatDistribution(high=0.1, log=True, low=1e-05, step=None)",
        "CategoricalDistribution(choices=(4, 8))",
        "FloatDistribution(high=0.5, log=False, low=0.0, step=0.1)",
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("log: true", "log: true, step: 0.1", "space.training.optimizer.Adam.learning_rate: refused by optuna: "
         "The parameter `step` is not supported when `log` is true."),
        ("low: 1.0e-5, high: 0.1", "low: 1.0, high: 0.1", "space.training.optimizer.Adam.learning_rate: refused by "
         "optuna: `low <= high` must hold, but got (low=1.0, high=0.1)."),
        ("seed: 1", "sampler: {RandomSampler: {seed: x}}", "sampler.RandomSampler: refused by optuna.samplers: "),
    ],
)  # fmt: skip
def test_what_optuna_refuses(
    hunt: Path, trainer: Trainer, old: str, new: str, message: str
) -> None:
    hunt.write_text(f"{SPACE}seed: 1\n".replace(old, new))
    done = trainer("tune", "search", hunt)
    assert done.code == 2
    assert message in done.err
    assert done.err.startswith("error: search.yaml:")


def values(place: Path, spec: Search, count: int, again: bool) -> list[dict[str, Any]]:
    """What a search tries whose trials are all equally good, opened anew for each or not."""
    file = place / "search.db"
    study.create(file, spec, "max", {})
    found = study.Study(file, spec)
    for _ in range(count):
        found = study.Study(file, spec) if again else found
        trial = found.next()
        found.report(trial.number, 0.5, 1)
        found.tell(trial.number, 0.5)
    return [trial.values for trial in found.trials()]


@pytest.mark.parametrize("sampler", ["{TPESampler: {n_startup_trials: 2}}", "QMCSampler"])
def test_an_interrupted_search_tries_what_it_would_have_tried(
    hunt: Path, tmp_path: Path, sampler: str
) -> None:
    spec = spec_of(hunt, "pruner", f"sampler: {sampler}\npruner")
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = values(tmp_path / "whole", spec, 4, again=False)
    assert values(tmp_path / "parts", spec, 4, again=True) == whole
    assert len({json.dumps(each) for each in whole}) == 4


def test_a_trial_that_was_killed_comes_next(hunt: Path, tmp_path: Path) -> None:
    spec = spec_of(hunt)
    study.create(tmp_path / "search.db", spec, "max", {})
    trial = study.Study(tmp_path / "search.db", spec).next()
    assert study.Study(tmp_path / "search.db", spec).next() == trial
    assert (trial.number, trial.state, set(trial.values)) == (0, "running", set(spec.space))


def test_a_grid_is_tried_once(hunt: Path, tmp_path: Path) -> None:
    spec = spec_of(hunt)
    grid = {"data.batch_size": spec.space["data.batch_size"]}
    spec = spec.model_copy(
        update={"space": grid, "sampler": spec.sampler.parse("BruteForceSampler")}
    )
    study.create(tmp_path / "search.db", spec, "max", {})
    found = study.Study(tmp_path / "search.db", spec)
    while not found.exhausted:
        found.tell(found.next().number, 1.0)
    assert sorted(trial.values["data.batch_size"] for trial in found.trials()) == [4, 8]


def test_a_hopeless_trial_is_pruned(hunt: Path, tmp_path: Path) -> None:
    spec = spec_of(hunt)
    study.create(tmp_path / "search.db", spec, "max", {})
    found = study.Study(tmp_path / "search.db", spec)
    good = found.next()
    assert [found.report(good.number, value, epoch) for epoch, value in ((1, 0.8), (2, 0.9))] == [
        False, False,
    ]  # fmt: skip
    found.tell(good.number, 0.9)
    bad = found.next()
    assert found.report(bad.number, 0.1, 1)
    found.tell(bad.number, 0.1, pruned=True)
    worse = found.next()
    found.tell(worse.number, math.nan)
    assert [(each.state, each.value) for each in found.trials()] == [
        ("complete", 0.9), ("pruned", 0.1), ("fail", None),
    ]  # fmt: skip


def test_a_trial_may_be_pruned_at_nan(
    hunt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = spec_of(hunt)
    study.create(tmp_path / "search.db", spec, "max", {})
    found = study.Study(tmp_path / "search.db", spec)
    trial = found.next()
    found.note(trial.number, epoch=None)
    found.report(trial.number, math.nan, 1)
    found.tell(trial.number, None, pruned=True)
    search._say(spec, found.trials()[0])
    assert capsys.readouterr().out == (
        "trial 0: pruned: others were better by then, val_categorical_accuracy NaN\n"
    )


def test_another_sampler_goes_on_where_one_was_exhausted(hunt: Path, tmp_path: Path) -> None:
    spec = spec_of(hunt)
    forced = spec.model_copy(
        update={
            "space": {"data.batch_size": spec.space["data.batch_size"]},
            "sampler": spec.sampler.parse("BruteForceSampler"),
        }
    )
    study.create(tmp_path / "search.db", spec, "max", {})
    found = study.Study(tmp_path / "search.db", forced)
    while not found.exhausted:
        found.tell(found.next().number, 1.0)
    assert study.Study(tmp_path / "search.db", forced).exhausted
    assert not study.Study(tmp_path / "search.db", spec).exhausted


def test_a_search_stopped_while_its_database_is_made_has_not_begun(
    hunt: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(file: Path, *_: Any) -> None:
        file.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(_child, "ask", lambda *_, **__: _child.Ended("max", 0, False, ""))
    monkeypatch.setattr(study, "create", stopped)
    assert trainer("tune", "search", hunt).code == 130
    assert [path.name for path in Path("runs/hunt").iterdir()] == [".lock"]


def test_the_best_config_is_found_where_runs_is_a_link(hunt: Path, tmp_path: Path) -> None:
    (tmp_path / "disk" / "a" / "b").mkdir(parents=True)
    Path("runs").symlink_to(tmp_path / "disk" / "a" / "b")
    spec = spec_of(hunt)
    best = study.Trial(3, "complete", 0.5, {"data.batch_size": 8}, {})
    place = places.search(spec)
    search._write_best(hunt, spec, place, best)
    assert load(place.best).data.batch_size == 8


def test_pruners_nest(hunt: Path) -> None:
    patient = "pruner: {PatientPruner: {patience: 2, wrapped_pruner: MedianPruner}}"
    spec = spec_of(hunt, "pruner: {MedianPruner: {n_startup_trials: 1}}", patient)
    study.demand(spec)
    assert type(study._pruner(spec)._wrapped_pruner).__name__ == "MedianPruner"


def test_names_are_as_short_as_they_can_be() -> None:
    paths = [
        "a.AdamW.rate",
        "model.layers[1].Dropout.rate",
        "data.batch_size",
        "model.layers[2].Dropout.rate",
    ]
    assert list(search._short(dict.fromkeys(paths))) == [
        "AdamW.rate", "layers[1].Dropout.rate", "batch_size", "layers[2].Dropout.rate",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("training.optimizer.Adam.", "training.optimizer.AdamW.",
         "search.yaml:7: space.training.optimizer.AdamW.learning_rate: the config has Adam where this says AdamW\n"
         "  write training.optimizer.Adam.learning_rate"),
        ("data.batch_size", "data.batch_sise",
         "search.yaml:8: space.data.batch_sise: unknown key 'batch_sise'\n  did you mean 'batch_size'?"),
        ("[4, 8]", "[4, large]",
         "search.yaml:8: space.data.batch_size: expected a whole number, received the text 'large'"),
        ("Dropout.rate", "Dropout.rat",
         "search.yaml:9: space.model.layers[3].Dropout.rat: Dropout has no argument 'rat'\n  did you mean 'rate'?"),
        ("layers[3]", "layers[9]", "search.yaml:9: space.model.layers[9].Dropout.rate: no item [9] in a list of 5"),
        ("training.epochs: 3", "training.epoch: 3",
         "search.yaml:5: set.training.epoch: unknown key 'epoch'\n  did you mean 'epochs'?"),
        ("val_categorical_accuracy", "val_accuracy",
         "search.yaml:4: monitor: nothing is called 'val_accuracy'\n"
         "  one of: loss, categorical_accuracy, val_loss, val_categorical_accuracy, learning_rate"),
        ("small.yaml", "smal.yaml", "smal.yaml: no such file\n  did you mean 'small.yaml'?"),
    ],
)  # fmt: skip
def test_mistakes_of_a_space_show_before_anything_trains(
    hunt: Path, old: str, new: str, message: str
) -> None:
    assert SPACE.count(old) == 1
    hunt.write_text(SPACE.replace(old, new))
    with pytest.raises((UserError, ExceptionGroup)) as raised:
        _trial.prepare({"search": str(hunt)})
    error = raised.value
    found = [error] if isinstance(error, UserError) else list(leaves(error))
    assert [str(each) for each in found] == [message]
    assert not Path("runs").exists()


# --- a whole search ---------------------------------------------------------------------------------


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "trainer", "tune", "search", *map(str, arguments)]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, str]]:
    """A folder with a search of three trials that was killed in its second one, and what both lives
    wrote."""
    folder = tmp_path_factory.mktemp("search")
    draw_pictures(folder / "pictures", {"blue": 8, "green": 8, "red": 8})
    (folder / "small.yaml").write_text(SMALL)
    text = SPACE.replace("trials: 4", "trials: 3").replace("epochs: 3", "epochs: 30")
    (folder / "search.yaml").write_text(text.replace("n_startup_trials: 1", "n_warmup_steps: 99"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("XDG_CACHE_HOME", str(folder / ".cache"))
        with (folder / "first").open("w") as out:
            life = subprocess.Popen(command("search.yaml"), stdout=out, stderr=out)
            wait_for("runs/hunt/trial_001/*/history.csv")
            life.kill()
            life.wait()
        wait_until_free("runs/hunt/.lock")
        done = subprocess.run(command("search.yaml"), capture_output=True, text=True, check=False)
        yield folder, done.stdout, (folder / "first").read_text() + done.stderr


def wait_for(pattern: str) -> None:
    until = time.monotonic() + 300
    while not list(Path().glob(pattern)):
        assert time.monotonic() < until, pattern
        time.sleep(0.02)


def wait_until_free(lock: str) -> None:
    """Until a child whose parent was killed has written its checkpoint and is gone."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            with files.locked(Path(lock)):
                return
        except BlockingIOError:
            time.sleep(0.05)
    raise AssertionError("the child outlives its parent")


def test_a_child_holds_the_lock_longer_than_its_parent(hunt: Path, trainer: Trainer) -> None:
    place = Path("runs/hunt")
    place.mkdir(parents=True)
    with files.locked(place / ".lock") as locks:
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=locks
        )
    done = trainer("tune", "search", hunt)
    child.communicate(b"\n")
    assert (done.code, done.err) == (
        2,
        "error: search.yaml:1: name: another trainer tune search is at work in runs/hunt\n"
        "  wait for its end, or stop it\n",
    )
    wait_until_free("runs/hunt/.lock")


def test_a_killed_search_goes_on(searched: tuple[Path, str, str]) -> None:
    folder, out, err = searched
    assert "trial 0 (1 of 3)" in err, err
    assert "runs/hunt, 1 of 3 trials are finished" in out, out + err
    assert "trial 1 (2 of 3), which was interrupted" in out
    assert "resumed  " in out
    assert "trial 2 (3 of 3)" in out
    assert "best of 3 trials (3 complete, 0 pruned, 0 failed), by val_categorical_accuracy" in out
    for number in range(3):
        [run] = [
            each
            for each in (folder / f"runs/hunt/trial_00{number}").iterdir()
            if not each.is_symlink()
        ]
        assert len((run / "history.csv").read_text().splitlines()) == 31
        assert not (run / "metrics.json").exists()  # the test split is not looked at


def test_the_best_values_are_a_config(
    searched: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out, _ = searched
    monkeypatch.chdir(folder)
    spec = read(Path("search.yaml"), Search)
    trials = study.Study(Path("runs/hunt/search.db"), spec).trials()
    best = max(trials, key=lambda trial: (trial.value, -trial.number))
    given = load(Path("runs/hunt/best.yaml"))
    overrides = [f"{path}={tree.line(value)}" for path, value in best.values.items()]
    judged = [f"training.best.monitor={spec.monitor}"]  # as the search did
    assert given.model_dump() == load(Path("small.yaml"), overrides + judged).model_dump()
    assert given.training.epochs == 2  # not what `set` says
    assert all(f"--set {text}" in out.replace("'", "") for text in overrides)
    trained = load(Path(best.facts["run"]) / "config.yaml")
    assert trained.training.optimizer == given.training.optimizer
    assert trained.data.batch_size == given.data.batch_size


def test_all_trials_have_the_same_pictures(searched: tuple[Path, str, str]) -> None:
    folder = searched[0]
    splits = {path.read_bytes() for path in folder.glob("runs/hunt/trial_*/latest/split.csv")}
    assert splits == {(folder / "runs/hunt/split.csv").read_bytes()}


def test_tensorboard_shows_parameters_and_metric(searched: tuple[Path, str, str]) -> None:
    folder = searched[0] / "runs/hunt"
    infos = hparams_of(folder / "tensorboard/search")[hparams.EXPERIMENT_TAG]
    assert [each.name.tag for each in infos.metric_infos] == ["val_categorical_accuracy"]
    assert sorted(each.name for each in infos.hparam_infos) == sorted(SPACE_PATHS)
    for trial in sorted(folder.glob("trial_*/latest/tensorboard/hparams")):
        found = hparams_of(trial)
        start = found[hparams.SESSION_START_INFO_TAG]
        assert start.group_name == trial.parts[-4]
        assert set(start.hparams) == set(SPACE_PATHS)
        assert found[hparams.SESSION_END_INFO_TAG].status == 1  # success
        events = EventAccumulator(str(trial)).Reload()
        assert "val_categorical_accuracy" in events.Tags()["tensors"] + events.Tags()["scalars"]


SPACE_PATHS = (
    "training.optimizer.Adam.learning_rate",
    "data.batch_size",
    "model.layers[3].Dropout.rate",
)


def hparams_of(folder: Path) -> dict[str, Any]:
    """The plugin's messages by tag."""
    parse = {
        hparams.EXPERIMENT_TAG: hparams.parse_experiment_plugin_data,
        hparams.SESSION_START_INFO_TAG: hparams.parse_session_start_info_plugin_data,
        hparams.SESSION_END_INFO_TAG: hparams.parse_session_end_info_plugin_data,
    }
    [file] = folder.glob("events.*")
    return {
        value.tag: parse[value.tag](value.metadata.plugin_data.content)
        for record in tf.compat.v1.train.summary_iterator(str(file))
        for value in record.summary.value
        if value.metadata.plugin_data.plugin_name == "hparams"
    }


def test_another_search_of_the_name_is_refused(
    searched: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch, trainer: Trainer
) -> None:
    monkeypatch.chdir(searched[0])
    text = Path("search.yaml").read_text()
    Path("other.yaml").write_text(text.replace("[4, 8]", "[4]"))
    done = trainer("tune", "search", "other.yaml")
    hint = "  write it as it was, or give the search another name\n"
    assert (done.code, done.err) == (
        2,
        f"error: other.yaml:8: space.data.batch_size.categorical: differs from the search to go on with, runs/hunt\n{hint}",
    )
    config = Path("small.yaml").read_text()
    Path("small.yaml").write_text(config.replace("filters: 4", "filters: 5"))
    done = trainer("tune", "search", "search.yaml")
    Path("small.yaml").write_text(config)
    assert (done.code, done.err) == (
        2,
        f"error: search.yaml:2: config: small.yaml has changed since the search began\n{hint}",
    )


def test_a_finished_search_shows_its_results_again(
    searched: tuple[Path, str, str], monkeypatch: pytest.MonkeyPatch, trainer: Trainer
) -> None:
    monkeypatch.chdir(searched[0])
    done = trainer("tune", "search", "search.yaml")
    assert done.code == 0, done.err
    assert done.out.startswith("search   runs/hunt, 3 of 3 trials are finished\n\nbest of 3 trials")


@pytest.mark.slow
def test_ctrl_c_ends_a_search_after_the_step(
    hunt: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(hunt, "epochs: 3", "epochs: 2000")
    monkeypatch.setattr(_child, "PAUSE", 0.01)
    assert spec.trials == 4
    life = subprocess.Popen(
        command(hunt), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for("runs/hunt/trial_000/*/history.csv")
    life.send_signal(signal.SIGINT)
    out, err = life.communicate(timeout=120)
    assert life.returncode == 130, out + err
    assert "stopping after this step" in out
    assert err.endswith(
        "error: stopped after 0 of 4 trials; trial 0 is kept and goes on with the same command\n"
    )
    assert list(Path().glob("runs/hunt/trial_000/*/checkpoints/last.keras"))


def test_trials_that_fail_alike_end_the_search(
    hunt: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(module: str, story: str, request: dict[str, Any], **_: Any) -> _child.Ended:
        if story == "prepare":
            return _child.Ended(_trial.prepare(request), 0, False, "")
        raise ExceptionGroup("", [UserError("training", "cannot be", "try another")])

    monkeypatch.setattr(_child, "ask", ask)
    done = trainer("tune", "search", hunt)
    assert done.code == 1
    assert done.err.endswith(
        "warning: trial 2 failed: training: cannot be\n  try another\n"
        "error: not one of 3 trials came to a value; what each says is above\n"
    )


def test_a_trial_that_is_killed_alone_is_run_again(
    hunt: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [_child.Ended(None, -9, False, "")] * 4
    answers += [
        _child.Ended({"value": 0.5, "epoch": 1, "pruned": False, "run": "r"}, 0, False, "")
    ] * 3

    def ask(module: str, story: str, request: dict[str, Any], **_: Any) -> _child.Ended:
        if story == "prepare":
            return _child.Ended(_trial.prepare(request), 0, False, "")
        return answers.pop(0)

    monkeypatch.setattr(_child, "ask", ask)
    done = trainer("tune", "search", hunt)
    assert done.code == 0, done.err
    assert done.err == (
        "warning: trial 0 was killed by signal 9; once more\n" * 2
        + "warning: trial 0 failed: killed by signal 9\n"
        + "warning: trial 1 was killed by signal 9; once more\n"
    )
    assert "best of 4 trials (3 complete, 0 pruned, 1 failed)" in done.out


def test_without_optuna_the_extra_is_named(hunt: Path) -> None:
    code = (
        "import sys; sys.modules['optuna'] = None; sys.argv = ['trainer', 'tune', 'search', 'search.yaml'];"
        "from trainer.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        'error: tune search: needs an extra: pip install "keras-image-trainer[tune]"\n',
    )
