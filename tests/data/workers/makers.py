"""What the workers of the tests make their batches with. No more is imported than they need."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from trainer.data import shared
from trainer.data.batch import Batch, Fill, Made, Shapes
from trainer.errors import UserError

SHAPES = Shapes(3, (5, 7, 3), 2)  # odd: no array ends where a page does
LONG = "150"  # seconds: more than any test waits


class Odd(Exception):
    """An error that cannot be unpickled by what it was made from."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def noise() -> Fill:
    """Every step another batch; what it cost tells the step, who made it, and what was imported."""

    def fill(step: int, batch: Batch) -> Made:
        draw(step, batch)
        told = {"process": str(os.getpid()), "modules": " ".join(sys.modules)}
        told["main"] = str(getattr(sys.modules["__main__"], "__file__", None))
        return Made(step, 0.5, SHAPES.size, told)

    return fill


def draw(step: int, batch: Batch) -> None:
    generator = np.random.default_rng(step)
    batch[0][:] = generator.integers(0, 256, batch[0].shape)
    batch[1][:] = generator.random(batch[1].shape)
    batch[2][:] = generator.random(batch[2].shape)


def dying(folder: Path, times: int, how: str = "kill") -> Fill:
    """Dies in the first batches, half of it written, and notes who lived in the folder."""

    def fill(step: int, batch: Batch) -> Made:
        (folder / str(os.getpid())).touch()
        if len(list(folder.iterdir())) <= times:
            batch[0][:2] = 77
            if how == "exit":
                os._exit(7)
            if how == "fault":
                ctypes.string_at(0)
            os.kill(os.getpid(), signal.SIGKILL)
        draw(step, batch)
        return Made(0, 0, 0, {})

    return fill


def stuck(folder: Path, how: str) -> Fill:
    """Notes its process, and comes to no end."""

    def fill(step: int, batch: Batch) -> Made:
        (folder / str(os.getpid())).touch()
        until = time.monotonic() + int(LONG)
        if how == "offspring":
            child = subprocess.Popen(["sleep", LONG])
            (folder / str(child.pid)).touch()
        if how == "busy":
            while time.monotonic() < until:
                pass
        if how == "native":  # a foreign function called so keeps the interpreter to itself
            ctypes.PyDLL(None).sleep(int(LONG))
        time.sleep(int(LONG))
        raise AssertionError

    return fill


def failing(error: Exception) -> Fill:
    def fill(step: int, batch: Batch) -> Made:
        if step == 1:
            raise error
        return noise()(step, batch)

    return fill


def odd() -> Fill:
    def fill(step: int, batch: Batch) -> Made:
        raise Odd(3, 4)

    return fill


def wrong(what: str) -> Fill:
    """No fill at all."""
    if what == "user":
        raise UserError("data.augment[0]", "no such transform", "look it up", "small.yaml:9")
    raise ValueError(what)


def borrowing(descriptor: int) -> Fill:
    """Batches of what lies in inherited memory."""
    content = shared.array(descriptor, SHAPES.picture, np.uint8)

    def fill(step: int, batch: Batch) -> Made:
        batch[0][:] = content
        return Made(0, 0, 0, {})

    return fill


def processes(folder: Path) -> Iterator[int]:
    """Those noted there."""
    return (int(path.name) for path in folder.iterdir())
