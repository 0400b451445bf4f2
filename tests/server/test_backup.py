"""Base backups from real servers: what they need, what they leave, and what a failure leaves."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.backups import base, ids, restored, start_slow_backup
from support.clusters import assert_same_rows, fingerprint
from support.protection import decompressed, environment, listing, stop, verified_by_postgres, wait_until


def test_a_backup_without_a_receiver_brings_its_own_wal(cluster_factory, protect, cluster_directory):
    cluster = cluster_factory()
    cluster.load(rows=1000)
    ours = protect(cluster)
    found = ours.facts("backup", "main")
    assert found["status"] == "DONE"
    before = fingerprint(cluster)
    cluster.stop()
    with restored(ours, os.path.join(cluster_directory, "restored"), "auto") as copy:
        verified_by_postgres(copy)
        copy.start()
        assert copy.wait_for_recovery() == "ended"
        assert fingerprint(copy) == before


def test_a_backup_waits_for_a_receiver_that_began_anew_while_the_server_was_down(cluster_factory, protect):
    cluster = cluster_factory()
    ours = protect(cluster)
    with ours.receiving() as receiver:

        def state():
            return json.loads((ours.home() / "state" / "receiver.json").read_text())

        cluster.stop()
        wait_until(lambda: state()["phase"] == "waiting")
        ours.configure({"main": {"flush_interval": "70ms"}})
        receiver.send_signal(signal.SIGHUP)
        wait_until(lambda: state()["timeline"] == 0)
        wait_until(lambda: state()["at"] - state()["since"] > 3)  # now its pauses are longer than that
        cluster.start()
        ours.backup()


def test_backups_of_an_idle_server_follow_each_other(cluster_factory, protect):
    ours = protect(cluster_factory())
    with ours.receiving():
        began = time.monotonic()
        first, second = ours.backup("--name", "the first"), ours.backup("--name", "second")
        assert time.monotonic() - began < 20
    assert ids(ours, "record.json") == sorted((first, second)) and first < second
    assert ids(ours, "started.json") == ids(ours, "failed.json") == []
    record = json.loads((base(ours, second) / "record.json").read_text())
    assert (record["name"], record["type"], record["from_standby"]) == ("second", "full", False)
    assert f"{first} is called 'the first' already" in ours.refusal(
        "backup", "main", "--name", "the first", code=2
    )
    assert ids(ours, "record.json") == [first, second] and ids(ours, "failed.json") == []


def test_a_backup_that_does_not_wait_becomes_restorable_by_itself(
    cluster_factory, protect, cluster_directory
):
    cluster = cluster_factory()
    cluster.load(rows=100)
    ours = protect(cluster)
    with ours.receiving():
        found = ours.facts("backup", "main", "--no-wait")
        assert found["status"] in ("DONE", "WAITING_FOR_WALS")
        ours.catch_up()
    with restored(ours, os.path.join(cluster_directory, "restored"), found["backup_id"]) as copy:
        copy.start()
        assert copy.wait_for_recovery() == "ended"
        assert_same_rows(copy, cluster)


def test_a_standby_is_backed_up_without_a_segment_switch_on_the_primary(
    cluster_factory, standby_factory, protect, cluster_directory
):
    primary = cluster_factory()
    primary.load(rows=1000)
    standby = standby_factory(primary)
    primary.load(rows=100)  # so that the backup ends within a segment
    wait_until(lambda: standby.one("SELECT count(*) FROM load") == 1100)
    standby.sql("CHECKPOINT")
    ours = protect(standby)
    segment = primary.one("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    with ours.receiving():
        backup_id = ours.backup()
    assert primary.one("SELECT pg_walfile_name(pg_current_wal_insert_lsn())") == segment
    record = json.loads((base(ours, backup_id) / "record.json").read_text())
    assert record["from_standby"] is True
    (stored,) = (base(ours, backup_id) / "wal").iterdir()
    assert stored.name.startswith(segment) and len(decompressed(stored)) == record["wal_segment_size"]
    shutil.rmtree(ours.home() / "streaming")  # what the backup needs is in base/ and wals/ alone
    with restored(ours, os.path.join(cluster_directory, "restored"), "latest", "--target-immediate") as copy:
        copy.start()
        assert copy.wait_for_recovery() == "paused"
        assert_same_rows(copy, primary)


def test_a_backup_whose_connection_dies_leaves_its_failure_and_nothing_else(cluster_factory, protect):
    cluster = cluster_factory()
    ours = protect(cluster)
    process = start_slow_backup(ours)
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE application_name = 'walstream_backup'"
    assert cluster.one(kill)
    assert process.wait(30) == 1
    (failed,) = ids(ours, "failed.json")
    assert os.listdir(base(ours, failed)) == ["failed.json"]
    mark = json.loads((base(ours, failed) / "failed.json").read_text())
    assert "terminating connection" in mark["error"] or "lost" in mark["error"]
    assert ids(ours, "record.json") == []
    assert ours.backup() > failed


def test_a_failed_backup_is_repeated_when_that_is_wanted(cluster_factory, protect):
    cluster = cluster_factory()
    ours = protect(cluster, basebackup_retry_times="3", basebackup_retry_sleep="1s")
    process = start_slow_backup(ours)
    assert cluster.one("SELECT pg_terminate_backend(pid) FROM pg_stat_progress_basebackup")
    wait_until(lambda: ids(ours, "failed.json"))
    assert process.wait(60) == 0
    assert len(ids(ours, "record.json")) == len(ids(ours, "failed.json")) == 1


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_backup_that_is_stopped_undoes_itself(cluster_factory, protect, signum):
    ours = protect(cluster_factory(), basebackup_retry_times="3", basebackup_retry_sleep="1s")
    process = start_slow_backup(ours)
    assert stop(process, signum) == 130
    (failed,) = ids(ours, "failed.json")
    assert os.listdir(base(ours, failed)) == ["failed.json"]
    assert signum.name in json.loads((base(ours, failed) / "failed.json").read_text())["error"]
    assert "Traceback" not in ours.log.read_text()


def test_a_server_that_would_leave_out_a_tablespace_is_not_backed_up(cluster_factory, protect, pg_version):
    cluster = cluster_factory({"allow_in_place_tablespaces": "on"})
    cluster.sql("CREATE TABLESPACE inside LOCATION ''")
    ours = protect(cluster)
    assert (ours.start("backup", "main").wait(60) == 1) == (pg_version <= 15)
    assert ("tablespaces in place ('inside')" in ours.log.read_text()) == (pg_version <= 15)


def test_what_a_killed_backup_left_is_swept_by_the_next(cluster_factory, protect):
    ours = protect(cluster_factory())
    process = start_slow_backup(ours)
    stop(process, signal.SIGKILL)
    (killed,) = ids(ours, "started.json")
    done = ours.backup()
    assert (ids(ours, "record.json"), ids(ours, "failed.json")) == ([done], [killed])
    assert os.listdir(base(ours, killed)) == ["failed.json"]
    assert not [name for name in listing(ours.home()) if "walstream-tmp" in name]


def test_a_full_disk_fails_the_backup_and_leaves_room(cluster_factory, protect):
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*namespace, "true"], check=False).returncode:
        pytest.skip("mounting a small file system takes a user namespace, which this machine refuses")
    cluster = cluster_factory(segment_megabytes=1)
    ours = protect(cluster, backup_compression="none")
    ours.home().mkdir(parents=True)
    script = (
        'mount -t tmpfs -o size=16m,mode=0700 none "$0" || exit 9; '
        '"$@"; echo "exit code $?"; cd "$0" && find base -type f && du -sk base | cut -f1; '
        'mount -o remount,size=400m "$0" && "$@"; echo "exit code $?"; cd base && ls */record.json'
    )
    command = [sys.executable, "-P", "-m", "walstream", "-c", ours.config, "backup", "main"]
    done = subprocess.run(
        [*namespace, "sh", "-c", script, str(ours.home()), *command],
        capture_output=True, text=True, env=environment(), timeout=120, check=False,
    )  # fmt: skip
    said = done.stdout.splitlines()
    assert "no space left on device" in done.stderr and "make room" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert said[0] == "exit code 1" and said[1].endswith("failed.json") and int(said[2]) < 100, said
    assert "exit code 0" in said[3:] and said[-1].endswith("record.json"), said


def test_damaged_pages_make_a_backup_suspect_and_their_files_are_named(cluster_factory, protect):
    cluster = cluster_factory(checksums=True)
    cluster.load(rows=20000)
    cluster.load(rows=1000, table="other")
    cluster.sql("CHECKPOINT")
    files = {name: cluster.one("SELECT pg_relation_filepath(%s)", name) for name in ("load", "other")}
    cluster.stop()
    for name, pages in (("load", 9), ("other", 1)):
        path = Path(cluster.directory, files[name])
        content = bytearray(path.read_bytes())
        for page in range(pages):
            content[page * 8192 + 5000] ^= 0xFF
        path.write_bytes(content)
    cluster.start()
    ours = protect(cluster)
    done = ours.run("-f", "json", "backup", "main", code=1)
    found = json.loads(done.stdout)
    pages = sorted([{"file": files["load"], "pages": 9}, {"file": files["other"], "pages": 1}], key=str)
    assert (found["main"]["status"], found["main"]["checksum_errors"]) == ("SUSPECT", 10)
    assert sorted(found["main"]["bad_files"], key=str) == pages
    assert f"{files['load']} (9)" in done.stderr and "pg_relation_filepath" in done.stderr
    record = json.loads((base(ours, found["main"]["backup_id"]) / "record.json").read_text())
    assert sorted(record["bad_files"], key=str) == pages
    checked = ours.run("check", "main", code=1).stdout
    assert "suspect backups: FAILED" in checked and f"{files['other']} (1)" in checked
    assert "SUSPECT (10 bad page checksums in " in ours.run("list-backups", "main").stdout


@pytest.mark.parametrize("command", ["backup", "init"])
def test_where_the_server_knows_us_a_missing_repository_is_not_made_anew(cluster_factory, protect, command):
    ours = protect(cluster_factory())
    with ours.receiving():
        ours.backup()
    away = ours.home().with_name("unmounted")
    ours.home().rename(away)
    words = ("backup", "main") if command == "backup" else ("init", "main", ours.cluster.conninfo())
    said = ours.refusal(*words)
    assert "the server has the slot 'main' already" in said and "is its disk mounted?" in said
    assert not ours.home().exists()
    assert "is its disk mounted?" in ours.run("check", "main", code=1).stdout
    away.rename(ours.home())
    ours.backup()
