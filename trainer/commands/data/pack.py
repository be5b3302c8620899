"""`trainer data pack`: the pictures of a config as shards that are read in any order."""

import json
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trainer import files, terminal
from trainer.commands._gather import Gathered, gather
from trainer.config import Config, tree
from trainer.config.data import Tfrecord
from trainer.config.load import dump
from trainer.data import pack, shard_index, shard_pass
from trainer.data.examples import SIDES
from trainer.data.split import Sides
from trainer.errors import Interrupted, UserError
from trainer.places import Packed

OUT = "--out"
MEGABYTE = 1_000_000


def run(config: Config, out: Path, megabytes: float) -> None:
    """Writes the pictures of all sides into shards of about that size, and the index."""
    place = Packed(out)
    _demand_ours(place)
    gathered = gather(config)
    sides = gathered.sides
    _demand_plain(gathered)
    plan = pack.shards(sides, megabytes * MEGABYTE)
    about = _about(config, sides, plan)
    files.demand_folder(out, OUT)
    with files.alone(place.lock, "trainer data pack", OUT):
        left_out = gathered.left_out() | _packed(place, sides, plan, about)
    _report(config, place, plan, left_out)


def _packed(
    place: Packed, sides: Sides, plan: Sequence[pack.Shard], about: dict[str, Any]
) -> dict[str, str]:
    """Writes what is not there yet; why pictures could not be read, by their names."""
    _begin(place, sides, about)
    todo = [shard for shard in plan if not (place.folder / shard.name).is_file()]
    if len(todo) < len(plan):
        terminal.say(f"there    {len(plan) - len(todo)} of {len(plan)} shards")
    try:
        _write(place, sides, todo)
        return _indexed(place, sides, plan)
    except KeyboardInterrupt:
        there = sum((place.folder / shard.name).is_file() for shard in plan)
        kept = f"{there} of {len(plan)} shards are kept in {place.folder}"
        raise Interrupted(f"stopped; {kept}\n  the same command goes on there") from None


def _write(place: Packed, sides: Sides, todo: Sequence[pack.Shard]) -> None:
    """The shards, with a bar."""
    done, lock = 0, threading.Lock()
    total = sum(len(shard.rows) for shard in todo)
    with terminal.progress(total, "packing", "pictures") as show:

        def tick(more: int) -> None:
            nonlocal done
            with lock:
                done += more
                show(done, "")

        pack.write(sides, todo, place.folder, tick)


def _indexed(place: Packed, sides: Sides, plan: Sequence[pack.Shard]) -> dict[str, str]:
    """Reads all shards back, as a training without an index would, and writes the index. Returns
    why pictures are in none, by their names.

    Raises: UserError for a shard that is damaged or another's.
    """
    names = sorted(shard.name for shard in plan)
    root = str(place.folder)
    hint = "remove it; the same command writes it again"
    try:
        index = shard_pass.passed(_source(place), root, names)
    except UserError as error:
        raise UserError(OUT, error.problem, hint) from None
    try:
        missing = dict(pack.missing(sides, plan, index))
    except ValueError as error:
        path = place.folder / str(error)
        raise UserError(OUT, f"{path} holds other pictures than it should", hint) from None
    sizes = {name: (place.folder / name).stat().st_size for name in names}
    shard_index.write(place.folder, sizes, pack.FEATURES, index)
    return missing


def _demand_ours(place: Packed) -> None:
    """Raises UserError for a folder with anything else in it."""
    if place.folder.exists() and not place.folder.is_dir():
        raise UserError(OUT, f"{place.folder} is a file, not a folder", "choose another place")
    if place.folder.is_dir() and not place.about.is_file():
        found = sorted(path.name for path in place.folder.iterdir())
        ours = place.pictures.name  # a start that was killed early
        found = [name for name in found if not name.startswith(".") and name != ours]
        if found:
            problem = f"{place.folder} holds something else, such as {found[0]}"
            raise UserError(OUT, problem, "choose an empty folder, or one that is not there")


def _begin(place: Packed, sides: Sides, about: dict[str, Any]) -> None:
    """Removes what a killed process left, and says in the folder what it is for. Raises UserError
    if it is for something else."""
    files.remove_partial(place.folder)
    if not place.about.exists():
        files.write_csv(place.pictures, pack.Row._fields, pack.rows(sides))
        files.write_json(place.about, about)
        return
    try:
        there = json.loads(place.about.read_text(encoding="utf-8"))
        if there["fingerprint"] == about["fingerprint"]:
            return
        why = _difference(place, sides, there, about)
    except (OSError, ValueError, KeyError, TypeError):
        known = f"{place.about.name} and {place.pictures.name}"
        why = f"that may be of other pictures: {known} do not say of which"
    if why:
        hint = "choose another folder, or remove it to pack anew"
        raise UserError(OUT, f"{place.folder} holds shards {why}", hint)
    terminal.say("times of change differ, nothing else: contents are taken to be the same")


def _difference(place: Packed, sides: Sides, there: dict[str, Any], about: dict[str, Any]) -> str:
    """How the shards that are there are others, after "shards"; empty if only times differ. Raises
    OSError, ValueError or KeyError where the folder does not say."""
    if (there["version"], there["features"]) != (about["version"], about["features"]):
        return "with other features, of another version of this program"
    if found := pack.difference(pack.read_rows(place.pictures), pack.rows(sides)):
        return found
    if there["classes"] != about["classes"]:
        return "with other labels: the classes have changed"
    if there["cut"] != about["cut"]:
        return f"otherwise cut: {there['shards']} shards, not {about['shards']} (--shard-size)"
    return ""


def _about(config: Config, sides: Sides, plan: Sequence[pack.Shard]) -> dict[str, Any]:
    return {
        "name": config.name,
        "source": config.data.source.model_dump(mode="json"),
        "classes": list(sides.train.classes),
        "pictures": {name: len(side) for name, side in sides._asdict().items()},
        "shards": len(plan),
        "cut": Counter(SIDES[shard.side] for shard in plan),
        "version": pack.VERSION,
        "features": pack.FEATURES._asdict(),
        "fingerprint": pack.fingerprint(sides, plan),
    }


def _demand_plain(gathered: Gathered) -> None:
    """Raises UserError for what shards could not say; warns of what they do not say."""
    examples = gathered.examples
    if examples.multi_label and not any(
        (side.labels.sum(axis=1) > 1).any() for side in gathered.sides
    ):
        problem = "no picture has several labels, so shards could not say that it may"
        raise UserError("data.source", problem, "give the table one label per picture")
    if examples.groups is not None:
        terminal.warn(
            "groups are not packed: they stay together on the sides as they are now, but "
            "data.split.folds would part them"
        )


def _source(place: Packed) -> Tfrecord:
    return Tfrecord(kind="tfrecord", path=str(place.folder), name=pack.FEATURES.name)


def _report(
    config: Config, place: Packed, plan: Sequence[pack.Shard], left_out: dict[str, str]
) -> None:
    """Says what is there now, and writes it beside the shards."""
    ours = _configured(place, dump(_trained_from(config, place, plan)))
    if left_out:
        files.write_csv(place.left_out, ("path", "reason"), left_out.items())
        example = next(iter(left_out))
        terminal.warn(
            f"{len(left_out)} pictures are in no shard, such as {example}: "
            f"{left_out[example]}; {place.left_out} lists them all"
        )
    size = sum((place.folder / shard.name).stat().st_size for shard in plan)
    what = f"{len(plan)} shard{'s' * (len(plan) != 1)}, {files.size(size)}"
    terminal.say(f"written  {place.folder} ({what})")
    index = place.folder / shard_index.FOLDER
    terminal.say(f"index    {index} ({files.size(files.weight(index))})")
    terminal.say(f"source: {tree.line(_source(place).model_dump(exclude_unset=True, mode='json'))}")
    if ours:
        terminal.say(f"next: trainer fit {place.config}")


def _configured(place: Packed, text: str) -> bool:
    """Writes the config unless another one is there, which is kept and warned of; whether it is
    this one that is there now."""
    there = place.config.read_bytes() if place.config.is_file() else None
    if there not in (None, text.encode()):
        terminal.warn(
            f"{place.config} is of another config and stays as it is: choose another {OUT}, or "
            "remove it and run the same command again"
        )
        return False
    files.write_text(place.config, text)
    return True


def _trained_from(config: Config, place: Packed, plan: Sequence[pack.Shard]) -> Config:
    """The config with the shards as its source: their names say the sides, duplicates have been
    kept together, and what is in quarantine is not among them."""
    split: dict[str, Any] = {"duplicates": "ignore", "folds": None, "fold": 0, "keep": "none"}
    if not any(shard.name.startswith("test") for shard in plan):
        split["test"] = 0.0
    data = {
        "source": _source(place),
        "split": config.data.split.model_copy(update=split),
        "quarantine": "none",
    }
    return config.model_copy(update={"data": config.data.model_copy(update=data)})
