"""The user's own code that a config names: kept with the run, found again where it is gone."""

from pathlib import Path

from trainer import objects, records, terminal
from trainer import run as runs
from trainer.config import Config
from trainer.config.load import named


def modules(config: Config) -> dict[str, Path]:
    """Import path -> source of the user's modules that the config names, and of what these import
    from the working directory. Raises UserError for what cannot be imported."""
    found = objects.own_modules(named(config))
    return {name: file for name, file in found.items() if name.split(".")[0] != "trainer"}


def reach(config: Config) -> None:
    """What the run to resume kept is found where the user's own modules are gone."""
    run = runs.resumable(config)
    if run:
        objects.look_in(run.custom)


def bring(config: Config, run: runs.Run) -> None:
    """Takes what the run kept for modules that are gone, and warns of those that have changed.

    Raises: UserError for what can be imported from nowhere.
    """
    kept = records.read_custom(run)
    if not kept:
        return
    objects.look_in(run.custom)
    now = modules(config)
    for name, copy in kept.items():
        file = now.get(name, copy)
        if file.read_bytes() != copy.read_bytes():
            terminal.warn(f"{file} is no longer what the run was trained with, which is {copy}")
