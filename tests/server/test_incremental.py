"""Taking incremental backups: what the server must offer, and what is refused before any data moves."""

import json
import os
from pathlib import Path

import pytest
from support.clusters import Cluster, fingerprint
from support.protection import listing, verified_by_postgres, wait_until

from catalog.lsn import LSN

ON = {"summarize_wal": "on", "autovacuum": "off"}
INCREMENTAL = pytest.mark.postgres(versions=[17, 18])


def refused(ours, *words):
    """What was said, and that nothing was left but the mark of a failure."""
    before = listing(ours.home(), leave_out=("state", "lock", "streaming", "wals"))
    said = ours.refusal("backup", "main", *words)
    after = listing(ours.home(), leave_out=("state", "lock", "streaming", "wals"))
    assert {name for name in set(after) - set(before) if not name.endswith("failed.json")} == set()
    return said


@pytest.mark.postgres(versions=[13, 15, 16])
def test_a_server_before_17_is_refused(cluster_factory, protect):
    ours = protect(cluster_factory())
    ours.run("backup", "main")
    said = refused(ours, "--incremental", "latest")
    assert f"need PostgreSQL 17 or later, and the server is {ours.cluster.version}" in said


@INCREMENTAL
def test_without_summaries_the_sql_that_turns_them_on_is_named(cluster_factory, protect):
    ours = protect(cluster_factory())
    full = ours.backup()
    said = refused(ours, "--incremental", full)
    assert "summarize_wal is off" in said
    sql = said.partition("run on the server: ")[2].partition(" -- ")[0]
    for statement in sql.split(";")[:-1]:
        ours.cluster.sql(statement)
    wait_until(lambda: ours.cluster.one("SHOW summarize_wal") == "on")
    ours.backup()
    ours.backup("--incremental", "latest")


@INCREMENTAL
def test_a_parent_that_does_not_exist_is_refused(cluster_factory, protect):
    ours = protect(cluster_factory(ON))
    assert "there is no 'latest' backup" in ours.refusal("backup", "main", "--incremental", "latest")
    ours.backup()
    assert "there is no backup 'nonesuch'" in refused(ours, "--incremental", "nonesuch")


@INCREMENTAL
def test_when_summaries_are_missing_the_server_is_quoted_and_a_full_backup_advised(cluster_factory, protect):
    cluster = cluster_factory(ON)
    ours = protect(cluster)
    with ours.receiving():
        full = ours.backup()
        cluster.load(rows=1000)
        cluster.sql("CHECKPOINT")
        begin = json.loads((ours.home() / "base" / full / "record.json").read_text())["begin"]["lsn"]
        wait_until(
            lambda: cluster.one("SELECT count(*) FROM pg_available_wal_summaries() WHERE end_lsn > %s", begin)
        )
        summaries = Path(cluster.directory, "pg_wal", "summaries")
        for each in summaries.glob("*.summary"):
            each.unlink()
        said = refused(ours, "--incremental", full)
        assert "WAL summaries are required on timeline 1" in said and "take a full backup" in said
        assert ours.backup("--incremental", ours.backup())


@INCREMENTAL
def test_a_parent_from_another_timeline_is_refused(cluster_factory, standby_factory, protect):
    primary = cluster_factory(ON)
    primary.load(rows=100)
    standby = standby_factory(primary, ON)
    ours = protect(primary)
    wait_until(
        lambda: standby.one(
            "SELECT pg_last_wal_replay_lsn() >= %s", primary.one("SELECT pg_current_wal_flush_lsn()")
        )
    )
    standby.stop()
    full = ours.backup()
    primary.stop()
    standby.start()
    standby.sql("SELECT pg_promote()")
    wait_until(lambda: not standby.one("SELECT pg_is_in_recovery()"))
    ours.cluster = standby
    ours.configure({"main": {}})
    assert "went another way" in refused(ours, "--incremental", full)


@INCREMENTAL
def test_a_running_incremental_backup_names_its_parent(cluster_factory, protect):
    cluster = cluster_factory(ON)
    ours = protect(cluster)
    with ours.receiving():
        full = ours.backup()
        process = ours.start("backup", "main", "--incremental", "latest-full", "--bwlimit", "500")
        marks = lambda: list(ours.home().glob("base/*/started.json"))  # noqa: E731
        wait_until(lambda: any("begin" in json.loads(each.read_text()) for each in marks()))
        (mark,) = marks()
        assert json.loads(mark.read_text())["parent"] == full
        process.kill()
        process.wait()
        ours.backup("--incremental", full)
        assert len(list(ours.home().glob("base/*/failed.json"))) == 1


@INCREMENTAL
def test_chains_may_branch_and_a_standby_may_be_the_source(
    cluster_factory, standby_factory, protect, cluster_directory
):
    primary = cluster_factory(ON)
    primary.load(rows=20000)
    standby = standby_factory(primary, ON)
    ours = protect(standby)

    def caught_up():
        primary.sql("CHECKPOINT")
        position = primary.one("SELECT pg_current_wal_flush_lsn()::text")
        wait_until(lambda: standby.one("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", position))
        standby.sql("CHECKPOINT")

    with ours.receiving():
        caught_up()
        full = ours.backup()
        said = refused(ours, "--incremental", full)
        assert "requires WAL from final timeline" in said and "run CHECKPOINT on the primary" in said
        primary.load(rows=100)
        caught_up()
        first = ours.backup("--incremental", full)
        primary.sql("UPDATE load SET body = 'changed' WHERE id % 1000 = 0")
        caught_up()
        second = ours.backup("--incremental", full, "--name", "branch")
        content = fingerprint(standby)
        # Behind the end of the backup there must be a record for PostgreSQL to notice that it is consistent.
        caught_up()
        primary.load(rows=10, table="behind")
        position = LSN.parse(primary.one("SELECT pg_current_wal_flush_lsn()::text"))
        wait_until(lambda: ours.acknowledged() >= position)
    found = ours.facts("show-backup", "main", full)["catalog_information"]
    assert found["children_backup_ids"] == [first, second]
    place = os.path.join(cluster_directory, "restored")
    with Cluster(primary.version, place) as copy:
        ours.restore(Path(place), "branch", place, "--target-immediate")
        verified_by_postgres(copy)
        copy.start()
        assert copy.wait_for_recovery() == "paused"
        assert fingerprint(copy) == content


@INCREMENTAL
def test_a_chain_goes_on_behind_a_failover(cluster_factory, standby_factory, protect, cluster_directory):
    primary = cluster_factory(ON)
    primary.load(rows=20000)
    standby = standby_factory(primary, ON)
    ours = protect(primary)
    with ours.receiving():
        full = ours.backup()
        primary.sql("UPDATE load SET body = 'changed' WHERE id % 1000 = 0")
        position = ours.catch_up()
    wait_until(lambda: standby.one("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", str(position)))
    primary.stop()
    standby.sql("SELECT pg_promote()")
    wait_until(lambda: not standby.one("SELECT pg_is_in_recovery()"))
    ours.cluster = standby
    ours.configure({"main": {}})
    standby.load(rows=100)
    last = ours.backup("--incremental", "latest")
    content = fingerprint(standby)
    place = os.path.join(cluster_directory, "restored")
    with Cluster(primary.version, place) as copy:
        facts = ours.restore(Path(place), "auto", place)
        assert (facts["chain"], facts["timeline"]) == ([full, last], 2)
        verified_by_postgres(copy)
        copy.start()
        assert copy.wait_for_recovery() == "ended"
        assert fingerprint(copy) == content
