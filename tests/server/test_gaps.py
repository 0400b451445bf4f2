"""WAL that the server has removed: another host's, or a gap that is recorded, shown and closed by a backup."""

import os
import re
from pathlib import Path

import pytest
from support.clusters import Cluster
from support.protection import assert_same_wal, segment_size, stop, wait_until

from catalog.lsn import LSN
from catalog.state import read_receiver_state
from catalog.walname import Segment

# Segments go at the next checkpoint, unless something keeps them.
FORGETFUL = {"wal_keep_size": "0", "min_wal_size": "2MB", "max_wal_size": "4MB", "wal_recycle": "off"}
KEEPS = {"wal_keep_size": "512MB"}


def hosts(*clusters, **words):
    """One connection string for several clusters."""
    own = {
        "host": ",".join(cluster.socket_directory for cluster in clusters),
        "port": ",".join(str(cluster.port) for cluster in clusters),
    }
    return clusters[0].conninfo(**own, **words)


def forget(cluster, segment):
    """Write and remove WAL until a segment is gone."""
    for _ in range(20):
        cluster.load(rows=20000)
        cluster.sql("CHECKPOINT")
        if not Path(cluster.directory, "pg_wal", segment).exists():
            return
    raise AssertionError(f"{segment} is still there")


def first_unheld(ours):
    """The segment that is being received."""
    return max(name for name in ours.spooled() if name.endswith(".partial")).removesuffix(".partial")


def received(ours, cluster):
    """Wait until all WAL that the cluster has now is held; without a slot only the receiver's own word says so."""
    cluster.sql("CHECKPOINT")
    position = LSN.parse(cluster.one("SELECT pg_current_wal_flush_lsn()::text"))
    wait_until(lambda: read_receiver_state(str(ours.home())).flushed >= position)


@pytest.fixture
def primary(cluster_factory):
    cluster = cluster_factory(FORGETFUL, segment_megabytes=1)
    cluster.load(rows=1000)
    return cluster


def test_what_the_primary_has_removed_comes_from_a_standby(primary, standby_factory, protect):
    standby = standby_factory(primary, KEEPS)
    ours = protect(primary, slot_name="", conninfo=hosts(primary, standby, target_session_attrs="read-write"))
    with ours.receiving() as process:
        ours.backup()
        primary.load(rows=100)
        received(ours, primary)
        stop(process)
    missing = first_unheld(ours)
    forget(primary, missing)
    position = primary.one("SELECT pg_current_wal_flush_lsn()::text")
    with ours.receiving() as process:
        primary.load(rows=3000)
        received(ours, primary)
        assert process.poll() is None
    assert missing in ours.stored()
    assert not (ours.home() / "state" / "gaps.json").exists()
    assert f"asking {standby.socket_directory}:{standby.port} for WAL" in ours.log.read_text()
    assert_same_wal(ours, LSN.parse(position), Segment.parse(missing, segment_size(primary)).number)


def test_a_gap_withholds_commits_until_a_backup_behind_it_can_be_restored(
    cluster_factory, protect, cluster_directory, eventually
):
    synchronous = {"synchronous_standby_names": "walstream_receive_wal"}
    primary = cluster_factory(FORGETFUL, segment_megabytes=1)
    primary.load(rows=1000)
    ours = protect(primary, slot_name="")
    with ours.receiving() as process:
        before = ours.backup()
        primary.load(rows=100)
        received(ours, primary)
        stop(process)
    forget(primary, first_unheld(ours))
    primary.configure(FORGETFUL | synchronous)
    primary.sql("SELECT pg_reload_conf()")
    with ours.receiving():
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        with primary.connect() as connection:
            connection.execute("SET synchronous_commit = local")
            connection.execute("CREATE TABLE told (id int)")
        writer = primary.connect()
        writer.pgconn.send_query(b"INSERT INTO told VALUES (1)")
        eventually(lambda: primary.one(waits) == 1)
        ours.backup()
        eventually(lambda: primary.one(waits) == 0, timeout=60)
        writer.close()
        received(ours, primary)
    primary.kill()
    for number, (words, rows) in enumerate({("auto",): 1, (before, "--target-immediate"): None}.items()):
        restored = Cluster(primary.version, os.path.join(cluster_directory, f"restored-{number}"))
        action = () if rows else ("--target-action", "promote")
        ours.restore(Path(restored.directory), words[0], restored.directory, *words[1:], *action)
        with restored:
            restored.start()
            assert restored.wait_for_recovery() == "ended"
            if rows:
                assert restored.one("SELECT count(*) FROM told") == rows
            else:
                assert restored.one("SELECT count(*) FROM load") == 1000


@pytest.mark.postgres(versions=[18])
def test_the_restore_that_a_gap_s_refusal_advises_has_every_commit_before_the_gap(
    primary, protect, cluster_directory
):
    ours = protect(primary, slot_name="")
    with ours.receiving() as process:
        before = ours.backup()
        primary.load(rows=100)
        received(ours, primary)
        stop(process)
    forget(primary, first_unheld(ours))
    with ours.receiving():
        primary.load(rows=3000)
        received(ours, primary)
    place = Path(cluster_directory, "restored")
    place.mkdir(mode=0o700)
    refused = ours.run("restore", str(ours.home()), before, str(place), code=None)
    assert refused.returncode and "WAL is missing behind backup" in refused.stderr
    words = re.search(r"give (--target-lsn) (\S+) to recover all there is", refused.stderr)
    window = ours.facts("status", "main")["recovery_window"]["windows"][0]
    assert LSN.parse(window["end_lsn"]) > LSN.parse(words[2])
    ours.restore(place, before, str(place), *words.groups(), "--target-action", "promote")
    with Cluster(primary.version, str(place)) as restored:
        restored.start()
        assert restored.wait_for_recovery() == "ended"
        assert restored.one("SELECT count(*) FROM load") == 1100


def test_a_server_shuts_down_while_a_gap_is_open(primary, protect):
    ours = protect(primary, slot_name="")
    with ours.receiving() as process:
        ours.backup()
        primary.load(rows=100)
        received(ours, primary)
        stop(process)
    forget(primary, first_unheld(ours))
    with ours.receiving() as process:
        primary.load(rows=1000)
        received(ours, primary)
        assert (ours.home() / "state" / "gaps.json").exists()
        primary.stop("fast")
        primary.start()
        received(ours, primary)
        assert process.poll() is None
