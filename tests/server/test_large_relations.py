"""A relation of more than one file of 1 GiB, in a chain: most of it is a hole, so that it costs little."""

import os
from pathlib import Path

import pytest
from support.clusters import Cluster, fingerprint
from support.combining import assert_same_files, combine
from support.protection import verified_by_postgres

GIB = 1 << 30


@pytest.mark.postgres(versions=[18])
def test_a_relation_over_one_gibibyte_comes_out_of_a_chain_as_pg_combinebackup_has_it(
    cluster_factory, protect, cluster_directory
):
    cluster = cluster_factory({"summarize_wal": "on", "autovacuum": "off"})
    ours, place = protect(cluster), Path(cluster_directory)
    cluster.sql("CREATE TABLE large (id int, body text)")
    cluster.sql("INSERT INTO large SELECT i, md5(i::text) FROM generate_series(1, 20000) i")
    path = Path(cluster.directory, cluster.one("SELECT pg_relation_filepath('large')"))
    cluster.stop()
    os.truncate(path, GIB)  # pages of zeros are empty pages
    Path(f"{path}.1").write_bytes(bytes(8 * 8192))
    os.chown(f"{path}.1", path.stat().st_uid, path.stat().st_gid)
    cluster.start()
    with ours.receiving():
        chain = [ours.backup()]
        cluster.sql("INSERT INTO large SELECT i, 'behind' FROM generate_series(1, 20000) i")
        cluster.sql("UPDATE large SET body = 'changed' WHERE id = 1")
        chain.append(ours.backup("--incremental", "latest"))
        assert cluster.one("SELECT pg_relation_size('large')") > GIB + 8 * 8192
        # Nothing is left in the second file, nor at the end of the first one.
        cluster.sql("DELETE FROM large WHERE body <> md5(id::text) OR id > 10000")
        cluster.sql("VACUUM large")
        assert cluster.one("SELECT pg_relation_size('large')") < GIB
        chain.append(ours.backup("--incremental", "latest"))
        content = fingerprint(cluster)
    cluster.close()
    for length in (2, 3):
        check(ours, chain[:length], place / f"restored-{length}", content if length == 3 else None)


def check(ours, chain, place, content):
    version = ours.cluster.version
    place.mkdir()
    with Cluster(version, str(place / "ours")) as copy:
        ours.restore(place / "ours", chain[-1], str(place / "ours"))
        verified_by_postgres(copy)
        theirs = combine(version, ours.home() / "base", chain, place / "theirs")
        assert_same_files(place / "ours", theirs)
        if content is not None:
            copy.start()
            assert copy.wait_for_recovery() == "ended"
            assert fingerprint(copy) == content
