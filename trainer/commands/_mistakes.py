"""What a report asks the network: about pictures that were not evaluated, and for its reasons.

N pictures, K classes.
"""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from trainer import run as runs
from trainer import terminal
from trainer.commands._about import about
from trainer.commands._restore import Trained, restore, sides
from trainer.config import Config
from trainer.config.load import load
from trainer.data import feed, split
from trainer.data.decode import decode, present
from trainer.data.examples import Examples
from trainer.data.pipeline import Faults
from trainer.errors import UserError
from trainer.evaluation import predict
from trainer.explain import gradcam, overlay
from trainer.html import image
from trainer.report.found import Found
from trainer.report.mistakes import Judged, Mistake
from trainer.report.page import Shown

LEAST = 500  # training pictures that the network is asked about, however long it takes
# Sides that it is asked about where they were not evaluated.
UNSEEN = ("validation", "train")
WORDS = {"train": "training"}


class Opened(NamedTuple):
    """A run's network and pictures, None where they cannot be had."""

    config: Config
    trained: Trained | None
    sides: split.Sides | None
    notes: tuple[str, ...]  # why something cannot be had


class Asked(NamedTuple):
    """What the network said, and about which pictures."""

    judged: list[Judged]
    said: str  # for people; empty if it could not be asked


def opened(run: runs.Run, overrides: Sequence[str]) -> Opened:
    """What there is; warns of what there is not."""
    config = load(run.config, overrides)
    try:
        trained = restore(run, overrides)
    except UserError as error:
        return Opened(config, None, None, (_missing("network", error),))
    try:
        return Opened(config, trained, sides(run, trained), ())
    except UserError as error:
        return Opened(config, trained, None, (_missing("pictures", error),))


def _missing(what: str, error: UserError) -> str:
    said = f"Without the {what}: {error.problem}"
    terminal.warn(said[0].lower() + said[1:] + (f"; {error.hint}" if error.hint else ""))
    return f"{said}."


def asked(run: runs.Run, found: Found, opened: Opened, seconds: float) -> Asked:
    """The network's answers on validation and training pictures, of which no evaluation is kept.

    Args:
        seconds: after which it stops, once it has been asked about LEAST; the order is shuffled,
            so that those before are a fair sample.
    """
    known = {found.split: found.predictions, **found.others}
    told = {
        side: f"all {len(each):,} {WORDS.get(side, side)}" for side, each in known.items() if each
    }
    judged: list[Judged] = []
    if opened.trained and opened.sides:
        until = time.monotonic() + seconds
        for side in UNSEEN:
            examples: Examples = getattr(opened.sides, side)
            if side in told or not len(examples):
                continue
            answers = list(_answers(run, opened.trained, side, examples, until))
            part = "all" if len(answers) == len(examples) else f"{len(answers):,} of"
            told[side] = f"{part} {len(examples):,} {WORDS.get(side, side)}"
            judged += answers
    said = f"The network was asked about {_listed(list(told.values()))} pictures." if told else ""
    return Asked(judged, said)


def _listed(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _answers(
    run: runs.Run, trained: Trained, side: str, examples: Examples, until: float
) -> Iterator[Judged]:
    order = np.random.default_rng(trained.config.seed).permutation(len(examples))
    network, says, count = predict.forward(trained.model), about(run, trained), 0
    batches = feed.evaluation(examples.take(order), trained.config.data, Faults({}, []))
    for start, (images, _, weights) in enumerate(batches):
        scores_NK = network(images).numpy()
        for row in np.flatnonzero(weights.numpy()):
            index, scores_K = order[start * len(scores_NK) + row], tuple(scores_NK[row].tolist())
            name, labels = examples.pictures.name(index), tuple(examples.names_of(index))
            yield Judged(name, side, labels, says.verdict(scores_K).labels, scores_K)
        count += len(scores_NK)
        if count >= LEAST and time.monotonic() > until:
            return


def pictured(
    opened: Opened, wrong: Sequence[Mistake], classes: Sequence[str]
) -> tuple[list[Shown], str]:
    """The mistakes with their pictures as the network sees them, and Grad-CAM of the label that it
    says or misses; and why there is none of it, if so."""
    pixels = _pixels(opened, [each.judged.path for each in wrong])
    there = {each.judged.path: each for each in wrong if each.judged.path in pixels}
    heats, problem = {}, ""
    if there and opened.trained:
        images = np.stack([pixels[path] for path in there])
        targets = np.array([classes.index(each.label) for each in there.values()])
        try:
            maps = gradcam.heat(opened.trained.model, images, targets)
            heats = dict(zip(there, maps, strict=True))
        except UserError as error:
            problem = f"There is no Grad-CAM: {error.problem}."
    thumbs = {path: image(in_colour(each)) for path, each in pixels.items()}
    warm = {path: image(overlay.overlaid(pixels[path], heat)) for path, heat in heats.items()}
    paths = [each.judged.path for each in wrong]
    shown = [
        Shown(each, thumbs.get(path, ""), warm.get(path, ""))
        for each, path in zip(wrong, paths, strict=True)
    ]
    return shown, problem


def _pixels(opened: Opened, names: Sequence[str]) -> dict[str, np.ndarray]:
    """uint8 [H, W, C] of those that are there and can be read, by name."""
    wanted, found = set(names), {}
    for side in opened.sides or ():
        for index in range(len(side)):
            name = side.pictures.name(index)
            if name in wanted:
                try:
                    found[name] = present(decode(side.pictures.content(index)), opened.config.data)
                except (OSError, ValueError):
                    continue
    return found


def in_colour(pixels: np.ndarray) -> np.ndarray:
    """RGB [H, W, 3] of [H, W, 1 or 3]."""
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)
