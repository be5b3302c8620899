"""A run is a folder. The only file that knows what lies where in it; `records` fills it."""

import contextlib
import itertools
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from trainer import files
from trainer.config import Config
from trainer.config.load import dump, load
from trainer.errors import UserError

PARITY = "parity.json"  # in the folder of a run's exports
INSTEAD = 6  # runs that are named where a folder is none
TENSORBOARD = "tensorboard"  # the folder that `boards` looks for


class Run(NamedTuple):
    """`runs/<name>/<time>/`."""

    folder: Path

    @property
    def config(self) -> Path:
        """The resolved config: fitting it again repeats the run."""
        return self.folder / "config.yaml"

    @property
    def classes(self) -> Path:
        """One name per line, in the order of the scores."""
        return self.folder / "classes.txt"

    @property
    def data(self) -> Path:
        """What the pictures are: the task, how many on each side, and which are left out."""
        return self.folder / "data.json"

    @property
    def split(self) -> Path:
        """Which picture is on which side: path, label, split."""
        return self.folder / "split.csv"

    @property
    def history(self) -> Path:
        """The logs of each epoch."""
        return self.folder / "history.csv"

    @property
    def timing(self) -> Path:
        """What each epoch took."""
        return self.folder / "timing.csv"

    @property
    def metrics(self) -> Path:
        """The figures of the test split."""
        return self.evaluated("test").metrics

    @property
    def confidence(self) -> Path:
        """What validation says of the probabilities: temperature, thresholds."""
        return self.folder / "confidence.json"

    def evaluated(self, name: str) -> "Evaluated":
        """Where the evaluation of a split lies, or of other pictures under a name for them."""
        return Evaluated(self.folder if name == "test" else self.folder / "evaluation" / name)

    @property
    def report(self) -> Path:
        """Everything about the run on one page."""
        return self.folder / "report.html"

    @property
    def card(self) -> Path:
        """The same in short, for whoever gets the model."""
        return self.folder / "model_card.md"

    @property
    def mistakes(self) -> Path:
        """Pictures whose label the network contradicts, the surest first."""
        return self.folder / "mistakes.csv"

    @property
    def custom(self) -> Path:
        """Sources of the user's own modules that the config names."""
        return self.folder / "custom"

    @property
    def environment(self) -> Path:
        """Versions, commit, machine."""
        return self.folder / "environment.json"

    @property
    def last(self) -> Path:
        """The last checkpoint."""
        return self.folder / "checkpoints" / "last.keras"

    @property
    def previous(self) -> Path:
        """The one before, for when the last is damaged."""
        return self.folder / "checkpoints" / "previous.keras"

    @property
    def best(self) -> Path:
        """The checkpoint of the best epoch."""
        return self.folder / "checkpoints" / "best.keras"

    @property
    def members(self) -> Path:
        """Of an ensemble: the runs whose probabilities it averages. Others do not have it."""
        return self.folder / "members.json"

    @property
    def lock(self) -> Path:
        """Held by the process that trains."""
        return self.folder / ".lock"

    def log(self, worker: int) -> Path:
        """What a worker says that is not the first."""
        return self.folder / "workers" / f"{worker}.log"

    @property
    def tensorboard(self) -> Path:
        """Event files."""
        return self.folder / TENSORBOARD

    @property
    def explanations(self) -> Path:
        """What `explain` draws."""
        return self.folder / "explain"

    @property
    def explanation_events(self) -> Path:
        """The folder with the same for TensorBoard."""
        return self.tensorboard / "explain"

    @property
    def hparams(self) -> Path:
        """The event file with the row of the run among others."""
        return self.tensorboard / "hparams"

    @property
    def export(self) -> Path:
        """What leaves the project."""
        return self.folder / "export"

    @property
    def parity(self) -> Path:
        """How far each exported file agrees with Keras."""
        return self.export / PARITY


class Evaluated(NamedTuple):
    """The folder of a run itself for the test split, `evaluation/<name>/` in it for others."""

    folder: Path

    @property
    def metrics(self) -> Path:
        """The figures."""
        return self.folder / "metrics.json"

    @property
    def predictions(self) -> Path:
        """One row per picture: truth, label, probabilities."""
        return self.folder / "predictions.csv"

    @property
    def gates(self) -> Path:
        """What had to be reached, and what was."""
        return self.folder / "gates.json"


def create(config: Config, write: Callable[[Run], None]) -> Run:
    """A new run's folder; `latest` beside it points at it.

    Args:
        write: fills it. The config follows last: a folder without one is no run, so a run is whole
            or not there.

    Raises: UserError at `runs` if the place is not writable.
    """

    def fill(folder: Path) -> None:
        write(Run(folder))
        write_config(Run(folder), config)

    return Run(stamped(Path(config.runs) / config.name, fill))


def stamped(parent: Path, fill: Callable[[Path], None]) -> Path:
    """A new folder, filled and called by the time; `latest` beside it points at it. Raises:
    UserError at `runs` if the place is not writable."""
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = _new_folder(parent, stamp)
        fill(folder)
        link = parent / f".latest.{uuid.uuid4().hex[:8]}"
        link.symlink_to(folder.name)
        link.replace(parent / "latest")
    except OSError as error:
        raise files.not_writable(parent, error, "runs") from None
    return folder


def _new_folder(parent: Path, stamp: str) -> Path:
    for number in itertools.count(1):  # two runs may begin in one second
        folder = parent / (stamp if number == 1 else f"{stamp}_{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError("unreachable")


def latest(config: Config) -> Run:
    """The newest run of a config's name. Raises UserError if there is none."""
    parent = Path(config.runs) / config.name
    link = parent / "latest"
    if not (link / "config.yaml").is_file():
        raise UserError("name", f"no run in {parent} yet", "start one with trainer fit")
    return real(link)


def earlier(config: Config) -> Iterator[Run]:
    """The runs of a config's name, the newest first."""
    every = (Path(config.runs) / config.name).glob("*/config.yaml")
    folders = [path.parent for path in every if not path.parent.is_symlink()]
    return map(Run, sorted(folders, key=lambda folder: folder.name, reverse=True))


def resumable(config: Config) -> Run | None:
    """The run of a config's name with the newest checkpoint, else the newest run, else None.

    So a run that was started by mistake and stopped at once does not hide the one before it.
    Raises: UserError if the newest lost its checkpoints.
    """
    every = list(earlier(config))
    times = {
        run: path.stat().st_mtime
        for run in every
        for path in (run.best, run.previous, run.last)  # the newest last, if there
        if path.is_file()
    }
    found = max(times, key=lambda run: times[run], default=every[0] if every else None)
    if found and found.history.exists() and found not in times:
        raise UserError(str(found.last), "is missing, so the run cannot go on", "start a new run")
    return found


def boards(folder: Path) -> Iterator[Path]:
    """The event folders of a run, or of all runs below a folder and of what belongs to none of
    them, by name; those behind links are not seen twice."""
    for parent, children, _ in os.walk(folder):
        children.sort()
        this = Run(Path(parent))
        if this.tensorboard.is_dir():
            yield this.tensorboard
            children.remove(this.tensorboard.name)
        if this.config.is_file():
            children.clear()


def is_run(target: str) -> bool:
    """Whether the text names a run or a config rather than a picture."""
    return target.endswith((".yaml", ".yml")) or (Path(target) / "config.yaml").is_file()


def find(target: str | None = None) -> Run:
    """The run that is meant: its folder, a config (its latest run), or None (the latest of all);
    the latest that has finished an epoch, if any has.

    Raises: UserError if there is none.
    """
    if target is None:
        paths = Path("runs").glob("*/*/config.yaml")
        times = {path.parent: path.stat().st_mtime for path in paths}
        every = [Run(each) for each in sorted(times, key=lambda each: times[each], reverse=True)]
        every = [run for run in every if not run.folder.is_symlink()]
        if not every:
            hint = "start one with trainer fit, or give the folder of a run"
            raise UserError("", f"no run in {Path('runs').absolute()} yet", hint)
        return _finished(every)
    path = Path(target)
    if path.suffix in (".yaml", ".yml"):
        config = load(path)
        return _finished([*earlier(config)] or [latest(config)])
    if not (path / "config.yaml").is_file():
        problem = "is no run: it has no config.yaml" if path.is_dir() else "no such run"
        raise UserError(target, problem, _instead(path))
    return real(path)


def _instead(path: Path) -> str:
    """What to give instead of a folder that is no run: one of nearly that name, or those in it, as
    of a cross-validation."""
    if near := files.nearly(path):
        return f"did you mean {near / 'latest' if is_run(str(near / 'latest')) else near}?"
    patterns = ("latest", "*/latest", "latest/*/latest", "crossval/latest/*/latest")
    for pattern in patterns:
        found = sorted(each.parent for each in path.glob(f"{pattern}/config.yaml"))
        if len(found) == 1:
            return f"did you mean {found[0]}?"
        if found:
            names = ", ".join(map(str, found[:INSTEAD])) + ", …" * (len(found) > INSTEAD)
            return f"the runs in it are {names}"
    return "give a folder such as runs/rps/latest, or a config"


def _finished(runs: Sequence[Run]) -> Run:
    """The first that has finished an epoch, else the first: a fit that was stopped at once must not
    hide the one before it."""
    return next((run for run in runs if run.best.is_file()), runs[0])


def real(path: Path) -> Run:
    """The run behind `latest`."""
    return Run(path.parent / path.readlink() if path.is_symlink() else path)


def write_config(run: Run, config: Config) -> None:
    """Keeps the resolved config."""
    files.write_text(run.config, dump(config))
