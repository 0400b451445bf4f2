"""Files that were delivered, filed a few at a time."""

import os
from types import SimpleNamespace

import pytest
from support.filed_wal import name, segment_bytes
from support.streams import Given
from support.values import MB
from support.wal_pages import SYSTEM_IDENTIFIER

from catalog.incoming import Incoming
from walstream.delivered import Delivered


@pytest.fixture
def incoming(tmp_path):
    made = Incoming(str(tmp_path), MB, SYSTEM_IDENTIFIER)
    for number in (7, 8, 9):
        made.receive(name(number), Given(segment_bytes(number)))
    return made


def test_what_is_streamed_waits_for_no_more_than_a_turn(incoming):
    filed = []
    delivered = Delivered(incoming, lambda name, open_raw, path: bool(filed.append(name)), turn=0.0)
    for number in (7, 8, 9):
        delivered()
        assert filed.pop() == name(number) and filed == []
    delivered()
    assert filed == []


def test_whoever_needs_what_was_delivered_waits_as_long_as_it_is_being_filed(incoming, monkeypatch):
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: now.append(now.pop() + 40))
    monkeypatch.setattr("walstream.delivered.time", clock)
    delivered = Delivered(incoming, lambda name, open_raw, path: True)
    delivered.wait(lambda: os.remove(os.path.join(incoming.directory, incoming.names()[0])))
    assert incoming.names() == [] and now == [120]
    incoming.receive(name(7), Given(segment_bytes(7)))
    delivered.wait(lambda: None)
    assert incoming.names() == [name(7)] and now == [200]
