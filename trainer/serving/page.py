"""The page to try the model in a browser."""

from trainer.config.about import About
from trainer.serving.limits import Limits

HEADERS: dict[str, str] = {}


def page(about: About, limits: Limits) -> str:
    """The page."""
    return about.name
