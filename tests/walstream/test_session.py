"""The rules of a stream, one by one, with a given clock; then at random."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import ConnectionLost, ProtocolError
from catalog.lsn import LSN
from walstream.session import Session, SessionOptions

START = LSN(1 << 24)
WALL = 1.9e9
LONG = SessionOptions(status_interval=10.0, timeout=60.0)


def wal(start, nbytes, server_end=START):
    return struct.pack(">cQQq", b"w", start.value, server_end.value, 0) + bytes(nbytes)


def keepalive(position=START, reply=False):
    return struct.pack(">cQq?", b"k", position.value, 0, reply)


def read(update):
    """Written, flushed and applied position of an update, and whether it asks for an answer."""
    _, written, flushed, applied, _, asks = struct.unpack(">cQQQq?", update)
    return LSN(written), LSN(flushed), LSN(applied), asks


def begun(options=LONG, now=0.0):
    """A session that has sent its first update, heard the answer, and reported its start."""
    session = Session(START, options, now)
    assert session.due(now, WALL) is not None
    session.receive(keepalive(), now)
    session.due(now, WALL)
    return session


def with_wal(nbytes=100, options=LONG):
    """One that has received WAL, which was written and not synced."""
    session = begun(options)
    session.receive(wal(START, nbytes), 0.0)
    session.advance(START + nbytes, START)
    return session


def test_an_update_is_due_at_connect_and_asks_for_an_answer():
    session = Session(START, LONG, 0.0)
    assert read(session.due(0.0, WALL)) == (START, LSN(0), LSN(0), True)
    assert session.due(0.0, WALL) is None


def test_the_start_is_reported_as_flushed_once_the_server_has_answered():
    session = Session(START, LONG, 0.0)
    session.due(0.0, WALL)
    session.receive(keepalive(), 0.1)
    assert read(session.due(0.1, WALL)) == (START, START, LSN(0), False)
    assert session.due(0.1, WALL) is None


def test_a_request_is_answered_at_once_where_nothing_flushed_is_reported():
    session = begun(SessionOptions(report_flush=False))
    session.receive(keepalive(reply=True), 1.0)
    assert session.deadline(1.0) == 0.0


def test_wal_is_handed_on_and_moves_the_received_position():
    session = begun()
    data = session.receive(wal(START, 100, START + 500), 0.0)
    assert (data.start, len(data.payload)) == (START, 100)
    assert (session.received, session.server_end) == (START + 100, START + 500)
    assert session.written == START


@pytest.mark.parametrize("start", [START + 1, LSN(0), START + 8192])
def test_wal_that_does_not_follow_is_a_protocol_error(start):
    with pytest.raises(ProtocolError, match="where 0/1000000 was due"):
        begun().receive(wal(start, 10), 0.0)


def test_a_keepalive_moves_the_servers_end_but_brings_no_wal():
    session = begun()
    assert session.receive(keepalive(START + 77), 0.0) is None
    assert (session.received, session.server_end) == (START, START + 77)


def test_an_update_is_due_after_each_sync_that_moved_the_flushed_position():
    session = with_wal()
    assert session.due(0.1, WALL) is None
    session.advance(START + 100, START + 100)
    assert read(session.due(0.1, WALL))[:2] == (START + 100, START + 100)
    assert session.due(0.1, WALL) is None


def test_an_update_is_due_every_status_interval():
    session = begun()
    assert session.due(9.9, WALL) is None
    assert session.deadline(9.0) == 1.0
    assert session.due(10.0, WALL) is not None
    assert session.due(10.1, WALL) is None


def test_with_status_interval_0_an_update_is_due_only_when_asked_for():
    session = begun(SessionOptions(status_interval=0))
    session.not_listening(29.0)
    assert session.due(29.0, WALL) is None
    session.receive(keepalive(reply=True), 29.0)
    assert session.due(29.0, WALL) is not None


def test_when_everything_is_synced_a_request_is_answered_at_once():
    session = begun()
    session.receive(keepalive(reply=True), 1.0)
    assert not session.sync_wanted
    assert session.due(1.0, WALL) is not None
    assert session.due(1.0, WALL) is None


def test_a_request_is_answered_only_after_everything_received_is_synced():
    session = with_wal()
    session.receive(keepalive(reply=True), 1.0)
    assert session.sync_wanted
    assert session.due(1.5, WALL) is None
    session.advance(START + 100, START + 100)
    assert read(session.due(1.6, WALL))[1] == START + 100
    assert not session.sync_wanted


def test_a_request_is_answered_after_a_second_anyhow():
    session = with_wal()
    session.receive(keepalive(reply=True), 1.0)
    assert session.deadline(1.0) == 1.0
    assert read(session.due(2.0, WALL))[:2] == (START + 100, START)
    assert session.due(2.0, WALL) is None


def test_a_second_request_before_the_answer_covers_what_came_between():
    session = with_wal()
    session.receive(keepalive(reply=True), 1.0)
    session.receive(wal(START + 100, 50), 1.1)
    session.receive(keepalive(reply=True), 1.2)
    session.advance(START + 150, START + 100)
    assert session.sync_wanted
    session.advance(START + 150, START + 150)
    assert read(session.due(1.3, WALL))[1] == START + 150


def test_while_an_answer_waits_for_a_sync_the_status_interval_does_not_wake_the_receiver():
    session = with_wal()
    session.receive(keepalive(reply=True), 9.5)
    assert session.due(10.2, WALL) is None
    assert session.deadline(10.2) == pytest.approx(0.3)


def test_without_a_durable_destination_flushed_is_0_and_requests_are_answered_at_once():
    session = with_wal(options=SessionOptions(report_flush=False))
    session.advance(START + 100, START + 100)
    assert session.due(0.1, WALL) is None
    session.receive(keepalive(reply=True), 1.0)
    assert read(session.due(1.0, WALL)) == (START + 100, LSN(0), LSN(0), False)


def test_applied_is_reported_only_when_told_to_and_then_equals_flushed():
    session = with_wal(options=SessionOptions(report_applied=True))
    session.advance(START + 100, START + 60)
    assert read(session.due(0.1, WALL))[:3] == (START + 100, START + 60, START + 60)
    nothing = begun(SessionOptions(report_applied=True, report_flush=False))
    assert read(nothing.final(1.0, WALL))[2] == LSN(0)


def test_a_server_that_is_silent_for_half_the_timeout_is_asked_for_a_sign_of_life_once():
    session = begun(SessionOptions(status_interval=100.0))
    assert session.due(29.9, WALL) is None
    assert session.deadline(29.0) == 1.0
    assert read(session.due(30.0, WALL))[3] is True
    assert session.due(31.0, WALL) is None
    session.receive(keepalive(), 32.0)
    assert session.due(61.9, WALL) is None
    assert read(session.due(62.0, WALL))[3] is True


def test_after_the_whole_timeout_of_silence_the_connection_is_lost():
    session = begun(SessionOptions(status_interval=100.0))
    session.due(30.0, WALL)
    with pytest.raises(ConnectionLost, match="nothing for 60 seconds"):
        session.due(60.0, WALL)


def test_silence_means_nothing_while_nobody_listens():
    session = begun(SessionOptions(status_interval=100.0))
    session.not_listening(59.0)
    assert session.due(61.0, WALL) is None
    session.not_listening(20.0)  # a moment that is past changes nothing
    assert session.deadline(61.0) == 28.0


def test_flushed_never_passes_written():
    session = with_wal()
    session.advance(START + 100, START + 5000)
    assert session.flushed == START + 100


def test_the_final_update_reports_what_is_so_even_when_nothing_is_due():
    session = begun()
    assert read(session.final(0.5, WALL)) == (START, START, LSN(0), False)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("wal"), st.integers(1, 9000)),
        st.tuples(st.just("request"), st.just(0)),
        st.tuples(st.just("keepalive"), st.just(0)),
        st.tuples(st.just("write"), st.integers(0, 9000)),
        st.tuples(st.just("sync"), st.integers(0, 9000)),
        st.tuples(st.just("time"), st.floats(0, 8)),
    ),
    max_size=40,
)


@given(EVENTS, st.booleans(), st.booleans(), st.sampled_from([0, 0.1, 10.0]))
def test_whatever_happens_positions_are_facts_and_the_receiver_never_spins(events, durable, applied, every):
    session = Session(START, SessionOptions(every, 60.0, durable, applied), 0.0)
    now, written, flushed, heard = 0.0, START, START, False
    reported: list[tuple[LSN, LSN]] = []
    for kind, size in events:
        heard = heard or kind in ("wal", "request", "keepalive")
        if kind == "wal":
            session.receive(wal(session.received, size), now)
        elif kind in ("request", "keepalive"):
            session.receive(keepalive(session.received, kind == "request"), now)
        elif kind == "write":
            written = min(written + size, session.received)
        elif kind == "sync":
            flushed = min(flushed + size, written)
        else:
            now += size
            session.not_listening(now - 59)
        session.advance(written, flushed)
        update = session.due(now, WALL)
        if update is not None:
            its_written, its_flushed, its_applied, _ = read(update)
            assert its_written == written
            assert its_flushed == (flushed if durable and heard else LSN(0))
            assert its_applied == (its_flushed if applied else LSN(0))
            reported.append((its_written, its_flushed))
        assert session.due(now, WALL) is None
        assert session.deadline(now) > 0
    assert reported == sorted(reported)


@given(st.floats(0, 1e6), st.floats(0, 1), st.integers(0, 200))
def test_an_answer_that_waits_for_a_sync_comes_within_a_second_and_not_before_the_sync(at, later, synced):
    session = Session(START, SessionOptions(status_interval=0), at)
    session.due(at, WALL)
    session.receive(wal(START, 200), at)
    session.advance(START + 200, START)
    session.due(at, WALL)
    session.receive(keepalive(reply=True), at)
    session.advance(START + 200, START + synced)
    update = session.due(at + later, WALL)
    if update is None:
        assert synced == 0 and session.deadline(at + later) > 0
        assert session.due(at + 1.0, WALL) is not None
    assert not session.sync_wanted or later < 1


def test_a_destination_of_whole_segments_answers_a_late_request_without_a_flushed_position():
    session = Session(START, SessionOptions(status_interval=0, timeout=1000, whole_segments=True), 0.0)
    session.due(0.0, WALL)
    session.receive(wal(START, 100, START + 100), 0.1)
    session.advance(START + 100, START)
    session.due(0.1, WALL)
    session.receive(keepalive(START + 100, reply=True), 0.2)
    assert session.due(0.3, WALL) is None
    assert read(session.due(1.3, WALL))[:2] == (START + 100, LSN(0))
    assert session.due(1.4, WALL) is None


def test_releasing_a_withheld_position_is_reported_at_once():
    session = begun()
    session.ceiling = LSN(0)
    session.receive(wal(START, 100, START + 100), 0.1)
    session.advance(START + 100, START + 100)
    assert read(session.due(0.2, WALL))[:2] == (START + 100, LSN(0))
    assert session.due(0.2, WALL) is None
    session.ceiling = None
    assert read(session.due(0.3, WALL))[1] == START + 100


def test_below_a_ceiling_nothing_is_reported_that_could_release_a_commit():
    session = begun()
    session.ceiling = START + 40
    session.receive(wal(START, 100, START + 100), 0.1)
    session.advance(START + 100, START + 100)
    assert read(session.due(0.1, WALL))[:2] == (START + 40, START + 40)
    assert session.due(0.1, WALL) is None


def test_a_server_that_shuts_down_is_not_held_up_by_a_ceiling():
    session = begun()
    session.ceiling = START + 40
    session.receive(wal(START, 100, START + 100), 0.1)
    session.advance(START + 100, START + 100)
    session.due(0.1, WALL)
    session.receive(keepalive(START + 100, reply=True), 0.2)
    assert read(session.due(0.2, WALL))[:2] == (START + 100, LSN(0))
    assert session.due(0.2, WALL) is None


def test_a_ceiling_that_is_lifted_wakes_the_receiver_at_once():
    session = begun()
    session.ceiling = LSN(0)
    session.receive(wal(START, 100, START + 100), 0.1)
    session.advance(START + 100, START + 100)
    session.due(0.1, WALL)
    assert session.deadline(0.1) > 0
    session.ceiling = None
    assert session.deadline(0.2) == 0.0
    assert read(session.due(0.2, WALL))[1] == START + 100
    assert session.deadline(0.2) > 0
