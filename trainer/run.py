"""A run is a folder. The only file that knows what lies where in it."""

import contextlib
import csv
import hashlib
import itertools
import json
import os
import platform
import subprocess
import uuid
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from trainer import files
from trainer.config import Config
from trainer.config.load import dump, load
from trainer.config.search import Search
from trainer.errors import UserError

PACKAGES = (
    *("tensorflow", "keras", "numpy", "albumentations", "opencv-python-headless"),
    *("onnx", "tf2onnx", "onnxruntime"),
)
PARITY = "parity.json"  # in the folder of a run's exports


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

    @property
    def tensorboard(self) -> Path:
        """Event files."""
        return self.folder / "tensorboard"

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

    return Run(_stamped(Path(config.runs) / config.name, fill))


def _stamped(parent: Path, fill: Callable[[Path], None]) -> Path:
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
    return _real(link)


def earlier(config: Config) -> Iterator[Run]:
    """The runs of a config's name, the newest first."""
    every = (Path(config.runs) / config.name).glob("*/config.yaml")
    folders = [path.parent for path in every if not path.parent.is_symlink()]
    return map(Run, sorted(folders, key=lambda folder: folder.name, reverse=True))


def quarantine(config: Config) -> Path:
    """The pictures that `data inspect` advises to leave out, for all runs of a config's name."""
    return Path(config.runs) / config.name / "quarantine.csv"


def inspection(config: Config) -> Path:
    """The report of `data inspect`."""
    return Path(config.runs) / config.name / "inspection.html"


def preview(config: Config) -> Path:
    """What `data preview` draws."""
    return Path(config.runs) / config.name / "preview.png"


def preview_events(config: Config) -> Path:
    """The folder with the same for TensorBoard."""
    return preview(config).with_suffix("")


def drawing(config: Config) -> Path:
    """The network as `check` draws it."""
    return Path(config.runs) / config.name / "network.svg"


class SearchFolder(NamedTuple):
    """`runs/<name>/` of a search: trials are runs inside it."""

    folder: Path

    @property
    def database(self) -> Path:
        """Optuna's own storage; while it is not there, the search has not begun."""
        return self.folder / "search.db"

    @property
    def base(self) -> Path:
        """The resolved config that trials lay their values over."""
        return self.folder / "base.yaml"

    @property
    def split(self) -> Path:
        """The sides of all trials, as a run's split.csv."""
        return self.folder / "split.csv"

    @property
    def left_out(self) -> Path:
        """The pictures that no trial sees, as a quarantine list."""
        return self.folder / "left_out.csv"

    @property
    def best(self) -> Path:
        """A config with the best values."""
        return self.folder / "best.yaml"

    @property
    def tensorboard(self) -> Path:
        """What TensorBoard must know of all trials."""
        return self.folder / "tensorboard"

    @property
    def lock(self) -> Path:
        """Held by the process that searches."""
        return self.folder / ".lock"

    @staticmethod
    def trial(number: int) -> str:
        """The `name` in the config of a trial."""
        return f"trial_{number:03d}"


def search(spec: Search) -> SearchFolder:
    """The folder of a search."""
    return SearchFolder(Path(spec.runs) / spec.name)


class CrossvalFolder(NamedTuple):
    """`runs/<name>/crossval/<time>/`: folds are runs inside it."""

    folder: Path

    @property
    def base(self) -> Path:
        """The resolved config that folds are of."""
        return self.folder / "base.yaml"

    @property
    def folds(self) -> Path:
        """Which fold validates each picture: path, label, fold; none for the test side."""
        return self.folder / "folds.csv"

    @property
    def predictions(self) -> Path:
        """What the network that did not train on a picture says of it, for all folds."""
        return self.folder / "predictions.csv"

    @property
    def metrics(self) -> Path:
        """The figures of each fold, their mean and spread, and those of all pictures together."""
        return self.folder / "metrics.json"

    @property
    def report(self) -> Path:
        """The same to read."""
        return self.folder / "report.md"

    @property
    def confusion(self) -> Path:
        """The confusion matrix of all pictures, as a picture in the report."""
        return self.folder / "confusion.png"

    @property
    def curves(self) -> Path:
        """The epochs of all folds, laid over each other."""
        return self.folder / "curves.png"

    @property
    def lock(self) -> Path:
        """Held by the process that trains the folds."""
        return self.folder / ".lock"

    @staticmethod
    def fold(number: int) -> str:
        """The `name` in the config of a fold."""
        return f"fold_{number}"

    def out_of_fold(self, number: int) -> Path:
        """The predictions of one fold. It is written last: a fold that has it is finished."""
        return self.folder / self.fold(number) / "out_of_fold.csv"

    def trained(self, number: int) -> Run | None:
        """The run of a fold, if it has begun."""
        return self._latest(self.fold(number))

    @property
    def ensemble(self) -> Run | None:
        """The run that averages all folds, if it was made."""
        return self._latest("ensemble")

    def _latest(self, name: str) -> Run | None:
        link = self.folder / name / "latest"
        return _real(link) if (link / "config.yaml").is_file() else None


def create_crossval(config: Config, folds: Iterable[Sequence[Any]]) -> CrossvalFolder:
    """The folder of a new cross-validation; `latest` beside it points at it.

    Args:
        folds: rows of folds.csv.

    Raises: UserError at `runs` if the place is not writable.
    """

    def fill(folder: Path) -> None:
        place = CrossvalFolder(folder)
        files.write_csv(place.folds, ("path", "label", "fold"), folds)
        files.write_text(place.base, dump(config))

    return CrossvalFolder(_stamped(_crossvals(config), fill))


def latest_crossval(config: Config) -> CrossvalFolder | None:
    """The newest cross-validation of a config's name, if there is one."""
    every = [path.parent for path in _crossvals(config).glob("*/base.yaml")]
    folders = [folder for folder in every if not folder.is_symlink()]
    return CrossvalFolder(max(folders)) if folders else None


def forget_crossval(place: CrossvalFolder) -> None:
    """Removes one in which nothing was trained."""
    files.remove(place.folder)
    link = place.folder.parent / "latest"
    if link.is_symlink() and not link.exists():
        link.unlink()


def _crossvals(config: Config) -> Path:
    return Path(config.runs) / config.name / "crossval"


def comparison(this: Run) -> Path:
    """The curves that `compare` draws."""
    return this.folder.parent / "compare.png"


def range_test(config: Config) -> Path:
    """The table of `tune lr`; its plot beside it is called the same, .png."""
    return Path(config.runs) / config.name / "lr.csv"


def surveyed(config: Config) -> Path:
    """What is known of the pictures of a source, in the user's cache: it can be deleted."""
    source = f"{Path.cwd()} {config.data.source.model_dump_json()}"
    key = hashlib.sha256(os.fsencode(source)).hexdigest()[:16]
    return _cache() / f"{key}.npz"


def decoded() -> Path:
    """The folder of decoded pictures, in the user's cache: it can be deleted."""
    return _cache() / "pixels"


def brought(package: str) -> Path:
    """Software that exports carry along, in the user's cache: the folder can be deleted."""
    return _cache() / package


def _cache() -> Path:
    home = os.path.expanduser("~/.cache")  # noqa: PTH111 (Path.home fails for users without one)
    return Path(os.environ.get("XDG_CACHE_HOME") or home) / "keras-image-trainer"


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
    """The event folders of a run, or of all runs and searches below a folder, by name; those behind
    links are not seen twice."""
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
        hint = "give a folder such as runs/rps/latest, or a config"
        if (path / "latest").is_dir():
            hint = f"did you mean {path / 'latest'}?"
        raise UserError(target, problem, hint)
    return _real(path)


def _finished(runs: Sequence[Run]) -> Run:
    """The first that has finished an epoch, else the first: a fit that was stopped at once must not
    hide the one before it."""
    return next((run for run in runs if run.best.is_file()), runs[0])


def _real(path: Path) -> Run:
    """The run behind `latest`."""
    return Run(path.parent / path.readlink() if path.is_symlink() else path)


def write_config(run: Run, config: Config) -> None:
    """Keeps the resolved config."""
    files.write_text(run.config, dump(config))


def write_classes(run: Run, classes: tuple[str, ...]) -> None:
    """Keeps the class names, in the order of the scores."""
    files.write_text(run.classes, "".join(f"{name}\n" for name in classes))


def read_classes(run: Run) -> tuple[str, ...]:
    """The class names, in the order of the scores. Raises UserError if they are missing."""
    try:
        text = run.classes.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UserError(str(run.classes), f"cannot be read: {error.strerror}") from None
    return tuple(text.removesuffix("\n").split("\n"))


def write_data(
    run: Run, multi_label: bool, counts: Mapping[str, int], left_out: Mapping[str, str]
) -> None:
    """Keeps the task, the number of pictures by side, and why others are on none."""
    task = "multi_label" if multi_label else "single_label"
    files.write_json(run.data, {"task": task, "pictures": dict(counts), "left_out": dict(left_out)})


def read_data(run: Run) -> dict[str, Any]:
    """What `write_data` kept. Raises UserError if it is missing."""
    try:
        return json.loads(run.data.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(str(run.data), f"cannot be read: {error}") from None


def write_members(run: Run, members: Sequence[Run]) -> None:
    """Keeps of which runs an ensemble is made, as paths from its own folder."""
    paths = [os.path.relpath(each.folder.resolve(), run.folder.resolve()) for each in members]
    files.write_json(run.members, paths)


def read_members(run: Run) -> list[str]:
    """What `write_members` kept; empty for a run of one network. Raises UserError if damaged."""
    if not run.members.is_file():
        return []
    try:
        found: list[str] = json.loads(run.members.read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError) as error:
        raise UserError(str(run.members), f"cannot be read: {error}") from None


def write_custom(run: Run, modules: Mapping[str, Path]) -> None:
    """Keeps the sources of the user's own modules, under their import paths."""
    for name, file in modules.items():
        inside = Path(*name.split("."))
        package = file.name == "__init__.py"
        target = run.custom / (inside / file.name if package else inside.with_suffix(".py"))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())


def read_custom(run: Run) -> dict[str, Path]:
    """Import path -> kept source."""
    found = {}
    for file in sorted(run.custom.rglob("*.py")):
        inside = file.relative_to(run.custom).with_suffix("")
        parts = inside.parts[:-1] if inside.name == "__init__" else inside.parts
        found[".".join(parts)] = file
    return found


def forget_evaluation(run: Run) -> None:
    """Removes what was said of weights that will not be the best for long."""
    test = run.evaluated("test")
    folder = run.evaluated("validation").folder.parent
    for path in (test.metrics, test.predictions, test.gates, run.confidence, folder):
        files.remove(path)


def write_history(
    path: Path, history: Sequence[Mapping[str, float]], columns: Sequence[str]
) -> None:
    """One row per epoch, counted from 1."""
    rows = [[number, *map(row.get, columns)] for number, row in enumerate(history, 1)]
    files.write_csv(path, ("epoch", *columns), rows)


def read_history(path: Path) -> dict[str, list[float]]:
    """Column -> its values, one per epoch, of what `write_history` kept; empty if nothing was.

    Raises: UserError if it is damaged.
    """
    if not path.is_file():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        columns = zip(*([float(cell or "nan") for cell in row] for row in rows), strict=True)
        found = dict(zip(header, map(list, columns), strict=True)) if rows else {}
    except (OSError, ValueError) as error:
        raise UserError(str(path), f"cannot be read: {error}") from None
    return {name: values for name, values in found.items() if name != "epoch"}


def best_epoch(run: Run) -> int | None:
    """The epoch that the best checkpoint is of, from 1; None if it does not say."""
    try:
        with zipfile.ZipFile(run.best) as archive:
            return int(json.loads(archive.read("state.json"))["epoch"])
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None


def read_metrics(run: Run) -> dict[str, Any] | None:
    """The figures of the test split; None if it was not evaluated. Raises UserError if damaged."""
    if not run.metrics.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(run.metrics.read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError) as error:
        hint = "trainer evaluate writes it anew"
        raise UserError(str(run.metrics), f"cannot be read: {error}", hint) from None


def read_environment(run: Run) -> dict[str, Any]:
    """What `write_environment` kept; empty if nothing was."""
    try:
        found: dict[str, Any] = json.loads(run.environment.read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError):
        return {}


def write_environment(run: Run) -> None:
    """What the run depends on besides its config: versions, machine, commit, and by their sha256
    the pictures (split.csv) and the user's own modules."""
    found = {
        "trainer": metadata.version("keras-image-trainer"),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "commit": _commit(),
        "data": hashlib.sha256(run.split.read_bytes()).hexdigest(),
        "custom": {
            name: hashlib.sha256(file.read_bytes()).hexdigest()
            for name, file in read_custom(run).items()
        },
    }
    files.write_json(run.environment, found)


def _commit() -> str | None:
    """The commit of the working directory, where the config usually lives."""
    try:
        command = ["git", "rev-parse", "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5)
        return done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
