"""An archive_command beside streaming, or while nobody streams: put-wal and archive-wal."""

import shlex
import sys
from pathlib import Path

import pytest
from support.clusters import together
from support.protection import ROOT, assert_same_wal, wait_until


@pytest.fixture
def archived(cluster_factory, protect):
    """A cluster whose archive_command is put-wal, by path or over standard input."""

    def make(stdin):
        cluster = cluster_factory({"archive_mode": "on"}, segment_megabytes=1)
        ours = protect(cluster, archiver="on")
        archive_with_put_wal(cluster, ours, stdin)
        return ours

    return make


def archive_with_put_wal(cluster, ours, stdin=False):
    command = f"PYTHONPATH={shlex.quote(ROOT)} {sys.executable} -P -m walstream -c {shlex.quote(ours.config)}"
    command = command.replace("%", "%%").replace("'", "''") + " put-wal main "
    command += "--stdin %f < %p" if stdin else "%p"
    cluster.sql(f"ALTER SYSTEM SET archive_command = '{command}'")
    cluster.sql("SELECT pg_reload_conf()")


def is_archived(cluster, segment):
    return cluster.one("SELECT last_archived_wal >= %s FROM pg_stat_archiver", segment)


@pytest.mark.parametrize("stdin", [False, True])
def test_what_the_server_archives_is_filed_beside_the_stream(archived, stdin):
    ours = archived(stdin)
    with ours.receiving():
        for _ in range(3):
            ours.cluster.load(rows=300)
            last = ours.cluster.one("SELECT pg_walfile_name(pg_switch_wal())")
        wait_until(lambda: is_archived(ours.cluster, last))
        wait_until(lambda: not list((ours.home() / "incoming").iterdir()))
        ours.catch_up()
        assert "files WAL by itself" in ours.run("archive-wal", "main").stdout
    assert not list((ours.home() / "errors").iterdir())
    assert_same_wal(ours)


def test_without_a_receiver_it_waits_for_archive_wal_and_fills_what_the_stream_missed(archived):
    ours = archived(stdin=True)
    with ours.receiving():
        ours.catch_up()
    ours.cluster.load(rows=3000)
    last = ours.cluster.one("SELECT pg_walfile_name(pg_switch_wal())")
    wait_until(lambda: is_archived(ours.cluster, last))
    waiting = sorted(path.name for path in (ours.home() / "incoming").iterdir())
    assert last in waiting
    assert f"{len(waiting)} delivered files were filed" in ours.run("archive-wal", "main").stdout
    assert set(waiting) <= {path.name[:24] for path in ours.stored().values()}
    again = Path(ours.cluster.directory, "pg_wal", last)
    if again.exists():
        assert "is held already" in ours.run("put-wal", "main", str(again)).stderr
    with ours.receiving():
        ours.catch_up()
    assert_same_wal(ours)


def test_a_backup_may_rest_on_what_the_server_archives_alone(archived):
    ours = archived(stdin=False)
    with ours.receiving():
        last = ours.cluster.one("SELECT pg_walfile_name(pg_switch_wal())")
        wait_until(lambda: is_archived(ours.cluster, last))
    ours.configure({"main": {"archiver": "on", "streaming_archiver": "off"}})
    ours.backup("--no-wait")
    ours.cluster.sql("SELECT pg_switch_wal()")

    def is_done():
        ours.run("archive-wal", "main")
        return ours.facts("show-backup", "main", "latest")["status"] == "DONE"

    wait_until(is_done)


def test_a_new_primary_that_was_behind_gets_rid_of_its_partial_segment(
    cluster_factory, standby_factory, protect, network, eventually
):
    primary = cluster_factory({"autovacuum": "off"}, segment_megabytes=1)
    line = network(primary)
    standby = standby_factory(primary, {"archive_mode": "on"}, start=False)
    standby.configure({"primary_conninfo": line.conninfo(application_name="standby_1")})
    standby.start()
    conninfo = together(primary, standby, target_session_attrs="read-write")
    ours = protect(primary, conninfo=conninfo, archiver="on")
    archive_with_put_wal(standby, ours)
    with ours.receiving() as process:
        primary.load(rows=1000)
        reached = str(ours.catch_up())
        eventually(lambda: standby.one("SELECT pg_last_wal_replay_lsn() >= %s", reached))
        line.stall()
        primary.load(rows=100)
        ours.catch_up()
        partial = f"{primary.one('SELECT pg_walfile_name(pg_current_wal_flush_lsn())')}.partial"
        primary.kill()
        assert standby.one("SELECT pg_promote()")
        ours.cluster = standby
        eventually(ours.streams, timeout=90)
        standby.load(rows=500)
        last = standby.one("SELECT pg_walfile_name(pg_switch_wal())")
        eventually(lambda: is_archived(standby, last), timeout=90)
        eventually(lambda: not list((ours.home() / "incoming").iterdir()))
        assert process.poll() is None
        ours.catch_up()
        assert_same_wal(ours, timeline=2)
    assert ours.held(partial) is not None
    assert not list((ours.home() / "errors").iterdir())


def test_a_server_that_does_not_expect_it_takes_nothing(cluster_factory, protect):
    ours = protect(cluster_factory())
    assert "set archiver = on" in ours.refusal("put-wal", "main", "/x/000000010000000000000001", code=2)
