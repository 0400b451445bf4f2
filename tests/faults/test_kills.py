"""kill -9 at random moments: nothing that was acknowledged is lost, and what is listed can be restored.

Three rounds of each in an ordinary run; ``make test-faults`` takes twenty. Each round kills one process
at a moment drawn from the seed, which a failure shows (``--seed`` repeats it).
"""

import os
import signal
import time
from pathlib import Path

import pytest
from support.clusters import Cluster, fingerprint
from support.load import KEEPS_ITS_WAL, load_on
from support.protection import (
    assert_same_wal,
    last_acknowledged,
    listing,
    segment_size,
    stop,
    verified_by_postgres,
)

from walstream.ops import unprivileged

pytestmark = pytest.mark.timeout(1800)


def test_a_killed_receiver_has_what_it_acknowledged(cluster_factory, protect, rounds, chance):
    cluster = cluster_factory(KEEPS_ITS_WAL, segment_megabytes=1)
    size = segment_size(cluster)
    codec = chance.choice(["zstd", "lz4", "gzip", "none"])
    ours = protect(cluster, compression=codec, synchronous=chance.choice(["on", "off"]))
    with ours.receiving():
        begin = position = ours.catch_up()
    with load_on(cluster):
        for _ in range(rounds):
            process = ours.start("receive-wal", "main")
            if chance.random() < 0.8:
                ours.wait_for_stream(process)
            time.sleep(chance.uniform(0, 1.5))
            assert process.poll() is None, ours.log.read_text()
            stop(process, signal.SIGKILL)
            before, position = position, max(position, last_acknowledged(ours))
            assert_same_wal(ours, position, size.number_before(before))
    with ours.receiving():
        ours.catch_up()
    assert_same_wal(ours, max(position, last_acknowledged(ours)), size.number_before(begin))
    assert position - begin > rounds * size.nbytes / 4
    assert not [name for name in listing(ours.home()) if "walstream-tmp" in name]


def test_a_backup_that_is_listed_after_kills_can_be_restored(
    cluster_factory, protect, cluster_directory, rounds, chance
):
    cluster = cluster_factory(KEEPS_ITS_WAL)
    cluster.load(rows=5000)
    ours = protect(cluster)
    with ours.receiving() as receiver:
        began = time.monotonic()
        ours.backup()
        longest = 1.3 * (time.monotonic() - began)
        with load_on(cluster):
            for _ in range(rounds):
                process = ours.start("backup", "main")
                time.sleep(chance.uniform(0.2, 1) * longest)
                stop(process, signal.SIGKILL)
        last = ours.backup()
        ours.catch_up()
        assert receiver.poll() is None, ours.log.read_text()
    wanted = fingerprint(cluster)
    cluster.stop()
    files = listing(ours.home())
    assert not [name for name in files if "walstream-tmp" in name or name.endswith("started.json")]
    listed = sorted(path.parent.name for path in ours.home().glob("base/*/record.json"))
    assert last in listed and len(listed) >= 2
    for backup_id in listed:
        with Cluster(cluster.version, os.path.join(cluster_directory, backup_id)) as copy:
            ours.restore(Path(copy.directory), backup_id, copy.directory)
            copy.start()
            assert copy.wait_for_recovery() == "ended"
            assert fingerprint(copy) == wanted, backup_id


def test_a_killed_restore_can_be_repeated_in_its_place(
    cluster_factory, protect, cluster_directory, rounds, chance
):
    cluster = cluster_factory()
    cluster.load(rows=5000)
    spaces = [os.path.join(cluster_directory, name) for name in ("space", "restored space")]
    for space in spaces:
        os.mkdir(space, 0o700)
        unprivileged.way().give(space)
    cluster.sql(f"CREATE TABLESPACE space LOCATION '{spaces[0]}'")
    cluster.sql("CREATE TABLE outside TABLESPACE space AS SELECT * FROM load")
    ours = protect(cluster)
    with ours.receiving():
        ours.backup()
        ours.catch_up()
    wanted = fingerprint(cluster)
    cluster.stop()
    copy = Cluster(cluster.version, os.path.join(cluster_directory, "restored"))
    words = ("auto", copy.directory, "--tablespace", f"space:{spaces[1]}")
    os.mkdir(copy.directory, 0o700)
    longest = 1.5
    for _ in range(rounds):
        process = ours.start("restore", "main", *words)
        time.sleep(chance.uniform(0.1, 1.2) * longest)
        stop(process, signal.SIGKILL)
        if Path(copy.directory, "global", "pg_control").exists():
            assert_complete(ours, copy, words, spaces[1])
        began = time.monotonic()
        ours.restore(Path(copy.directory), *words)
        longest = time.monotonic() - began
        verified_by_postgres(copy)
        with copy:
            copy.start()
            assert copy.wait_for_recovery() == "ended"
            assert fingerprint(copy) == wanted
        clear(copy.directory, spaces[1])


def assert_complete(ours, copy, words, space):
    """pg_control comes last: with it in place all is there, and nothing may be emptied."""
    assert "is not empty" in ours.refusal("restore", "main", *words)
    for place in (copy.directory, space):
        Path(place, ".walstream-restore.json").unlink(missing_ok=True)
    verified_by_postgres(copy)
    clear(copy.directory, space)


def clear(*directories):
    for directory in directories:
        os.rename(directory, f"{directory}-{os.urandom(4).hex()}")
        os.mkdir(directory, 0o700)
