"""The epochs of several trainings, laid over each other."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trainer.plots import style
from trainer.plots.curves import COLOURS
from trainer.plots.style import GREY, INK

PANELS = 3  # logs that are drawn, in the order of the first training
TRAINING = (0, (4, 2))  # dashes


class Course(NamedTuple):
    """A log over the epochs of a training."""

    name: str  # of the training
    training: Sequence[float]  # one per epoch
    validation: Sequence[float] | None
    best: int | None  # the best epoch, from 1


def panels(
    names: Sequence[str],
    histories: Sequence[Mapping[str, Sequence[float]]],
    best: Sequence[int | None],
) -> dict[str, list[Course]]:
    """What `draw` takes: the logs that all trainings have, each with its courses.

    Args:
        names, histories, best: of the trainings; a history is log -> values, validation's called
            `val_…`.
    """
    logs = [log for log in histories[0] if not log.startswith("val_") and log != "learning_rate"]
    shared = [log for log in logs if all(log in each for each in histories)]
    every = list(zip(names, histories, best, strict=True))
    return {
        log: [Course(name, each[log], each.get(f"val_{log}"), at) for name, each, at in every]
        for log in shared[:PANELS]
    }


def draw(panels: Mapping[str, Sequence[Course]]) -> Figure:
    """One panel per log, side by side: a colour per training, validation whole, training dashed, a
    ring at the best epoch. More trainings than colours are grey.

    Args:
        panels: log -> the trainings that have it.
    """
    figure = Figure(figsize=(1.5 + 5.2 * len(panels), 4.6), layout="constrained")
    for number, (log, courses) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(1, len(panels), number)
        for index, course in enumerate(courses):
            _course(axes, course, COLOURS[index] if index < len(COLOURS) else GREY)
        style.titled(axes, log.replace("_", " "), "epoch", "")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.margins(x=0.02)
        if number == len(panels):
            _legend(axes, courses)
    return figure


def _course(axes: Axes, course: Course, colour: str) -> None:
    kinds = [(course.training, TRAINING, 1.0), (course.validation, "-", 1.9)]
    for values, dashes, width in kinds:
        if values is not None:
            epochs = range(1, len(values) + 1)
            axes.plot(epochs, values, color=colour, linestyle=dashes, linewidth=width)
    shown = course.training if course.validation is None else course.validation
    if course.best and course.best <= len(shown):
        ring = {"color": "white", "markeredgecolor": colour, "markersize": 7, "zorder": 5}
        axes.plot(course.best, shown[course.best - 1], "o", **ring)  # type: ignore[arg-type]


def _legend(axes: Axes, courses: Sequence[Course]) -> None:
    for index, course in enumerate(courses):
        colour = COLOURS[index] if index < len(COLOURS) else GREY
        axes.plot([], [], color=colour, linewidth=1.9, label=course.name)
    axes.plot([], [], color=INK, linewidth=1, linestyle=TRAINING, label="training")
    axes.plot([], [], color=INK, linewidth=1.9, label="validation")
    legend = axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    for text in legend.get_texts():
        text.set_parse_math(False)  # a dollar sign in a name begins no formula
