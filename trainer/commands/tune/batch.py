"""`trainer tune batch`: the largest batch that fits into memory, and the fastest."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainer import terminal
from trainer.commands import _child
from trainer.config import Config
from trainer.data.cache import room
from trainer.errors import Failed, Interrupted
from trainer.files import size

GRAINS = 8  # bisecting ends at an eighth of the largest power of two that fits
NEAR = 0.95  # of the greatest speed is as fast: two measurements differ by so much


class Attempt(NamedTuple):
    """What came of a batch size."""

    batch: int
    fits: bool
    memory: int | None  # bytes at the most, None where that cannot be found out
    images_per_second: float = 0.0
    cpu_per_image: float = 0.0  # seconds of all cores
    pictures: int = 0  # to train on
    said: str = ""


def run(path: Path, config: Config, overrides: Sequence[str], most: int | None) -> None:
    """Tries batch sizes, each in a process of its own, and shows what they take.

    Args:
        path, overrides: of the config, which the processes read by themselves: a network and its
            libraries here would take memory away from them.
        most: the largest batch to try.

    Raises: UserErrors of the config; Failed if not even the smallest batch fits; Interrupted after
        Ctrl-C, with a table of what was tried.
    """
    free = room.available_memory()
    allowed = None if free is None else int(room.SHARE * free)
    if allowed:
        terminal.say(f"memory   {size(allowed)} may be taken, {room.SHARE:.0%} of what is free")
    tried: list[Attempt] = []

    def attempt(batch: int) -> Attempt:
        terminal.say(f"trying   {batch}")
        tried.append(_attempt(path, overrides, batch, allowed))
        return tried[-1]

    try:
        first = attempt(1)
        if first.fits:
            limit = min(first.pictures, most or first.pictures)
            largest(lambda batch: attempt(batch).fits, first.batch, limit)
    except Interrupted as end:
        if tried:
            _show(tried)
        raise Interrupted(f"stopped after {len(tried)} batch sizes", end.code) from None
    _show(tried)
    if not first.fits:
        raise Failed(f"not even a batch of {first.batch} fits: {first.said}")
    _advise(config, [each for each in tried if each.fits])


def largest(fits: Callable[[int], bool], start: int, limit: int) -> int:
    """The largest batch that fits, to an eighth or better: doubled from `start`, which fits, and
    then bisected."""
    good, bad = start, None
    while bad is None and good < limit:
        batch = min(2 * good, limit)
        good, bad = (batch, None) if fits(batch) else (good, batch)
    grain = max(1, good // GRAINS)
    while bad is not None and bad - good > grain:
        middle = good + max(grain, (bad - good) // 2 // grain * grain)
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


def _attempt(path: Path, overrides: Sequence[str], batch: int, allowed: int | None) -> Attempt:
    peak = 0

    def watch(process: int) -> bool:
        nonlocal peak
        peak = max(peak, _resident(process))
        return allowed is None or peak <= allowed

    request = {"config": str(path), "overrides": list(overrides), "batch": batch}
    ended = _child.ask("tune._attempt", "measure", request, quiet=True, watch=watch)
    found: dict[str, Any] = ended.answer or {}
    if found.get("fits"):
        used = found["batch"]
        return Attempt(
            used, True, found["memory"], used / found["seconds"], found["cpu_seconds"] / used,
            found["pictures"], "fits",
        )  # fmt: skip
    if found:
        return Attempt(found["batch"], False, None, said="the device has not enough memory")
    if ended.stopped:
        return Attempt(batch, False, peak, said=f"needs more than {size(allowed or 0)}")
    if ended.code < 0:
        return Attempt(batch, False, peak, said=f"killed by signal {-ended.code}: out of memory?")
    if any(word in ended.said for word in ("OOM", "bad_alloc", "MemoryError")):
        return Attempt(batch, False, peak, said="out of memory")
    raise Failed(f"a batch of {batch} ended with:\n{ended.said[-2000:]}")


def _resident(process: int) -> int:
    """Bytes of memory that it holds; 0 where that cannot be found out."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


def _show(tried: Sequence[Attempt]) -> None:
    terminal.table(
        "batch sizes: training steps on one batch, without input",
        ("batch", "peak memory", "images/s", "CPU ms per image", "result"),
        list(_rows(tried)),
    )


def _rows(tried: Sequence[Attempt]) -> Iterator[tuple[Any, ...]]:
    for each in sorted(tried):
        speed = f"{each.images_per_second:,.0f}" if each.fits else "-"
        cpu = f"{1000 * each.cpu_per_image:.2f}" if each.fits else "-"
        yield each.batch, size(each.memory) if each.memory else "-", speed, cpu, each.said


def fastest(fitting: Sequence[Attempt]) -> Attempt:
    """The smallest that is nearly as fast as any."""
    most = max(each.images_per_second for each in fitting)
    return min(each for each in fitting if each.images_per_second >= NEAR * most)


def _advise(config: Config, fitting: Sequence[Attempt]) -> None:
    fast, large = fastest(fitting), max(fitting)
    terminal.say(f"fastest  --set data.batch_size={fast.batch}")
    if large.batch != fast.batch:
        terminal.say(f"largest  --set data.batch_size={large.batch}")
    terminal.say(
        f"rate     k times the batch wants about k times the learning rate, with warmup (Goyal et "
        f"al. 2017): {fast.batch / config.data.batch_size:.3g} times that of the config for "
        f"{fast.batch}, or find it: trainer tune lr"
    )
