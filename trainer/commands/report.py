"""`trainer report`: everything about a run on one page, and whether it can be shipped."""

from collections.abc import Sequence

import numpy as np

from trainer import files, records, terminal
from trainer import run as runs
from trainer.commands import _mistakes
from trainer.commands._mistakes import Opened
from trainer.commands.data import preview
from trainer.config import Config
from trainer.config.load import load
from trainer.data.augment import Augment
from trainer.data.examples import Examples
from trainer.errors import UserError
from trainer.evaluation import calibration
from trainer.html import image
from trainer.report import card, charts, mistakes, page, verdict
from trainer.report import found as finding
from trainer.report.found import Found
from trainer.report.mistakes import Judged, Mistake
from trainer.report.page import Looked, Sample
from trainer.report.verdict import Check, Verdict

SECONDS = 5.0  # of asking the network about pictures that were not evaluated
WORST, CONFIDENT = 24, 60  # mistakes that are shown
SAMPLES, EPOCHS = 5, 4  # training pictures, and how often each is shown augmented
STYLES = {"problem": "bold red", "warning": "bold yellow", "note": "bold", "good": "bold green"}
COLUMNS = ("path", "split", "truth", "label", "probability", "sure")


def run(this: runs.Run, overrides: Sequence[str] = (), seconds: float = SECONDS) -> None:
    """Writes report.html, model_card.md and mistakes.csv.

    Args:
        overrides: laid over the run's config, as where its pictures have moved.
        seconds: after which the network is asked about no further training pictures, once it has
            been about _mistakes.LEAST.
    """
    files.demand_writable(this.report, str(this.folder))
    config = load(this.config, overrides)
    found = finding.read(this, config.name, load(this.config).evaluation.gates.given())
    opened = _mistakes.opened(this, overrides)
    asked = _mistakes.asked(this, found, opened, seconds)
    every = [*found.predictions, *(one for side in found.others.values() for one in side)]
    every += asked.judged
    wrong = mistakes.mistakes(every, found.classes, found.multi_label)
    looked = _looked(this, found, opened, wrong)._replace(asked=asked.said)
    against = sum(each.sure >= mistakes.SURE for each in wrong)
    checks = verdict.checks(found, against, len(every))
    answer = verdict.verdict(checks, found)
    files.write_csv(this.mistakes, COLUMNS, map(_row, mistakes.surest(wrong)))
    files.write_text(this.card, card.card(found, checks, answer, _presented(config)))
    files.write_text(this.report, page.page(found, checks, answer, looked))
    _show(this, checks, answer)


def _looked(this: runs.Run, found: Found, opened: Opened, wrong: list[Mistake]) -> Looked:
    """What the page shows besides the files of the run."""
    notes = list(opened.notes)
    own = {each.path for each in found.predictions}
    worst = mistakes.worst(each for each in wrong if each.judged.path in own)[:WORST]
    every = mistakes.confident(wrong)
    confident = every[:CONFIDENT]
    with terminal.silenced():  # libpng and libjpeg talk about broken files
        shown, problem = _mistakes.pictured(opened, [*worst, *confident], found.classes)
        samples, trouble = _samples(opened)
    notes += [each for each in (problem, trouble) if each]
    return Looked(
        worst=shown[: len(worst)],
        confident=shown[len(worst) :],
        sure=len(every),
        wrong=len(wrong),
        samples=samples,
        best=records.best_epoch(this),
        reliability=_reliability(found.predictions, found),
        notes=notes,
    )


def _samples(opened: Opened) -> tuple[list[Sample], str]:
    """Training pictures with what augmentation makes of them; or why there are none."""
    if opened.sides is None or not len(opened.sides.train):
        return [], ""
    config, examples = opened.config, opened.sides.train
    try:
        seen_at = preview.seen_at(config, examples)
        chosen = preview.chosen(examples, config.data, config.seed, SAMPLES, EPOCHS)
    except UserError as error:
        return [], f"There are no samples of augmentation: {error.problem}."
    return [_sample(examples, each, seen_at) for each in chosen], ""


def _sample(examples: Examples, shown: preview.Shown, seen_at: Augment) -> Sample:
    positions = [each for each in shown.positions if each is not None]
    pixels = [shown.pixels, *(seen_at(shown.pixels, position) for position in positions)]
    labels = ", ".join(examples.names_of(shown.number)) or "no label"
    images = [image(_mistakes.in_colour(each)) for each in pixels]
    return Sample(examples.pictures.name(shown.number), labels, images)


def _reliability(judged: Sequence[Judged], found: Found) -> str:
    if not judged:
        return ""
    scores_NK = np.array([each.scores_K for each in judged])
    if found.multi_label:
        claimed = scores_NK.ravel()
        held = np.array([[name in each.truth for name in found.classes] for each in judged]).ravel()
    else:
        claimed = scores_NK.max(axis=1)
        held = np.array([each.said == each.truth for each in judged])
    bins = calibration.reliability(claimed, held)
    parts = (bins.edges, bins.counts, bins.confidence, bins.accuracy)
    title = (
        "What a label's probability is worth" if found.multi_label else "What confidence is worth"
    )
    return charts.reliability(title, *(each.tolist() for each in parts))


def _row(mistake: Mistake) -> tuple[str, ...]:
    judged = mistake.judged
    joined = (finding.SEPARATOR.join(labels) for labels in (judged.truth, judged.said))
    numbers = f"{mistake.probability:.6f}", f"{mistake.sure:.6f}"
    return judged.path, judged.side, *joined, *numbers


def _presented(config: Config) -> dict[str, str]:
    """How a picture becomes the input."""
    height, width = config.data.image_size
    colours = "grey" if config.data.channels == 1 else "RGB"
    how = f"fit {config.data.fit}, resize {config.data.resize}"
    return {"Input": f"{height} × {width} pixels, {colours}, 0 to 255; {how}"}


def _show(this: runs.Run, checks: Sequence[Check], answer: Verdict) -> None:
    terminal.say(f"verdict  {answer.word} {answer.because}", STYLES[answer.level])
    for check in checks:
        terminal.say(f"{check.level:<8} {check.title}")
    for path in (this.report, this.card, this.mistakes):
        terminal.say(f"written  {path}")
