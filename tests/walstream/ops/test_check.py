"""``check`` on real servers: each bad state is one FAILED item with its remedy, and nothing is changed."""

import json
import os
import shutil
import signal
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.modules import ROOT
from support.receiving import receiving

from catalog.gaps import Gap, record_gap
from catalog.inventory import Run
from catalog.lsn import SegmentSize
from catalog.walname import Segment
from walstream.ops import wiring
from walstream.ops.backup import BackupRequest, take_backup
from walstream.settings.load import load


@pytest.fixture
def protected(commands):
    """``protected(cluster)``: a server after ``init``, with its settings."""

    def protect(cluster, *lines, **conninfo):
        assert commands.init(cluster.conninfo(**conninfo)).code == 0
        if lines:
            with open(commands.file, "a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in lines)
        return load(commands.file).server("main")

    return protect


@pytest.fixture
def items(commands):
    """``items()``: run the check; its items by key, and the exit code must say the same."""

    def look(name="main"):
        run = commands("check", name, "-f", "json")
        found = json.loads(run.out)[name]
        failures = [item for item in found.values() if item["status"] == "FAILED"]
        assert run.code == (1 if failures else 0)
        assert all(item["hint"] and item["remedy"] for item in failures)
        return found

    return look


def failed_keys(found):
    return [key for key, item in found.items() if item["status"] == "FAILED"]


def snapshot(directory):
    return {path: path.stat().st_mtime_ns for path in Path(directory).rglob("*")}


def test_all_is_well_while_a_receiver_runs(cluster_factory, protected, items, commands):
    cluster = cluster_factory({"max_slot_wal_keep_size": "1GB"})
    settings = protected(cluster)
    with receiving(settings):
        take_backup(wiring.backup_options(settings, BackupRequest(fast_checkpoint=True)))
        found = items()
        shown = commands("check", "main").out
    assert failed_keys(found) == []
    assert "keeps" in found["replication_slot"]["hint"]
    labels = [line.split(":")[0].strip() for line in shown.splitlines()[1:5]]
    assert labels[0] == "PostgreSQL" and labels[2:] == ["PostgreSQL streaming", "wal_level"]
    assert "\treceive-wal running: OK\n" in shown and "remedy" not in shown


def test_every_item_is_documented(cluster_factory, protected, commands):
    cluster = cluster_factory()
    settings = protected(cluster)
    with receiving(settings):
        shown = commands("check", "main").out
    page = (ROOT / "docs" / "monitoring.md").read_text()
    labels = [line.split(":")[0].strip() for line in shown.splitlines()[1:] if not line.startswith("\t  ")]
    assert len(labels) > 20
    assert [label for label in labels if f"| `{label}` |" not in page] == []


def test_without_a_receiver_it_says_how_to_start_one(server, protected, items):
    protected(server)
    found = items()
    assert failed_keys(found) == ["receive_wal_running"]
    assert (
        found["receive_wal_running"]["remedy"]
        == "start it: walstream run (by hand, or after --stop: walstream receive-wal main)"
    )
    assert found["max_slot_wal_keep_size"]["hint"].startswith("WARNING: unlimited")


def test_it_changes_nothing(server, protected, items):
    settings = protected(server)
    before = snapshot(settings.repository)
    position = server.one("SELECT pg_current_wal_insert_lsn()")
    items()
    assert snapshot(settings.repository) == before
    assert server.one("SELECT pg_current_wal_insert_lsn()") == position
    assert server.one("SELECT count(*) FROM pg_replication_slots") == 0


def test_a_server_that_is_down_is_said_and_the_rest_is_checked(cluster_factory, protected, items):
    cluster = cluster_factory()
    protected(cluster)
    cluster.stop()
    found = items()
    assert failed_keys(found) == ["postgresql", "postgresql_streaming", "receive_wal_running"]
    assert "check that the server runs" in found["postgresql"]["remedy"]
    assert "free" in found["disk_space"]["hint"]


def test_a_server_that_hangs_is_given_up_after_check_timeout(cluster_factory, protected, items):
    cluster = cluster_factory()
    protected(cluster, "check_timeout = 1s")
    os.kill(cluster.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        found = items()
        assert time.monotonic() - began < 5
    finally:
        os.kill(cluster.pid, signal.SIGCONT)
    assert "postgresql" in failed_keys(found)


def test_another_cluster_at_the_same_address(cluster_factory, protected, items):
    cluster = cluster_factory()
    settings = protected(cluster)
    other = cluster_factory()
    text = Path(settings.source_file).read_text()
    Path(settings.source_file).write_text(text.replace(cluster.socket_directory, other.socket_directory))
    found = items()
    assert "systemid_coherence" in failed_keys(found)
    assert (
        str(other.one("SELECT system_identifier FROM pg_control_system()"))
        in (found["systemid_coherence"]["hint"])
    )


def test_a_role_that_lost_its_privilege(cluster_factory, protected, items):
    cluster = cluster_factory()
    cluster.sql("CREATE ROLE bob LOGIN REPLICATION")
    protected(cluster, user="bob")
    cluster.sql("ALTER ROLE bob NOREPLICATION")
    found = items()
    label = "superuser_or_standard_user_with_backup_privileges"
    assert failed_keys(found) == ["postgresql_streaming", "receive_wal_running", label]
    assert found[label]["remedy"] == "run on the server: ALTER ROLE bob REPLICATION;"


def test_a_wrong_password(cluster_factory, protected, items):
    cluster = cluster_factory(password_users=["bob"])
    cluster.sql("CREATE ROLE bob LOGIN REPLICATION PASSWORD 'before'")
    protected(cluster, user="bob", password="before")
    cluster.sql("ALTER ROLE bob PASSWORD 'after'")
    found = items()
    assert failed_keys(found)[:2] == ["postgresql", "postgresql_streaming"]
    assert "before" not in json.dumps(found)


def test_minimal_wal_without_senders(cluster_factory, protected, items):
    cluster = cluster_factory()
    protected(cluster)
    cluster.stop()
    cluster.settings |= {"wal_level": "minimal", "max_wal_senders": "0"}
    cluster.start()
    found = items()
    assert {"wal_level", "max_wal_senders", "postgresql_streaming"} <= set(failed_keys(found))


def test_no_free_slot_is_a_failure_until_ours_exists(cluster_factory, protected, items):
    cluster = cluster_factory({"max_replication_slots": "1"})
    protected(cluster)
    cluster.sql("SELECT pg_create_physical_replication_slot('other')")
    found = items()
    assert "ALTER SYSTEM SET max_replication_slots" in found["replication_slot"]["remedy"]
    cluster.sql("SELECT pg_drop_replication_slot('other')")
    assert "replication_slot" not in failed_keys(items())


def test_no_free_wal_sender(cluster_factory, protected, items, eventually):
    cluster = cluster_factory({"max_wal_senders": "2"})
    protected(cluster)
    eventually(lambda: cluster.one("SELECT count(*) FROM pg_stat_get_wal_senders()") == 0)
    with cluster.connect(replication="true"):
        assert "receiver and a base backup need 2" in items()["max_wal_senders"]["hint"]
        eventually(lambda: cluster.one("SELECT count(*) FROM pg_stat_get_wal_senders()") == 1)
        with cluster.connect(replication="true"):
            found = items()
    assert {"max_wal_senders", "postgresql_streaming"} <= set(failed_keys(found))


def test_an_inactive_slot_tells_what_it_keeps(cluster_factory, protected, items):
    cluster = cluster_factory()
    protected(cluster)
    cluster.sql("SELECT pg_create_physical_replication_slot('walstream', true)")
    cluster.load(rows=50_000)
    found = items()["replication_slot"]
    assert found["status"] == "FAILED" and "not active" in found["hint"] and "MiB of WAL" in found["hint"]


def test_a_slot_that_keeps_nothing(cluster_factory, protected, items):
    cluster = cluster_factory()
    protected(cluster)
    cluster.sql("SELECT pg_create_physical_replication_slot('walstream')")
    assert "keeps no WAL" in items()["replication_slot"]["hint"]


def test_a_slot_that_has_lost_wal(cluster_factory, protected, items):
    cluster = cluster_factory({"max_slot_wal_keep_size": "1MB", "min_wal_size": "32MB"})
    protected(cluster)
    cluster.sql("SELECT pg_create_physical_replication_slot('walstream', true)")
    for _ in range(4):
        cluster.load(rows=100)
        cluster.switch_wal()
    assert "about to lose WAL" in items()["replication_slot"]["hint"]
    cluster.sql("CHECKPOINT")
    found = items()["replication_slot"]
    assert "has lost WAL" in found["hint"]
    assert "makes it anew by itself" in found["remedy"] and "new backup" in found["remedy"]


def test_a_logical_slot_is_not_ours(cluster_factory, protected, items):
    cluster = cluster_factory({"wal_level": "logical"})
    protected(cluster)
    cluster.sql("SELECT pg_create_logical_replication_slot('walstream', 'pgoutput')")
    assert "logical" in items()["replication_slot"]["hint"]


def test_standby_names_that_still_name_barman(cluster_factory, protected, items):
    cluster = cluster_factory({"synchronous_standby_names": "FIRST 1 (barman_receive_wal)"})
    protected(cluster)
    found = items()["synchronous_standby_names"]
    assert found["status"] == "OK" and found["hint"].startswith("WARNING: it names barman_receive_wal")


@pytest.mark.postgres(minimum=15)
def test_tablespaces_in_place_are_a_failure_where_backups_leave_them_out(
    cluster_factory, protected, items, pg_version
):
    cluster = cluster_factory({"allow_in_place_tablespaces": "on"})
    cluster.sql("CREATE TABLESPACE inside LOCATION ''")
    protected(cluster)
    assert ("tablespaces" in failed_keys(items())) == (pg_version == 15)


def test_a_foreign_directory(server, protected, items):
    settings = protected(server)
    os.unlink(os.path.join(settings.repository, "identity.json"))
    found = items()
    assert "not a walstream repository" in found["directories"]["hint"]


def test_a_directory_of_barmans(server, protected, items, commands):
    settings = protected(server)
    Path(settings.repository, "identity.json").write_text('{"systemid": "7", "version": "15"}')
    run = commands("check", "main")
    assert run.code == 2 and "Barman's home (it holds 'main/identity.json')" in run.out
    other = Path(settings.home).parent / "two"  # a home is ours when something of ours is in it
    other.mkdir()
    other.joinpath("identity.json").write_text('{"format": 1}')
    with open(commands.file, "a") as file:
        file.write("[two]\nconninfo = host=/nowhere\n")
    assert "Barman" in items()["directories"]["hint"]


def test_what_is_wrong_in_a_model_of_the_server_is_told_before_it_is_needed(server, protected, items):
    protected(server, "[main:standby]", "model = true", "cluster = main", "slot_name = A-B")
    found = items()["models"]
    assert "'slot_name' in [main:standby]" in found["hint"] and "1 to 63" in found["remedy"]


def test_a_model_that_cannot_be_read_disables_the_server(server, protected, commands):
    Path(protected(server).home, "state", "active-model").mkdir()
    run = commands("check", "main")
    assert (
        run.code == 2 and "active-model': is a directory" in run.out and "which model is in force" in run.out
    )


def test_a_repository_that_cannot_be_read(server, protected, items):
    settings = protected(server)
    os.unlink(os.path.join(settings.repository, "identity.json"))
    os.mkdir(os.path.join(settings.repository, "identity.json"))
    assert "cannot read" in items()["directories"]["hint"]


def test_a_lock_that_cannot_be_read(server, protected, items):
    lock = Path(protected(server).home, "state", "receiver.lock")
    lock.unlink(missing_ok=True)
    lock.symlink_to(lock)
    assert "cannot read" in items()["receive_wal_running"]["hint"]


def test_a_repository_that_is_not_there(server, protected, items):
    settings = protected(server)
    shutil.rmtree(settings.repository)
    assert "directories" in failed_keys(items())


def test_segments_that_nobody_archives(server, protected, items):
    settings = protected(server)
    Path(settings.home, "streaming", "000000010000000000000001").touch()
    assert "waiting to be archived: 1 segment" in items()["streaming_wals_directory"]["hint"]


def test_refused_files(server, protected, items):
    settings = protected(server)
    Path(settings.home, "errors", "000000010000000000000001").touch()
    Path(settings.home, "errors", "000000010000000000000001.why").write_text("because")
    assert items()["archiver_errors"]["hint"].startswith("1 files were refused")


def test_a_failed_and_a_killed_backup(server, protected, items):
    settings = protected(server)
    base = Path(settings.repository, "base")
    for number in (1, 2):
        (base / f"20260101T00000{number}").mkdir()
    mark = '{"format": 1, "started": "2026-01-01T00:00:01Z", "ended": "2026-01-01T00:00:02Z", %s}'
    (base / "20260101T000001" / "failed.json").write_text(mark % '"error": "x", "hint": null')
    assert "there are 2" in items()["failed_backups"]["hint"]


def test_a_gap_since_the_oldest_backup(cluster_factory, protected, items, commands):
    # The spans of a real backup, with its archive of WAL cut behind it.
    cluster = cluster_factory()
    settings = protected(cluster)
    found = items()["wal_archive"]
    assert (
        found["hint"].startswith("WARNING: there is no backup yet") and "walstream backup" in found["remedy"]
    )
    with receiving(settings):
        outcome = take_backup(wiring.backup_options(settings, BackupRequest(fast_checkpoint=True)))
        assert outcome.restorable
        for _ in range(3):
            cluster.load(rows=100)
            assert commands("switch-wal", "main", "--archive").code == 0
        assert items()["wal_archive"] == {"status": "OK", "hint": ""}
        assert items()["old_branches"] == {"status": "OK", "hint": ""}
    stored = sorted(Path(settings.repository, "wals", "0000000100000000").iterdir())
    stored[-2].unlink()
    found = items()["wal_archive"]
    assert stored[-2].name[:24] in found["hint"] and "new backup" in found["remedy"]


def test_a_gap_that_was_accepted_and_has_no_complete_segment_behind_it_yet(cluster_factory, protected, items):
    cluster = cluster_factory()
    settings = protected(cluster)
    with receiving(settings):
        take_backup(wiring.backup_options(settings, BackupRequest(fast_checkpoint=True)))
    size, number = SegmentSize(16 << 20), 40
    record_gap(settings.home, Gap(Run(1, number, number), datetime.now(UTC), "removed"), size)
    found = items()["wal_gaps"]
    assert (
        f"{Segment(1, number).name(size)}, since 20" in found["hint"] and "because removed" in found["hint"]
    )
    assert "new backup" in found["remedy"]


def test_a_broken_section_disables_only_its_server(server, protected, commands):
    protected(server, "[other]", "conninfo = host=x", "nonsense = 1")
    run = commands("check", "all")
    assert run.code == 2
    assert "Server main:\n\tPostgreSQL: OK" in run.out
    assert "Server other:\n\tconfiguration: FAILED" in run.out


def test_an_inactive_server_is_neither_asked_nor_blamed(cluster_factory, protected, commands):
    cluster = cluster_factory()
    protected(cluster, "active = off")
    cluster.stop()
    run = commands("check", "main")
    assert run.code == 0 and run.out.startswith("Server main (inactive):\n\tdirectories: OK")


def test_an_unknown_server_is_a_configuration_error(server, protected, commands):
    protected(server)
    run = commands("check", "mian")
    assert run.code == 2 and "did you mean 'main'" in run.err


def test_wal_from_another_node_is_checked_there(cluster_factory, standby_factory, protected, items):
    primary = cluster_factory()
    standby = standby_factory(primary)
    protected(primary, f"wal_streaming_conninfo = {standby.conninfo()}")
    found = items()
    assert failed_keys(found) == ["receive_wal_running"]
    assert "standby" in found["postgresql_(wal_streaming)"]["hint"]
    assert "replication_slot_(wal_streaming)" in found and "replication_slot" not in found


def test_the_primary_of_a_standby_is_asked_for_its_role_and_cluster(
    cluster_factory, standby_factory, protected, items, commands
):
    primary = cluster_factory()
    protected(standby_factory(primary), f"primary_conninfo = {primary.conninfo()}")
    found = items()
    for key in (
        "postgresql_server_is_standby",
        "primary_server_is_not_a_standby",
        "primary_and_standby_have_same_system_id",
    ):
        assert found[key]["status"] == "OK"
    primary.stop("immediate")
    found = items()
    assert found["primary_server_is_not_a_standby"]["status"] == "FAILED"
    assert found["postgresql"]["status"] == found["postgresql_server_is_standby"]["status"] == "OK"


def test_what_is_no_standby_or_no_primary_of_it_is_named(cluster_factory, standby_factory, protected, items):
    primary, stranger = cluster_factory(), cluster_factory()
    standby = standby_factory(stranger)
    protected(primary, f"primary_conninfo = {standby.conninfo()}")
    found = items()
    assert "config-switch main" in found["postgresql_server_is_standby"]["remedy"]
    assert "leads to a standby" in found["primary_server_is_not_a_standby"]["hint"]
    assert "different clusters" in found["primary_and_standby_have_same_system_id"]["hint"]
