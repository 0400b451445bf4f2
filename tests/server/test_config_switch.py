"""Failover by ``config-switch``: from the primary to its standby, without loss of WAL."""

import json
import os
import signal
from pathlib import Path

import pytest
from support.clusters import assert_same_rows
from support.protection import assert_same_wal, stop, timeline_of, wait_until

from catalog.lock import Lock
from catalog.state import read_receiver_state, receiver_holder


@pytest.fixture
def pair(cluster_factory, standby_factory, protect):
    """A primary under protection, with a model that leads to its standby."""
    primary = cluster_factory({"wal_keep_size": "64MB"}, segment_megabytes=1)
    standby = standby_factory(primary, {"wal_keep_size": "64MB"})
    ours = protect(primary)
    with open(ours.config, "a") as file:
        file.write(f"[main:standby]\nmodel = true\ncluster = main\nconninfo = {standby.conninfo()}\n")
    yield ours, standby
    if pid := receiver(ours):
        os.kill(pid, signal.SIGKILL)


def receiver(ours):
    found = receiver_holder(str(ours.home()))
    return found[1] if found else 0


def fail_over(ours, standby):
    """Lose the primary once the standby has all of it; the standby takes over and goes on to write."""
    position = ours.catch_up()
    standby_has = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
    wait_until(lambda: standby.one(standby_has, str(position)))
    ours.cluster.stop("immediate")
    standby.one("SELECT pg_promote()")
    ours.cluster = standby
    standby.load(rows=5000)


def all_is_there(ours, standby, restored):
    """All WAL of the new timeline is held, and what is restored has the rows of the new primary."""
    ours.catch_up()
    assert timeline_of(standby) == 2
    assert_same_wal(ours, timeline=2)
    ours.run("switch-wal", "main", "--archive")
    ours.restore(Path(restored.directory), "auto", restored.directory)
    restored.start()
    wait_until(lambda: restored.one("SELECT NOT pg_is_in_recovery()"))
    assert_same_rows(standby, restored)


def test_a_failover_by_config_switch_loses_no_wal(pair, cluster_factory, cluster_directory):
    ours, standby = pair
    supervisor = ours.start("run")
    try:
        wait_until(ours.streams)
        first = receiver(ours)
        ours.backup()
        ours.cluster.load(rows=5000)
        fail_over(ours, standby)
        done = ours.run("config-switch", "main", "main:standby")
        assert f"process {first}, which receives, was told" in done.stdout
        assert f"process {first} streams" in done.stdout, "new settings need no new process"
        state = read_receiver_state(str(ours.home()))
        assert (state.pid, state.phase) == (first, "streaming")
        assert ours.facts("status", "main")["active_model"]["message"] == "main:standby"
        restored = cluster_factory(start=False, directory=os.path.join(cluster_directory, "restored"))
        all_is_there(ours, standby, restored)
    finally:
        assert stop(supervisor, timeout=60) == 0, ours.log.read_text()


@pytest.mark.postgres(versions=[18])
def test_receivers_of_cron_and_by_hand_are_told_too(pair):
    ours, standby = pair
    with ours.receiving() as process:
        fail_over(ours, standby)
        assert str(process.pid) in ours.run("config-switch", "main", "main:standby").stdout
        wait_until(ours.streams)
        ours.catch_up()
    assert_same_wal(ours, timeline=2)
    ours.run("cron")
    wait_until(ours.streams)
    started = receiver(ours)
    said = ours.refusal(
        "config-switch", "main", "--reset", "--wait-timeout", "2"
    )  # to a primary that is gone
    assert "the settings hold, but after 2 s the receiver does" in said
    assert read_receiver_state(str(ours.home())).phase != "streaming"
    found = ours.facts("config-switch", "main", "main:standby")
    assert found["streaming"] is True and found["timeline"] == 2
    assert ours.facts("config-switch", "main", "main:standby")["streaming"] is None, "it goes on as it is"
    assert receiver(ours) == started


@pytest.mark.postgres(versions=[18])
def test_a_receiver_that_has_only_just_begun_is_told_too(pair):
    ours, standby = pair
    with ours.receiving():
        fail_over(ours, standby)
    with Lock(str(ours.home() / "lock" / "archive"), "archiving").acquire():
        process = ours.start("receive-wal", "main")  # it has read its settings, and waits for that lock
        wait_until(lambda: receiver(ours) == process.pid)
        ours.run("config-switch", "main", "main:standby", "--wait-timeout", "0")
    try:
        wait_until(ours.streams)
        ours.catch_up()
    finally:
        assert stop(process) == 0


@pytest.mark.postgres(versions=[18])
def test_a_model_that_makes_the_server_inactive_ends_its_receiver(pair):
    ours, _ = pair
    with open(ours.config, "a") as file:
        file.write("[main:paused]\nmodel = true\ncluster = main\nactive = off\n")
    supervisor = ours.start("run")
    try:
        wait_until(ours.streams)
        assert "no receiver runs now" in ours.run("config-switch", "main", "main:paused").stdout
        assert not receiver(ours)
        assert "streams" in ours.run("config-switch", "main", "--reset").stdout
    finally:
        assert stop(supervisor, timeout=60) == 0, ours.log.read_text()
    ours.run("cron")
    wait_until(ours.streams)
    ours.run("config-switch", "main", "main:paused")
    assert not receiver(ours)


@pytest.mark.postgres(versions=[18])
def test_a_receiver_goes_on_when_its_model_is_lost_and_no_other_one_starts(pair):
    ours, _ = pair
    with ours.receiving() as process:
        ours.run("config-switch", "main", "main:standby")
        settings = Path(ours.config).read_text()
        Path(ours.config).write_text(settings.replace("[main:standby]", "[main:renamed]"))
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the settings stay as they were" in ours.log.read_text())
        assert process.poll() is None
    said = ours.refusal("receive-wal", "main", code=2)
    assert "config-switch main MODEL|--reset" in said
    assert json.loads(ours.run("-f", "json", "show-servers", "main", code=2).stdout)["main"]["disabled"]
    ours.run("config-switch", "main", "--reset")
    with ours.receiving():
        ours.catch_up()


@pytest.mark.postgres(versions=[18])
def test_after_a_reset_auto_restores_the_primary_that_counts_and_not_the_standby_that_was_promoted(
    pair, cluster_factory, cluster_directory
):
    ours, standby = pair
    primary = ours.cluster
    with ours.receiving():
        ours.backup()
        primary.load(rows=1000)
        ours.catch_up()
        standby.one("SELECT pg_promote()")
        said = ours.run("config-switch", "main", "main:standby")
        assert "older than" not in said.stderr
        assert "slot 'main' stays on the former host" in said.stdout
        assert "SELECT pg_drop_replication_slot('main');" in said.stdout
        ours.cluster = standby
        wait_until(lambda: (state := read_receiver_state(str(ours.home()))) and state.timeline == 2)
        standby.load(rows=2000)
        ours.catch_up()
        abandoned = ours.backup()
        said = ours.run("config-switch", "main", "--reset").stderr
        assert "on timeline 1 now, which is older than timeline 2" in said
        assert "go back at once: walstream config-switch main main:standby" in said
        assert "the server is on timeline 1, which is older than timeline 2" in ours.log.read_text()
        ours.cluster = primary
        wait_until(lambda: (state := read_receiver_state(str(ours.home()))) and state.timeline == 1)
        checked = json.loads(ours.run("-f", "json", "check", "main", code=None).stdout)["main"]
        assert "timeline 2 from" in checked["old_branches"]["hint"]
        primary.load(rows=3000)
        newest = ours.backup()
        primary.load(rows=10)
        ours.catch_up()
    restored = cluster_factory(start=False, directory=os.path.join(cluster_directory, "restored"))
    said = ours.restore(Path(restored.directory), abandoned, restored.directory, "--dry-run")
    assert f"timeline 1, which was received last, holds backup {newest}" in said["warnings"][0]
    ours.restore(Path(restored.directory), "auto", restored.directory)
    restored.start()
    wait_until(lambda: restored.one("SELECT NOT pg_is_in_recovery()"))
    assert_same_rows(primary, restored)
