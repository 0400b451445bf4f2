"""What a signal does to a command that undoes what is half done."""

import os
import signal
import threading
import time

import pytest

from catalog.errors import Interrupted
from walstream.cli.signals import raising


class InterruptedLock:
    """A lock during whose taking the process is told to end."""

    def __init__(self):
        self.inner = threading.Lock()
        self.acquire, self.release = self.inner.acquire, self.inner.release

    def __enter__(self):
        self.inner.acquire()
        os.kill(os.getpid(), signal.SIGTERM)

    def __exit__(self, *_):
        self.inner.release()


class Destroyed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_ends_what_runs_and_says_which_it_was():
    with pytest.raises(Interrupted, match="SIGINT"), raising():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(30)


def test_a_signal_never_leaves_a_lock_taken():
    lock = InterruptedLock()
    began = []
    with pytest.raises(Interrupted, match="SIGTERM"), raising(), threading.Condition(lock):
        began.append(lock.inner.locked())
        time.sleep(30)
    assert began == [True]
    assert not lock.inner.locked()


def test_a_signal_is_not_lost_in_a_destructor():
    with pytest.raises(Interrupted, match="SIGTERM"), raising():
        Destroyed()
        time.sleep(30)


def test_a_second_signal_does_not_disturb_the_undoing():
    undone = []
    with pytest.raises(Interrupted, match="SIGHUP"), raising():
        try:
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(30)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
            undone.append(True)
    assert undone == [True]


def test_afterwards_signals_do_what_they_did():
    before = [
        signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    ]
    with raising():
        pass
    after = [
        signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    ]
    assert before == after
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
