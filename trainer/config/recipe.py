"""A recipe: where a public dataset lies, what is true of its files, and what `data.source` it is.

`datasets/<name>.yaml` holds one each; `trainer data fetch <name>` follows it.
"""

from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, Strict, field_validator, model_validator

from trainer.config.base import Section
from trainer.config.data import Source
from trainer.errors import UserError, suggestion

FOLDER = "datasets"  # of the recipes, and of what they fetch
HERE = Path(__file__).parents[2] / FOLDER  # of this checkout, wherever it is called from


class File(Section):
    """One file to download, and what is known of it."""

    url: str = Field(pattern=r"^https?://[^\s/]+/\S*[^\s/]$")
    bytes: int = Field(ge=1)  # exactly
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None  # null: none is published
    unpack: Literal["none", "zip", "tar"]  # tar: gzipped, or otherwise, or not
    take: str = ""  # of an archive this folder alone, without its name
    into: str = ""  # a sub-folder of the dataset's folder

    @property
    def name(self) -> str:
        """The last part of the address: `rps.zip`."""
        return PurePosixPath(self.url.partition("?")[0]).name

    @field_validator("take", "into")
    @classmethod
    def _inside(cls, path: str) -> str:
        parts = PurePosixPath(path).parts
        if ".." in parts or path.startswith("/") or "\\" in path:
            raise ValueError(f"expected a folder inside, received the text {path!r}")
        return path


class Recipe(Section):
    """A whole file of `datasets/`."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")  # as the file is called
    title: str
    description: str
    licence: str
    homepage: str
    figures: str  # where bytes and sha256 were published
    pictures: int = Field(ge=1)  # that are there afterwards
    classes: int = Field(ge=2)
    files: Annotated[tuple[File, ...], Strict(False)] = Field(min_length=1)
    unpacked: int = Field(ge=1)  # bytes at most, of all that lies in the folder afterwards
    layout: Literal["voc"] | None = None  # what is made of the files: `data/fetch/layouts.py`
    source: Source  # `data.source`, with the path `datasets/<name>` or one inside it

    @property
    def bytes(self) -> int:
        """Of all downloads together."""
        return sum(file.bytes for file in self.files)

    @model_validator(mode="after")
    def _names_fit(self) -> "Recipe":
        folder = f"{FOLDER}/{self.name}"
        if f"{self.source.path}/".partition(f"{folder}/")[0]:
            raise ValueError(f"source.path {self.source.path!r} is not {folder} or inside it")
        names = [file.name for file in self.files]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two files are called {name!r}")
        return self

    def source_in(self, folder: Path) -> Source:
        """`data.source` with the dataset in this folder."""
        inside = PurePosixPath(self.source.path).relative_to(f"{FOLDER}/{self.name}")
        return self.source.model_copy(update={"path": str(folder / inside)})


def known() -> dict[str, Path]:
    """Name -> file of every recipe: those of ./datasets before those of this checkout."""
    folders = (HERE, Path(FOLDER))
    found = {path.stem: path for folder in folders for path in folder.glob("*.yaml")}
    return dict(sorted(found.items()))


def find(name: str) -> Path:
    """The file of a recipe, by its name or by its path.

    Raises: UserError for a name that is not known.
    """
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    recipes = known()
    if name not in recipes:
        hint = suggestion(name, recipes)
        if not hint.startswith("expected"):
            hint = f"{hint} The recipes are: {', '.join(recipes)}".strip()
        raise UserError("NAME", f"there is no recipe called {name!r}", hint)
    return recipes[name]
