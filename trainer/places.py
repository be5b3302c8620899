"""Where things lie that belong to no single run: beside runs, and in the user's cache."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainer import files
from trainer.config import Config
from trainer.config.load import dump
from trainer.config.search import Search
from trainer.run import TENSORBOARD, Run, real, stamped


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
    return Path(config.runs) / config.name / TENSORBOARD / "preview"


def explanation_events(folder: Path) -> Path:
    """The folder for TensorBoard of what `explain` draws elsewhere than in its run."""
    return folder / TENSORBOARD / "explain"


def drawing(config: Config) -> Path:
    """The network as `check` draws it."""
    return Path(config.runs) / config.name / "network.svg"


def range_test(config: Config) -> Path:
    """The table of `tune lr`; its plot beside it is called the same, .png."""
    return Path(config.runs) / config.name / "lr.csv"


def comparison(this: Run) -> Path:
    """The curves that `compare` draws."""
    return this.folder.parent / "compare.png"


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


class Packed(NamedTuple):
    """The folder of `data pack`: shards, the index beside them, and these."""

    folder: Path

    @property
    def about(self) -> Path:
        """What is packed here, written before the shards: a second start goes on with no other."""
        return self.folder / "pack.json"

    @property
    def pictures(self) -> Path:
        """What is packed here, picture by picture: path, label, split, bytes, changed."""
        return self.folder / "pictures.csv"

    @property
    def left_out(self) -> Path:
        """Pictures that are in no shard: path, reason."""
        return self.folder / "left_out.csv"

    @property
    def config(self) -> Path:
        """The config, with the shards as its source."""
        return self.folder / "config.yaml"

    @property
    def lock(self) -> Path:
        """Held by the process that writes."""
        return self.folder / ".lock"


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
        return self.folder / TENSORBOARD / "search"

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
        return real(link) if (link / "config.yaml").is_file() else None


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

    return CrossvalFolder(stamped(_crossvals(config), fill))


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
