"""Clusters whose WAL segments are not of the usual size: received, stored, handed out and recovered from."""

import os
from pathlib import Path

import pytest
from support.clusters import Cluster, assert_same_rows
from support.protection import assert_same_wal, segment_size

from catalog.walname import Segment


@pytest.mark.parametrize("megabytes", [1, 64])
def test_wal_in_segments_of_another_size_is_received_stored_and_recovered(
    cluster_factory, protect, cluster_directory, tmp_path, megabytes
):
    cluster = cluster_factory({"wal_keep_size": "1GB", "max_wal_size": "1GB"}, segment_megabytes=megabytes)
    size = segment_size(cluster)
    assert size.nbytes == megabytes << 20
    ours = protect(cluster)
    with ours.receiving():
        cluster.load(rows=1000)
        ours.backup()
        for _ in range(3):
            cluster.load(rows=5000)
            cluster.switch_wal()
        cluster.load(rows=1000)
        ours.catch_up()
        assert_same_wal(ours)
    name = max(name for name in ours.stored() if len(name) == 24)
    ours.run("get-wal", "main", name, "-o", str(tmp_path / name))
    assert (tmp_path / name).read_bytes() == Path(cluster.directory, "pg_wal", name).read_bytes()
    assert Segment.parse(name, size).name(size) == name
    with Cluster(cluster.version, os.path.join(cluster_directory, "restored")) as restored:
        ours.restore(Path(restored.directory), "auto", restored.directory)
        restored.settings |= {"max_wal_size": "1GB"}
        restored.start()
        assert restored.wait_for_recovery() == "ended"
        assert_same_rows(restored, cluster)
