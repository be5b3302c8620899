"""How often pages can be drawn, if all together may take a small share of the training."""

import math
from collections import Counter
from collections.abc import Hashable

SHARE = (
    0.02  # of the time of the training; what is written each epoch comes on top, 1 % of rps.yaml
)


class Purse:
    """Knows what epochs and pages take, in seconds, and spreads what may be spent over the epochs
    that are left.

    The first epoch and the last one have every page. In between each page gets an equal share of
    what is left; what a cheap one does not need, since it is drawn in every epoch anyway, is left
    to the dearer ones (max-min fairness).

    Args:
        epochs: planned.
        every: draw every so many epochs whatever it costs; None: as often as SHARE allows.
    """

    def __init__(self, epochs: int, every: int | None = None) -> None:
        self.epochs, self.every = epochs, every
        self.seconds = 0.0  # of the training without pages
        self._finished = 0
        self._costs: dict[Hashable, float] = {}
        self._times: Counter[Hashable] = Counter()
        self._drawn: dict[Hashable, int] = {}  # the epoch of the last time

    def earn(self, seconds: float) -> None:
        """An epoch has taken so long, pages apart."""
        self.seconds += seconds
        self._finished += 1

    def pay(self, page: Hashable, epoch: int, seconds: float) -> None:
        """A page was drawn after this epoch. Its least cost counts, for every time: libraries are
        loaded in the first one, and that shall not keep pages from being drawn."""
        self._costs[page] = min(seconds, self._costs.get(page, math.inf))
        self._times[page] += 1
        self._drawn[page] = epoch

    def due(self, page: Hashable, epoch: int) -> bool:
        """Whether to draw a page after this epoch, counted from 1."""
        if page not in self._drawn or epoch >= self.epochs:
            return True
        if self.every:
            return epoch % self.every == 0
        return epoch - self._drawn[page] >= self._interval(page, self.epochs - epoch + 1)

    def _interval(self, page: Hashable, left: int) -> float:
        """Epochs from one time to the next, with so many left, this one included."""
        here = self._finished + left - 1  # epochs of this process, which may have resumed
        whole = SHARE * (self.seconds / max(self._finished, 1)) * here
        money = whole - sum(cost * self._times[each] for each, cost in self._costs.items())
        order = sorted(self._costs, key=lambda each: self._costs[each])
        for number, each in enumerate(order):
            times = min(left, money / (len(order) - number) / max(self._costs[each], 1e-9))
            if each == page:
                return left / times if times > 0 else math.inf
            money -= max(times, 0) * self._costs[each]
        raise AssertionError("unreachable")
