"""Failovers, and other ways to a new timeline: each is followed, and every timeline can be restored."""

import contextlib
import itertools
import os
import shutil
from pathlib import Path

import pytest
from support.clusters import Cluster, assert_same_rows, fingerprint, together
from support.load import load_on
from support.protection import assert_same_wal, segment_size, timeline_of

from catalog.lsn import LSN
from catalog.timeline import History
from catalog.walname import history_name

pytestmark = pytest.mark.timeout(900)

# No record comes on its own between what a test does, and what a promotion leaves behind can be sent again.
QUIET = {"autovacuum": "off", "bgwriter_delay": "10s", "checkpoint_timeout": "1h", "wal_keep_size": "1GB"}


@pytest.fixture
def chain(cluster_factory, standby_factory):
    """``chain(4)``: a primary and its standbys, each fed by the one before, which outlives its promotion."""

    def make(length, settings=None):
        servers = [cluster_factory(QUIET | (settings or {}), segment_megabytes=1)]
        servers[0].load(rows=1000)
        while len(servers) < length:
            servers.append(standby_factory(servers[-1], QUIET | (settings or {})))
        return servers

    return make


def replayed_by(standby, primary, eventually):
    """Wait until the standby has replayed what the primary has written; the position."""
    position = LSN.parse(primary.one("SELECT pg_current_wal_flush_lsn()::text"))
    eventually(lambda: standby.one("SELECT pg_last_wal_replay_lsn() >= %s", str(position)))
    return position


def promote(standby):
    assert standby.one("SELECT pg_promote()")


def history(ours, timeline):
    """The stored history of a timeline."""
    return History.parse(timeline, ours.held(history_name(timeline)))


def the_error(ours, said):
    """What ended a receiver, after all that it logged."""
    return ours.one_error(said[said.index("walstream: error") :])


@pytest.fixture
def restored(cluster_directory):
    """``restored(ours, *words)``: a cluster restored and started, at its target or the end of the WAL."""
    made = []

    def make(ours, *words):
        place = os.path.join(cluster_directory, f"restored-{len(made)}")
        cluster = Cluster(ours.cluster.version, place)
        made.append(cluster)
        ours.restore(Path(place), "auto", place, *words)
        with ours.away() if "--no-get-wal" in words else contextlib.nullcontext():
            cluster.start()
            assert cluster.wait_for_recovery() == ("paused" if "--target-time" in words else "ended")
        return cluster

    yield make
    for cluster in made:
        cluster.close()


def test_three_promotions_in_a_row_and_a_moment_of_each_of_the_four_timelines_restored(
    chain, protect, restored, eventually
):
    servers = chain(4)
    ours = protect(servers[0], conninfo=together(*servers, target_session_attrs="read-write"))
    moments = {}
    with ours.receiving() as process:
        ours.backup()
        for timeline, server in enumerate(servers, start=1):
            if timeline > 1:
                promote(server)
                ours.cluster = server
                eventually(ours.streams, timeout=120)
            with load_on(server):
                grow(server, eventually)
            moments[timeline] = (server.one("SELECT clock_timestamp()::text"), fingerprint(server))
            assert timeline_of(server) == timeline
            with load_on(server):
                grow(server, eventually)
                if timeline < 4:
                    # In the middle of writing: once as an administrator does it, then as a crash does.
                    server.stop("fast" if timeline == 1 else "immediate")
        ours.catch_up()
        assert process.poll() is None, ours.log.read_text()
        assert_same_wal(ours, timeline=4)
    assert {history_name(timeline) for timeline in (2, 3, 4)} <= set(ours.stored())
    assert len({digest for _, content in moments.values() for digest in content.values()}) >= 4
    for timeline, (moment, content) in moments.items():
        with restored(ours, "--target-time", moment, "--target-tli", str(timeline)) as cluster:
            assert fingerprint(cluster) == content, timeline
    for words in ([], ["--no-get-wal"]):
        with restored(ours, *words) as cluster:
            assert_same_rows(cluster, servers[-1])
            assert timeline_of(cluster) == 5
    # Another timeline's number is free only if the histories of all are there.
    moment, content = moments[2]
    with restored(ours, "--target-time", moment, "--target-tli", "2", "--no-get-wal") as cluster:
        assert fingerprint(cluster) == content
        cluster.sql("SELECT pg_wal_replay_resume()")
        eventually(lambda: not cluster.one("SELECT pg_is_in_recovery()"))
        assert timeline_of(cluster) == 5


def grow(server, eventually):
    """Wait until the load has had some effect."""
    count = "SELECT count(*) FROM busy"
    before = server.one(count)
    eventually(lambda: server.one(count) > before + 3000, timeout=60)


def test_a_receiver_that_connects_late_goes_along_all_timelines_it_missed(
    chain, protect, restored, eventually
):
    servers = chain(4)
    ours = protect(servers[0])
    with ours.receiving():
        ours.backup()
        ours.catch_up()
    for server, following in itertools.pairwise(servers):
        server.load(rows=15000)
        replayed_by(following, server, eventually)
        server.stop("immediate")
        promote(following)
    assert timeline_of(servers[-1]) == 4
    ours.cluster = servers[-1]
    ours.configure({"main": {}})
    servers[-1].load(rows=15000)
    with ours.receiving():
        ours.catch_up()
        assert_same_wal(ours, timeline=4)
    stored = ours.stored()
    assert {history_name(timeline) for timeline in (2, 3, 4)} <= set(stored)
    for timeline in ("00000001", "00000002", "00000003"):
        assert [name for name in stored if name.startswith(timeline) and len(name) == 24]
    with restored(ours) as cluster:
        assert_same_rows(cluster, servers[-1])
    switches = history(ours, 4).switches
    assert [switch.timeline for switch in switches] == [1, 2, 3]


def test_a_promotion_exactly_between_two_segments(chain, protect, restored, eventually):
    primary, standby = chain(2)
    ours = protect(primary, conninfo=together(primary, standby, target_session_attrs="read-write"))
    with ours.receiving():
        ours.backup()
        primary.load(rows=3000)
        primary.switch_wal()
        boundary = replayed_by(standby, primary, eventually)
        assert segment_size(primary).offset(boundary) == 0
        eventually(lambda: ours.acknowledged() >= boundary)
        primary.kill()
        promote(standby)
        ours.cluster = standby
        eventually(ours.streams, timeout=90)
        standby.load(rows=3000)
        ours.catch_up()
        assert_same_wal(ours, timeline=2)
    assert history(ours, 2).switch_from(1) == boundary
    with restored(ours) as cluster:
        assert_same_rows(cluster, standby)


@pytest.mark.parametrize(("ahead", "segments"), [(100, 0), (20000, 2)], ids=["a little", "whole segments"])
def test_a_failover_to_a_standby_that_was_behind_us_keeps_what_only_we_have(
    cluster_factory, standby_factory, protect, network, restored, eventually, ahead, segments
):
    primary = cluster_factory(QUIET, segment_megabytes=1)
    primary.load(rows=1000)
    line = network(primary)
    standby = standby_factory(primary, QUIET, start=False)
    standby.configure({"primary_conninfo": line.conninfo(application_name="standby_1")})
    standby.start()
    ours = protect(primary, conninfo=together(primary, standby, target_session_attrs="read-write"))
    with ours.receiving() as process:
        ours.backup()
        replayed_by(standby, primary, eventually)
        line.stall()
        primary.load(rows=ahead)
        reached = ours.catch_up()
        rows = fingerprint(primary)
        primary.kill()
        promote(standby)
        ours.cluster = standby
        eventually(ours.streams, timeout=90)
        standby.load(rows=500)
        ours.catch_up()
        assert process.poll() is None
        assert_same_wal(ours, timeline=2)
    switch = history(ours, 2).switch_from(1)
    size = segment_size(standby)
    assert reached > switch and size.number_at(reached) - size.number_at(switch) >= segments
    with restored(ours, "--target-tli", "1") as cluster:
        assert fingerprint(cluster) == rows
    with restored(ours, "--target-tli", "2") as cluster:
        assert_same_rows(cluster, standby)


def test_a_server_that_was_itself_restored_to_an_earlier_moment_is_followed_in_its_place(
    cluster_factory, protect, cluster_directory, restored, eventually
):
    origin = cluster_factory(QUIET, segment_megabytes=1)
    origin.load(rows=1000)
    ours = protect(origin)
    place = os.path.join(cluster_directory, "in its place")
    with ours.receiving() as process, Cluster(origin.version, place, QUIET) as successor:
        ours.backup()
        origin.load(rows=1000)
        target = origin.one("SELECT pg_current_wal_insert_lsn()::text")
        before = fingerprint(origin)
        origin.load(rows=20000)
        ours.catch_up()
        rows = fingerprint(origin)
        origin.stop()
        words = ("--target-lsn", target, "--target-action", "promote")
        ours.restore(Path(place), "auto", place, *words)
        successor.socket_directory = origin.socket_directory
        successor.start()
        assert successor.wait_for_recovery() == "ended"
        assert fingerprint(successor) == before
        ours.cluster = successor
        eventually(ours.streams, timeout=90)
        successor.load(rows=500)
        ours.catch_up()
        assert process.poll() is None
        assert_same_wal(ours, timeline=2)
        with restored(ours) as cluster:
            assert_same_rows(cluster, successor)
    with restored(ours, "--target-tli", "1") as cluster:
        assert fingerprint(cluster) == rows


def test_a_copy_that_went_its_own_way_on_the_same_timeline_is_refused(
    cluster_factory, protect, cluster_directory, eventually
):
    origin = cluster_factory(QUIET)
    origin.load(rows=1000)
    ours = protect(origin)
    place = os.path.join(cluster_directory, "copy")
    with ours.receiving() as process, Cluster(origin.version, place, QUIET) as copy:
        ours.catch_up()
        origin.stop()
        shutil.copytree(origin.directory, place)
        origin.start()
        eventually(ours.streams)
        origin.load(rows=1000, table="ours")
        ours.catch_up()
        origin.kill()
        held = ours.spooled()
        before = {path: path.read_bytes() for path in held.values()}
        copy.socket_directory = origin.socket_directory
        copy.start()
        copy.load(rows=5000, table="theirs")
        assert process.wait(60) == 1
    said = the_error(ours, ours.log.read_text())
    assert "without a new timeline" in said and "new name" in said
    assert before and {path: path.read_bytes() for path in held.values()} == before
    assert not ours.stored()


@pytest.mark.parametrize("load_between", [0, 500], ids=["at the same position", "at another position"])
def test_the_second_of_two_servers_that_made_the_same_timeline_is_refused(
    cluster_factory, standby_factory, protect, eventually, load_between
):
    primary = cluster_factory(QUIET, segment_megabytes=1)
    primary.load(rows=1000)
    first, second = (standby_factory(primary, QUIET) for _ in range(2))
    ours = protect(first, conninfo=first.conninfo())
    replayed_by(first, primary, eventually)
    first.stop()
    primary.load(rows=load_between)
    replayed_by(second, primary, eventually)
    primary.kill()
    first.configure({"primary_conninfo": ""})
    first.start()
    for standby in (first, second):
        promote(standby)
        standby.load(rows=1000, table=f"written_{'first' if standby is first else 'second'}")
    with ours.receiving():
        ours.catch_up()
    ours.cluster = second
    ours.configure({"main": {}})
    before = ours.listing()
    said = the_error(ours, ours.run("receive-wal", "main", code=1).stderr)
    assert "new name" in said
    assert ("contradicts" if load_between else "without a new timeline") in said
    assert ours.listing() == before


def test_whole_segments_of_another_server_with_the_same_timeline_are_refused(
    cluster_factory, standby_factory, protect, eventually
):
    primary = cluster_factory(QUIET, segment_megabytes=1)
    primary.load(rows=1000)
    first, second = (standby_factory(primary, QUIET) for _ in range(2))
    for standby in (first, second):
        replayed_by(standby, primary, eventually)
    primary.kill()
    for standby in (first, second):
        promote(standby)
    ours = protect(first)
    first.load(rows=1000, table="written_first")
    for _ in range(5):  # the server may write a few bytes more by itself
        with ours.receiving():
            first.switch_wal()
            boundary = LSN.parse(first.one("SELECT pg_current_wal_lsn()::text"))
            eventually(lambda end=boundary: ours.acknowledged() >= end)
        if not (begun := [name for name in ours.spooled() if name.startswith("00000002")]):
            break
    assert not begun
    second.load(rows=30000, table="written_second")
    assert LSN.parse(second.one("SELECT pg_current_wal_flush_lsn()::text")) > boundary
    ours.cluster = second
    ours.configure({"main": {}})
    before = ours.listing()
    said = the_error(ours, ours.run("receive-wal", "main", code=1).stderr)
    assert "without a new timeline" in said and "new name" in said
    assert ours.listing() == before
