"""Waiting for what other processes do."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest


def wait_for(happened: Callable[[], object]) -> None:
    for _ in range(600):
        if happened():
            return
        time.sleep(0.1)
    pytest.fail("did not happen within a minute")


def alive(number: int) -> bool:
    """An orphan that ended may stay a zombie: not every container's first process buries them."""
    stat = Path(f"/proc/{number}/stat")
    try:
        os.kill(number, 0)
        return not (stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z")
    except (ProcessLookupError, FileNotFoundError):
        return False
