"""The file name is the registry: `kind: folder` is `trainer/data/sources/folder.py`."""

from importlib import import_module
from types import ModuleType


def part(package: str, kind: str) -> ModuleType:
    """The module of a kind, as in `part("data.sources", "folder")`.

    The kind comes from a validated section, so the module exists: tests/test_house.py walks all of
    them.
    """
    return import_module(f"trainer.{package}.{kind}")
