"""What our reader finds in a server's WAL, and what PostgreSQL says is there."""

import re
import subprocess
from pathlib import Path

import pytest
from support.clusters import pg_tool
from support.load import KEEPS_ITS_WAL, load_on
from support.protection import segment_size

from catalog.lsn import LSN
from catalog.recordtypes import TELLING, as_time, ending, restore_point
from catalog.walname import Segment
from catalog.walpage import PageHeader
from catalog.walrecord import RecordReader

SETTINGS = KEEPS_ITS_WAL | {
    "track_commit_timestamp": "on",
    "max_prepared_transactions": "4",
    "wal_level": "logical",
}
_LINE = re.compile(
    r"rmgr: (?P<rmgr>\S+) +len \(rec/tot\): +\d+/ *(?P<length>\d+), tx: +(?P<xid>\d+), "
    r"lsn: (?P<position>\S+), prev (?P<prev>\S+), desc: (?P<what>.*)"
)
_RMGRS = (
    *("XLOG", "Transaction", "Storage", "CLOG", "Database", "Tablespace", "MultiXact", "RelMap", "Standby"),
    *("Heap2", "Heap", "Btree", "Hash", "Gin", "Gist", "Sequence", "SPGist", "BRIN", "CommitTs"),
    *("ReplicationOrigin", "Generic", "LogicalMessage"),
)


@pytest.fixture(params=[1, 16], ids=["1MB", "16MB"])
def busy(request, cluster_factory, eventually):
    """A cluster with a history of everything, the segments it wrote, and what it says of that itself."""
    cluster = cluster_factory(SETTINGS, segment_megabytes=request.param)
    facts = {"first": LSN.parse(cluster.one("SELECT pg_current_wal_lsn()::text"))}
    with load_on(cluster):
        facts |= _live(cluster)
        eventually(lambda: cluster.one("SELECT count(*) FROM busy") > 3000)
    facts["endings"] = dict(
        cluster.sql(
            "SELECT xid::text::bigint, pg_xact_commit_timestamp(xid) FROM "
            "(SELECT DISTINCT xmin AS xid FROM busy UNION SELECT xmin FROM various) x"
        )
    )
    facts["size"] = segment_size(cluster)
    cluster.stop()
    return cluster, facts


def _live(cluster):
    with cluster.connect() as connection:
        run = connection.execute
        run("CREATE TABLE various (what text)")
        run("SELECT pg_create_restore_point('first point')")
        run("BEGIN")
        run("INSERT INTO various VALUES ('top')")
        for number in range(40):
            run(f"SAVEPOINT s{number}")
            run("INSERT INTO various VALUES ('sub')")
        (top,) = run("SELECT pg_current_xact_id()::text::bigint").fetchone()
        run("COMMIT")
        run("BEGIN")
        run("CREATE TABLE dropped AS SELECT 1")
        (aborted,) = run("SELECT pg_current_xact_id()::text::bigint").fetchone()
        run("ROLLBACK")
        prepared = []
        for end in ("COMMIT", "ROLLBACK"):
            run("BEGIN")
            run(f"CREATE TABLE prepared_{end} AS SELECT 1")
            run("SAVEPOINT s")
            run("INSERT INTO various VALUES ('prepared')")
            prepared += run("SELECT pg_current_xact_id()::text::bigint").fetchone()
            run(f"PREPARE TRANSACTION '{end}'")
            run(f"{end} PREPARED '{end}'")
        run("SELECT pg_switch_wal()")
        run("DROP TABLE prepared_commit")
        run("SELECT pg_logical_emit_message(false, 'long', repeat('x', 3000000))")
        run("VACUUM various")
        run("CHECKPOINT")
        (point,) = run("SELECT pg_create_restore_point('second point')::text").fetchone()
        run("SELECT pg_switch_wal()")
    return {"top": top, "aborted": aborted, "prepared": prepared, "point": LSN.parse(point)}


def _read(cluster, size, first, wanted=None):
    """All records from the segment of a position on, and the reader behind the last."""
    directory = Path(cluster.directory, "pg_wal")
    segment = Segment.at(1, first, size)
    data = (directory / segment.name(size)).read_bytes()
    reader = RecordReader(size, PageHeader.parse(data).system_identifier, wanted)
    found = []
    while reader.ended is None:
        path = directory / segment.name(size)
        if not path.exists():
            break
        reader.enter(segment)
        found += reader.feed(path.read_bytes())
        segment = segment.next()
    return found, reader


@pytest.mark.postgres(minimum=15)
def test_we_find_the_records_that_pg_waldump_finds(busy, pg_version):
    cluster, facts = busy
    found, reader = _read(cluster, facts["size"], facts["first"])
    assert reader.version == pg_version
    ours = [(_RMGRS[each.rmgr], each.length, each.xid, each.position, each.prev) for each in found]
    assert ours == _dumped(cluster, facts, found[0].position)
    assert len(ours) > 3000


def _dumped(cluster, facts, begin):
    """What pg_waldump lists; it ends, as we do, where there is no more."""
    command = [pg_tool(cluster.version, "pg_waldump"), "-p", f"{cluster.directory}/pg_wal", "-s", str(begin)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [_LINE.match(line) for line in said.stdout.splitlines()]
    return [
        (m["rmgr"], int(m["length"]), int(m["xid"]), LSN.parse(m["position"]), LSN.parse(m["prev"]))
        for m in lines
    ]


def test_ends_of_transactions_and_restore_points_are_what_the_server_says(busy):
    cluster, facts = busy
    found, reader = _read(cluster, facts["size"], facts["first"], TELLING)
    ended = [each for each in (ending(record, reader.version) for record in found) if each is not None]
    commits = {each.xid: as_time(each.time) for each in ended if each.is_commit}
    with_subtransactions = {xid: each for each in ended if each.is_commit for xid in each.subxids}
    for xid, time in facts["endings"].items():
        assert commits.get(xid) == time or as_time(with_subtransactions[xid].time) == time, xid
    by_xid = {each.xid: each for each in ended}
    assert len(by_xid[facts["top"]].subxids) == 40
    assert not by_xid[facts["aborted"]].is_commit
    assert [by_xid[xid].is_commit for xid in facts["prepared"]] == [True, False]
    assert [len(by_xid[xid].subxids) for xid in facts["prepared"]] == [1, 1]
    points = [each for each in map(restore_point, found) if each is not None]
    assert [each.name for each in points] == ["first point", "second point"]
    assert points[1].end == facts["point"]
