"""A commit that a client was told about is in the repository, whoever is killed, away, behind, or without WAL.

The server waits for our receiver (``synchronous_standby_names``). Clients commit all the time, and remember
which commits were told; then the primary is thrown away, and a restore must have every one of them.
``docs/durability.md`` has the figures of long runs.
"""

import contextlib
import json
import os
import shutil
import time

import pytest
from support.commits import (
    SYNCHRONOUS,
    TABLE,
    Clients,
    Pair,
    assert_restored,
    load_without_waiting,
    rows_of,
    wait_until_all_wait,
    wait_until_nobody_streams,
)
from support.protection import RECEIVER, segment_size, wait_until

from catalog.walname import Segment

pytestmark = pytest.mark.timeout(3600)

SMALL = {"max_wal_size": "2MB", "min_wal_size": "2MB", "wal_keep_size": "8MB"}


@pytest.fixture
def pair(cluster_factory, protect):
    """A function that makes a server which waits for our receiver, which runs, and a first backup."""
    with contextlib.ExitStack() as stack:

        def make(settings=None, megabytes=1, **options):
            cluster = cluster_factory(SYNCHRONOUS | (settings or {}), segment_megabytes=megabytes)
            made = stack.enter_context(Pair(cluster, protect(cluster, **options)))
            made.receive()
            cluster.sql(TABLE)
            made.first_backup = made.ours.backup()
            return made

        yield make


@pytest.fixture
def restored(cluster_directory):
    """``restored(pair, rows, *words)``: see ``assert_restored``."""

    def check(pair, wanted, *words):
        return assert_restored(pair.ours, os.path.join(cluster_directory, "restored"), wanted, *words)

    return check


def test_every_commit_that_was_told_is_restored_after_any_kills(pair, restored, rounds, chance):
    codec = chance.choice(["zstd", "lz4", "gzip", "none"])
    ours = pair(megabytes=chance.choice([1, 16]), compression=codec)
    with Clients(ours.cluster) as clients:
        for number in range(1, rounds + 1):
            if chance.random() < 0.1:
                ours.back_up()
            kill_at_a_moment(ours, clients, chance)
            ours.assert_held(clients.position)
            if number % 50 == 0 or number == rounds // 2:
                ours.kill_server()
                ours.kill_receiver()
                restored(ours, clients.told)
            ours.keep_running()
        clients.wait_for_commits(5, meanwhile=ours.keep_running)
        ours.kill("both")
    shutil.rmtree(ours.cluster.directory)
    restored(ours, clients.told)
    restored(ours, clients.told, ours.first_backup)
    print(f"{rounds} rounds, kills {ours.kills}, commits told {len(clients)}, lost 0")
    assert len(clients) >= rounds


def kill_at_a_moment(ours, clients, chance):
    """At any time behind a start, at a call that changes a file, as a stream begins, or in the midst of commits."""
    match chance.randrange(4):
        case 0:
            time.sleep(chance.uniform(0, 0.5))
        case 1:
            ours.wait_for_stream()
            time.sleep(chance.uniform(0, 0.04))
        case 2:
            clients.wait_for_commits(meanwhile=ours.keep_running)
            time.sleep(chance.uniform(0, 0.3))
        case 3:
            ours.die_at_call(round(10 ** chance.uniform(0, 3)))
            return
    ours.kill(chance.choice(list(ours.kills)))


def test_a_receiver_that_dies_at_any_call_has_what_was_told(pair, restored, rounds, chance):
    ours = pair()
    with Clients(ours.cluster) as clients:
        for number in chance.sample(range(1, 80), min(4 * rounds, 79)):
            ours.keep_running()
            clients.wait_for_commits()
            ours.die_at_call(number)
            ours.assert_held(clients.position)
        ours.kill_server()
    shutil.rmtree(ours.cluster.directory)
    restored(ours, clients.told)


def test_commits_wait_for_a_receiver_that_is_behind(pair, restored, rounds, chance):
    ours = pair()
    in_between = 0
    with Clients(ours.cluster) as early:
        for number in range(rounds):
            early.wait_for_commits(meanwhile=ours.keep_running)
            ours.kill("receiver")
            ours.assert_held(early.position)
            wait_until_nobody_streams(ours.cluster)  # a report may have been on its way
            wait_until_all_wait(ours.cluster, 4)
            told = len(early)
            load_without_waiting(ours.cluster, 6)
            with Clients(ours.cluster, f"late{number}-", 2) as late:
                wait_until_all_wait(ours.cluster, 6)
                assert (len(early), len(late)) == (told, 0)
                ours.die_at_call(chance.randrange(20, 200))
                in_between += not late.told
                ours.assert_held(max(early.position, late.position))
                ours.keep_running()
                late.wait_for_commits()
                ours.assert_held(late.position)  # and with it everything that it was behind
        ours.kill("both")
    shutil.rmtree(ours.cluster.directory)
    restored(ours, early.told | late.told)
    print(f"{rounds} rounds behind, {in_between} kills while catching up, commits told {len(early)}, lost 0")


def test_what_a_primary_told_is_kept_when_a_standby_behind_us_takes_over(
    pair, standby_factory, restored, rounds, chance
):
    ours = pair()
    inherited, wanted = set(), {}
    for timeline in range(1, max(1, rounds // 10) + 1):
        standby = standby_factory(ours.cluster, SYNCHRONOUS)
        ours.follow(standby)
        with Clients(ours.cluster, f"on{timeline}-") as clients:
            clients.wait_for_commits(5, meanwhile=ours.keep_running)
            standby.stop()
            clients.wait_for_commits(20)
            ours.kill(chance.choice(["server", "both"]))
        wanted[timeline] = inherited | clients.told
        shutil.rmtree(ours.cluster.directory)
        standby.start()
        assert standby.one("SELECT pg_promote()")
        inherited = rows_of(standby)
        assert clients.told - inherited, "the standby was not behind"
        ours.move_to(standby)
    with Clients(ours.cluster, "last") as clients:
        clients.wait_for_commits(20, meanwhile=ours.keep_running)
        ours.kill("both")
    shutil.rmtree(ours.cluster.directory)
    restored(ours, inherited | clients.told)
    for timeline, rows in wanted.items():
        restored(ours, rows, "auto", "--target-tli", str(timeline))
    print(f"{len(wanted)} failovers, commits told {len(clients) + sum(map(len, wanted.values()))}, lost 0")


@pytest.mark.parametrize("slot", ["main", ""], ids=["slot lost", "no slot"])
def test_commits_wait_behind_a_gap_until_a_backup_makes_up_for_it(pair, restored, rounds, chance, slot):
    ours = pair(SMALL, slot_name=slot, status_interval="1s")
    gaps = max(1, rounds // 10)
    with Clients(ours.cluster) as clients:
        for number in range(1, gaps + 1):
            clients.wait_for_commits(meanwhile=ours.keep_running)
            before = clients.told
            position = ours.cluster.one("SELECT pg_current_wal_flush_lsn()::text")
            clients.wait_for_commits(20)
            ours.kill("receiver")
            lose_wal(ours, clients, slot)
            told = len(clients)
            for _ in range(2):
                ours.receive()
                wait_until_nothing_but_flush_is_missing(ours.cluster)
                ours.kill("receiver")
            ours.receive()
            assert len(json.loads((ours.ours.home() / "state" / "gaps.json").read_text())["gaps"]) >= number
            assert "take a new backup" in ours.ours.run("check", "main", code=1).stdout.lower()
            restored(ours, before, "auto", "--target-lsn", position)
            wait_until_nothing_but_flush_is_missing(ours.cluster)
            assert len(clients) == told
            ours.ours.backup()
            if chance.random() < 0.5:
                ours.kill("receiver")  # begun again, it looks at once
            clients.wait_for_commits(meanwhile=ours.keep_running)
        ours.kill("both")
    shutil.rmtree(ours.cluster.directory)
    restored(ours, clients.told)
    print(f"{gaps} gaps, commits told {len(clients)}, lost 0")


def lose_wal(ours, clients, slot):
    """Have the server remove WAL that the receiver, which does not run, needs next."""
    wait_until_all_wait(ours.cluster, 4)
    if slot:
        wait_until(lambda: not ours.ours.streams())
        ours.cluster.sql("SELECT pg_drop_replication_slot(%s)", slot)
    name = Segment.at(1, clients.position, segment_size(ours.cluster)).name(segment_size(ours.cluster))
    while os.path.exists(os.path.join(ours.cluster.directory, "pg_wal", name)):
        load_without_waiting(ours.cluster, 4)
        ours.cluster.sql("CHECKPOINT")


def wait_until_nothing_but_flush_is_missing(cluster):
    """The receiver has written everything that the clients wait for, and reports nothing as flushed."""
    caught_up = (
        "SELECT count(*) FROM pg_stat_replication WHERE application_name = %s "
        "AND write_lsn >= pg_current_wal_flush_lsn() AND flush_lsn IS NULL"
    )
    wait_until(lambda: cluster.one(caught_up, RECEIVER) == 1)
    wait_until_all_wait(cluster, 4)
