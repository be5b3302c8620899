"""What a run has to reach, and whether it does."""

from collections.abc import Mapping
from typing import NamedTuple

from trainer.config.evaluation import AT_MOST, Gates

BUSY = 0.1  # of the CPU, used by others: from here on a time is longer than it need be


class Gate(NamedTuple):
    """One figure and its bound; a figure that was not found passes no gate."""

    name: str
    bound: str  # "at least" or "at most"
    wanted: float
    found: float | None
    others: float | None = None  # of a time: the share of the CPU that others used meanwhile

    @property
    def passed(self) -> bool:
        """Whether the bound is kept; being on it is enough."""
        if self.found is None:
            return False
        above = self.found >= self.wanted
        return self.found <= self.wanted if self.bound == "at most" else above

    @property
    def disturbed(self) -> bool:
        """Whether it is missed and might not be on a calm machine."""
        return not self.passed and self.others is not None and self.others >= BUSY


def judged(gates: Gates, found: Mapping[str, float], others: float | None = None) -> list[Gate]:
    """Every gate that is set, with what was found.

    Args:
        others: the share of the CPU that others used while the latency was measured.
    """
    return [
        Gate(
            name,
            "at most" if name in AT_MOST else "at least",
            wanted,
            found.get(name),
            others if name == "latency_ms" else None,
        )
        for name, wanted in gates.given().items()
    ]
