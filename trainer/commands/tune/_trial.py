"""What a search does in processes of their own: prepare itself, and train a trial."""

import csv
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
from tensorboard.plugins.hparams import summary_v2 as columns

from trainer import files, places
from trainer import run as runs
from trainer.board import hparams
from trainer.board.events import Value, write_alone
from trainer.commands import fit
from trainer.commands._assemble import assemble
from trainer.config import Config
from trainer.config.load import dump, load, located
from trainer.config.load import read as read_section
from trainer.config.search import Domain, Search, override
from trainer.config.tree import line
from trainer.data import split_file
from trainer.errors import UserError, leaves
from trainer.objects import mistakes
from trainer.training import objective, study


def prepare(request: Mapping[str, Any]) -> str:
    """Checks the whole space on the config, builds what the first trial would, and keeps the config
    and the sides of the pictures for all trials. Returns the direction, `min` or `max`.

    Raises: UserErrors, in the lines of the search.
    """
    path = Path(request["search"])
    spec = read_section(path, Search)
    with located(spec), _in_the_search(spec):
        base = checked(path.parent / spec.config, spec)
        first = [override(path, domain.ends()[0]) for path, domain in spec.space.items()]
        config = load(path.parent / spec.config, [*spec.overrides(), *first])
        with located(config):
            job = assemble(config)
        mode = objective.direction(spec.monitor, job.objective)
        place = places.search(spec)
        files.demand_writable(place.base, "runs")
        files.write_text(place.base, dump(base))
        split_file.write(job.sides, place.split)
        files.write_csv(place.left_out, ("path", "reason"), list(job.left_out.items()))
        write_alone(place.tensorboard, _table(spec))
    return mode if spec.mode == "auto" else spec.mode


def train(request: Mapping[str, Any]) -> dict[str, Any]:
    """Trains a trial, or goes on with it. Returns its `value` (None: NaN in every epoch) and
    `epoch`, the best, whether it was `pruned`, and its `run`."""
    spec, number = Search.model_validate(request["spec"]), request["number"]
    place = places.search(spec)
    found = study.Study(place.database, spec)
    trial = found.trials()[number]
    config = load(place.base, _of_trial(spec, place, found.mode, trial))
    report = Report(found, number, spec.monitor)
    begun = next(runs.earlier(config), None) is not None
    with located(config):
        this = fit.run(config, resume=begun, watchers=[report], evaluation=False, part=True)
    value, epoch = _best(this, spec.monitor, found.mode)
    shown = {path: _plain(each) for path, each in trial.values.items()}
    metrics = {} if value is None else {spec.monitor: value}
    write_alone(this.hparams, hparams.row(place.trial(number), shown, metrics))
    return {"value": value, "epoch": epoch, "pruned": report.pruned, "run": str(this.folder)}


class Report(keras.callbacks.Callback):
    """Tells the study the value of each epoch, and ends a training that it calls hopeless."""

    def __init__(self, found: study.Study, number: int, monitor: str) -> None:
        super().__init__()
        self.study, self.number, self.monitored, self.pruned = found, number, monitor, False

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        value = float((logs or {})[self.monitored])
        if self.study.report(self.number, value, epoch + 1):
            self.pruned = self.model.stop_training = True


# --- configs --------------------------------------------------------------------------------------


def checked(path: Path, spec: Search) -> Config:
    """The config with what `set` says. Raises: UserErrors for it and for any end of the space."""
    config = load(path, spec.overrides(), mistakes)
    plain = config.model_dump()
    wrong: dict[tuple[str, str], UserError] = {}  # ends of one domain often make the same mistake
    for where, domain in spec.space.items():
        _demand_call(plain, where)
        for value in domain.ends():
            try:
                load(path, [*spec.overrides(), override(where, value)], mistakes)
            except ExceptionGroup as group:
                wrong |= {(error.where, error.problem): error for error in leaves(group)}
    if wrong:
        raise ExceptionGroup("space", list(wrong.values()))
    return config


def _demand_call(config: Any, where: str) -> None:
    """Raises UserError for a path through a call that the config does not have: laid over, it would
    put that in the place of the one that is there."""
    value = config
    for key in re.findall(r"\[\d+\]|[^.\[\]]+", where):
        if isinstance(value, list | tuple):
            number = int(key[1:-1]) if key.startswith("[") else len(value)
            value = value[number] if number < len(value) else None
            continue
        names = list(value) if isinstance(value, dict) else [value]
        there = names[0] if len(names) == 1 and isinstance(names[0], str) else ""
        if there[:1].isupper() and key[:1].isupper() and key != there:
            problem = f"the config has {there} where this says {key}"
            raise UserError(f"space.{where}", problem, f"write {where.replace(key, there, 1)}")
        value = value.get(key) if isinstance(value, dict) else None


def _of_trial(spec: Search, place: places.SearchFolder, mode: str, trial: study.Trial) -> list[str]:
    """The overrides of a trial: its values, and what makes it a run of its own inside the search,
    with the pictures of all trials. Folds make their own sides."""
    fixed = {
        "name": place.trial(trial.number),
        "runs": str(place.folder),
        "training.best.mode": mode,
        "data.quarantine": str(place.left_out),
    }
    if load(place.base).data.split.folds is None:
        fixed["data.split.keep"] = str(place.split)
    return [override(path, value) for path, value in [*trial.values.items(), *fixed.items()]]


@contextmanager
def _in_the_search(spec: Search) -> Iterator[None]:
    """UserErrors about what the search lays over its config get the path of it in the search."""
    own = {f"--set {override(f'training.best.{name}', getattr(spec, name))}": name
           for name in ("monitor", "mode")}  # fmt: skip
    own |= {f"--set {override(path, value)}": f"set.{path}" for path, value in spec.set.items()}
    for path, domain in spec.space.items():
        own |= {f"--set {override(path, value)}": f"space.{path}" for value in domain.ends()}
    try:
        yield
    except* UserError as group:
        raise ExceptionGroup(
            "in the search",
            [
                UserError(own[error.place], error.problem, error.hint)
                if error.place in own
                else error
                for error in leaves(group)
            ],
        ) from None


# --- what came out --------------------------------------------------------------------------------


def _best(this: runs.Run, monitor: str, mode: str) -> tuple[float | None, int | None]:
    """The best value of a run and its epoch, counted from 1."""
    with this.history.open(newline="") as file:
        values = [(float(row[monitor]), int(row["epoch"])) for row in csv.DictReader(file)]
    finite = [each for each in values if not math.isnan(each[0])]
    if not finite:
        return None, None
    return min(finite) if mode == "min" else max(finite, key=lambda each: (each[0], -each[1]))


def _table(spec: Search) -> list[Value]:
    """What TensorBoard's HParams page shows of the search."""
    paths = [columns.HParam(path, _domain(domain)) for path, domain in spec.space.items()]
    return hparams.table(paths, spec.monitor, f"best {spec.monitor}")


def _domain(domain: Domain) -> columns.Domain | None:
    """TensorBoard's form, by which its page filters; it knows no choices of several types."""
    if domain.float:
        return columns.RealInterval(float(domain.float.low), float(domain.float.high))
    if domain.int:
        return columns.IntInterval(domain.int.low, domain.int.high)
    choices = [_plain(each) for each in domain.choices().values()]
    return columns.Discrete(choices) if len({type(each) for each in choices}) == 1 else None


def _plain(value: Any) -> Any:
    """What TensorBoard can show."""
    return value if isinstance(value, bool | int | float | str) else line(value)
