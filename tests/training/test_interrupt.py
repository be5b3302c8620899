"""Ctrl-C in a finalizer is forgotten by Python, not by us."""

import contextlib
import os
import signal

import pytest

from trainer.training.interrupt import heeded


def test_what_was_swallowed_is_raised_after_the_batch() -> None:
    before = signal.getsignal(signal.SIGINT)
    with heeded() as heed:
        heed.on_train_batch_end(0)
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            signal.sigtimedwait([], 1)  # the handler runs at the next instruction
        for hook in (heed.on_train_batch_end, heed.on_test_batch_end):
            with pytest.raises(KeyboardInterrupt):
                hook(1)
    assert signal.getsignal(signal.SIGINT) is before


def test_what_is_ignored_in_the_background_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with heeded() as heed:
            os.kill(os.getpid(), signal.SIGINT)
            heed.on_train_batch_end(0)
    finally:
        signal.signal(signal.SIGINT, before)
