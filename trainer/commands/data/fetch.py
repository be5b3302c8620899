"""`trainer data fetch`: a public dataset, downloaded, verified, unpacked."""

from pathlib import Path

from trainer import files
from trainer.config import tree
from trainer.config.load import read
from trainer.config.recipe import FOLDER, Recipe, find, known
from trainer.data.fetch import dataset
from trainer.errors import Interrupted
from trainer.parts import part
from trainer.terminal import say, table


def run(name: str, into: Path | None) -> None:
    """Follows the recipe of that name, or in that file, and says what is there then.

    Args:
        into: the dataset's own folder; `datasets/<name>` if None.
    """
    recipe = read(find(name), Recipe)
    folder = into or Path(FOLDER) / recipe.name
    _introduce(recipe, folder)
    if dataset.is_there(recipe, folder):
        say(f"{folder} is there already")
    else:
        try:
            dataset.fetch(recipe, folder)
        except KeyboardInterrupt:
            kept = f"what has arrived is kept in {dataset.staging(folder)}"
            raise Interrupted(f"stopped; {kept}\n  the same command goes on there") from None
        say(f"written  {folder}")
    _report(recipe, folder)


def show() -> None:
    """Lists the recipes."""
    recipes = [read(path, Recipe) for path in known().values()]
    rows = [
        (each.name, files.size(each.bytes), f"{each.pictures:,}", each.classes, each.licence)
        for each in recipes
    ]
    table("recipes", ["name", "download", "pictures", "classes", "licence"], rows)
    say("next: trainer data fetch NAME")


def _introduce(recipe: Recipe, folder: Path) -> None:
    say(f"recipe   {recipe.title}: {recipe.pictures:,} pictures, {recipe.classes} classes")
    say(f"licence  {recipe.licence}")
    say(f"homepage {recipe.homepage}")
    say(f"size     {files.size(recipe.bytes)} to download, into {folder}")


def _report(recipe: Recipe, folder: Path) -> None:
    """Classes and pictures as training will see them, and what to write into a config."""
    source = recipe.source_in(folder)
    examples = part("data.sources", source.kind).read(source)
    rows = list(zip(examples.classes, examples.counts().tolist(), strict=True))
    table(f"{len(examples):,} pictures", ["class", "pictures"], rows)
    say(f"source: {tree.line(source.model_dump(exclude_unset=True, mode='json'))}")
    say(f"next: trainer init {source.path}")
