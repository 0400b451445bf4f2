"""Receiving WAL from real servers: the same bytes as PostgreSQL's own receiver, whatever happens meanwhile."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import psycopg
import pytest
from support.clusters import Cluster, assert_same_rows, pg_tool
from support.protection import RECEIVER, assert_same_wal, segment_size, stop, timeline_of

from catalog.lsn import LSN
from catalog.walname import Segment, history_name

SYNCHRONOUS = {"synchronous_standby_names": RECEIVER}


@contextlib.contextmanager
def native_receiver(cluster, directory):
    """PostgreSQL's own receiver beside ours, until it has everything there is at the end of the block."""
    tool = pg_tool(cluster.version, "pg_receivewal")
    if tool is None:
        pytest.skip("this installation has no pg_receivewal")
    directory.mkdir()
    cluster.sql("SELECT pg_create_physical_replication_slot('native', true)")
    words = [tool, "-d", cluster.conninfo(application_name="native"), "-D", str(directory), "-S", "native"]
    process = subprocess.Popen([*words, "--no-loop", "--synchronous"])
    try:
        yield
        stop(process, signal.SIGINT)
    finally:
        process.kill()
        process.wait()


def complete(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if len(path.name) == 24}


@pytest.mark.parametrize("megabytes", [16, 1])
def test_segments_are_those_that_pg_receivewal_writes(
    cluster_factory, protect, tmp_path, eventually, megabytes
):
    cluster = cluster_factory(segment_megabytes=megabytes)
    ours = protect(cluster, compression="lz4")
    with native_receiver(cluster, tmp_path / "native"):
        for rows in (9000, 70000, 3000):
            with ours.receiving():
                cluster.load(rows=rows)
                if rows != 9000:
                    ours.catch_up()  # the first receiver is stopped in the middle of it all
        cluster.switch_wal()
        with ours.receiving():
            ours.catch_up()
            position = cluster.one("SELECT pg_current_wal_lsn()")
            behind = "SELECT flush_lsn >= %s FROM pg_stat_replication WHERE application_name = 'native'"
            eventually(lambda: cluster.one(behind, position))
    theirs = complete(tmp_path / "native")
    assert len(theirs) >= (2 if megabytes == 16 else 10)
    for name, content in theirs.items():
        assert ours.held(name) == content, name
    assert set(theirs) <= set(ours.stored())


def test_a_receiver_that_stops_in_mid_segment_goes_on_there(cluster_factory, protect):
    cluster = cluster_factory()
    ours = protect(cluster)
    for signum in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        process = ours.start("receive-wal", "main")
        ours.wait_for_stream(process)
        cluster.load(rows=500)
        assert stop(process, signum) == (-signum if signum == signal.SIGKILL else 0)
    with ours.receiving():
        ours.catch_up()
    assert_same_wal(ours)


def test_the_slot_follows_what_was_synced(cluster_factory, protect, eventually):
    cluster = cluster_factory()
    ours = protect(cluster)
    with ours.receiving():
        cluster.load(rows=1000)
        position = str(ours.catch_up())
        restart = "SELECT restart_lsn >= %s FROM pg_replication_slots WHERE slot_name = 'main'"
        eventually(lambda: cluster.one(restart, position))


def test_each_stored_file_is_good_to_the_stock_tools(cluster_factory, protect):
    cluster = cluster_factory(segment_megabytes=1)
    suffixes = {"zstd": ".zst", "lz4": ".lz4", "gzip": ".gz", "none": ""}
    for codec, suffix in suffixes.items():
        ours = protect(cluster, compression=codec, slot_name=codec)
        with ours.receiving():
            cluster.load(rows=9000)
            cluster.switch_wal()
        stored = ours.stored().values()
        assert stored and {path.suffix for path in stored} == {suffix}
        if suffix:
            for path in stored:
                subprocess.run([codec, "-tq", str(path)], check=True)


def test_a_synchronous_commit_has_been_received_when_it_returns(cluster_factory, protect):
    cluster = cluster_factory(SYNCHRONOUS)
    ours = protect(cluster)
    with ours.receiving(), cluster.connect() as connection:
        connection.execute("CREATE TABLE told (id int)")
        for number in range(50):
            connection.execute("BEGIN")
            connection.execute("INSERT INTO told VALUES (%s)", [number])
            ((inserted,),) = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchall()
            connection.execute("COMMIT")
            assert ours.acknowledged() > LSN.parse(inserted)


def test_a_commit_waits_for_a_receiver_that_does_not_run(cluster_factory, protect, eventually):
    cluster = cluster_factory(SYNCHRONOUS)
    ours = protect(cluster)
    with ours.receiving():
        cluster.load(rows=100)
    writer = threading.Thread(target=lambda: cluster.load(rows=1))
    writer.start()
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    eventually(lambda: cluster.one(waits) == 1)
    time.sleep(0.5)
    assert writer.is_alive() and cluster.one(waits) == 1
    with ours.receiving():
        writer.join(10)
        assert not writer.is_alive()


def test_what_a_client_was_told_survives_the_loss_of_primary_and_receiver(
    cluster_factory, protect, cluster_directory
):
    cluster = cluster_factory(SYNCHRONOUS)
    ours = protect(cluster)
    process = ours.start("receive-wal", "main")
    ours.wait_for_stream(process)
    cluster.load(rows=10)
    ours.backup()
    told = commit_until_killed(cluster, lambda: (cluster.kill(), process.kill()))
    process.wait()
    restored = Cluster(cluster.version, os.path.join(cluster_directory, "restored"))
    ours.restore(Path(restored.directory), "auto", restored.directory)
    with restored:
        restored.start()
        assert restored.wait_for_recovery() == "ended"
        assert restored.one("SELECT max(id) FROM told") >= told > 20


def commit_until_killed(cluster, kill):
    """Commit one row after the other until the server is gone; the last one that was acknowledged."""
    cluster.sql("CREATE TABLE told (id int)")
    told = 0
    timer = threading.Timer(1.0, kill)
    timer.start()
    with contextlib.suppress(psycopg.Error), cluster.connect() as connection:
        while True:
            connection.execute("INSERT INTO told VALUES (%s)", [told + 1])
            told += 1
    timer.join()
    return told


def test_get_wal_hands_out_the_segment_that_is_being_received(cluster_factory, protect, tmp_path):
    cluster = cluster_factory()
    ours = protect(cluster)
    with ours.receiving():
        cluster.load(rows=1000)
        position = ours.catch_up()
        size = segment_size(cluster)
        name = Segment.at(1, position, size).name(size)
        assert "not in" in ours.run("get-wal", "main", name, code=1).stderr
        ours.run("get-wal", "-P", "main", name, "-o", str(tmp_path / name))
    content = Path(cluster.directory, "pg_wal", name).read_bytes()
    end = size.offset(position)
    assert end > 0
    assert (tmp_path / name).read_bytes()[:end] == content[:end]
    assert (tmp_path / name).stat().st_size == size.nbytes


def test_a_restart_of_the_server_is_followed(cluster_factory, protect, eventually):
    cluster = cluster_factory()
    ours = protect(cluster)
    with ours.receiving() as process:
        for mode in ("fast", "immediate", "fast"):
            cluster.load(rows=1000)
            cluster.stop(mode)
            cluster.start()
            eventually(lambda: ours.streams())
        cluster.load(rows=1000)
        ours.catch_up()
        assert process.poll() is None
    assert_same_wal(ours)


@pytest.mark.parametrize("late", [False, True], ids=["live", "connecting late"])
def test_a_promotion_is_followed_and_both_timelines_can_be_restored(
    cluster_factory, standby_factory, protect, cluster_directory, eventually, late
):
    primary = cluster_factory()
    primary.load(rows=1000)
    standby = standby_factory(primary)
    ours = protect(standby)
    with ours.receiving():
        ours.backup()
        primary.load(rows=1000)
        replayed = "SELECT pg_last_wal_replay_lsn() >= %s"
        flushed = primary.one("SELECT pg_current_wal_flush_lsn()::text")
        eventually(lambda: standby.one(replayed, flushed))
        eventually(lambda: ours.acknowledged() >= LSN.parse(flushed))
        fork = standby.one("SELECT count(*) FROM load")
        if not late:
            promote(standby)
            eventually(lambda: (ours.home() / "wals" / history_name(2)).exists())
    if late:
        promote(standby)
    with ours.receiving():
        standby.load(rows=500)
        ours.catch_up()
    stored = ours.stored()
    assert history_name(2) in stored
    assert [name for name in stored if name.endswith(".partial") and name.startswith("00000001")]
    assert not [name for name in ours.spooled() if name.startswith("00000001")]
    assert len(ours.facts("list-backups", "main")) == 1
    for timeline, rows in (("2", fork + 500), ("1", fork)):
        restored = Cluster(primary.version, os.path.join(cluster_directory, f"along-{timeline}"))
        words = ["latest", restored.directory, "--target-tli", timeline]
        ours.restore(Path(restored.directory), *words)
        with restored:
            restored.start()
            assert restored.wait_for_recovery() == "ended"
            assert restored.one("SELECT count(*) FROM load") == rows
            assert timeline_of(restored) == 3
            if timeline == "2":
                assert_same_rows(restored, standby)


def promote(standby):
    assert standby.one("SELECT pg_promote()")


def test_receiving_goes_on_while_the_repository_cannot_be_written(cluster_factory, protect, eventually):
    cluster = cluster_factory(segment_megabytes=1)
    ours = protect(cluster)
    with ours.receiving():
        cluster.load(rows=100)
        cluster.switch_wal()
        eventually(lambda: ours.stored())
        wals = ours.home() / "wals"
        wals.rename(wals.with_name("aside"))
        wals.write_text("in the way")
        cluster.load(rows=30000)
        ours.catch_up()
        assert len([name for name in ours.spooled() if len(name) == 24]) >= 3
        assert "receiving goes on" in ours.log.read_text()
        wals.unlink()
        wals.with_name("aside").rename(wals)
        eventually(lambda: not [name for name in ours.spooled() if len(name) == 24], timeout=40)
        ours.catch_up()
    assert_same_wal(ours)


def test_a_repository_that_cannot_be_written_at_the_start_is_an_error(cluster_factory, protect):
    cluster = cluster_factory()
    ours = protect(cluster)
    ours.home().parent.write_text("in the way")
    assert "not a directory" in ours.run("receive-wal", "main", code=1).stderr.lower()


def test_a_repository_that_vanished_from_its_disk_is_not_made_anew(cluster_factory, protect, tmp_path):
    cluster = cluster_factory()
    place = tmp_path / "disk"
    place.mkdir()
    ours = protect(cluster, repository=str(place))
    with ours.receiving():
        cluster.load(rows=100)
        ours.catch_up()
    (place / "main").rename(tmp_path / "unmounted")
    for words in (("receive-wal", "main"), ("backup", "main")):
        assert "was used with one" in ours.refusal(*words)
    assert "was used with one" in ours.run("check", "main", code=1).stdout
    assert not (place / "main").exists()
    (tmp_path / "unmounted").rename(place / "main")
    with ours.receiving():
        ours.catch_up()


def test_an_inactive_server_is_not_backed_up(cluster_factory, protect):
    ours = protect(cluster_factory(), active="off")
    assert "inactive" in ours.refusal("backup", "main", code=2)
