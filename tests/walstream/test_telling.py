import logging
from types import SimpleNamespace

import pytest

from catalog.errors import ConnectionFailed, SpoolFull
from catalog.lsn import LSN
from walstream.outage import SETTLED
from walstream.resume import Start
from walstream.telling import A_MOMENT, Telling

START = Start(3, LSN(0x3000000))


class Listener:
    def __init__(self):
        self.noted = []

    def has_open_gap(self):
        return False

    def note(self, standing):
        self.noted.append(standing)

    def require_room(self):
        pass

    def raise_error(self):
        pass


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, "walstream.receiver")

    def lines():
        found = [f"{record.levelname} {record.message}" for record in caplog.records]
        caplog.clear()
        return found

    return lines


def streaming(position):
    return SimpleNamespace(session=SimpleNamespace(server_end=LSN(position)))


NOTHING, SOMETHING = streaming(START.position.value), streaming(START.position.value + 8)


def test_a_stream_is_said_when_something_has_come_and_every_turn_is_passed_on(clock, said):
    listener = Listener()
    told = Telling(clock).stream(START, listener)
    told.note(NOTHING)
    assert said() == []
    told.note(SOMETHING)
    told.note(SOMETHING)
    assert said() == ["INFO streaming timeline 3 from 0/3000000"]
    assert listener.noted == [NOTHING, SOMETHING, SOMETHING]


def test_a_stream_of_an_idle_server_is_said_after_a_moment(clock, said):
    told = Telling(clock).stream(START, Listener())
    clock.now += A_MOMENT
    told.note(NOTHING)
    assert said() == ["INFO streaming timeline 3 from 0/3000000"]


def test_a_broken_connection_is_said_once_with_its_hint_and_again_when_it_works(clock, said):
    telling = Telling(clock)
    for pause in (1.0, 2.0, 30.0):
        telling.broke(ConnectionFailed("wrong password", "see the passfile"), pause)
        clock.now += pause
    assert said() == ["WARNING wrong password (see the passfile); trying again until it works"]
    telling.stream(START, Listener()).note(SOMETHING)
    assert said() == ["INFO streaming timeline 3 from 0/3000000 again, after 33 s"]


def test_a_stream_that_breaks_at_once_is_not_said_each_time(clock, said):
    telling = Telling(clock)
    for _ in range(5):
        told = telling.stream(START, Listener())
        told.note(SOMETHING)
        telling.broke(ConnectionFailed("rubbish"), 30.0)
        clock.now += 30
    first, broke, again = said()
    assert "again" not in first and "rubbish" in broke and again.endswith("again, after 30 s")
    told = telling.stream(START, Listener())
    told.note(SOMETHING)
    assert said() == []
    clock.now += SETTLED
    told.note(SOMETHING)
    assert said() == ["INFO streaming timeline 3 from 0/3000000 again, after 2 min 30 s"]


def test_a_spool_that_fills_again_and_again_is_one_pause(clock, said):
    telling = Telling(clock)
    for waiting in range(4):
        telling.pauses(SpoolFull(f"{waiting}.0 GiB of WAL wait"))
        clock.now += 1
        telling.stream(START, Listener()).note(SOMETHING)
        clock.now += 1
    assert [line.split(":")[0] for line in said()] == [
        "ERROR receiving pauses",
        "INFO streaming timeline 3 from 0/3000000 again, after 1.0 s",
    ]
