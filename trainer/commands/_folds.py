"""What a cross-validation does in processes of their own: train a fold, and average all of them."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainer import places, records, terminal
from trainer import run as runs
from trainer.commands import _evaluation, _predictions, evaluate, export, fit
from trainer.commands._about import about
from trainer.commands._restore import restore, sides
from trainer.config import Config
from trainer.config.load import load, located
from trainer.errors import Failed, Missed
from trainer.model import network
from trainer.objects import mistakes


def train(request: Mapping[str, Any]) -> str:
    """Trains a fold, or goes on with it, and keeps what it says of its validation pictures. Returns
    the folder of its run. Raises: UserErrors, Interrupted."""
    place, number = places.CrossvalFolder(Path(request["folder"])), request["fold"]
    begun = place.trained(number) is not None
    # Its names were known when it began; of modules that are gone the run has copies.
    config = load(Path(request["config"]), request["overrides"], None if begun else mistakes)
    with located(config):
        try:
            fit.run(config, resume=begun, part=True)
        except Missed as end:  # gates are for the network that ships
            terminal.say(f"gates    {end}")
        this = runs.latest(config)
        _tell(this, place.out_of_fold(number), number, request["threshold"])
    return str(this.folder)


def ensemble(request: Mapping[str, Any]) -> dict[str, Any]:
    """Makes the run that averages the networks of all folds, evaluates it on the test split, and
    exports it as the config says. Returns its `run`, as `failed` what is not good enough, and its
    exit `code`."""
    place = places.CrossvalFolder(Path(request["folder"]))
    config = load(Path(request["config"]), request["overrides"])
    with located(config):
        this = place.ensemble or _averaged(config, place)
        tested = records.read_data(this)["pictures"]["test"]
        judge = evaluate.run if tested else evaluate.trust
        failures = [*_failures(lambda: judge(this))]
        if config.export:
            failures += _failures(lambda: export.run(this))
        else:
            terminal.say("export   nothing: the list in the config is empty")
    code = max((each.code for each in failures), default=0)
    return {"run": str(this.folder), "failed": "; ".join(map(str, failures)), "code": code}


def _tell(this: runs.Run, path: Path, fold: int, threshold: float) -> None:
    """Writes what the network says of the pictures that it did not train on. Nothing that is fitted
    on these takes part: no temperature, and one threshold for all labels."""
    trained = restore(this, raw=True)
    seen = _evaluation.seen(this, trained, sides(this, trained).validation)
    thresholds = (threshold,) * len(trained.classes) if trained.multi_label else ()
    plain = {"temperature": 1.0, "reject": 0.0, "thresholds": thresholds}
    says = about(this, trained).model_copy(update=plain)
    _predictions.write(path, says, seen.examples, seen.scores_NK, fold)


def _averaged(config: Config, place: places.CrossvalFolder) -> runs.Run:
    """Its sides are those of the first fold; the test side is that of all."""
    numbers = range(config.data.split.folds or 0)
    folds = [each for each in map(place.trained, numbers) if each]
    model = network.averaged([restore(each, raw=True).model for each in folds])

    def write(this: runs.Run) -> None:
        for kept in (folds[0].classes, folds[0].data, folds[0].split):
            shutil.copyfile(kept, this.folder / kept.name)
        records.write_custom(this, records.read_custom(folds[0]))
        records.write_members(this, folds)
        records.write_environment(this)
        this.best.parent.mkdir()
        model.save(this.best)

    return runs.create(config, write)


def _failures(work: Callable[[], None]) -> Sequence[Failed]:
    """What is not good enough of it; the rest is done all the same."""
    try:
        work()
    except Failed as end:
        return [end]
    return []
