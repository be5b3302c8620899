"""The file name is the registry: `kind: folder` is `trainer/data/sources/folder.py`."""

from importlib import import_module
from types import ModuleType

from trainer.errors import UserError


def part(package: str, kind: str) -> ModuleType:
    """The module of a kind, as in `part("data.sources", "folder")`.

    The kind comes from a validated section, so the module exists: tests/test_house.py walks all of
    them.
    """
    return import_module(f"trainer.{package}.{kind}")


def extra(library: str, name: str) -> ModuleType:
    """A library that the extra of that name brings. Raises: UserError if it is not there."""
    try:
        return import_module(library)
    except ImportError:
        text = f'needs an extra: pip install "keras-image-trainer[{name}]"'
        raise UserError(name, text) from None
