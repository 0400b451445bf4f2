"""``bench`` on real servers: figures, and no trace on the server, on the disk, or in what commits wait for."""

import os
import shutil
import signal
import threading
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from support.clusters import pg_tool
from support.protection import stop, wait_until

BRIEF = ("--seconds", "0.2")
WHATEVER_VERSION = pytest.mark.postgres(versions=[18])


@pytest.fixture
def origin(cluster_factory):
    cluster = cluster_factory({"wal_keep_size": "256MB"})
    with_wal(cluster)
    return cluster


@pytest.fixture
def protection(protect, origin):
    made = protect(origin)
    made.home().mkdir(parents=True)
    return made


def with_wal(cluster):
    """Two whole segments at least."""
    for _ in range(3):
        cluster.load(2000)
        cluster.switch_wal()


def bench_connections(cluster):
    return cluster.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'walstream_bench'")


def test_everything_is_measured_and_nothing_is_left(protection, origin, tmp_path):
    plot = tmp_path / "plot.svg"
    before = origin.one("SELECT count(*) FROM pg_class")
    found = protection.facts("bench", "main", *BRIEF, "--commits", "--svg", str(plot))
    rates = found["rates"]
    expected = {"nowhere", "disk", "gzip", "lz4", "zstd", "age", "zstd + age"}
    assert expected <= rates.keys()
    assert all(rate["bytes"] > 0 and rate["seconds"] > 0 for rate in rates.values())
    assert found["latencies"].keys() == {"fsync", "round_trip", "commit"}
    assert all(0 < each["median_seconds"] <= each["p99_seconds"] for each in found["latencies"].values())
    assert "limits this setup" in found["limit"]
    assert found["server_settings"]["synchronous_commit"] == "on"
    assert ElementTree.parse(plot).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert list(protection.home().iterdir()) == []
    assert origin.one("SELECT count(*) FROM pg_class") == before
    assert origin.sql("SELECT 1 FROM pg_replication_slots") == []
    wait_until(lambda: bench_connections(origin) == [])


def test_the_server_writes_nothing_for_it_unless_that_is_asked_for(protection, origin):
    origin.sql("CHECKPOINT")
    before = origin.one("SELECT pg_current_wal_insert_lsn()")
    protection.run("bench", "main", *BRIEF)
    inserted = origin.one("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s::pg_lsn)", before)
    assert inserted < 8192  # what an idle server notes by itself


@WHATEVER_VERSION
def test_too_little_wal_is_said_and_load_makes_some(cluster_factory, protect):
    cluster = cluster_factory({"wal_keep_size": "1GB"}, segment_megabytes=64)
    protection = protect(cluster)
    protection.home().mkdir(parents=True)
    first = protection.facts("bench", "main", *BRIEF)
    assert first["rates"] == {}
    assert "--load" in first["skipped"]["streaming"]
    assert "too little WAL" in first["limit"]
    assert "fsync" in first["latencies"]
    loaded = protection.facts("bench", "main", *BRIEF, "--load")
    assert loaded["wal_bytes"] >= 64 << 20
    assert loaded["rates"]["nowhere"]["bytes"] > 0


def test_pg_receivewal_is_compared_with_where_it_is(protection, pg_version):
    program = pg_tool(pg_version, "pg_receivewal") or shutil.which("pg_receivewal")
    if program is None:
        pytest.skip("no pg_receivewal here")
    found = protection.facts("bench", "main", "--seconds", "2", "--pg-receivewal", program)
    received = found["rates"]["pg_receivewal"]
    assert 16 << 20 <= received["bytes"] <= found["wal_bytes"]
    assert received["cpu_seconds"] is None


@WHATEVER_VERSION
def test_a_pg_receivewal_that_fails_is_quoted_and_the_rest_is_measured(protection, tmp_path):
    program = tmp_path / "pg_receivewal"
    program.write_text("#!/bin/sh\necho it is too old >&2\nexit 1\n")
    program.chmod(0o755)
    found = protection.facts("bench", "main", *BRIEF, "--pg-receivewal", str(program))
    assert "it is too old" in found["skipped"]["pg_receivewal"]
    assert "disk" in found["rates"]


def test_a_commit_waits_while_bench_streams_whatever_the_server_takes_for_synchronous(
    protection, origin, eventually
):
    origin.sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
    origin.sql("SELECT pg_reload_conf()")
    eventually(lambda: origin.one("SHOW synchronous_standby_names") == "*")
    process = protection.start("bench", "main", "--seconds", "30")
    streams = (
        "SELECT sent_lsn, flush_lsn FROM pg_stat_replication "
        "WHERE application_name = 'walstream_bench' AND sent_lsn IS NOT NULL"
    )
    commit = threading.Thread(target=origin.sql, args=("CREATE TABLE waits ()",))
    waiting = (
        "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'CREATE TABLE waits%' AND wait_event = 'SyncRep'"
    )
    positions = set()

    def goes_on_being_sent():
        for sent, flushed in origin.sql(streams):
            assert flushed is None
            positions.add(sent)
        return len(positions) > 3

    try:
        commit.start()
        eventually(lambda: origin.sql(waiting) == [(1,)])
        eventually(goes_on_being_sent)
        assert origin.sql(waiting) == [(1,)]
        assert process.poll() is None
    finally:
        stop(process)
        origin.sql("ALTER SYSTEM RESET synchronous_standby_names")
        origin.sql("SELECT pg_reload_conf()")
        commit.join()


@WHATEVER_VERSION
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_bench_that_is_stopped_leaves_nothing(protection, origin, signum):
    process = protection.start("bench", "main", "--seconds", "60")
    wait_until(lambda: bench_connections(origin) != [] and list(protection.home().iterdir()) != [])
    assert stop(process, signum) == 130
    assert list(protection.home().iterdir()) == []
    assert origin.sql("SELECT 1 FROM pg_replication_slots") == []
    wait_until(lambda: bench_connections(origin) == [])


@WHATEVER_VERSION
def test_what_a_killed_bench_has_left_goes_with_the_next_one_and_what_a_living_one_uses_stays(
    protection, origin
):
    killed, living = (protection.start("bench", "main", "--seconds", "60") for _ in range(2))
    wait_until(lambda: len(list(protection.home().iterdir())) == 2)
    stop(killed, signal.SIGKILL)
    assert len(list(protection.home().iterdir())) == 2
    try:
        protection.run("bench", "main", *BRIEF)
        (left,) = protection.home().iterdir()
        assert f".{living.pid}-" in left.name
    finally:
        stop(living)
    assert list(protection.home().iterdir()) == []


@WHATEVER_VERSION
def test_a_commit_that_nobody_lets_go_is_taken_back_when_the_bench_is_stopped(protection, origin):
    origin.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    origin.sql("SELECT pg_reload_conf()")
    process = protection.start("bench", "main", *BRIEF, "--commits")
    waiting = (
        "SELECT 1 FROM pg_stat_activity WHERE application_name = 'walstream_bench' AND wait_event = 'SyncRep'"
    )
    wait_until(lambda: origin.sql(waiting) == [(1,)])
    assert stop(process, signal.SIGINT) == 130
    wait_until(lambda: bench_connections(origin) == [])


@WHATEVER_VERSION
@pytest.mark.parametrize(
    "words",
    [
        ("--svg", "/no/such/directory/plot.svg"),
        ("--pg-receivewal", "/no/such/program"),
        ("--seconds", "0"),
        ("--seconds", "a while"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_measured(protection, words):
    protection.refusal("bench", "main", *words, code=2)


@WHATEVER_VERSION
def test_a_home_that_is_not_there_is_refused_with_what_to_do(protection):
    os.rmdir(protection.home())
    assert "init" in protection.refusal("bench", "main", *BRIEF)


@WHATEVER_VERSION
def test_another_disk_can_be_measured(protection, tmp_path):
    os.rmdir(protection.home())
    found = protection.facts("bench", "main", *BRIEF, "--directory", str(tmp_path))
    assert "disk" in found["rates"]
    assert list(Path(tmp_path).iterdir()) == []


def test_a_standby_is_measured_and_so_is_the_timeline_that_it_begins(
    protect, origin, standby_factory, eventually
):
    standby = standby_factory(origin, {"wal_keep_size": "256MB"})
    with_wal(origin)
    reached = origin.one("SELECT pg_current_wal_flush_lsn()")
    eventually(lambda: standby.one("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", reached))
    protection = protect(standby)
    protection.home().mkdir(parents=True)
    found = protection.facts("bench", "main", *BRIEF, "--commits")
    assert found["rates"]["disk"]["bytes"] > 0
    assert "recovery" in found["skipped"]["commits"]
    standby.sql("SELECT pg_promote()")
    with_wal(standby)
    found = protection.facts("bench", "main", *BRIEF, "--commits")
    assert found["rates"]["disk"]["bytes"] > 0
    assert found["latencies"]["commit"]["count"] > 0
