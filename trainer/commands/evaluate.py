"""`trainer evaluate`: how good the best epoch of a run is, on a split or on other pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainer import files, terminal
from trainer import run as runs
from trainer.commands import _confidence, _evaluation, _predictions
from trainer.commands._about import about
from trainer.commands._asked import Given
from trainer.commands._evaluation import Seen
from trainer.commands._restore import Trained, restore, sides
from trainer.config.evaluation import Gates
from trainer.config.load import load, located
from trainer.data.examples import SIDES
from trainer.errors import Missed
from trainer.evaluation import calibration, gates, latency, metrics
from trainer.evaluation.gates import Gate
from trainer.evaluation.metrics import Scored
from trainer.figures import ENDS, UNSHOWN, absence, busy, cell, of_class, words
from trainer.training.peers import Peers

SHOWN = 20  # classes at most in a confusion matrix on the terminal; metrics.json has them all
TEST = "test"


def run(
    this: runs.Run,
    overrides: Sequence[str] = (),
    asked: str | Given = TEST,
    peers: Peers | None = None,
) -> None:
    """Writes metrics.json, predictions.csv, confidence.json, and gates.json if the run has gates.

    Args:
        overrides: laid over the run's config, as where its pictures have moved. Gates among them
            are asked this once: gates.json is of the run's own.
        asked: train, validation or test, as far as the run has such a split, or other pictures.
        peers: workers that share the pictures of the split; the others call `assist`.

    Raises: Missed if a gate is.
    """
    trained = restore(this, overrides, raw=True)
    with located(trained.config):
        _evaluation.demand(trained.config, trained.multi_label)
    if isinstance(asked, str):
        name, title, said = asked, f"{asked} split", {"split": asked}
        source = trained.config.data.source
        pictures = _fitted(this, trained, name, peers)
    else:
        name, title, said = asked.name, asked.path, {"split": "data", "data": asked.path}
        source = asked.source
        pictures = _evaluation.seen(this, trained, asked.examples, "--data")
    with located(trained.config):
        columns = _evaluation.slices(source, trained.config.evaluation.slices, pictures.examples)
    scored = _scored(this, trained, pictures)
    found = _figures(this, trained, pictures, scored, columns)
    place = this.evaluated(name)
    says = about(this, trained)
    _predictions.write(place.predictions, says, pictures.examples, scored.scores_NK)
    files.write_json(place.metrics, {**said, **found})
    _show(title, trained, found)
    terminal.say(f"written  {place.metrics}")
    own = load(this.config).evaluation.gates if overrides else trained.config.evaluation.gates
    if own != trained.config.evaluation.gates:
        terminal.say(
            f"gates    of --set, asked this once: gates.json and the report go by {this.config}"
        )
    _judge(place, own, trained, found)


def trust(this: runs.Run, peers: Peers | None = None) -> None:
    """Writes confidence.json, for a run without a test split. `peers` as in `run`."""
    _fitted(this, restore(this, raw=True), "validation", peers)


def assist(this: runs.Run, peers: Peers) -> None:
    """The part of another worker in `run` or `trust` of the first."""
    trained = restore(this, raw=True)
    own = sides(this, trained)
    _evaluation.seen(this, trained, own.validation, peers=peers)
    if len(own.test):
        _evaluation.seen(this, trained, own.test, peers=peers)


def _fitted(this: runs.Run, trained: Trained, name: str, peers: Peers | None = None) -> Seen:
    """The pictures of a split. What validation says of the probabilities is kept on the way."""
    own = sides(this, trained)
    examples = own[SIDES.index(name)]
    validation = _evaluation.seen(this, trained, own.validation, peers=peers)
    truth = Scored(validation.examples.labels, validation.scores_NK)
    found = _confidence.fitted(trained.config.evaluation, truth, trained.multi_label)
    wanted = trained.config.evaluation.confidence.precision
    if wanted is not None and found.reject is None:
        terminal.warn(f"no probability is right in {wanted:g} of the validation pictures above it")
    if found.end:
        what = f"temperature {found.temperature:g} is the {found.end} that is tried"
        terminal.warn(f"{what}: {ENDS[found.end]}")
    if taken_out := _confidence.taken_out(this, found):
        terminal.say(
            f"trust    the temperature {taken_out:.3g} that an evaluation before had built in is "
            f"taken out; --set {_confidence.WHERE}.temperature=true keeps it"
        )
    _confidence.write(this, found)
    if name == "validation":
        return validation
    return _evaluation.seen(this, trained, examples, peers=peers)


def _scored(this: runs.Run, trained: Trained, pictures: Seen) -> Scored:
    """With the temperature, if it is built in, and the thresholds of the run."""
    kept = _confidence.read(this)
    final_NK = kept.probabilities(pictures.scores_NK, trained.multi_label)
    if not trained.multi_label:
        return Scored(pictures.examples.labels, final_NK)
    thresholds = _confidence.thresholds(this, trained.config, len(trained.classes))
    return Scored(pictures.examples.labels, final_NK, np.array(thresholds))


def _figures(
    this: runs.Run,
    trained: Trained,
    pictures: Seen,
    scored: Scored,
    columns: dict[str, list[str]],
) -> dict[str, Any]:
    """All of metrics.json but where the pictures come from."""
    spec, several = trained.config.evaluation, trained.multi_label
    seed, top = trained.config.seed, spec.top_k
    classes = metrics.per_class(scored, trained.classes)
    return {
        "examples": len(scored.truth),
        **metrics.whole(scored, top),
        "absent": [name for name, each in classes.items() if not each["support"]],
        "size_mb": sum(4 * each.size for each in trained.model.get_weights()) / 1e6,
        "intervals": metrics.intervals(scored, seed, spec.bootstrap, spec.level, top),
        "interval": {"level": spec.level, "resamples": spec.bootstrap},
        "classes": classes,
        **({} if several else {"confusion": metrics.confusion(scored).tolist()}),
        "slices": {name: metrics.by_value(scored, each, top) for name, each in columns.items()},
        "confidence": _confidence_here(this, trained, pictures, scored),
        "unreadable": pictures.unreadable,
    }


def _confidence_here(
    this: runs.Run, trained: Trained, pictures: Seen, scored: Scored
) -> dict[str, Any]:
    """What the temperature and the threshold of validation do to these pictures."""
    kept = _confidence.read(this)
    errors = {}
    for name, divisor in (("without", 1.0), ("with", kept.temperature)):
        scores_NK = calibration.tempered(pictures.scores_NK, divisor, trained.multi_label)
        errors[name] = metrics.calibration_error(scored._replace(scores_NK=scores_NK))
    temperature = kept.temperature if kept.fitted_on else None
    state: dict[str, Any] = {"temperature": temperature, "applied": kept.applied}
    found = {**state, "calibration_error": errors}
    if kept.reject:
        sure_N = scored.scores_NK.max(axis=1) >= kept.reject["probability"]
        right_N = scored.scores_NK.argmax(axis=1) == scored.truth
        precision = float(right_N[sure_N].mean()) if sure_N.any() else None
        found["reject"] = {**kept.reject, "kept": float(sure_N.mean()), "found": precision}
    return found


def _judge(place: runs.Evaluated, own: Gates, trained: Trained, found: dict[str, Any]) -> None:
    """Writes the run's own gates, and shows those that are asked. Raises Missed if one of these
    is."""
    asked, others = trained.config.evaluation.gates, None
    if {asked.latency_ms, own.latency_ms} != {None}:
        ms, others = latency.latency(trained.model)
        found = {**found, "latency_ms": ms}
    _keep(place.gates, gates.judged(own, found, others))
    every = gates.judged(asked, found, others)
    if every:
        _show_gates(every)
    missed = [
        each.name + " (on a busy machine)" * each.disturbed for each in every if not each.passed
    ]
    if missed:
        raise Missed(f"{len(missed)} of {len(every)} gates missed: {', '.join(missed)}")


def _keep(path: Path, every: Sequence[Gate]) -> None:
    if every:
        told = [
            {**each._asdict(), "passed": each.passed, "disturbed": each.disturbed} for each in every
        ]
        files.write_json(path, told)
    elif path.is_file():
        terminal.say("gates    the evaluation before had some, this one has none")
        files.remove(path)


# --- what is shown ------------------------------------------------------------------------------


def _show(title: str, trained: Trained, found: dict[str, Any]) -> None:
    several, count = trained.multi_label, found["examples"]
    head = "exact match" if several else "accuracy"
    value = found[head.replace(" ", "_")]
    _show_classes(f"{title}: {head} {value:.4f} on {count} pictures", found["classes"])
    names = list(trained.classes)
    if not several and len(names) <= SHOWN:
        terminal.table(
            "confusion matrix: true class in rows, predicted in columns",
            ("", *names),
            [(name, *row) for name, row in zip(names, found["confusion"], strict=True)],
        )
    _show_figures(found, trained.config.evaluation.level)
    if absent := found["absent"]:
        terminal.say("absent   " + absence(absent, len(names)))
    for column, values in found["slices"].items():
        first = ("exact_match" if several else "accuracy", "macro_f1", "calibration_error")
        terminal.table(
            f"by {column}",
            (column, *(words(name) for name in first), "pictures"),
            [
                (value, *(cell(row[name]) for name in first), row["examples"])
                for value, row in values.items()
            ],
        )
    _say_confidence(found["confidence"])


def _show_classes(title: str, classes: dict[str, dict[str, Any]]) -> None:
    columns = [name for name in next(iter(classes.values())) if name != "support"]
    terminal.table(
        title,
        ("class", *(words(column) for column in columns), "pictures"),
        [
            (name, *(cell(of_class(row)[column]) for column in columns), row["support"])
            for name, row in classes.items()
        ],
    )


def _show_figures(found: dict[str, Any], level: float) -> None:
    figures = {
        name: value
        for name, value in found.items()
        if isinstance(value, float) and not name.startswith(UNSHOWN)
    }
    intervals = found["intervals"]
    terminal.table(
        f"figures, and their bounds at {100 * level:g} % confidence",
        ("figure", "value", "from", "to"),
        [
            (words(name), *map(cell, (value, *intervals.get(name, (None, None)))))
            for name, value in figures.items()
        ],
    )


def _show_gates(every: Sequence[Gate]) -> None:
    terminal.table(
        "gates",
        ("figure", "bound", "wanted", "found", "result"),
        [
            (each.name, each.bound, f"{each.wanted:g}", cell(each.found), _word(each.passed))
            for each in every
        ],
    )
    for each in every:
        if each.disturbed:
            terminal.say("busy     " + busy(each.name, each.others or 0))


def _say_confidence(found: dict[str, Any]) -> None:
    temperature, errors = found["temperature"], found["calibration_error"]
    if temperature is None:
        terminal.say("trust    not known: no split of the run was evaluated, which fits it")
        return
    state = "built in" if found["applied"] else "not built in"
    terminal.say(
        f"trust    temperature {temperature:.3g} by validation, {state}: calibration error "
        f"{errors['without']:.4f} without it, {errors['with']:.4f} with it"
    )
    if "reject" in found:
        reject = found["reject"]
        terminal.say(
            f"unsure   below {reject['probability']:.4f}: {reject['kept']:.1%} are not, and of "
            f"these {cell(reject['found'])} are right; wanted {reject['precision']:g}"
        )


def _word(passed: bool) -> str:
    return "passed" if passed else "MISSED"
