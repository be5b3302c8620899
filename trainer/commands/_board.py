"""What a training shows in TensorBoard: brings data, evaluation, explanations and plots together.

N validation pictures that could be read, H, W, C image, K classes.
"""

import functools
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

import numpy as np

from trainer import run as runs
from trainer import terminal
from trainer.board import gallery, hparams
from trainer.board.events import Value, image, pr_curve, write_alone
from trainer.board.gallery import Cell
from trainer.board.purse import SHARE
from trainer.board.watch import Page, Seen, Watch
from trainer.commands import _resume
from trainer.commands._assemble import Job
from trainer.commands.data.preview import spread
from trainer.config import Config
from trainer.config.data import Data
from trainer.config.load import dump
from trainer.data.decode import decode, present
from trainer.data.examples import Examples
from trainer.evaluation import calibration, metrics
from trainer.evaluation.metrics import Scored
from trainer.explain import gradcam, overlay
from trainer.plots import confusion, reliability, style
from trainer.training import checkpoint, loop

CURVES = 50  # classes with a curve of their own: those with the most pictures
MUCH = 0.1  # of the time, from which on a fixed `every` is worth a word
LEAST = 2  # drawings of a page that `auto` makes too, after the first epoch and the last
MATRIX = 100  # classes, above which a matrix shows nothing any more
COMPARED = (  # of metrics.json
    *("accuracy", "balanced_accuracy", "exact_match", "macro_f1", "mean_average_precision"),
    *("log_loss", "calibration_error"),
)


def watch(config: Config, job: Job, this: runs.Run, state: checkpoint.State) -> Watch:
    """The callback that shows a training."""
    return Watch(
        this.tensorboard,
        config.tensorboard,
        list(_pages(config, job)),
        _resume.planned(config, state),
        len(job.sides.validation),
        dump(config),
        loop.TIMING,
    )


def say(watched: Watch) -> None:
    """What it cost."""
    purse = watched.purse
    share = watched.overhead / max(watched.overhead + purse.seconds, 1e-9)
    least, most = (pick(watched.drawn.values(), default=0) for pick in (min, max))
    often = f"{least} to {most} times" if least < most else f"{most} time{'s' * (most != 1)}"
    drawn = f"; pages were drawn {often}" if watched.drawn else ""
    terminal.say(
        f"board    {watched.overhead:.1f} s for TensorBoard, {share:.1%} of the time{drawn}"
    )
    if purse.every and share > MUCH and most > LEAST:
        terminal.say(
            f"hint     tensorboard.every: auto draws pages in about {SHARE:.0%} of the time"
        )


def compare(config: Config, job: Job, this: runs.Run, state: checkpoint.State) -> None:
    """The run's row of the HParams dashboard: what the config says, other than by default, of what
    its weights depend on, and what came out."""
    settings = _resume.essential(config.model_dump(exclude_defaults=True))
    settings = {"seed": config.seed, **settings}
    values = dict(hparams.leaves({name: settings[name] for name in settings if name != "name"}))
    values = {path: value for path, value in values.items() if not path.endswith(".layers")}
    values |= {"model.parameters": job.model.count_params(), "training.epochs": state.epoch}
    monitor = config.training.best.monitor
    best = next((logs for logs in state.history if logs[monitor] == state.best), {})
    found = {f"result/{name}": value for name, value in best.items() if name.startswith("val_")}
    with suppress(OSError):  # it was not evaluated
        tested = json.loads(this.metrics.read_text(encoding="utf-8"))
        found |= {f"result/test_{name}": tested[name] for name in COMPARED if name in tested}
    # The table shows fourteen letters of it: with the month first rows can be told apart.
    time = re.sub(r"^\d{4}-(?=\d\d-\d\d_)", "", this.folder.name)
    write_alone(this.hparams, hparams.row(f"{time} {config.name}", values, found))


def _pages(config: Config, job: Job) -> Iterator[Page]:
    spec, examples, data = config.tensorboard, job.sides.validation, config.data
    draw: Callable[..., Iterator[Value]]
    if spec.images:
        draw = functools.partial(_images, job.classes, spec.images)
        yield Page("images", "train", draw)
    if spec.confusion and not examples.multi_label and len(job.classes) <= MATRIX:
        yield Page("confusion", "validation", functools.partial(_confusion, examples))
    if spec.pr_curves:
        yield Page("pr_curves", "validation", functools.partial(_pr_curves, examples))
    if spec.reliability:
        yield Page("reliability", "validation", functools.partial(_reliability, examples))
    if spec.mistakes:
        draw = functools.partial(_mistakes, examples, data, spec.mistakes)
        yield Page("mistakes", "validation", draw)
    if spec.gradcam:
        draw = functools.partial(_gradcam, job, _fixed(examples, data, spec.gradcam))
        yield Page("gradcam", "validation", draw)


def _images(classes: Sequence[str], count: int, seen: Seen) -> Iterator[Value]:
    """As the network saw them, with what it was told: of mixed pictures the shares."""
    cells = []
    for pixels, label_K in zip(seen.images[:count], seen.labels[:count], strict=True):
        order = np.argsort(-label_K, kind="stable").tolist()
        there = [number for number in order if label_K[number] > 0]
        shares = [classes[n] + ("" if label_K[n] == 1 else f" {label_K[n]:.0%}") for n in there]
        cells.append(Cell([pixels], [", ".join(shares) or "no label"]))
    if cells:
        yield image("images", gallery.draw(cells))


def _confusion(examples: Examples, seen: Seen) -> Iterator[Value]:
    truth_N, classes = examples.labels[seen.numbers], examples.classes
    counts_KK = metrics.confusion(Scored(truth_N, seen.scores))
    for tag, normalised in (("pictures", False), ("per_cent", True)):
        figure = confusion.draw(counts_KK, classes, normalised)
        yield image(f"confusion/{tag}", style.pixels(figure))


def _pr_curves(examples: Examples, seen: Seen) -> Iterator[Value]:
    truth_NK = examples.targets(seen.numbers) > 0
    yield pr_curve("pr_curves/all labels", truth_NK.ravel(), seen.scores.ravel())
    most = np.argsort(-examples.counts(), kind="stable")[:CURVES]
    for number in sorted(most.tolist()):
        tag = f"pr_curves/{examples.classes[number]}"
        yield pr_curve(tag, truth_NK[:, number], seen.scores[:, number])


def _reliability(examples: Examples, seen: Seen) -> Iterator[Value]:
    """Of the labels that are said; of several labels per picture, of each of them."""
    if examples.multi_label:
        confidence_N, right_N = seen.scores.ravel(), examples.labels[seen.numbers].ravel()
    else:
        confidence_N = seen.scores.max(axis=1)
        right_N = seen.scores.argmax(axis=1) == examples.labels[seen.numbers]
    figure = reliability.draw(*calibration.reliability(confidence_N, right_N))
    yield image("reliability", style.pixels(figure))


def _mistakes(examples: Examples, data: Data, count: int, seen: Seen) -> Iterator[Value]:
    """Those whose right answer was given the least probability, the worst first."""
    truth_NK, answers_NK = examples.targets(seen.numbers) > 0, _answers(examples, seen.scores)
    given_NK = np.where(truth_NK, seen.scores, 1 - seen.scores)  # to what holds, label by label
    given_NK = given_NK if examples.multi_label else np.where(truth_NK, given_NK, 1)
    wrong_N = np.flatnonzero((answers_NK != truth_NK).any(axis=1))
    order = wrong_N[np.argsort(given_NK[wrong_N].min(axis=1), kind="stable")][:count]
    cells = []
    rows = dict(zip(seen.numbers[order].tolist(), order, strict=True))
    for number, pixels in _readable(examples, data, rows):
        row = rows[number]
        truth, said = (
            _labels(examples.classes, each_NK[row], seen.scores[row])
            for each_NK in (truth_NK, answers_NK)
        )
        lines = [f"true: {truth}", f"said: {said}", examples.pictures.name(number)]
        cells.append(Cell([pixels], lines))
    if cells:
        yield image("mistakes", gallery.draw(cells))


def _answers(examples: Examples, scores_NK: np.ndarray) -> np.ndarray:
    """bool [N, K]: the labels that are said."""
    if examples.multi_label:
        return scores_NK >= calibration.THRESHOLD
    return scores_NK.argmax(axis=1)[:, None] == np.arange(scores_NK.shape[1])


def _labels(classes: Sequence[str], held_K: np.ndarray, scores_K: np.ndarray) -> str:
    """`rock 0.97`, of several labels all; `none`."""
    return (
        ", ".join(f"{classes[n]} {scores_K[n]:.2f}" for n in np.flatnonzero(held_K).tolist())
        or "none"
    )


def _gradcam(job: Job, fixed: Sequence[tuple[int, np.ndarray]], seen: Seen) -> Iterator[Value]:
    """Where the evidence for the right label lies (of several, the first), always in the same
    pictures."""
    if not fixed:
        return
    numbers, pictures = map(list, zip(*fixed, strict=True))
    targets_N = job.sides.validation.targets(numbers).argmax(axis=1)
    heat = gradcam.heat(job.model, np.stack(pictures), targets_N)
    scores = dict(zip(seen.numbers.tolist(), seen.scores, strict=True))
    cells = []
    for number, pixels, target, hot in zip(
        numbers, pictures, targets_N.tolist(), heat, strict=True
    ):
        share = f" {scores[number][target]:.2f}" if number in scores else ""
        cells.append(Cell([pixels, overlay.overlaid(pixels, hot)], [job.classes[target] + share]))
    yield image("gradcam", gallery.draw(cells))


def _fixed(examples: Examples, data: Data, count: int) -> list[tuple[int, np.ndarray]]:
    """The first pictures that have a label and can be read, of each class in turn."""
    labelled = (n for n in spread(examples, range(len(examples))) if examples.names_of(n))
    return list(itertools.islice(_readable(examples, data, labelled), count))


def _readable(
    examples: Examples, data: Data, numbers: Iterable[int]
) -> Iterator[tuple[int, np.ndarray]]:
    """Number and pixels uint8 [H, W, C], as validation sees them."""
    for number in numbers:
        with suppress(OSError, ValueError):  # validation leaves it out too
            yield number, present(decode(examples.pictures.content(number)), data)
