"""`trainer predict`: labels for files, folders, patterns, addresses, videos and a camera."""

import json
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from types import FrameType

import numpy as np

from trainer import files, terminal
from trainer.commands import _answers, _opened
from trainer.commands._answers import Answer
from trainer.commands._copies import Copies
from trainer.config.about import About
from trainer.data import inputs
from trainer.errors import Failed, Interrupted, UserError
from trainer.runtimes.opened import Opened
from trainer.terminal import Tick

BATCH = 32  # pictures; of a camera 1
MOMENT = len("#00:00.000")  # behind the name of a video


@dataclass
class Tally:
    """How far it has come."""

    begun: int = 0  # files, addresses, videos, cameras
    seen: int = 0  # pictures
    unreadable: int = 0  # of these


def run(
    arguments: Sequence[str],
    out: Path | None = None,
    sort_into: Path | None = None,
    top: int | None = None,
    every: int | None = None,
    frames: int | None = None,
) -> None:
    """Says label and probability of every picture, or writes those of every class to `out`.

    Args:
        arguments: `[MODEL] PATH...`; the latest run if no model is among them.
        out: a .csv or .jsonl file.
        sort_into: a folder; copies of the pictures come into one folder per class in it.
        top: say or write so many of the most probable labels.
        every: look at every n-th frame; all of a video and one a second of a camera if None.
        frames: look at so many frames of each video or camera at most.

    Raises: Failed at the end if pictures could not be read. Interrupted.
    """
    found, targets = _opened.parted(arguments)
    names = inputs.listed(targets, limited=frames is not None)
    live = inputs.is_live(names)
    _demand_frames(names, every, frames)
    _demand_output(out, top)
    _demand_folder(sort_into, targets)
    model, tally = _opened.open(found), Tally()
    copies = Copies(sort_into, model.about.labels) if sort_into else None
    pictures = inputs.pictures(_counted(names, tally), every, frames)
    ready = inputs.ready(pictures, model.about, keep=copies is not None, live=live)
    with _signals(live) as heard, _progress(names, quiet=out is None or live) as tick:
        answers = _answered(ready, model, 1 if live else BATCH, tally, tick, heard)
        if copies:
            answers = _copied(answers, copies)
        if out is None or live:
            answers = _said(answers, model.about, top, _width(names))
        if out is None and not copies:
            answers = takewhile(lambda _: terminal.is_read(), answers)  # `| head`, say
        try:
            with closing(ready):
                _write(out, answers, model.about, top)
        except KeyboardInterrupt:
            raise Interrupted(
                _stopped(out, tally, copies), 128 + (heard or [signal.SIGINT])[0]
            ) from None
    if out:
        terminal.say(f"written  {out} with {tally.seen - tally.unreadable} pictures")
    if copies:
        terminal.say(f"sorted   {copies.made} copies into {sort_into}")
    if tally.unreadable:
        raise Failed(f"{tally.unreadable} of {tally.seen} pictures could not be read")


# --- is it what was meant? ----------------------------------------------------------------------


def _demand_output(out: Path | None, top: int | None) -> None:
    if out is None:
        return
    special = out.exists() and not out.is_file() and not out.is_dir()  # /dev/stdout
    if out.suffix.lower() not in (".csv", ".jsonl") and not special:
        problem = f"expected a name that ends in .csv or .jsonl, received {out}"
        raise UserError("--out", problem, "as in --out labels.csv")
    if top and not _is_lines(out):
        hint = "leave --top out, or write --out labels.jsonl"
        raise UserError("--top", "a CSV has the probabilities of all classes anyway", hint)
    files.demand_writable(out, "--out")


def _demand_frames(names: Sequence[str], every: int | None, frames: int | None) -> None:
    option = "--every" if every else "--frames" if frames else ""
    if option and not inputs.is_live(names) and not any(map(inputs.is_video, names)):
        raise UserError(option, "there is no video and no camera to look at")


def _demand_folder(folder: Path | None, targets: Sequence[str]) -> None:
    if folder is None:
        return
    holder = inputs.holder(folder, targets)
    if holder:
        problem = f"{folder} lies in {holder}: the next time its copies would be sorted as well"
        raise UserError("--sort-into", problem, "choose a folder beside it")
    files.demand_folder(folder, "--sort-into")


# --- picture by picture -------------------------------------------------------------------------


def _counted(names: Iterable[str], tally: Tally) -> Iterator[str]:
    for name in names:
        tally.begun += 1
        yield name


def _answered(
    ready: Iterator[inputs.Ready | inputs.Unreadable],
    model: Opened,
    size: int,
    tally: Tally,
    tick: Tick,
    heard: Sequence[int],
) -> Iterator[Answer]:
    """What the model says of the pictures that can be read, in batches of that size; ends early
    when a signal was heard."""
    while not heard and (batch := list(islice(ready, size))):
        for each in batch:
            if isinstance(each, inputs.Unreadable):
                terminal.warn(f"{each.name} is left out: {each.reason}")
        good = [each for each in batch if isinstance(each, inputs.Ready)]
        scores_NK = model.scores(np.stack([each.image for each in good])) if good else ()
        tally.seen += len(batch)
        tally.unreadable += len(batch) - len(good)
        tick(tally.begun, batch[-1].name)
        for picture, scores_K in zip(good, scores_NK, strict=True):
            yield _answers.answer(picture, scores_K, model.about)


def _copied(answers: Iterator[Answer], copies: Copies) -> Iterator[Answer]:
    for answer in answers:
        copies.add(answer)
        yield answer


def _said(answers: Iterator[Answer], about: About, top: int | None, width: int) -> Iterator[Answer]:
    for answer in answers:
        terminal.say(_answers.line(answer, about.labels, top, width))
        yield answer


def _write(out: Path | None, answers: Iterator[Answer], about: About, top: int | None) -> None:
    """To the file, as they come; it has its name when it is whole."""
    if out is None:
        for _ in answers:
            pass
    elif _is_lines(out):
        records = (_answers.record(answer, about, top) for answer in answers)
        files.write_lines(out, map(json.dumps, records))
    else:
        files.write_csv(out, _answers.columns(about.labels), map(_answers.row, answers))


def _is_lines(out: Path) -> bool:
    return out.suffix.lower() == ".jsonl"


def _width(names: Sequence[str]) -> int:
    moving = any(inputs.is_video(name) or inputs.is_live([name]) for name in names)
    return max(map(len, names)) + MOMENT * moving


@contextmanager
def _progress(names: Sequence[str], quiet: bool) -> Iterator[Tick]:
    if quiet:  # the lines are progress enough
        yield lambda done, note: None
    else:
        with terminal.progress(len(names), "predicting", "files") as tick:
            yield tick


# --- stopping -----------------------------------------------------------------------------------


@contextmanager
def _signals(live: bool) -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM inside the block: of a camera they are the end that was waited for, and
    are put on the list that is yielded; anywhere else, and the second time, KeyboardInterrupt."""
    heard: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield heard
        return

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        if not live or len(heard) > 1:
            raise KeyboardInterrupt

    before = {
        number: signal.signal(number, hear)
        for number in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN  # in the background
    }
    try:
        if live:
            terminal.say("looking; Ctrl-C ends it")
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: not set by Python


def _stopped(out: Path | None, tally: Tally, copies: Copies | None) -> str:
    parts = [f"stopped after {tally.seen} pictures"]
    if out:
        parts.append(f"{out} was not written")
    if copies:
        parts.append(f"{copies.made} copies were made")
    return "; ".join(parts)
