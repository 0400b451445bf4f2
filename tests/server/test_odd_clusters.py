"""Backups of clusters that look unusual on disk, restored: links, odd names, huge and unlogged relations."""

import os
import shutil
from pathlib import Path

import pytest
from support.backups import base, ids, members, odd_place, record_of, restored, start_slow_backup
from support.clusters import assert_same_rows, fingerprint
from support.protection import listing, verified_by_postgres, wait_until

from walstream.ops import unprivileged

ODD = [b"with blank", b"new\nline", b"quote'\"\\", "Grüße 雪".encode(), b"not utf-8 \xff\xfe", b"%f %p"]


@pytest.fixture
def recovered(cluster_directory):
    """``recovered(ours, *words)``: the newest backup restored, verified by PostgreSQL, and recovered."""
    made = []

    def make(ours, *words):
        place = os.path.join(cluster_directory, f"restored-{len(made)}")
        cluster = restored(ours, place, "latest", *words)
        made.append(cluster)
        verified_by_postgres(cluster)
        cluster.start()
        assert cluster.wait_for_recovery() == "ended"
        return cluster

    yield make
    for cluster in made:
        cluster.close()


@pytest.mark.parametrize("checksums", [True, False])
def test_page_checksums_may_be_on_or_off(cluster_factory, protect, recovered, checksums):
    cluster = cluster_factory(checksums=checksums)
    cluster.load(rows=1000)
    ours = protect(cluster)
    record = record_of(ours, ours.backup())
    assert (record["data_checksums"], record["checksum_errors"]) == (checksums, 0)
    copy = recovered(ours)
    assert copy.one("SHOW data_checksums") == ("on" if checksums else "off")
    assert_same_rows(copy, cluster)


def test_wal_may_lie_elsewhere(cluster_factory, protect, recovered, cluster_directory):
    cluster = cluster_factory()
    cluster.load(rows=1000)
    cluster.stop()
    elsewhere = os.path.join(cluster_directory, "wal of the origin")
    wal = Path(cluster.directory, "pg_wal")
    shutil.copytree(wal, elsewhere)
    shutil.rmtree(wal)
    wal.symlink_to(elsewhere)
    unprivileged.way().give(elsewhere)
    os.chmod(elsewhere, 0o700)
    cluster.start()
    ours = protect(cluster)
    backup = ours.backup()
    assert "pg_wal/archive_status" in [name.removeprefix("./") for name in members(ours, backup)]
    before = listing(Path(elsewhere))
    copy = recovered(ours)
    assert not Path(copy.directory, "pg_wal").is_symlink()
    assert before.keys() <= listing(Path(elsewhere)).keys()
    assert_same_rows(copy, cluster)


@pytest.mark.postgres(minimum=16)
def test_a_tablespace_in_place_is_restored_in_place(cluster_factory, protect, recovered):
    cluster = cluster_factory(start=False)
    cluster.configure({"allow_in_place_tablespaces": "on"})  # in the file: the copy needs it as well
    cluster.start()
    cluster.sql("CREATE TABLESPACE inside LOCATION ''")
    cluster.sql("CREATE TABLE far TABLESPACE inside AS SELECT generate_series(1, 5000) AS n")
    ours = protect(cluster)
    ours.backup()
    copy = recovered(ours)
    oid = copy.one("SELECT oid FROM pg_tablespace WHERE spcname = 'inside'")
    place = Path(copy.directory, "pg_tblspc", str(oid))
    assert place.is_dir() and not place.is_symlink()
    assert_same_rows(copy, cluster)


def test_of_an_unlogged_table_only_the_empty_beginning_is_stored(cluster_factory, protect, recovered):
    cluster = cluster_factory()
    cluster.sql("CREATE UNLOGGED TABLE fleeting AS SELECT generate_series(1, 10000) AS n")
    cluster.load(rows=100)
    path = cluster.one("SELECT pg_relation_filepath('fleeting')")
    ours = protect(cluster)
    names = members(ours, ours.backup())
    assert f"{path}_init" in names and path not in names
    copy = recovered(ours)
    assert copy.one("SELECT count(*) FROM fleeting") == 0
    copy.sql("INSERT INTO fleeting VALUES (1)")
    assert copy.one("SELECT count(*) FROM load") == 100


@pytest.mark.postgres(maximum=13)
def test_a_tablespace_that_13_leaves_out_is_refused(cluster_factory, protect, cluster_directory):
    cluster = cluster_factory()
    space = odd_place(cluster_directory, "new\nline")
    unprivileged.way().give(space)
    cluster.sql(f"CREATE TABLESPACE odd LOCATION '{space}'")
    ours = protect(cluster)
    assert "with a line break in their location ('odd')" in ours.refusal("backup", "main")


def test_names_may_be_any_bytes(cluster_factory, protect, recovered, cluster_directory, pg_version):
    cluster = cluster_factory()
    space = odd_place(cluster_directory, "back\\slash and" + ("\nnew line" if pg_version > 13 else ""))
    unprivileged.way().give(space)
    with cluster.connect() as connection:
        connection.execute('CREATE DATABASE "Grüße, ""Welt"" 雪"')
        connection.execute(
            "CREATE TABLESPACE \"odd 'space'\" LOCATION " + "E'" + space.replace("\\", "\\\\") + "'"
        )
        connection.execute("CREATE TABLE there TABLESPACE \"odd 'space'\" AS SELECT 1 AS n")
    stray = [*ODD, *(os.path.join(b"odd directory \xff", name) for name in ODD)]
    for name in stray:
        path = os.path.join(os.fsencode(cluster.directory), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(name * 100)
    unprivileged.way().give(cluster.directory)
    ours = protect(cluster)
    backup = ours.backup("--name", "a 'name' – ünd\\more")
    assert record_of(ours, backup)["label"] == f"walstream {backup}"
    assert "OK, " in ours.run("verify-backup", "main", backup).stdout
    target = odd_place(cluster_directory, "restored\\space")
    copy = recovered(ours, "--tablespace", f"odd 'space':{target}")
    for name in stray:
        path = os.path.join(os.fsencode(copy.directory), name)
        assert Path(os.fsdecode(path)).read_bytes() == name * 100
    assert fingerprint(copy) == fingerprint(cluster)
    assert copy.one("SELECT count(*) FROM pg_database WHERE datname LIKE 'Gr%'") == 1
    assert len(os.listdir(target)) == 1


@pytest.mark.postgres(versions=[18])
def test_a_relation_of_more_than_a_gigabyte_is_restored(cluster_factory, protect, recovered):
    cluster = cluster_factory(checksums=False)
    cluster.load(rows=10000)
    cluster.sql("VACUUM FREEZE load")
    path = Path(cluster.directory, cluster.one("SELECT pg_relation_filepath('load')"))
    cluster.stop()
    with open(f"{path}.1", "wb") as second:
        second.write(path.read_bytes())  # the same rows again, behind a gigabyte of new pages
    os.truncate(path, 1 << 30)
    unprivileged.way().give(cluster.directory)
    cluster.start()
    assert cluster.one("SELECT count(*) FROM load") == 20000
    ours = protect(cluster, basebackup_retry_times="0")
    backup = ours.backup()
    record = record_of(ours, backup)
    assert record["cluster_size"] > 1 << 30 > 10 * sum(each["stored_size"] for each in record["archives"])
    copy = recovered(ours)
    assert copy.one("SELECT pg_relation_size('load')") > 1 << 30
    assert copy.one("SELECT count(*) FROM load") == 20000


def test_a_standby_that_is_promoted_during_the_backup_is_refused_clearly(
    cluster_factory, standby_factory, protect
):
    primary = cluster_factory()
    primary.load(rows=1000)
    standby = standby_factory(primary)
    wait_until(lambda: standby.one("SELECT count(*) FROM pg_class WHERE relname = 'load'") == 1)
    ours = protect(standby)
    with ours.receiving():
        process = start_slow_backup(ours)
        assert standby.one("SELECT pg_promote()")
        assert process.wait(60) == 1
        said = ours.log.read_text()
        assert "the standby was promoted during online backup" in said
        assert "hint: " in said[said.index("promoted during") :] and "Traceback" not in said
        (failed,) = ids(ours, "failed.json")
        assert os.listdir(base(ours, failed)) == ["failed.json"]
        assert record_of(ours, ours.backup())["from_standby"] is False


def test_a_begin_whose_wal_is_gone_stops_the_backup_before_data_moves(
    cluster_factory, standby_factory, protect
):
    primary = cluster_factory({"checkpoint_timeout": "1h"}, segment_megabytes=1)
    primary.load(rows=1000)
    standby = standby_factory(primary)
    ours = protect(standby)
    ours.cluster = primary
    for _ in range(4):  # no checkpoint: the standby can only begin where the last one was
        primary.load(rows=1000)
        primary.switch_wal()
    end = primary.one("SELECT pg_current_wal_lsn()::text")
    wait_until(lambda: standby.one("SELECT pg_last_wal_replay_lsn() >= %s", end))
    with ours.receiving():
        wait_until(lambda: len(ours.stored()) >= 4)
    for path in sorted(ours.stored().values())[:-1]:
        path.unlink()
    with ours.receiving():
        said = ours.refusal("backup", "main")
    assert "which is not in the repository and is not received any more" in said
    assert "wait for the next checkpoint" in said
    (failed,) = ids(ours, "failed.json")
    assert os.listdir(base(ours, failed)) == ["failed.json"]
