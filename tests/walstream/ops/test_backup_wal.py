"""Whether the first WAL of a backup still comes, as far as the live receiver tells."""

import os
import time

import pytest
from support.published import published
from support.repositories import START, ZSTD, new_repository

from catalog.errors import BackupFailed
from catalog.lock import Lock
from catalog.lsn import LSN
from catalog.record import Point
from catalog.state import receiver_lock_path, write_receiver_state
from walstream.ops import backup_wal
from walstream.ops.backup_wal import BackupWal

BEGIN = Point(LSN(0x300028), 1, START)
NOWHERE = {"timeline": 0, "written": LSN(0), "flushed": LSN(0), "server": LSN(0)}


class Clock:
    """Time that passes only where somebody sleeps; ``events`` happen when it has come to their moment."""

    def __init__(self):
        self.now = 0.0
        self.events = {}

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        for moment in [each for each in self.events if each <= self.now]:
            self.events.pop(moment)()


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(backup_wal, "time", made)
    return made


@pytest.fixture
def home(tmp_path):
    """Where a live receiver publishes."""
    (tmp_path / "state").mkdir()
    with Lock(receiver_lock_path(str(tmp_path)), "receiving"):
        yield str(tmp_path)


@pytest.fixture
def wal(home, tmp_path):
    return BackupWal(new_repository(tmp_path / "repository"), home, ZSTD)


def publish(home, **changes):
    write_receiver_state(home, published(pid=os.getpid(), at=time.time() + 1, **changes))


def test_a_receiver_that_has_not_streamed_yet_is_waited_for_and_that_is_said_once(home, wal, clock):
    publish(home, phase="waiting", trouble="connection refused", **NOWHERE)
    clock.events[20] = lambda: publish(home, phase="connecting", **NOWHERE)
    clock.events[40] = lambda: publish(home, flushed=LSN(0x300000))
    said = []
    wal.require_coming(BEGIN, said.append)
    assert 40 <= clock.now < 41
    assert said == ["waiting for the receiver, which has not begun to stream (waiting: connection refused)"]


def test_a_receiver_that_streams_at_once_is_not_worth_a_word(home, wal, clock):
    publish(home, phase="connecting", **NOWHERE)
    clock.events[1] = lambda: publish(home, flushed=LSN(0x300000))
    said = []
    wal.require_coming(BEGIN, said.append)
    assert said == []


def test_a_receiver_that_does_not_stream_at_all_ends_the_backup_with_its_trouble(home, wal, clock):
    publish(home, phase="waiting", trouble="password refused", **NOWHERE)
    with pytest.raises(
        BackupFailed, match=r"has not begun to stream \(waiting: password refused\)"
    ) as caught:
        wal.require_coming(BEGIN, lambda text: None)
    assert 60 <= clock.now < 61 and "walstream check" in caught.value.hint


def test_a_receiver_that_begins_behind_the_backup_is_said_not_to_receive_it(home, wal, clock):
    publish(home, phase="connecting", **NOWHERE)
    clock.events[30] = lambda: publish(home, flushed=LSN(0x500000))
    with pytest.raises(BackupFailed, match="not received any more"):
        wal.require_coming(BEGIN, lambda text: None)
    assert 30 <= clock.now < 33


@pytest.mark.parametrize("ended", [True, False])
def test_without_a_receiver_nothing_is_waited_for(home, wal, clock, ended):
    if ended:
        publish(home, phase="ended", trouble="no room", **NOWHERE)
    with pytest.raises(BackupFailed, match="not received any more"):
        wal.require_coming(BEGIN, lambda text: None)
    assert clock.now < 3
