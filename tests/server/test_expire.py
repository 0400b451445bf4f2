"""Retention on real servers: what stays can be restored, every moment that was promised included."""

import json
import os
from pathlib import Path

import pytest
from support.clusters import Cluster
from support.protection import wait_until


@pytest.fixture
def restored(cluster_directory):
    """``restored(ours, *words)``: the rows of a cluster that was restored so, and promoted at its target."""

    def make(ours, *words):
        directory = os.path.join(cluster_directory, f"restored-{len(os.listdir(cluster_directory))}")
        ours.restore(Path(directory), words[0], directory, *words[1:])
        copy = Cluster(ours.cluster.version, directory)
        copy.start()
        try:
            wait_until(lambda: not copy.one("SELECT pg_is_in_recovery()"))
            return copy.one("SELECT count(*)::int FROM moments")
        finally:
            copy.stop()

    return make


def test_after_an_expiry_every_promised_moment_of_every_timeline_can_be_restored(
    cluster_factory, standby_factory, protect, restored
):
    primary = cluster_factory({"autovacuum": "off"}, segment_megabytes=1)
    primary.sql("CREATE TABLE moments (at int)")
    ours = protect(primary, retention_policy="REDUNDANCY 2")
    moments = {}

    def live_on(cluster):
        for _ in range(2):
            cluster.sql("INSERT INTO moments SELECT count(*) FROM moments")
            cluster.load(rows=300)
            position = cluster.one("SELECT pg_current_wal_insert_lsn()::text")
            moments[position] = len(moments) + 1
            cluster.sql("SELECT pg_switch_wal()")

    with ours.receiving():
        for _ in range(3):
            ours.backup()
            live_on(primary)
        ours.catch_up()
        standby = standby_factory(primary)
        wait_until(lambda: standby.one("SELECT count(*)::int FROM moments") == len(moments))
    primary.stop()
    standby.sql("SELECT pg_promote()")
    ours.cluster = standby
    ours.configure({"main": {"retention_policy": "REDUNDANCY 2"}})
    with ours.receiving():
        live_on(standby)
        ours.catch_up()
        before = set(ours.stored())
        found = ours.facts("expire", "main")
        assert [each["goes"] for each in found["backups"]] == [False, False, True]
        assert 0 < found["removed_wal_files"] == len(before - set(ours.stored()))
        live_on(standby)
        ours.catch_up()
    standby.stop()
    oldest, newest = sorted(each["backup_id"] for each in found["backups"] if not each["goes"])
    reachable = list(moments.items())[2:]  # those behind the end of the second backup
    for position, count in reachable[::2]:
        assert restored(ours, oldest, "--target-lsn", position, "--target-action", "promote") == count
    position, count = reachable[-1]
    assert restored(ours, newest, "--target-lsn", position, "--target-action", "promote") == count


def test_behind_a_backup_that_is_kept_alone_wal_is_neither_missed_nor_fetched_again(
    cluster_factory, protect, restored
):
    primary = cluster_factory(segment_megabytes=1)
    primary.sql("CREATE TABLE moments (at int)")
    ours = protect(primary, retention_policy="REDUNDANCY 1")
    with ours.receiving():
        kept = ours.backup()
        for _ in range(2):
            primary.load(rows=300)
            primary.sql("INSERT INTO moments VALUES (1)")
            primary.sql("SELECT pg_switch_wal()")
            ours.backup()
        ours.catch_up()
    ours.run("keep", "main", kept, "--target", "standalone")
    assert ours.facts("expire", "main")["removed_wal_files"] > 0
    with ours.receiving():
        ours.catch_up()
    assert not (ours.home() / "state" / "gaps.json").exists()
    found = json.loads(ours.run("-f", "json", "check", "main", code=None).stdout)["main"]
    assert found["wal_archive"]["status"] == "OK"
    assert found["minimum_redundancy_requirements"]["status"] == "OK"
    assert restored(ours, kept, "--target-immediate", "--target-action", "promote") == 0
    assert restored(ours, "latest") == 2
