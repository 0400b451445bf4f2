"""The repository as a target: where to begin, what comes first, what is left of old timelines."""

import errno
import json
import os
import threading
from dataclasses import replace

import pytest
from support.age import OURS, encrypt
from support.faults import Disk, fail
from support.filed_wal import IDENTITY, filing, giving, name, new_repository, segment_bytes, store
from support.scripted_server import wal
from support.streams import drain
from support.values import MB, at, history, record
from support.wal_pages import SYSTEM_IDENTIFIER, make_pages

from catalog.codec import Codec
from catalog.errors import ConnectionFailed, SpoolFull, StorageError, StreamRefused, WrongServer
from catalog.gaps import read_gaps
from catalog.inventory import Run
from catalog.lsn import LSN, SegmentSize
from catalog.marks import StartedMark
from catalog.record import Point
from catalog.repository_identity import RepositoryIdentity
from catalog.state import read_receiver_state
from catalog.timeline import Path
from walstream.commands import SystemFacts
from walstream.facts import ServerFacts
from walstream.intake import Intake, IntakeOptions
from walstream.ops.hooks import Hooks, hooked
from walstream.resume import Start
from walstream.session import Session, SessionOptions
from walstream.standing import STREAMING, Standing

WAL = bytes(make_pages(7 << 20, 12 << 20, MB))


def facts(position=12.5, known=None, system_identifier=SYSTEM_IDENTIFIER, size=MB):
    known = known or history(1)
    return ServerFacts(SystemFacts(system_identifier, known.timeline, at(position)), 150018, size, known)


@pytest.fixture
def repository(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "streaming").mkdir()
    (tmp_path / "identity.json").write_bytes(IDENTITY.to_json())
    return new_repository(tmp_path)


@pytest.fixture
def ours(repository):
    with filing(repository.storage) as made:
        yield made


@pytest.fixture
def intake(tmp_path, repository, ours):
    """A function that makes one, as at a receiver's start."""
    made = []

    def make():
        made.append(Intake(repository, ours, IntakeOptions(str(tmp_path))))
        return made[-1]

    yield make
    for each in made:
        each.close()


def begin(intake, server, slot=None):
    found = intake.begin(server, slot)
    return found.timeline, MB.number_at(found.position)


def leave(tmp_path, file, number):
    """Put a file into the spool, as a former run left it."""
    (tmp_path / "streaming" / file).write_bytes(segment_bytes(number))


def stored(repository, wal_name):
    return drain(repository.wal.open(wal_name))


def test_with_nothing_held_it_begins_at_the_slot(intake):
    assert begin(intake(), facts(), at(9.3)) == (1, 9)


def test_what_is_stored_and_what_is_in_the_spool_counts_alike(tmp_path, intake, ours):
    for number in (7, 8):
        ours.put(name(number), giving(segment_bytes(number)))
    leave(tmp_path, name(9), 9)
    leave(tmp_path, f"{name(10)}.partial", 10)
    assert begin(intake(), facts()) == (1, 10)


def test_counting_begins_at_the_oldest_backup_even_one_that_is_running(intake, repository, ours):
    ours.put(name(11), giving(segment_bytes(11)))
    now = record().begin.time
    running = StartedMark(pid=1, name=None, started=now, parent=None, begin=Point(at(9.5), 1, now))
    repository.backups.mark_started("20260131T120500", running)
    assert begin(intake(), facts()) == (1, 9)
    repository.backups.commit(record(8.25, 9.5))
    assert begin(intake(), facts()) == (1, 8)


def test_a_damaged_record_does_not_keep_wal_from_being_received(intake, repository):
    repository.storage.put("base/20260131T120200/record.json", b"{damaged")
    repository.backups.commit(record(8.25, 9.5))
    assert begin(intake(), facts()) == (1, 8)


def test_another_cluster_is_refused(intake):
    with pytest.raises(WrongServer):
        intake().require(facts(system_identifier=1))


def test_another_segment_size_is_refused(intake):
    with pytest.raises(StreamRefused, match=r"2\.0 MiB, those of the repository 1\.0 MiB"):
        intake().require(facts(size=SegmentSize(2 << 20)))


def test_a_history_that_contradicts_the_stored_one_is_refused(intake):
    made = intake()
    made.keep_history(3, history(3, (1, 5), (2, 6)).format())
    with pytest.raises(StreamRefused, match="timeline 3 contradicts"):
        made.require(facts(known=history(3, (1, 4))))


def test_a_history_is_stored_once_and_never_another(intake, repository):
    made = intake()
    assert made.lacks_history(2)
    content = history(2, (1, 8.25)).format()
    made.keep_history(2, content)
    made.keep_history(2, content)
    assert repository.wal.history("00000002.history") == content
    assert list(repository.wal.names()) == ["00000002.history"]
    assert not made.lacks_history(2)
    with pytest.raises(StreamRefused, match="contradicts"):
        made.keep_history(2, history(2, (1, 8.5)).format())


def test_a_history_that_is_delivered_while_the_stream_has_it_as_well_is_no_conflict(
    tmp_path, intake, repository, eventually
):
    made = intake()
    content = history(2, (1, 8.25)).format()
    delivered = tmp_path / "incoming" / "00000002.history"
    delivered.parent.mkdir()
    os.mkfifo(delivered)
    with open(
        delivered, "wb", buffering=0
    ) as pipe:  # waits for the archiver, which then waits for the content
        ours = threading.Thread(target=made.keep_history, args=(2, content))
        ours.start()
        ours.join(0.2)  # time to go wrong
        pipe.write(content)
    ours.join()
    eventually(lambda: not delivered.exists())
    made.close()
    assert repository.wal.history("00000002.history") == content
    assert not (tmp_path / "errors").exists()


def test_at_the_end_nobody_waits_for_all_that_was_delivered(tmp_path, intake, repository):
    made = intake()
    coming, incoming = tmp_path / "coming", tmp_path / "incoming"
    coming.mkdir()
    os.mkfifo(coming / "00000002.history")
    (coming / name(7)).write_bytes(segment_bytes(7))
    coming.rename(incoming)  # both at once, and the history is the first
    with open(incoming / "00000002.history", "wb", buffering=0) as pipe:
        ending = threading.Thread(target=made.close)
        ending.start()
        ending.join(0.2)
        pipe.write(history(2, (1, 8.25)).format())
    ending.join()
    assert list(repository.wal.names()) == ["00000002.history"]
    assert [each.name for each in incoming.iterdir()] == [name(7)]


def test_wal_goes_through_the_spool_into_the_repository(tmp_path, intake, repository):
    made = intake()
    spool = made.open(Start(1, at(7)), False, lambda: None)
    spool.write(memoryview(WAL)[: (2 << 20) + 5])
    spool.close()
    made.close()
    assert stored(repository, name(7)) + stored(repository, name(8)) == WAL[: 2 << 20]
    assert os.listdir(tmp_path / "streaming") == [f"{name(9)}.partial"]
    assert made.archiver.last_archived == name(8)


def test_what_an_old_timeline_leaves_incomplete_is_stored_as_partial(tmp_path, intake, repository):
    made = intake()
    spool = made.open(Start(1, at(7)), False, lambda: None)
    spool.write(memoryview(WAL)[:5000])
    spool.close()
    made.end_of_timeline(1, at(7) + 5000)
    assert stored(repository, f"{name(7)}.partial") == WAL[:5000].ljust(1 << 20, b"\0")
    assert os.listdir(tmp_path / "streaming") == []
    made.end_of_timeline(1, at(7) + 5000)


def test_partials_of_timelines_that_will_not_be_streamed_are_retired(tmp_path, intake, repository):
    leave(tmp_path, f"{name(8)}.partial", 8)
    leave(tmp_path, f"{name(3, timeline=9)}.partial", 3)
    leave(tmp_path, f"{name(9, timeline=2)}.partial", 9)
    assert begin(intake(), facts(known=history(2, (1, 8.25))), at(8.25)) == (2, 8)
    assert stored(repository, f"{name(8)}.partial") == segment_bytes(8)
    assert stored(repository, f"{name(3, timeline=9)}.partial") == segment_bytes(3)
    assert os.listdir(tmp_path / "streaming") == [f"{name(9, timeline=2)}.partial"]


def test_the_partial_of_a_timeline_that_is_still_to_be_streamed_stays(tmp_path, intake):
    leave(tmp_path, f"{name(8)}.partial", 8)
    assert begin(intake(), facts(known=history(2, (1, 9.25))), at(8)) == (1, 8)
    assert os.listdir(tmp_path / "streaming") == [f"{name(8)}.partial"]


@pytest.mark.parametrize("file", [name(9, timeline=2), f"{name(9, timeline=2)}.partial"])
def test_a_server_on_an_older_timeline_than_the_newest_held_is_warned_of_once(intake, ours, caplog, file):
    ours.put(file, giving(segment_bytes(9, timeline=2)))
    made = intake()
    for _ in range(2):
        begin(made, facts(known=history(1)), at(9))
    (warned,) = [each for each in caplog.records if "older than timeline 2" in each.getMessage()]
    assert warned.levelname == "WARNING" and "config-switch" in warned.getMessage()


def test_a_server_on_the_newest_timeline_held_is_not_warned_of(intake, ours, caplog):
    ours.put(name(9, timeline=2), giving(segment_bytes(9, timeline=2)))
    begin(intake(), facts(known=history(2, (1, 9.25))), at(10))
    assert "older than" not in caplog.text


def test_a_partial_that_contradicts_the_stored_one_stays_where_it_is(tmp_path, intake, ours, repository):
    ours.put(f"{name(8)}.partial", giving(segment_bytes(8, fill=b"\x5a")))
    leave(tmp_path, f"{name(8)}.partial", 8)
    intake().end_of_timeline(1, at(8.25))
    assert os.listdir(tmp_path / "streaming") == [f"{name(8)}.partial"]
    assert stored(repository, f"{name(8)}.partial") == segment_bytes(8, fill=b"\x5a")


def test_at_the_start_leftovers_are_synced_before_anything_is_reported(tmp_path, intake, monkeypatch):
    disk = Disk(monkeypatch)
    leave(tmp_path, f"{name(8)}.partial", 8)
    leave(tmp_path, "segment.walstream-tmp.1-abcd", 8)
    intake()
    assert disk.survivors(str(tmp_path / "streaming")) == {f"{name(8)}.partial": segment_bytes(8)}
    assert os.listdir(tmp_path / "streaming") == [f"{name(8)}.partial"]


def standing(session):
    made = Standing("main")
    made.enter(STREAMING)
    made.timeline, made.session = 1, session
    return made


def test_a_partial_before_a_gap_is_retired(tmp_path, intake, repository):
    made = intake()
    leave(tmp_path, f"{name(7)}.partial", 7)
    made.accept_gap(Path.of(history(1)), at(7), at(9), lambda: False)
    assert begin(made, facts(), at(7)) == (1, 9)
    assert stored(repository, f"{name(7)}.partial") == segment_bytes(7)
    assert os.listdir(tmp_path / "streaming") == []


def test_progress_is_published_for_others_to_see(tmp_path, intake):
    session = Session(LSN(7 << 20), SessionOptions(), 0.0)
    session.receive(wal(at(7), bytes(1 << 19)), 0.0)
    session.advance(at(7.5), at(7.25))
    intake().note(standing(session))
    state = read_receiver_state(str(tmp_path))
    assert (state.pid, state.timeline) == (os.getpid(), 1)
    assert (state.written, state.flushed, state.server) == (at(7.5), at(7.25), at(7.5))
    assert json.loads((tmp_path / "state" / "receiver.json").read_text())["waiting"] == 0


def test_progress_is_not_published_at_every_turn(tmp_path, intake):
    made = intake()
    session = Session(LSN(7 << 20), SessionOptions(), 0.0)
    made.note(standing(session))
    first = (tmp_path / "state" / "receiver.json").stat().st_ino
    for _ in range(100):
        made.note(standing(session))
    assert (tmp_path / "state" / "receiver.json").stat().st_ino == first


def test_progress_that_moves_all_the_time_is_published_now_and_then_and_when_it_has_come_to_rest(
    tmp_path, intake, monkeypatch
):
    monkeypatch.setattr("walstream.publisher.EVERY", 3600)
    monkeypatch.setattr("walstream.publisher.AT_REST", 3600)
    made = intake()
    session = Session(at(7), SessionOptions(), 0.0)
    made.note(standing(session))
    for megabytes in (7.25, 7.5):
        session.advance(at(megabytes), at(megabytes))
        made.note(standing(session))
        made.note(standing(session))
        assert read_receiver_state(str(tmp_path)).flushed == at(7)
    monkeypatch.setattr("walstream.publisher.AT_REST", 0)
    made.note(standing(session))
    assert read_receiver_state(str(tmp_path)).flushed == at(7.5)


def test_an_ancestor_that_contradicts_the_servers_history_is_refused_too(intake):
    made = intake()
    made.keep_history(2, history(2, (1, 3.25)).format())
    with pytest.raises(StreamRefused, match="timeline 2"):
        made.require(facts(known=history(3, (1, 3.5), (2, 6))))


def test_a_standby_that_is_behind_is_waited_for_and_a_primary_refused(intake, ours):
    for number in (7, 8, 9):
        ours.put(name(number), giving(segment_bytes(number)))
    behind = facts(position=8.5)
    with pytest.raises(StreamRefused):
        intake().begin(behind, None)
    with pytest.raises(ConnectionFailed, match="standby has only reached"):
        intake().begin(replace(behind, in_recovery=True), None)


def test_only_what_is_not_held_becomes_a_gap(intake, tmp_path, ours):
    for number in (5, 7, 8):
        ours.put(name(number), giving(segment_bytes(number)))
    made = intake()
    assert begin(made, facts()) == (1, 6)
    made.accept_gap(Path.of(history(1)), at(6), at(10), lambda: False)
    assert [gap.run for gap in read_gaps(str(tmp_path), MB)] == [Run(1, 6, 6), Run(1, 9, 9)]
    assert begin(made, facts()) == (1, 10)


def test_a_stop_ends_the_wait_for_what_was_delivered_and_no_gap_is_recorded(intake, tmp_path):
    (tmp_path / "wals").write_text("in the way")
    made = intake()
    (tmp_path / "incoming").mkdir()
    (tmp_path / "incoming" / name(7)).write_bytes(segment_bytes(7))
    with pytest.raises(ConnectionFailed, match="stopped before"):
        made.accept_gap(Path.of(history(1)), at(7), at(9), lambda: True)
    assert not read_gaps(str(tmp_path), MB)
    assert os.listdir(tmp_path / "incoming") == [name(7)]


@pytest.mark.parametrize("phase", ["pre", "post"])
def test_an_end_does_not_wait_for_a_long_script_and_the_segment_comes_again(
    repository, ours, tmp_path, monkeypatch, eventually, caplog, phase
):
    called, calm = tmp_path / "called", tmp_path / "calm"
    script = f"echo $WALSTREAM_PHASE >> {called}; test -e {calm} || sleep 60"
    hooks = Hooks("main", {f"{phase}_archive": script})
    options = IntakeOptions(str(tmp_path), hook=lambda put, is_over: hooked(put, hooks, is_over))
    leave(tmp_path, name(7), 7)
    made = Intake(repository, ours, options)
    eventually(called.exists)
    with monkeypatch.context() as patch:
        patch.setattr("walstream.intake.SCRIPT_PATIENCE", 0.0)
        made.close()
    assert f"{phase}_archive_script of 'main' was ended" in caplog.text
    assert os.listdir(tmp_path / "streaming") == [name(7)]
    calm.touch()
    Intake(repository, ours, options).close()
    assert called.read_text().split() == [phase, phase]
    assert os.listdir(tmp_path / "streaming") == []
    assert stored(repository, name(7)) == segment_bytes(7)


def test_a_segment_whose_name_was_not_synced_is_synced_and_archived_at_the_next_beginning(
    intake, repository, tmp_path
):
    made = intake()
    begin(made, facts())
    leave(tmp_path, name(7), 7)  # as a stream leaves it whose last directory sync failed
    assert begin(made, facts()) == (1, 8)
    made.close()
    assert stored(repository, name(7)) == segment_bytes(7)


def test_an_unwritable_state_directory_does_not_stop_receiving(intake, tmp_path, caplog):
    made = intake()
    os.rename(tmp_path / "state", tmp_path / "elsewhere")
    made.note(standing(Session(at(7), SessionOptions(), 0.0)))
    assert "receiving goes on" in caplog.text


def test_a_complete_segment_that_cannot_be_synced_comes_again(intake, ours, tmp_path, monkeypatch):
    made = intake()
    made.close()
    leave(tmp_path, name(7), 7)
    with monkeypatch.context() as faults:
        fail(faults, "fsync", errno.EIO, when=lambda fd: os.readlink(f"/proc/self/fd/{fd}").endswith(name(7)))
        with pytest.raises(StorageError):
            begin(made, facts(), at(7))
    assert os.listdir(tmp_path / "streaming") == [f"{name(7)}.partial"]
    assert begin(made, facts(), at(7)) == (1, 7)


def test_under_an_unmounted_repository_nothing_is_written(intake, tmp_path, eventually):
    made = intake()
    begin(made, facts(), at(7))
    (tmp_path / "identity.json").rename(tmp_path / "unmounted")
    spool = made.open(Start(1, at(7)), False, lambda: None)
    spool.write(memoryview(WAL)[: 1 << 20])
    spool.close()
    eventually(lambda: made.archiver.trouble is not None)
    assert "is its disk mounted" in made.archiver.trouble.hint
    assert not list((tmp_path / "wals").rglob("*"))
    for act in (lambda: begin(made, facts()), lambda: made.keep_history(2, history(2, (1, 8.25)).format())):
        with pytest.raises(StorageError, match="no repository"):
            act()
    (tmp_path / "unmounted").rename(tmp_path / "identity.json")
    eventually(lambda: made.archiver.waiting == 0)
    assert begin(made, facts()) == (1, 8)


def test_another_repository_in_its_place_is_not_taken_for_it(intake, tmp_path):
    made = intake()
    begin(made, facts(), at(7))
    identity = replace_salt(IDENTITY)
    (tmp_path / "identity.json").write_bytes(identity.to_json())
    with pytest.raises(StorageError, match="another repository") as caught:
        begin(made, facts())
    assert "mount" in caught.value.hint


def replace_salt(identity):
    words = (identity.system_identifier, identity.major_version, identity.wal_segment_size)
    return RepositoryIdentity(*words, b"\1" * 16, identity.created)


def test_a_partial_that_cannot_be_stored_does_not_stop_receiving(intake, tmp_path, repository, caplog):
    made = intake()
    leave(tmp_path, f"{name(8)}.partial", 8)
    (tmp_path / "wals").mkdir(exist_ok=True)
    (tmp_path / "wals" / name(8)[:16]).write_text("in the way")
    known = facts(known=history(2, (1, 8.25)))
    assert begin(made, known, at(8.25)) == (2, 8)
    assert "stays where it is" in caplog.text
    (tmp_path / "wals" / name(8)[:16]).unlink()
    assert begin(made, known, at(8.25)) == (2, 8)
    assert stored(repository, f"{name(8)}.partial") == segment_bytes(8)


def test_what_the_stream_must_follow_is_the_last_page_with_anything_in_it(intake, ours):
    made = intake()
    assert made.tail(Start(1, at(8))) is None
    ours.put(name(7), giving(segment_bytes(7)[: (1 << 20) - 16384] + bytes(16384)))
    position, agrees = made.tail(Start(1, at(8)))
    assert position.value == (8 << 20) - 24576
    page = segment_bytes(7)[(1 << 20) - 24576 : (1 << 20) - 16384]
    assert agrees(page) and agrees(page[:100]) and agrees(page + b"more")
    assert not agrees(page[:-1] + b"x") and not agrees(b"x" + page)
    assert made.tail(Start(2, at(8))) is None


def test_of_an_encrypted_segment_the_last_page_is_known_by_its_fingerprint(intake, repository):
    made = intake()
    raw = segment_bytes(7)[: (1 << 20) - 16384] + bytes(16384)
    store(repository, {name(7): raw}, Codec.of("zstd").encrypted((str(OURS.recipient),)))
    position, agrees = made.tail(Start(1, at(8)))
    assert position.value == (8 << 20) - 24576
    page = raw[(1 << 20) - 24576 : (1 << 20) - 16384]
    assert agrees(page) and agrees(page + b"more") and agrees(page[:100])
    assert not agrees(page[:-1] + b"x")


def test_a_segment_that_another_program_encrypted_is_no_reason_to_receive_nothing(intake, repository, caplog):
    repository.storage.put(f"wals/{name(7)[:16]}/{name(7)}.age", encrypt(segment_bytes(7)))
    assert intake().tail(Start(1, at(8))) is None
    assert "cannot be seen" in caplog.text


def test_a_damaged_segment_before_the_start_is_no_reason_to_receive_nothing(intake, ours, tmp_path, caplog):
    made = intake()
    ours.put(name(7), giving(segment_bytes(7)))
    stored_file = tmp_path / "wals" / name(7)[:16] / name(7)
    stored_file.rename(stored_file.with_name(f"{name(7)}.zst"))
    assert made.tail(Start(1, at(8))) is None
    assert "cannot be seen" in caplog.text


def test_a_damaged_record_is_no_reason_to_receive_nothing(intake, tmp_path):
    made = intake()
    made.accept_gap(Path.of(history(1)), at(6), at(7), lambda: False)
    directory = tmp_path / "base" / "20260131T120000"
    directory.mkdir(parents=True)
    (directory / "record.json").write_text("{")
    begin(made, facts(), at(7))
    assert made.has_open_gap()


def test_a_spool_that_is_full_is_said_until_half_of_it_is_archived(repository, ours, tmp_path, eventually):
    wals = tmp_path / "wals"
    made = Intake(repository, ours, IntakeOptions(str(tmp_path), spool_limit=3 << 20))
    made.require_room()
    wals.write_text("in the way")
    spool = made.open(Start(1, at(7)), False, lambda: None)
    spool.write(memoryview(WAL)[: 3 << 20])
    spool.close()
    made.require_room()
    spool = made.open(Start(1, at(10)), False, lambda: None)
    spool.write(memoryview(WAL)[3 << 20 : 4 << 20])
    spool.close()
    eventually(lambda: made.archiver.trouble is not None)
    with pytest.raises(SpoolFull, match=r"spool_limit is 3\.0 MiB: ") as caught:
        made.require_room()
    assert caught.value.hint
    wals.unlink()
    eventually(lambda: made.archiver.waiting == 0)
    made.require_room()
    made.close()
