"""``status``, ``replication-status`` and ``check`` on real servers and receivers, in good and in bad times."""

import json
import os
import shutil
import signal

import pytest
from support.protection import RECEIVER, stop

WHATEVER_VERSION = pytest.mark.postgres(versions=[18])
SMALL_SLOTS = {"max_slot_wal_keep_size": "1MB", "min_wal_size": "2MB", "max_wal_size": "4MB"}


@pytest.fixture
def checked():
    """``checked(ours)``: the items of ``check`` by key, whatever the exit code."""

    def check(ours, name="main"):
        return json.loads(ours.run("-f", "json", "check", name, code=None).stdout)[name]

    return check


def status(ours, *words):
    return ours.facts("status", *(words or ("main",)))


def lag(ours):
    return status(ours)["receiver_lag"]["lag_bytes"]


def lose_wal(cluster):
    """Make the server remove WAL that only a slot without a reader kept."""
    for _ in range(6):
        cluster.load(rows=100)
        cluster.switch_wal()
    cluster.sql("CHECKPOINT")
    assert cluster.one("SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'main'") == "lost"


def test_a_receiver_that_has_caught_up(cluster_factory, protect, eventually):
    cluster = cluster_factory()
    ours = protect(cluster, description="the shop")
    with ours.receiving() as process:
        backup = ours.backup()
        cluster.load(rows=1000)
        cluster.switch_wal()
        position = ours.catch_up()
        eventually(lambda: lag(ours) == 0)
        found = status(ours)
    messages = {key: each["message"] for key, each in found.items()}
    assert messages["description"] == "the shop" and messages["active"] == "True"
    assert messages["is_in_recovery"] == "in production"
    assert messages["pg_version"].startswith(f"{cluster.version}.")
    assert messages["data_directory"] == cluster.directory
    assert found["current_size"]["current_size_bytes"] > 1 << 20
    assert (messages["backups_number"], messages["first_backup"]) == ("1", backup)
    receiver = found["receiver"]
    assert (receiver["phase"], receiver["pid"]) == ("streaming", process.pid)
    assert cluster.socket_directory in receiver["host"] and "streaming since" in receiver["message"]
    assert found["flushed_lsn"]["lsn"] == found["server_lsn"]["lsn"] >= str(position)
    assert messages["timeline"] == "1" and messages["synchronous"] == "no"
    assert found["last_archived_segment"]["segment"] in ours.stored()
    slot = found["replication_slot"]
    assert (slot["active"], slot["wal_status"], slot["safe_wal_size_bytes"]) == (True, "reserved", None)
    assert messages["wal_gaps"] == messages["old_branches"] == "none"
    (window,) = found["recovery_window"]["windows"]
    assert (window["backup_id"], window["end_lsn"]) == (backup, found["flushed_lsn"]["lsn"])
    last = cluster.one("SELECT extract(epoch FROM date_trunc('second', clock_timestamp()))::bigint")
    assert last - 60 < int(window["last_time_timestamp"]) <= last


def test_the_lag_of_a_receiver_that_stands_still_grows_and_goes(cluster_factory, protect, eventually):
    cluster = cluster_factory()
    ours = protect(cluster)
    with ours.receiving() as process:
        ours.catch_up()
        process.send_signal(signal.SIGSTOP)
        try:
            cluster.load(rows=20000)
            first = lag(ours)
            cluster.load(rows=20000)
            assert 1 << 20 < first < lag(ours) - (1 << 20)
        finally:
            process.send_signal(signal.SIGCONT)
        ours.catch_up()
        eventually(lambda: lag(ours) == 0)


@WHATEVER_VERSION
def test_who_supervises_and_who_stopped_a_receiver_is_said(cluster_factory, protect, checked, eventually):
    ours = protect(cluster_factory())
    process = ours.start("run")
    try:
        eventually(
            lambda: status(ours)["receiver"].get("phase") == "streaming" and "supervisor" in status(ours)
        )
        found = status(ours)
        assert found["supervisor"]["pid"] == process.pid
        assert found["supervisor"]["receiver_pid"] == found["receiver"]["pid"]
        ours.run("receive-wal", "main", "--stop")
        found = status(ours)["receiver"]
        assert found["stopped"] and "until 'walstream receive-wal main' starts it again" in found["message"]
        assert "was stopped by" in checked(ours)["receive_wal_running"]["hint"]
    finally:
        stop(process)
    assert "supervisor" not in status(ours)


def test_a_server_that_is_down_is_said_and_the_rest_is_shown(cluster_factory, protect, eventually):
    cluster = cluster_factory()
    ours = protect(cluster)
    with ours.receiving():
        backup = ours.backup()
        flushed = ours.catch_up()
        cluster.stop()
        eventually(lambda: status(ours)["receiver"]["phase"] == "waiting")
        said = ours.run("status", "main")
        found = status(ours)
    assert "did not answer" in found["pg_version"]["message"]
    assert "because" in found["receiver"]["message"] and found["receiver"]["trouble"]
    assert found["flushed_lsn"]["lsn"] >= str(flushed)
    assert found["first_backup"]["message"] == backup
    assert "\tRecovery window: from " in said.stdout
    assert "warning: main: cannot connect" in said.stderr


@WHATEVER_VERSION
def test_a_repository_alone_is_enough(cluster_factory, protect):
    cluster = cluster_factory()
    ours = protect(cluster)
    with ours.receiving():
        backup = ours.backup()
    place = ours.home().with_name("elsewhere")
    shutil.copytree(ours.home(), place, ignore=shutil.ignore_patterns("state", "lock"))
    cluster.stop()
    found = ours.facts("status", str(place), name="elsewhere")
    assert found["last_backup"]["message"] == backup
    assert found["receiver"]["message"] == "not running"
    assert backup in found["recovery_window"]["message"]
    assert "pg_version" not in found and "replication_slot" not in found


@WHATEVER_VERSION
def test_nothing_at_all_is_a_failure(cluster_factory, protect):
    cluster = cluster_factory()
    ours = protect(cluster)
    cluster.stop()
    said = ours.run("status", "main", code=1)
    assert "cannot connect" in said.stderr and "no repository yet" in said.stderr


def test_a_gap_is_open_until_a_backup_begins_behind_it(cluster_factory, protect, checked):
    cluster = cluster_factory(SMALL_SLOTS, segment_megabytes=1)
    ours = protect(cluster)
    with ours.receiving():
        first = ours.backup()
        ours.catch_up()
    lose_wal(cluster)
    slot = status(ours)["replication_slot"]
    assert slot["wal_status"] == "lost" and "keeps no WAL" in slot["message"]
    assert "has lost WAL" in checked(ours)["replication_slot"]["hint"]
    with ours.receiving():
        ours.catch_up()
        found = status(ours)
        gaps = checked(ours)["wal_gaps"]
        assert found["wal_gaps"]["message"] == "1 open"
        (gap,) = found["wal_gaps"]["gaps"]
        assert gap["open"] and gap["segments"] >= 1 and "removed" in gap["reason"]
        assert gaps["status"] == "FAILED" and gap["first_segment"] in gaps["hint"]
        assert gaps["remedy"] == "take a new backup: walstream backup main"
        assert "remedy: take a new backup" in ours.run("status", "main").stdout
        second = ours.backup()
        found, items = status(ours), checked(ours)
    assert found["wal_gaps"]["message"] == "1 closed"
    assert items["wal_gaps"]["status"] == items["wal_archive"]["status"] == "OK"
    assert [each["backup_id"] for each in found["recovery_window"]["windows"]] == [first, second]


def test_wal_that_vanished_without_a_record_is_told_too(cluster_factory, protect):
    cluster = cluster_factory(segment_megabytes=1)
    ours = protect(cluster)
    with ours.receiving():
        ours.backup()
        for _ in range(3):
            cluster.load(rows=100)
            cluster.switch_wal()
        ours.catch_up()
    lost = sorted(name for name in ours.stored() if len(name) == 24)[-2]
    ours.stored()[lost].unlink()
    found = status(ours)["wal_gaps"]
    assert found["message"] == "1 segment missing" and found["missing"] == [[lost, lost]]


@pytest.mark.parametrize("rows", [10, 30000], ids=["within a segment", "of several segments"])
def test_wal_that_only_the_old_branch_has_is_shown(
    cluster_factory, standby_factory, protect, checked, eventually, rows
):
    primary = cluster_factory(segment_megabytes=1)
    standby = standby_factory(primary)
    ours = protect(primary)
    with ours.receiving():
        ours.backup()
        position = ours.catch_up()
        replayed = "SELECT pg_last_wal_replay_lsn() >= %s"
        eventually(lambda: standby.one(replayed, str(position)))
        standby.stop()
        primary.load(rows=rows)
        ours.catch_up()
    primary.kill()
    standby.start()
    assert standby.one("SELECT pg_promote()")
    ours.cluster = standby
    ours.configure({"main": {}})
    with ours.receiving():
        standby.load(rows=100)
        ours.catch_up()
        found = status(ours)
        warning = checked(ours)["old_branches"]
    assert found["timeline"]["message"] == "2"
    assert warning["status"] == "OK" and warning["hint"].startswith("WARNING: only the repository has")
    assert "timeline 1 from" in warning["hint"] and warning["remedy"].endswith("--target-tli 1")
    (branch,) = found["old_branches"]["branches"]
    assert branch["timeline"] == 1
    assert branch["begin_lsn"] in ours.stored()["00000002.history"].read_text()
    assert standby.one("SELECT %s::pg_lsn > %s::pg_lsn", branch["end_lsn"], branch["begin_lsn"])
    planned = ours.restore(ours.place / "restored", "auto", str(ours.place / "restored"), "--dry-run")
    assert planned["timeline"] == 2
    assert f"the WAL of timeline 1 behind {branch['begin_lsn']} is left aside" in " ".join(
        planned["warnings"]
    )


def test_a_slot_left_behind_on_another_host_is_named(cluster_factory, standby_factory, protect, checked):
    primary = cluster_factory()
    standby = standby_factory(primary)
    hosts = {
        "host": f"{primary.socket_directory},{standby.socket_directory}",
        "port": f"{primary.port},{standby.port}",
    }
    ours = protect(primary, conninfo=primary.conninfo(**hosts, target_session_attrs="read-write"))
    key = f"replication_slot_on_{standby.socket_directory}:{standby.port}".replace("-", "_").replace(".", "")
    with ours.receiving():
        assert not [each for each in checked(ours) if "replication_slot_on" in each]
        standby.sql("SELECT pg_create_physical_replication_slot('main', true)")
        found = checked(ours)[key.lower()]
        assert found["hint"].startswith("WARNING: main is not active") and "keeps" in found["hint"]
        assert "SELECT pg_drop_replication_slot('main');" in found["remedy"]
        standby.stop()
        found = checked(ours)[key.lower()]
        assert "cannot be asked" in found["hint"]
        assert checked(ours)["replication_slot"]["status"] == "OK"


def test_clients_of_each_kind_are_shown_and_ours_is_marked(cluster_factory, standby_factory, protect):
    cluster = cluster_factory({"synchronous_standby_names": RECEIVER})
    ours = protect(cluster)
    with ours.receiving():
        standby_factory(cluster)
        ours.catch_up()
        assert status(ours)["synchronous"]["message"] == "yes, commits may wait for this receiver"
        found = ours.facts("replication-status", "main")
        clients = {each["application_name"]: each for each in found["streaming_clients"]}
        only = ours.facts("replication-status", "main", "--target", "hot-standby")["hot_standby_servers"]
        short = ours.run("replication-status", "main", "--minimal", "--target", "wal-streamer").stdout
        shown = ours.run("replication-status", "main").stdout
    receiver, standby = clients[RECEIVER], clients["standby_1"]
    assert (receiver["name"], receiver["current_sync_state"]) == ("Sync WAL streamer", "sync")
    assert receiver["our_receiver"] and receiver["sync_stage"] == "3/3 Remote write"
    assert receiver["replication_slot"] == "main" and "replay_lsn" not in receiver
    assert receiver["flush_lsn_diff_bytes"] == 0
    assert (standby["name"], standby["our_receiver"]) == ("Async standby", False)
    assert [each["application_name"] for each in only] == ["standby_1"]
    assert short.count("\n") == 4 and "1. W) postgres@socket S:" in short
    assert short.rstrip().endswith(f"P:1 AN:{RECEIVER} (the receiver of this server)")
    assert "Sync WAL streamer (the receiver of this server)\n" in shown


def test_who_may_not_look_is_told_the_grant(cluster_factory, protect):
    cluster = cluster_factory()
    cluster.sql("CREATE ROLE bob LOGIN REPLICATION")
    ours = protect(cluster, conninfo=cluster.conninfo(user="bob"))
    with ours.receiving():
        said = ours.run("replication-status", "main")
        assert "GRANT pg_monitor TO bob;" in said.stderr
        assert "(the receiver of this server)" in said.stdout and "hidden" in said.stdout
        cluster.sql("GRANT pg_monitor TO bob")
        assert ours.run("replication-status", "main").stderr == ""


@WHATEVER_VERSION
def test_options_that_make_no_sense_are_refused(cluster_factory, protect):
    ours = protect(cluster_factory())
    said = ours.refusal("replication-status", "main", "--source", "wal-host", code=2)
    assert "wal_streaming_conninfo" in said
    said = ours.run("-f", "json", "replication-status", "main", "--minimal", code=2)
    assert "--minimal is for people" in said.stderr


def test_a_standby_that_gives_the_wal_is_asked_as_wal_host(cluster_factory, standby_factory, protect):
    primary = cluster_factory()
    standby = standby_factory(primary)
    ours = protect(primary, wal_streaming_conninfo=standby.conninfo())
    with ours.receiving():
        found = ours.facts("replication-status", "main", "--source", "wal-host")
        (receiver,) = found["streaming_clients"]
        assert receiver["our_receiver"]
        names = [
            each["application_name"] for each in ours.facts("replication-status", "main")["streaming_clients"]
        ]
        assert names == ["standby_1"]
        found = status(ours)
    assert found["is_in_recovery"]["message"] == "in production"
    assert found["replication_slot"]["active"]


def test_a_server_that_does_not_answer_has_no_empty_list_of_clients(cluster_factory, protect):
    cluster = cluster_factory()
    ours = protect(cluster)
    cluster.stop()
    assert "cannot connect" in ours.refusal("replication-status", "main")


def test_remote_apply_that_could_wait_for_us_is_a_failure_until_we_report_it(
    cluster_factory, protect, checked
):
    cluster = cluster_factory({"synchronous_standby_names": RECEIVER})
    ours = protect(cluster)
    with ours.receiving():
        assert checked(ours)["synchronous_commit"]["status"] == "OK"
        cluster.sql("CREATE ROLE eager")
        cluster.sql("ALTER ROLE eager IN DATABASE postgres SET synchronous_commit = remote_apply")
        found = checked(ours)["synchronous_commit"]
        assert "for role eager in database postgres" in found["hint"]
        assert "ALTER ROLE eager IN DATABASE postgres SET synchronous_commit = on;" in found["remedy"]
        cluster.sql("ALTER SYSTEM SET synchronous_commit = remote_apply")
        cluster.sql("SELECT pg_reload_conf()")
        assert checked(ours)["synchronous_commit"]["hint"].startswith("remote_apply by default")
    ours.configure({"main": {"report_applied": "on"}})
    with ours.receiving():
        cluster.load(rows=10)  # with remote_apply, and it returns
        assert checked(ours)["synchronous_commit"]["status"] == "OK"


@WHATEVER_VERSION
def test_more_in_the_spool_than_its_limit_fails_the_check(cluster_factory, protect, checked, eventually):
    cluster = cluster_factory(segment_megabytes=1)
    ours = protect(cluster, spool_limit="1MiB")
    with ours.receiving():
        cluster.load(rows=100)
        cluster.switch_wal()
        ours.catch_up()
        # One that is still on its way into the repository would leave room in the spool later.
        eventually(lambda: ours.stored() and not [name for name in ours.spooled() if len(name) == 24])
        wals = ours.home() / "wals"
        wals.rename(wals.with_name("aside"))
        wals.write_text("in the way")
        cluster.load(rows=20000)
        eventually(lambda: len([name for name in ours.spooled() if len(name) == 24]) >= 2)
        found = json.loads(ours.run("-f", "json", "check", "main", code=1).stdout)["main"]
        assert "waiting to be archived: " in found["streaming_wals_directory"]["hint"]
        assert (
            "in the way" in found["streaming_wals_directory"]["hint"]
            or "cannot" in (found["streaming_wals_directory"]["hint"])
        )
        wals.unlink()
        os.rename(wals.with_name("aside"), wals)
        eventually(lambda: status(ours)["spool"]["segments"] == 0, timeout=60)
