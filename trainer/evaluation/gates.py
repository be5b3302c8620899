"""What a run has to reach, and whether it does."""

from collections.abc import Mapping
from typing import NamedTuple

from trainer.config.evaluation import AT_MOST, Gates


class Gate(NamedTuple):
    """One figure and its bound; a figure that was not found passes no gate."""

    name: str
    bound: str  # "at least" or "at most"
    wanted: float
    found: float | None

    @property
    def passed(self) -> bool:
        """Whether the bound is kept; being on it is enough."""
        if self.found is None:
            return False
        above = self.found >= self.wanted
        return self.found <= self.wanted if self.bound == "at most" else above


def judged(gates: Gates, found: Mapping[str, float]) -> list[Gate]:
    """Every gate that is set, with what was found."""
    return [
        Gate(name, "at most" if name in AT_MOST else "at least", wanted, found.get(name))
        for name, wanted in gates.given().items()
    ]
