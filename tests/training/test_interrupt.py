"""Signals end a training after the batch, with what stands before them in the list done."""

import os
import signal

import pytest

from trainer.training.interrupt import Stopped, heeded


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    signal.sigtimedwait([], 1)  # the handler runs at the next instruction


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_raised_after_the_batch(
    number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    with heeded() as heed:
        heed.on_train_batch_end(0)
        assert not heed.asked()
        send(number)
        assert heed.asked()
        for hook in (heed.on_train_batch_end, heed.on_test_batch_end, heed.on_epoch_end):
            with pytest.raises(Stopped) as stop:
                hook(1)
            assert stop.value.number == number
    assert signal.getsignal(number) is before
    way = "; Ctrl-C once more stops at once" if number == signal.SIGINT else ""
    assert capsys.readouterr().out == f"stopping after this step{way}\n"


def test_ctrl_c_twice_does_not_wait() -> None:
    with heeded() as heed:
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
        assert heed.asked()


def test_what_is_ignored_in_the_background_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with heeded() as heed:
            os.kill(os.getpid(), signal.SIGINT)
            heed.on_train_batch_end(0)
    finally:
        signal.signal(signal.SIGINT, before)


def test_workers_hear_of_a_signal_when_they_agree() -> None:
    """Another has heard SIGTERM, and its clock says that it is time to write."""
    others = iter([(0, 0), (signal.SIGTERM, 1)])
    with heeded(lambda *mine: tuple(map(max, mine, next(others)))) as heed:
        send(signal.SIGINT)
        assert not heed.asked()  # of the others nobody knows yet
        heed.agree()
        assert (heed.number, heed.late, heed.asked()) == (signal.SIGINT, False, True)
        heed.agree()
        assert (heed.number, heed.late) == (signal.SIGTERM, True)
        with pytest.raises(Stopped):
            heed.on_train_batch_end(0)
