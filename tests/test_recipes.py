"""Every shipped recipe is complete: addresses, sizes, checksums, licence, and a source that fits."""

from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from trainer.config import tree
from trainer.config.data import Source
from trainer.config.load import read
from trainer.config.recipe import Recipe, find, known

FOLDER = Path(__file__).parent.parent / "datasets"
RECIPES = sorted(FOLDER.glob("*.yaml"))


def test_there_are_recipes() -> None:
    assert [path.stem for path in RECIPES] == [
        "cats_vs_dogs",
        "fashion_mnist",
        "flower_photos",
        "kuzushiji_mnist",
        "mnist",
        "rock_paper_scissors",
        "voc2007",
    ]


def test_they_are_found_from_any_folder_and_ones_own_come_first(workplace: Path) -> None:
    assert find("mnist") == FOLDER / "mnist.yaml"
    own = Path("datasets/mnist.yaml")
    own.parent.mkdir()
    own.write_text("")
    assert find("mnist") == own
    assert len(known()) == len(RECIPES)
    assert find("some/where.yaml") == Path("some/where.yaml")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_it_is_complete(path: Path) -> None:
    recipe = read(path, Recipe)
    assert recipe.name == path.stem
    for text in (recipe.title, recipe.description, recipe.licence, recipe.figures):
        assert len(text) > 2
    assert recipe.homepage.startswith("http")
    for file in recipe.files:
        assert file.url.startswith(("https://", "http://"))
        assert file.bytes > 0
        assert file.sha256, "none of the shipped ones lacks it"
        assert len(file.sha256) == 64
    assert len({file.sha256 for file in recipe.files}) == len(recipe.files)
    plain = sum(file.bytes for file in recipe.files if file.unpack == "none")
    assert recipe.unpacked >= plain


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_its_source_is_one_of_the_config(path: Path) -> None:
    source = yaml.safe_load(path.read_text())["source"]
    assert source["path"].startswith(f"datasets/{path.stem}")
    spec = TypeAdapter(Source).validate_python(source)
    moved = read(path, Recipe).source_in(Path("my"))
    assert moved.path == source["path"].replace(f"datasets/{path.stem}", "my")
    written = tree.line(moved.model_dump(exclude_unset=True, mode="json"))
    again = TypeAdapter(Source).validate_python(yaml.safe_load(written))
    assert again == spec.model_copy(update={"path": moved.path})


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_it_stands_in_the_documentation(path: Path) -> None:
    assert f"`{path.stem}`" in (FOLDER.parent / "docs" / "datasets.md").read_text()
