"""Receivers that are started, kept running, stopped and given new settings: by run, by cron, by hand."""

import contextlib
import os
import signal
import socket
import threading
from pathlib import Path

import pytest
from support.protection import assert_same_wal, last_acknowledged, stop, wait_until

from catalog.lock import is_held
from catalog.state import read_receiver_state, receiver_holder, receiver_lock_path
from catalog.supervisor_state import SupervisorState, live_supervisor_state, read_supervisor_state

pytestmark = pytest.mark.postgres(versions=[18])  # the server's version plays no role

TWO = {"main": {}, "two": {}}


@pytest.fixture
def ours(cluster_factory, protect):
    """A cluster with small segments under protection, by default with two servers."""
    made = protect(cluster_factory(segment_megabytes=1))
    made.configure(TWO)
    yield made
    for name in TWO:  # receivers outlive whoever has started them, a failed test included
        if pid := receiver(made, name):
            os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def supervising(ours, *streaming):
    """A supervisor from the moment when these servers stream, until it has ended in order."""
    process = ours.start("run")
    try:
        wait_until(lambda: all(ours.streams(name) for name in streaming or ("main", "two")))
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        assert stop(process, timeout=60) == 0, ours.log.read_text()


def receiver(ours, name="main"):
    """The process that receives, 0 if none does."""
    found = receiver_holder(str(ours.home(name)))
    return found[1] if found else 0


def known(ours, name="main"):
    """What the supervisor that runs has published."""
    return live_supervisor_state(str(ours.home(name))) or SupervisorState(
        0, 0.0, None, None, 0, None, None, None
    )


def says(ours, text):
    return text in ours.log.read_text()


def test_a_supervisor_receives_from_all_servers_and_ends_with_everything_synced(ours):
    with supervising(ours):
        ours.cluster.load(rows=9000)
        for name in TWO:
            ours.catch_up(name)
            wait_until(lambda name=name: known(ours, name).child == receiver(ours, name))
        ours.cluster.load(rows=500)
    for name in TWO:
        assert not receiver(ours, name) and not ours.streams(name)
        assert not [spooled for spooled in ours.spooled(name) if len(spooled) == 24]
        assert read_supervisor_state(str(ours.home(name))) is None
    assert last_acknowledged(ours) >= read_receiver_state(str(ours.home())).written
    assert_same_wal(ours)


def test_a_receiver_that_is_killed_comes_back(ours):
    with supervising(ours):
        killed, untouched = receiver(ours), receiver(ours, "two")
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: receiver(ours) not in (0, killed) and ours.streams())
        state = known(ours)
        assert (state.restarts, state.last_exit, state.child) == (1, -signal.SIGKILL, receiver(ours))
        assert receiver(ours, "two") == untouched
        assert says(ours, "main: error: receiver ended: killed by SIGKILL; the next one starts in")
        ours.catch_up()
    assert_same_wal(ours)


def test_what_a_receiver_failed_with_is_known(ours):
    with supervising(ours):
        identity = ours.home() / "identity.json"
        right = identity.read_text()
        identity.write_text(right.replace('"system_identifier": "', '"system_identifier": "1'))
        os.kill(receiver(ours), signal.SIGTERM)
        wait_until(lambda: "system identifier" in str(known(ours).last_error))
        assert known(ours).last_exit == 1
        identity.write_text(right)
        wait_until(lambda: receiver(ours) and ours.streams())


def test_a_wrong_section_keeps_no_other_server_from_being_received(ours):
    ours.configure({**TWO, "wrong": {"compression": "magic"}})
    with supervising(ours):
        assert "wrong" in ours.log.read_text() and "magic" in ours.log.read_text()
    said = ours.run("cron", code=1).stderr.splitlines()
    assert len(said) == 1 and "magic" in said[0]


def test_only_one_supervisor_runs(ours):
    with supervising(ours) as process:
        assert f"process {process.pid}" in ours.refusal("run")


def test_new_settings_start_and_end_receivers_and_leave_wrong_ones_out(ours):
    ours.configure({"main": {}})
    with supervising(ours, "main") as process:
        ours.configure(TWO)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: ours.streams("two"))
        kept = receiver(ours, "two")
        ours.configure({"main": {"active": "off"}, "two": {"compression": "magic"}})
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: not receiver(ours) and says(ours, "magic"))
        ours.configure({"main": {"compression": "lz4"}, "two": {}})
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: ours.streams())
        assert receiver(ours, "two") == kept
        Path(ours.config).write_text("[walstream\n")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: says(ours, "the settings stay as they were"))
        assert ours.streams() and ours.streams("two")


def test_what_needs_the_slot_or_the_lock_of_a_receiver_says_how_to_end_it(ours):
    ours.configure({"main": {}})
    with ours.receiving():
        for words in (("receive-wal", "main"), ("receive-wal", "main", "--drop-slot")):
            assert "walstream receive-wal main --stop" in ours.refusal(*words)
        there = ours.run("receive-wal", "main", "--create-slot").stdout
    assert there == "replication slot 'main' is there already\n"
    assert ours.run("receive-wal", "main", "--drop-slot").stdout == "replication slot 'main' was dropped\n"


def test_a_receiver_says_up_to_where_it_has_received_and_that_it_has_no_slot(ours):
    ours.configure({"main": {"slot_name": ""}})
    process = ours.start("receive-wal", "main")
    state = str(ours.home())
    wait_until(lambda: (found := read_receiver_state(state)) and found.phase == "streaming")
    assert stop(process) == 0
    flushed = read_receiver_state(state).flushed
    assert says(ours, f"main: receiving has ended: all WAL up to {flushed} on timeline 1 is flushed")
    assert ours.log.read_text().count("main: warning: without slot_name") == 1


def test_an_end_position_is_for_receiving_only(ours):
    assert "--endpos is for" in ours.refusal("receive-wal", "main", "--endpos", "0/1", "--stop", code=2)


def test_a_receiver_that_was_started_by_hand_is_left_alone_and_followed(ours):
    ours.configure({"main": {}})
    with ours.receiving() as by_hand:
        supervisor = ours.start("run")
        wait_until(lambda: says(ours, "left alone"))
        assert receiver(ours) == by_hand.pid
        stop(by_hand)
        wait_until(lambda: receiver(ours) not in (0, by_hand.pid))
    assert stop(supervisor) == 0


def test_a_receiver_that_was_stopped_is_started_again_only_by_an_explicit_order(ours):
    with supervising(ours):
        stopped = receiver(ours)
        assert f"process {stopped}" in ours.run("receive-wal", "main", "--stop").stdout
        assert not receiver(ours)
        ours.run("cron")
        os.kill(receiver(ours, "two"), signal.SIGKILL)  # whoever brings this one back has looked at both
        wait_until(lambda: receiver(ours, "two") and ours.streams("two"))
        wait_until(lambda: says(ours, "main: receiving was stopped"))
        assert not receiver(ours)
        assert "no receiver" in ours.run("receive-wal", "main", "--stop").stdout
        with ours.receiving():
            pass
        wait_until(lambda: receiver(ours) and ours.streams())


def test_nothing_is_stopped_where_nothing_was_ever_received(ours):
    assert "nothing was ever received" in ours.refusal("receive-wal", "main", "--stop")
    assert not ours.home().exists()


def test_two_rounds_of_cron_at_once_start_one_receiver(ours):
    ours.configure({"main": {}})
    rounds = [ours.start("cron") for _ in range(3)]
    assert [process.wait(60) for process in rounds] == [0, 0, 0]
    wait_until(lambda: ours.streams())
    first = receiver(ours)
    os.kill(first, signal.SIGTERM)
    wait_until(lambda: not receiver(ours))
    rounds = [ours.start("cron") for _ in range(3)]
    assert [process.wait(60) for process in rounds] == [0, 0, 0]
    second = receiver(ours)
    assert second not in (0, first)
    ours.run("cron")
    assert receiver(ours) == second
    assert ours.log.read_text() == ""
    assert "streaming timeline" in (ours.home().parent / "receive-wal.log").read_text()


def test_cron_says_what_ended_a_receiver_that_had_begun_to_work(ours):
    ours.configure({"main": {}})
    ours.run("cron")
    wait_until(lambda: ours.streams())
    os.kill(receiver(ours), signal.SIGSTOP)
    ours.cluster.load(rows=100)
    partial = max((ours.home() / "streaming").glob("*.partial"))
    with open(partial, "r+b") as file:  # bytes that the server never sent, where it sends others next
        offset = len(file.read().rstrip(b"\0"))
        file.seek(offset)
        file.write(b"\xff" * 64)
    os.kill(receiver(ours), signal.SIGKILL)
    wait_until(lambda: not receiver(ours))
    ours.run("cron", code=None)  # whether it still sees the end is a matter of time
    wait_until(lambda: not receiver(ours))
    said = ours.run("cron", code=1).stderr.splitlines()
    assert any("receiver ended: " in line and "the server sends other WAL" in line for line in said), said


def test_cron_says_in_one_line_why_a_receiver_does_not_start(ours):
    ours.configure({"main": {"conninfo": "host=/nowhere user=nobody"}, "two": {}})
    said = ours.run("cron", code=1).stderr.splitlines()
    assert len(said) == 1 and "main: the receiver ended" in said[0] and "/nowhere" in said[0]
    wait_until(lambda: ours.streams("two"))


def test_receivers_of_a_killed_supervisor_go_on_until_the_next_one_takes_their_place(ours):
    first = ours.start("run")
    wait_until(lambda: all(known(ours, name).child for name in TWO))
    wait_until(lambda: all(ours.streams(name) for name in TWO))
    orphans = [receiver(ours, name) for name in TWO]
    first.kill()
    first.wait()
    # A child that it was just starting has its lock for an instant more.
    wait_until(lambda: live_supervisor_state(str(ours.home())) is None)
    ours.cluster.load(rows=9000)
    ours.catch_up()
    assert [receiver(ours, name) for name in TWO] == orphans
    with supervising(ours):
        wait_until(lambda: all(receiver(ours, name) not in (0, *orphans) for name in TWO))
        ours.catch_up()
    assert_same_wal(ours)


def test_new_settings_reach_a_receiver_without_loss_and_without_its_locks_ever_being_free(ours):
    ours.configure({"main": {"compression": "lz4"}})
    home = ours.home()
    locks = (receiver_lock_path(str(home)), str(home / "lock" / "archive"))
    free, done = [], threading.Event()

    def watch():
        while not done.is_set():
            free.extend(lock for lock in locks if not is_held(lock))

    with ours.receiving() as process:
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            ours.cluster.load(rows=9000)
            wait_until(lambda: ".lz4" in {path.suffix for path in ours.stored().values()})
            ours.configure({"main": {"compression": "gzip", "slot_name": "another"}})
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: ours.streams("another"))
            assert not ours.streams()
            ours.cluster.load(rows=9000)
            ours.catch_up("another")
        finally:
            done.set()
            watcher.join()
        assert process.poll() is None and receiver(ours) == process.pid
    assert free == []
    assert {".lz4", ".gz"} == {path.suffix for path in ours.stored().values()}
    assert_same_wal(ours)


@pytest.mark.parametrize(
    "wrong", [{"compression": "magic"}, {"repository": "/elsewhere"}, {"streaming_archiver": "off"}]
)
def test_wrong_settings_do_not_disturb_a_receiver(ours, wrong):
    ours.configure({"main": {}})
    with ours.receiving() as process:
        connection = "SELECT pid FROM pg_stat_replication"
        before = ours.cluster.one(connection)
        ours.configure({"main": wrong})
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: says(ours, "the settings stay as they were"))
        ours.cluster.load(rows=100)
        ours.catch_up()
        assert ours.cluster.one(connection) == before
        ours.configure({"main": {}})
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: says(ours, "the settings have not changed"))
        assert ours.cluster.one(connection) == before


def test_new_settings_while_the_server_is_away_are_waited_with(ours):
    ours.configure({"main": {}})
    with ours.receiving() as process:
        ours.cluster.load(rows=100)
        ours.cluster.stop()
        ours.configure({"main": {"compression": "gzip"}})
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: says(ours, "going on with new settings"))
        ours.cluster.start()
        wait_until(lambda: ours.streams(), timeout=60)
        ours.cluster.load(rows=9000)
        ours.catch_up()
        assert receiver(ours) == process.pid
    assert ".gz" in {path.suffix for path in ours.stored().values()}
    assert_same_wal(ours)


def test_a_receiver_of_a_known_repository_starts_while_its_server_is_away(ours):
    ours.configure({"main": {}})
    with ours.receiving():
        ours.cluster.load(rows=100)
    ours.cluster.stop()
    supervisor = ours.start("run")
    wait_until(lambda: receiver(ours))
    first = receiver(ours)
    ours.cluster.start()
    wait_until(lambda: ours.streams(), timeout=60)
    assert receiver(ours) == first
    assert stop(supervisor) == 0


def test_a_scheduled_backup_is_taken_and_ended_in_order(ours):
    ours.configure({"main": {"backup_schedule": "* * * * *"}})
    with supervising(ours, "main"):
        wait_until(lambda: (ours.home() / "state" / "schedule.json").exists())
    (ours.home() / "state" / "schedule.json").write_text('{"schedule": "* * * * *", "since": 1e9}')
    with supervising(ours, "main"):
        wait_until(lambda: list((ours.home() / "base").glob("*/record.json")))
        wait_until(lambda: says(ours, "main: backup ") and says(ours, ": DONE, "))
    ours.configure({"main": {"backup_schedule": "* * * * *", "bandwidth_limit": "64"}})
    (ours.home() / "state" / "schedule.json").write_text('{"schedule": "* * * * *", "since": 1e9}')
    with supervising(ours, "main"):
        wait_until(lambda: list((ours.home() / "base").glob("*/started.json")))
    assert list((ours.home() / "base").glob("*/failed.json"))
    assert not list((ours.home() / "base").glob("*/started.json"))


def test_check_knows_of_a_scheduled_backup_that_failed_before_it_began(ours):
    ours.configure({"main": {"backup_schedule": "* * * * *", "pre_backup_script": "exit 7"}})
    kept = ours.home() / "state" / "schedule.json"
    with supervising(ours, "main"):
        wait_until(kept.exists)
    kept.write_text('{"schedule": "* * * * *", "since": 1e9}')
    with supervising(ours, "main"):
        wait_until(lambda: "failure" in kept.read_text())
    assert not list((ours.home() / "base").glob("*"))
    found = ours.run("check", "main", code=1)
    assert "the scheduled backup failed at" in found.stdout and "exit code 7" in found.stdout
    ours.configure({"main": {"backup_schedule": "* * * * *"}})
    ours.backup()
    assert "the scheduled backup failed" not in ours.run("check", "main", code=None).stdout


def test_systemd_is_told_how_it_goes(ours, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(ours.place / "notify"))
        manager.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(ours.place / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "3000000")

        def wait_for(beginning):
            while not (said := manager.recv(4096).decode()).startswith(beginning):
                assert said.split("=")[0] in ("READY", "STATUS", "WATCHDOG", "RELOADING"), said
            return said

        with supervising(ours) as process:
            wait_for("READY=1")
            wait_for("STATUS=2 of 2")
            wait_for("WATCHDOG=1")
            ours.configure({"main": {}, "two": {"active": "off"}})
            process.send_signal(signal.SIGHUP)
            assert "MONOTONIC_USEC=" in wait_for("RELOADING=1")
            wait_for("READY=1")
            wait_for("STATUS=1 of 1")
            process.send_signal(signal.SIGTERM)
            wait_for("STOPPING=1")


def test_a_backup_that_receives_its_own_wal_is_not_ended_by_stop(ours, eventually):
    ours.configure({"main": {}})
    with ours.receiving():
        ours.cluster.load(rows=100)
    backup = ours.start("backup", "main", "--bwlimit", "500")
    wait_until(lambda: receiver(ours) == backup.pid)
    assert "backup" in ours.refusal("receive-wal", "main", "--stop")
    assert backup.poll() is None
    stop(backup)


def test_a_supervised_receiver_makes_no_repository_under_a_disk_that_is_not_mounted(ours):
    with ours.receiving():
        ours.cluster.load(rows=100)
        ours.catch_up()
    home = ours.home()
    home.rename(home.with_name("unmounted"))
    home.mkdir()
    assert "is its disk mounted" in ours.refusal("receive-wal", "main", "--supervised")
    assert list(home.iterdir()) == []
    home.rmdir()
    home.with_name("unmounted").rename(home)
    process = ours.start("receive-wal", "main", "--supervised")
    ours.wait_for_stream(process)
    assert stop(process) == 0
