"""The receiver's loop against scripted servers, with the repository as its target."""

import errno
import os
import threading
import time
from contextlib import contextmanager

import pytest
from support.faults import Hanging, fail
from support.filed_wal import filing, name, new_repository, segment_bytes
from support.scripted_server import (
    ScriptedServer,
    keepalive,
    next_timeline,
    pieces,
    refused,
    shutdown,
    wal,
)
from support.streams import drain
from support.values import MB, at, history
from support.wal_pages import make_pages

from catalog.errors import (
    ConnectionFailed,
    ConnectionLost,
    Malformed,
    ProtocolError,
    ServerRefused,
    SpoolFull,
    StorageError,
    StreamRefused,
    WrongServer,
)
from catalog.lsn import LSN
from walstream.connection import OK, ROWS, Result
from walstream.facts import names_standby
from walstream.intake import Intake, IntakeOptions
from walstream.receiver import Receiver
from walstream.receiving import ReceiveOptions

START = LSN(7 << 20)
WAL = bytes(make_pages(7 << 20, 12 << 20, MB))


def stretch(begin, end):
    """The messages with the WAL between two positions, in megabytes."""
    first, last = int((begin - 7) * MB.nbytes), int((end - 7) * MB.nbytes)
    return pieces(at(begin), WAL[first:last])


def last_page_position(number):
    return LSN(((number + 1) << 20) - 8192)


def last_page(number, fill=b""):
    """A message with the last page of a segment, and its end altered."""
    end = (number - 6) << 20
    page = WAL[end - 8192 : end]
    return wal(last_page_position(number), page[: len(page) - len(fill)] + fill)


def flushed(megabytes):
    """A step that waits until so much was reported as flushed."""
    return lambda stream: stream.flushed >= at(megabytes)


class Reception:
    """A receiver of a scripted server, with its repository."""

    def __init__(self, directory, server, ours, repository, options):
        self.server = server
        self.repository = repository
        self.spool = directory / "streaming"
        unsynced_limit = options.pop("unsynced_limit", 64 << 20)
        self.intake = Intake(repository, ours, IntakeOptions(str(directory), unsynced_limit))
        given = {"flush_interval": 0.01, "first_pause": 0.01, "synchronous": False} | options
        options = ReceiveOptions(given.pop("conninfo", "host=here"), **given)
        self.receiver = Receiver(options, self.intake, server.connect)

    def then_stop(self, condition=lambda stream: True):
        """A step: stop the receiver once the condition holds, and be silent."""

        def step(stream):
            if condition(stream):
                self.receiver.stop()
            return False

        return step

    def run(self, *scripts):
        """Receive what the scripts say until the receiver returns."""
        self.server.scripts += [[*script] for script in scripts]
        self.receiver.run()
        self.intake.close()

    def stored(self, wal_name):
        return drain(self.repository.wal.open(wal_name))


@pytest.fixture
def reception(tmp_path):
    @contextmanager
    def make(position=7.0, timeline=1, **options):
        server = ScriptedServer(position=at(position), timeline=timeline)
        repository = new_repository(tmp_path)
        os.makedirs(tmp_path / "state", exist_ok=True)
        with filing(repository.storage) as ours:
            made = Reception(tmp_path, server, ours, repository, options)
            try:
                yield made
            finally:
                made.receiver.stop()
                try:
                    made.intake.close()
                except (Malformed, StreamRefused):
                    pass

    return make


def test_it_stops_in_order_with_everything_flushed_and_reported(reception):
    with reception() as ours:
        ours.run([*stretch(7, 7.5), ours.then_stop()])
        (stream,) = ours.server.streams
        assert (stream.start, stream.timeline) == (START, 1)
        assert stream.ended_by_client
        assert stream.updates[-1][:2] == (at(7.5), at(7.5))
        assert (ours.spool / f"{name(7)}.partial").read_bytes()[: 1 << 19] == WAL[: 1 << 19]


def test_the_first_update_reports_nothing_flushed_and_the_second_the_start(reception):
    with reception() as ours:
        ours.run(
            [
                lambda stream: bool(stream.updates),
                keepalive(START),
                lambda stream: len(stream.updates) > 1,
                *stretch(7, 7.125),
                ours.then_stop(),
            ]
        )
        assert [update[:3] for update in ours.server.streams[0].updates[:2]] == [
            (START, LSN(0), LSN(0)),
            (START, START, LSN(0)),
        ]


def test_complete_segments_are_archived_while_the_rest_is_received(reception):
    with reception() as ours:
        ours.run([*stretch(7, 9.25), ours.then_stop(flushed(9.25))])
        assert ours.stored(name(7)) + ours.stored(name(8)) == WAL[: 2 << 20]
        assert os.listdir(ours.spool) == [f"{name(9)}.partial"]


@pytest.mark.parametrize("end", [7.5, 8.0, 7.0])
def test_it_ends_by_itself_once_the_end_position_is_flushed(reception, end):
    with reception(end_position=at(end)) as ours:
        ours.run([*stretch(7, end)])
        (stream,) = ours.server.streams
        assert stream.ended_by_client
        assert stream.flushed >= at(end) or end == 7.0  # nothing was heard: that is no reason to report


def test_an_end_position_may_be_named_later(reception):
    with reception() as ours:

        def name_it(stream):
            ours.receiver.stop_at(at(7.5))
            return True

        ours.run([*stretch(7, 7.25), flushed(7.25), name_it, *stretch(7.25, 7.6)])
        assert ours.server.streams[0].flushed >= at(7.5)


def test_at_a_servers_shutdown_everything_is_confirmed_and_then_it_comes_back(reception):
    with reception() as ours:
        ours.run(
            [*stretch(7, 7.5), keepalive(at(7.5), reply=True), flushed(7.5), shutdown()],
            [*stretch(7, 7.75), ours.then_stop()],
        )
        first, second = ours.server.streams
        assert first.updates[-1][:2] == (at(7.5), at(7.5))
        assert second.start == START
        assert second.flushed == at(7.75)


def test_a_request_is_not_answered_with_a_stale_position(reception):
    with reception(flush_interval=60.0, status_interval=0) as ours:
        ours.run(
            [
                lambda stream: bool(stream.updates),
                keepalive(START),
                lambda stream: len(stream.updates) > 1,
                *stretch(7, 7.5),
                keepalive(at(7.5), reply=True),
                ours.then_stop(lambda stream: len(stream.updates) > 2),
            ]
        )
        assert ours.server.streams[0].updates[2][:2] == (at(7.5), at(7.5))


def test_a_lost_connection_is_made_again_and_the_segment_begun_again(reception):
    with reception() as ours:
        ours.run(
            [*stretch(7, 8.5), flushed(8.5), ConnectionLost("cut")],
            [last_page(7)],
            [keepalive(at(8)), flushed(8), *stretch(8, 9.25), ours.then_stop()],
        )
        first, looked, second = ours.server.streams
        assert (first.start, second.start) == (START, at(8))
        assert looked.start == last_page_position(7) and not looked.updates
        told = [update.flushed for update in second.updates if update.flushed.value]
        assert told[0] == at(8)  # what was reported before belongs to the other stream
        assert ours.stored(name(8)) == WAL[1 << 20 : 2 << 20]


def test_without_reconnect_a_lost_connection_is_raised(reception):
    with reception(reconnect=False) as ours, pytest.raises(ConnectionLost, match="cut"):
        ours.run([*stretch(7, 7.5), ConnectionLost("cut")])


def test_a_failure_before_the_first_stream_is_raised(reception):
    with reception() as ours:
        ours.server.refuse_connections = [ConnectionFailed("no")]
        with pytest.raises(ConnectionFailed):
            ours.run()


def test_a_server_that_is_away_for_a_while_is_waited_for(reception):
    with reception() as ours:
        ours.server.refuse_connections = []

        def go_away(stream):
            ours.server.refuse_connections = [ConnectionFailed("no")] * 3
            return True

        ours.run([*stretch(7, 7.5), go_away, ConnectionLost("cut")], [*stretch(7, 7.75), ours.then_stop()])
        assert ours.server.refuse_connections == []
        assert ours.server.connections == 2


def test_stopping_ends_the_pause_before_a_new_connection(reception):
    with reception(first_pause=600.0) as ours:
        timer = threading.Timer(0.1, ours.receiver.stop)
        timer.start()
        began = time.monotonic()
        ours.run([*stretch(7, 7.5), ConnectionLost("cut")])
        timer.join()
        assert time.monotonic() - began < 30


def test_a_server_with_other_wal_before_the_start_is_refused(reception):
    with reception() as ours:
        with pytest.raises(StreamRefused) as caught:
            ours.run([*stretch(7, 8), flushed(8), ConnectionLost("cut")], [last_page(7, fill=b"other")])
        assert "under a new name" in caught.value.hint
        assert ours.stored(name(7)) == WAL[: 1 << 20]


def test_a_server_that_has_removed_what_it_could_be_known_by_is_believed(reception):
    gone = refused(f"requested WAL segment {name(7)} has already been removed", "58P01")
    with reception() as ours:
        ours.run(
            [*stretch(7, 8), flushed(8), ConnectionLost("cut")],
            [gone],
            [*stretch(8, 8.5), ours.then_stop(flushed(8.5))],
        )
        assert ours.server.streams[-1].start == at(8)


def test_a_timeline_switch_is_followed(reception):
    with reception() as ours:
        ours.server.histories[2] = history(2, (1, 8.25))
        second = bytes(make_pages(8 << 20, 9 << 20, MB, timeline=2))
        ours.run(
            [*stretch(7, 8.25), next_timeline(2, at(8.25))],
            [
                keepalive(at(8)),
                flushed(8),
                *pieces(at(8), second),
                wal(at(9), b""),
                ours.then_stop(flushed(9)),
            ],
        )
        first, then = ours.server.streams
        assert (first.timeline, then.timeline, then.start) == (1, 2, at(8))
        assert next(update.flushed for update in then.updates if update.flushed.value) == at(8)
        assert ours.repository.histories()[2] == history(2, (1, 8.25))
        assert ours.stored(name(8, timeline=2)) == second
        left = ours.stored(f"{name(8)}.partial")
        assert left[: 1 << 18] == WAL[1 << 20 :][: 1 << 18] and not any(left[1 << 18 :])
        assert os.listdir(ours.spool) == []


def test_more_than_the_switch_may_have_been_received_of_the_old_timeline(reception):
    with reception() as ours:
        ours.server.histories[2] = history(2, (1, 7.875))
        ours.run([*stretch(7, 8.125), next_timeline(2, at(7.875))], [ours.then_stop()])
        assert ours.server.streams[1].start == START
        assert ours.stored(name(7)) == WAL[: 1 << 20]
        assert ours.stored(f"{name(8)}.partial")[:100] == WAL[1 << 20 :][:100]
        assert os.listdir(ours.spool) == []


def test_a_timeline_with_nothing_to_stream_is_left_at_once(reception):
    with reception(position=8.0) as ours:
        ours.server.histories[2] = history(2, (1, 8))
        row = Result(ROWS, ((b"2", str(at(8)).encode()),))
        ended = next_timeline(2, at(8))
        ours.run([type(ended)([row, Result(OK)])], [ours.then_stop(lambda stream: bool(stream.updates))])
        assert [(each.timeline, each.start) for each in ours.server.streams] == [(1, at(8)), (2, at(8))]


def test_an_old_timelines_wal_is_fetched_before_the_new_ones(reception):
    with reception(position=9.5, timeline=2, slot="ours") as ours:
        ours.server.histories[2] = history(2, (1, 8.25))
        ours.server.slots["ours"] = at(7.125)
        second = bytes(make_pages(8 << 20, 9 << 20, MB, timeline=2))
        ours.run(
            [*stretch(7, 8.25), next_timeline(2, at(8.25))],
            [*pieces(at(8), second), ours.then_stop(flushed(9))],
        )
        assert [(each.timeline, each.start) for each in ours.server.streams] == [(1, START), (2, at(8))]
        assert 'SLOT "ours"' in ours.server.streams[1].command


@pytest.mark.parametrize("timeline, switch", [(1, 7.25), (0, 7.25), (2, 7.75)])
def test_a_next_timeline_that_makes_no_sense_is_a_protocol_error(reception, timeline, switch):
    with reception(reconnect=False) as ours, pytest.raises(ProtocolError, match="ended timeline 1"):
        ours.run([*stretch(7, 7.5), next_timeline(timeline, at(switch))])


def test_wal_that_is_removed_in_mid_stream_is_asked_for_once_more(reception):
    gone = refused("requested WAL segment 000000010000000000000007 has already been removed", "58P01")
    with reception() as ours:
        ours.run([*stretch(7, 7.5), gone], [*stretch(7, 7.75), ours.then_stop(flushed(7.75))])
        assert len(ours.server.streams) == 2


def test_a_start_ahead_of_the_servers_position_is_refused_at_the_next_connection(reception):
    ahead = "requested starting point 0/800000 is ahead of the WAL flush position of this server 0/700000"
    with reception() as ours:

        def step_back(stream):
            ours.server.position = at(7.5)
            return True

        with pytest.raises(StreamRefused, match="only reached"):
            ours.run(
                [*stretch(7, 8), flushed(8), step_back, ConnectionLost("cut")], [refused(ahead, "XX000")]
            )


def test_the_same_answer_at_the_first_connection_is_raised(reception):
    with reception(reconnect=False) as ours, pytest.raises(ServerRefused, match="ahead"):
        ours.run([refused("requested starting point is ahead of the WAL flush position", "XX000")])


def test_another_cluster_is_refused_at_every_connection(reception):
    with reception() as ours:

        def replace_the_server(stream):
            ours.server.system_identifier += 1
            return True

        with pytest.raises(WrongServer):
            ours.run([*stretch(7, 7.5), replace_the_server, ConnectionLost("cut")])
    with reception() as ours:
        ours.server.system_identifier += 1
        with pytest.raises(WrongServer):
            ours.run()


def test_other_bytes_than_those_received_before_are_refused(reception):
    other = bytearray(WAL[: 1 << 19])
    other[5000] ^= 1
    with reception() as ours, pytest.raises(StreamRefused, match="other WAL at 0/701388"):
        ours.run([*stretch(7, 7.5), flushed(7.5), ConnectionLost("cut")], pieces(START, bytes(other)))


def test_wal_with_a_wrong_page_header_is_never_written_and_fetched_again(reception):
    wrong = bytearray(WAL[: 1 << 19])
    wrong[8192 * 3 + 8] ^= 1
    with reception() as ours:
        ours.run(pieces(START, bytes(wrong)), [*stretch(7, 7.5), ours.then_stop(flushed(7.5))])
        assert len(ours.server.streams) == 2
        assert (ours.spool / f"{name(7)}.partial").read_bytes()[: 1 << 19] == WAL[: 1 << 19]


def test_a_gap_within_the_stream_is_never_written(reception):
    with reception() as ours:
        ours.run([*stretch(7, 7.25), *stretch(7.5, 7.75)], [*stretch(7, 7.5), ours.then_stop(flushed(7.5))])
        assert not any((ours.spool / f"{name(7)}.partial").read_bytes()[1 << 19 :])


@pytest.mark.parametrize("synchronous", [True, False])
def test_after_a_failed_sync_nothing_more_is_reported_and_the_bytes_are_written_anew(
    reception, monkeypatch, synchronous
):
    with reception(synchronous=synchronous) as ours:

        def break_the_disk(stream):
            fail(
                monkeypatch,
                "fsync",
                errno.EIO,
                times=1,
                when=lambda fd: os.readlink(f"/proc/self/fd/{fd}").endswith(".partial"),
            )
            return True

        def silent(stream):
            return len(ours.server.streams) > 1  # and no byte more: an idle server

        ours.run(
            [keepalive(START), flushed(7), break_the_disk, *stretch(7, 7.5), silent],
            [*stretch(7, 7.5), ours.then_stop(flushed(7.5))],
        )
        first, second = ours.server.streams
        assert first.flushed == START
        assert second.flushed == at(7.5)


def test_stopping_on_a_disk_that_does_not_sync_is_an_error(reception, monkeypatch):
    with reception(flush_interval=60.0) as ours:
        ours.server.scripts.append([*stretch(7, 7.5), ours.then_stop()])
        fail(
            monkeypatch,
            "fsync",
            errno.EIO,
            when=lambda fd: os.readlink(f"/proc/self/fd/{fd}").endswith(".partial"),
        )
        with pytest.raises(StorageError):
            ours.receiver.run()


def test_what_ended_the_archiver_ends_the_receiver(reception):
    with reception() as ours:

        def spoil_the_spool(stream):
            (ours.spool / name(9)).write_bytes(segment_bytes(8))
            ours.intake.archiver.submit(name(9))
            return True

        with pytest.raises(StreamRefused) as caught:
            ours.run([*stretch(7, 7.5), spoil_the_spool])
        assert name(9) in caught.value.message and "move the file away" in caught.value.hint


def test_in_synchronous_mode_every_batch_is_synced_and_reported_at_once(reception):
    with reception(synchronous=True, flush_interval=60.0, status_interval=0) as ours:
        batches = [(7, 7.125), (7.125, 7.25), (7.25, 8.5)]
        steps = [step for begin, end in batches for step in (*stretch(begin, end), flushed(end))]
        ours.run([*steps, ours.then_stop()])
        reported = {update.flushed for update in ours.server.streams[0].updates}
        assert {at(7.125), at(7.25), at(8.5)} <= reported


def test_commits_are_answered_before_anything_else_is_done(reception, monkeypatch):
    with reception(synchronous=True, flush_interval=60.0, status_interval=0) as ours:
        known = []
        publish = ours.intake.note

        def note(standing):
            if ours.server.streams:
                known.append((standing.session.flushed, ours.server.streams[0].flushed))
            publish(standing)

        monkeypatch.setattr(ours.intake, "note", note)
        steps = [
            step
            for begin in (7, 7.25, 7.5)
            for step in (*stretch(begin, begin + 0.25), flushed(begin + 0.25))
        ]
        ours.run([lambda stream: bool(stream.updates), *steps, ours.then_stop()])
        moved = [pair for pair in known if pair[0] > START]
        assert moved and all(ours == theirs for ours, theirs in moved)


def test_while_a_slow_disk_syncs_for_commits_the_server_is_answered(reception, monkeypatch):
    monkeypatch.setattr("walstream.spool.SLOW_SYNC", 0.0)
    monkeypatch.setattr("walstream.session.REPLY_PATIENCE", 0.0)
    with reception(synchronous=True, flush_interval=60.0, status_interval=0) as ours:
        hanging = []

        def hang(stream):
            hanging.append(Hanging(monkeypatch, "fdatasync"))
            return True

        def answered(stream):
            return stream.updates[-1][:2] == (at(7.25), at(7.125))

        def let_go(stream):
            hanging[0].let_go()
            return True

        ours.run(
            [
                *(*stretch(7, 7.125), flushed(7.125), hang, *stretch(7.125, 7.25)),
                *(lambda stream: hanging[0].entered.is_set(), keepalive(at(7.25), reply=True)),
                *(answered, let_go, flushed(7.25), ours.then_stop()),
            ]
        )


def test_without_room_it_syncs_and_goes_on_before_the_interval_is_over(reception):
    with reception(flush_interval=60.0, unsynced_limit=100_000) as ours:
        began = time.monotonic()
        ours.run([*stretch(7, 7.875), ours.then_stop(lambda stream: stream.flushed > at(7.5))])
        assert time.monotonic() - began < 30


def test_while_nothing_happens_it_sleeps(reception):
    with reception() as ours:
        timer = threading.Timer(0.5, ours.receiver.stop)
        before = []

        def settled(stream):
            if stream.flushed >= at(7.5) and not before:
                before.append(ours.server.waits)
                timer.start()
            return False

        ours.run([*stretch(7, 7.5), keepalive(at(7.5), reply=True), settled])
        timer.join()
        assert ours.server.waits - before[0] < 25


def test_a_missing_slot_is_made_and_used(reception):
    with reception(slot="ours") as ours:
        ours.run([*stretch(7, 7.125), ours.then_stop()])
        assert 'CREATE_REPLICATION_SLOT "ours" PHYSICAL (RESERVE_WAL)' in ours.server.commands
        assert ours.server.streams[0].command.startswith('START_REPLICATION SLOT "ours"')


def test_a_slot_that_idled_away_is_made_anew(reception):
    gone = ServerRefused("the server refused: can no longer access replication slot", None, "55000")
    with reception(slot="ours") as ours:
        ours.server.slots["ours"] = at(7)
        ours.server.refuse_starts = [gone]
        ours.run([*stretch(7, 7.5), ours.then_stop()])
        assert [word.split()[0] for word in ours.server.commands if "SLOT" in word][-4:] == [
            "START_REPLICATION",
            "DROP_REPLICATION_SLOT",
            "CREATE_REPLICATION_SLOT",
            "START_REPLICATION",
        ]


def test_a_slot_that_idled_away_and_must_not_be_made_is_an_error_with_the_way_out(reception):
    gone = ServerRefused("the server refused: can no longer access replication slot", None, "55000")
    with reception(slot="ours", create_slot=False) as ours:
        ours.server.slots["ours"] = at(7)
        ours.server.refuse_starts = [gone]
        with pytest.raises(ServerRefused) as caught:
            ours.run()
        assert "--drop-slot" in caught.value.hint


def test_pauses_grow_while_a_full_disk_breaks_each_stream(reception, monkeypatch):
    with reception(first_pause=0.001) as ours:
        pauses = []
        fail(monkeypatch, "pwrite", errno.ENOSPC, times=4)
        monkeypatch.setattr(ours.receiver._control, "sleep", pauses.append)
        ours.run(*[[*stretch(7, 7.25)] for _ in range(4)], [*stretch(7, 7.5), ours.then_stop(flushed(7.5))])
        assert len(pauses) == 4 and pauses[3] > 4 * pauses[0]


def test_a_full_spool_is_waited_for_and_no_connection_is_kept_meanwhile(reception, monkeypatch):
    monkeypatch.setattr("walstream.receiver.ROOM_CHECK_INTERVAL", 0.01)
    with reception() as ours:
        full = iter([None, None, "full", "full", "full"])

        def require_room():
            if next(full, None):
                raise SpoolFull("the spool is full", "wait")

        monkeypatch.setattr(ours.intake, "require_room", require_room)
        ours.run([*stretch(7, 7.25)], [*stretch(7, 7.5), ours.then_stop(flushed(7.5))])
        assert [stream.start for stream in ours.server.streams] == [START, START]


def test_a_missing_slot_that_must_not_be_made_is_an_error(reception):
    with (
        reception(slot="ours", create_slot=False) as ours,
        pytest.raises(ServerRefused, match="no replication"),
    ):
        ours.run()


def test_applied_is_reported_only_on_request(reception):
    for asked in (False, True):
        with reception(report_applied=asked) as ours:
            ours.run([*stretch(7, 7.125), ours.then_stop()])
            assert ours.server.streams[0].updates[-1].applied == (at(7.125) if asked else LSN(0))


@pytest.mark.parametrize(
    "setting, named",
    [
        ("", False),
        ("walstream_receive_wal", True),
        ('"walstream_receive_wal"', True),
        ("WALSTREAM_receive_wal", True),
        ("*", True),
        ("a, walstream_receive_wal", True),
        ("FIRST 2 (a, walstream_receive_wal)", True),
        ("ANY 1 (a, b)", False),
        ("2 ( * )", True),
        ("barman_receive_wal", False),
    ],
)
def test_a_setting_of_synchronous_standby_names_names_us(setting, named):
    assert names_standby(setting, "walstream_receive_wal") is named


def test_auto_asks_the_server_whether_it_is_synchronous(reception):
    with reception(synchronous=None, flush_interval=60.0, status_interval=0) as ours:
        ours.server.synchronous_standby_names = "walstream_receive_wal"
        ours.run([*stretch(7, 7.125), ours.then_stop(lambda stream: stream.flushed == at(7.125))])
