"""The library against real servers: every function of ``walstream.api`` does what its docstring says."""

import contextlib
import itertools
import os
import threading

import pytest
from support.clusters import assert_same_rows
from support.modules import ROOT

from walstream import api


class Kept:
    """Sinks in memory: what was finished is in ``files``, how many were aborted in ``aborted``."""

    def __init__(self):
        self.files = {}
        self.aborted = 0

    def __call__(self, name):
        return _KeptSink(self, name)


class _KeptSink:
    def __init__(self, kept, name):
        self._kept, self._name, self._data = kept, name, bytearray()

    def write(self, data):
        self._data += data

    def finish(self):
        self._kept.files[self._name] = bytes(self._data)

    def abort(self):
        self._kept.aborted += 1


@pytest.fixture
def repository(tmp_path):
    return str(tmp_path / "main")


@pytest.fixture
def primary(cluster_factory):
    return cluster_factory()


@pytest.fixture
def recovery(cluster_directory, cluster_factory, monkeypatch):
    """A destination for a restore, and a function that starts what is there and waits for its recovery."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # for the restore_command: the tests need no installation
    destination = os.path.join(cluster_directory, "restored")
    os.mkdir(destination)

    def start():
        cluster = cluster_factory(start=False, directory=destination)
        cluster.start(wait=False)
        assert cluster.wait_for_recovery() == "ended"
        return cluster

    return destination, start


def position(cluster):
    return api.LSN.parse(cluster.one("SELECT pg_current_wal_flush_lsn()"))


def wait_until_received(cluster, eventually):
    """What is sent when a block ends need not have arrived."""
    end = str(position(cluster))
    eventually(lambda: cluster.one("SELECT bool_or(flush_lsn >= %s) FROM pg_stat_replication", end))


def segment_name(cluster):
    return cluster.one("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")


def server_file(cluster, name):
    with open(os.path.join(cluster.directory, "pg_wal", name), "rb") as file:
        return file.read()


def fill_segment(cluster):
    """Write some WAL and end the segment; its name."""
    cluster.load(100)
    name = segment_name(cluster)
    cluster.switch_wal()
    cluster.load(1)
    return name


def read_all(reader):
    with contextlib.closing(reader):
        return b"".join(iter(lambda: reader.read(1 << 20), b""))


def test_a_repository_is_made_at_the_first_connection_and_opened_afterwards(server, repository):
    made = api.create_repository(server.conninfo(), repository)
    opened = api.open_repository(repository)
    assert opened.identity == made.identity
    assert list(opened.wal.names()) == [] and api.list_backups(repository) == []


def test_a_directory_without_a_repository_is_refused_with_a_hint(tmp_path):
    with pytest.raises(api.RepositoryError) as caught:
        api.open_repository(str(tmp_path / "none"))
    assert caught.value.hint


def test_received_wal_can_be_read_back(primary, repository, eventually):
    with api.receive(primary.conninfo(), repository, slot="walstream") as reception:
        assert reception.is_running()
        name = fill_segment(primary)
        eventually(lambda: name in api.open_repository(repository).wal.names())
    assert read_all(api.open_wal(repository, name)) == server_file(primary, name)
    assert primary.one("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'walstream'") == 1


def test_receiving_comes_to_its_end_position_by_itself(primary, repository):
    api.create_repository(primary.conninfo(), repository)
    primary.load(100)
    end = position(primary)
    name = segment_name(primary)
    api.receive(primary.conninfo(), repository, end=end).run()
    received = read_all(api.open_wal(repository, name, partial=True))
    offset = end.value % len(received)
    assert received[:offset] == server_file(primary, name)[:offset]
    with pytest.raises(api.Absent):
        api.open_wal(repository, name)


def test_a_second_receiver_is_refused_when_its_block_begins(server, repository):
    with api.receive(server.conninfo(), repository):
        with pytest.raises(api.Busy):
            with api.receive(server.conninfo(), repository):
                pytest.fail("the block must not begin")


def test_a_server_that_cannot_be_reached_is_an_error_of_run_and_of_the_block(tmp_path, repository):
    reception = api.receive(f"host={tmp_path} user=nobody", repository)
    with pytest.raises(api.ConnectionFailed):
        reception.run()
    with pytest.raises(api.ConnectionFailed):
        with api.receive(f"host={tmp_path} user=nobody", repository):
            pytest.fail("the block must not begin")


def test_run_ends_when_another_thread_stops_it(server, repository):
    reception = api.receive(server.conninfo(), repository)
    timer = threading.Timer(0.5, reception.stop)
    timer.start()
    reception.run()
    timer.join()


def test_a_backup_receives_its_own_wal_when_nobody_else_does(primary, repository):
    primary.load(1000)
    steps = []
    outcome = api.take_backup(
        primary.conninfo(), repository, name="first", fast_checkpoint=True, on_progress=steps.append
    )
    assert outcome.restorable and outcome.record.server == "main"
    (listed,) = api.list_backups(repository)
    assert listed == api.ListedBackup(outcome.record, True)
    assert steps[-1].done >= outcome.record.cluster_size


def test_a_restored_cluster_has_the_rows_of_the_moment_that_was_asked_for(
    primary, repository, recovery, eventually
):
    destination, start = recovery
    with api.receive(primary.conninfo(), repository, slot="walstream"):
        primary.load(500)
        api.take_backup(primary.conninfo(), repository, fast_checkpoint=True)
        primary.load(500)
        wanted = position(primary)
        primary.sql("SELECT pg_create_restore_point('here')")
        primary.sql("CREATE TABLE later AS SELECT 1")
        primary.switch_wal()
        primary.load(1, "after")
        wait_until_received(primary, eventually)
    target = api.RecoveryTarget("lsn", wanted, action="promote")
    planned = api.plan_restore(repository, destination, target=target)
    report = api.restore(planned)
    assert report.nbytes > 0
    restored = start()
    assert restored.one("SELECT count(*) FROM load") == 1000
    assert restored.one("SELECT to_regclass('later')") is None


def test_a_restore_that_takes_all_wal_has_all_rows(primary, repository, recovery, eventually):
    destination, start = recovery
    with api.receive(primary.conninfo(), repository):
        api.take_backup(primary.conninfo(), repository, fast_checkpoint=True)
        primary.load(500)
        primary.switch_wal()
        wait_until_received(primary, eventually)
    api.restore(api.plan_restore(repository, destination))
    restored = start()
    assert_same_rows(restored, primary)


@pytest.mark.postgres(minimum=17)
def test_an_incremental_backup_is_restored_with_what_it_is_based_on(primary, repository, recovery):
    destination, start = recovery
    primary.sql("ALTER SYSTEM SET summarize_wal = on")
    primary.sql("SELECT pg_reload_conf()")
    primary.load(20000)
    full = api.take_backup(primary.conninfo(), repository, fast_checkpoint=True)
    primary.load(100)
    outcome = api.take_backup(primary.conninfo(), repository, incremental="latest", fast_checkpoint=True)
    assert outcome.record.parent == full.record.id and outcome.stored_bytes < full.stored_bytes
    planned = api.plan_restore(repository, destination)
    assert [each.id for each in planned.plan.chain] == [full.record.id, outcome.record.id]
    api.restore(planned)
    assert_same_rows(start(), primary)


def test_a_plan_is_refused_before_anything_is_written(server, repository, tmp_path):
    api.create_repository(server.conninfo(), repository)
    with pytest.raises(api.TargetUnreachable):
        api.plan_restore(repository, str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["main"]


def test_each_segment_goes_into_a_sink_of_its_own(primary, eventually):
    kept = Kept()
    with api.receive_to(primary.conninfo(), kept):
        names = [fill_segment(primary), fill_segment(primary)]
        eventually(lambda: len(kept.files) == 2)
    assert list(kept.files) == names
    assert all(kept.files[name] == server_file(primary, name) for name in names)
    assert kept.aborted == 1


@pytest.mark.parametrize("durable", [True, False])
def test_a_flushed_position_is_reported_only_of_durable_sinks(primary, durable, eventually):
    reported = "SELECT flush_lsn FROM pg_stat_replication WHERE application_name = 'mine'"
    kept = Kept()
    with api.receive_to(primary.conninfo(), kept, durable=durable, application_name="mine"):
        name = fill_segment(primary)
        eventually(lambda: name in kept.files)
        if durable:
            eventually(
                lambda: primary.one("SELECT pg_walfile_name(%s::pg_lsn - 1)", primary.one(reported)) == name
            )
        else:
            assert primary.one(reported) is None


def test_a_segment_that_broke_off_is_offered_again(primary, eventually):
    kept = Kept()
    with api.receive_to(primary.conninfo(), kept):
        primary.load(100)
        primary.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
        eventually(lambda: kept.aborted == 1)
        name = fill_segment(primary)
        eventually(lambda: name in kept.files)
    assert kept.files[name] == server_file(primary, name)


def test_a_sink_that_raises_ends_the_reception(primary):
    class Full(_KeptSink):
        def write(self, data):
            raise RuntimeError("no more")

    kept = Kept()
    reception = api.receive_to(primary.conninfo(), lambda name: Full(kept, name))
    with pytest.raises(RuntimeError, match="no more"):
        reception.run()
    assert kept.aborted == 1


def test_sinks_follow_a_promotion_and_get_the_history_first(primary, standby_factory, eventually):
    standby = standby_factory(primary)
    kept = Kept()
    with api.receive_to(standby.conninfo(), kept):
        first = fill_segment(primary)
        eventually(lambda: first in kept.files)
        standby.sql("SELECT pg_promote()")
        second = fill_segment(standby)
        eventually(lambda: second in kept.files)
    assert list(kept.files) == [first, "00000002.history", second]
    assert kept.files[second] == server_file(standby, second)


def test_messages_follow_each_other_without_a_hole(primary):
    start = position(primary)
    primary.load(2000)
    end = position(primary)
    received = list(api.stream(primary.conninfo(), start, end=end))
    assert received[0].start == start and received[-1].end == end
    assert all(before.end == after.start for before, after in itertools.pairwise(received))
    name = segment_name(primary)
    offset = start.value % (16 << 20)
    data = b"".join(wal.payload for wal in received)
    assert data == server_file(primary, name)[offset : offset + len(data)]


def test_a_stream_without_a_start_begins_with_what_is_written_next(primary):
    with contextlib.closing(api.stream(primary.conninfo())) as messages:
        before = position(primary)
        timer = threading.Timer(0.3, primary.load)
        timer.start()
        assert next(messages).start >= before
        timer.join()


def test_a_stream_reports_no_flushed_position(primary):
    start = position(primary)
    primary.load(100)
    with contextlib.closing(api.stream(primary.conninfo(), start, application_name="reader")) as messages:
        next(messages)
        flushed = primary.one("SELECT flush_lsn FROM pg_stat_replication WHERE application_name = 'reader'")
    assert flushed is None


def test_segments_come_whole_and_with_their_names(primary):
    start = position(primary)
    names = [fill_segment(primary), fill_segment(primary)]
    found = list(itertools.islice(api.segments(primary.conninfo(), start), 2))
    assert [name for name, _ in found] == names
    assert all(data == server_file(primary, name) for name, data in found)


def test_segments_end_with_the_last_one_before_the_end_position(primary):
    start = position(primary)
    names = [fill_segment(primary), fill_segment(primary)]
    assert [name for name, _ in api.segments(primary.conninfo(), start, end=position(primary))] == names


@pytest.mark.parametrize("whole", [True, False])
def test_reading_follows_a_promotion(primary, standby_factory, whole, eventually):
    standby = standby_factory(primary)
    start = position(primary)
    first = fill_segment(primary)
    end = position(primary)
    eventually(lambda: standby.one("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", str(end)))
    standby.sql("SELECT pg_promote()")
    second = fill_segment(standby)
    end = position(standby)
    if whole:
        found = dict(api.segments(standby.conninfo(), start, end=end))
        assert list(found) == [first, second]
        assert found[second] == server_file(standby, second)
    else:
        data = b"".join(wal.payload for wal in api.stream(standby.conninfo(), start, end=end))
        assert len(data) == end - start


def test_wal_that_the_server_does_not_have_is_refused(server):
    with pytest.raises(api.ServerRefused):
        next(api.stream(server.conninfo(), api.LSN(0x100000)))
