import os
import select
import threading
import time

import pytest

from walstream.wakeup import Wakeup


@pytest.fixture
def wakeup():
    made = Wakeup()
    yield made
    made.close()


def is_readable(wakeup):
    return bool(select.select([wakeup.fileno()], [], [], 0)[0])


def test_set_makes_it_readable_until_it_is_cleared(wakeup):
    assert not is_readable(wakeup)
    wakeup.set()
    wakeup.set()
    assert is_readable(wakeup)
    wakeup.clear()
    assert not is_readable(wakeup)


def test_it_may_be_set_any_number_of_times_without_being_cleared(wakeup):
    for _ in range(70_000):  # more than a pipe holds
        wakeup.set()
    wakeup.clear()
    assert not is_readable(wakeup)


def test_waiting_ends_when_another_thread_sets_it(wakeup):
    timer = threading.Timer(0.02, wakeup.set)
    timer.start()
    assert wakeup.wait(30)
    timer.join()


def test_waiting_ends_when_time_is_up(wakeup):
    began = time.monotonic()
    assert not wakeup.wait(0.02)
    assert not wakeup.wait(-1)
    assert 0.02 <= time.monotonic() - began < 10


def test_a_call_before_the_wait_is_not_lost(wakeup):
    wakeup.set()
    assert wakeup.wait(30)


def test_closing_gives_both_descriptors_back():
    before = len(os.listdir("/proc/self/fd"))
    wakeup = Wakeup()
    assert len(os.listdir("/proc/self/fd")) == before + 2
    wakeup.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_whoever_was_woken_sleeps_again_before_the_caller_has_come_further(wakeup, monkeypatch):
    write = os.write

    def write_and_be_overtaken(fd, data):
        write(fd, data)
        assert wakeup.wait(30)
        wakeup.clear()
        assert not wakeup.wait(0)

    monkeypatch.setattr(os, "write", write_and_be_overtaken)
    wakeup.set()
