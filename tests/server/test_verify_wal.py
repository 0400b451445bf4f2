"""WAL of real servers over a promotion is good to the last byte; what is done to it is found and named."""

import json
import os

import pytest
from support.clusters import together
from support.protection import segment_size

from catalog.decoding import split_suffix
from catalog.lsn import LSN
from catalog.walname import Segment

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def ours(cluster_factory, standby_factory, protect, eventually):
    """A server, a standby that took over from it, and the WAL of both with a backup at its beginning."""
    primary = cluster_factory(segment_megabytes=1)
    primary.load(rows=2000)
    standby = standby_factory(primary)
    found = protect(primary, conninfo=together(primary, standby, target_session_attrs="read-write"))
    with found.receiving():
        found.backup()
        primary.load(rows=30000)
        primary.sql("SELECT pg_switch_wal()")
        position = primary.one("SELECT pg_current_wal_flush_lsn()::text")
        eventually(lambda: standby.one("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", position))
        primary.stop("fast")
        assert standby.one("SELECT pg_promote()")
        found.cluster = standby
        eventually(found.streams, timeout=120)
        standby.load(rows=20000)
        standby.sql("SELECT pg_switch_wal()")
        found.catch_up()
    return found


def whole(ours):
    """The complete segments that are stored."""
    return {name: path for name, path in sorted(ours.stored().items()) if len(split_suffix(name)[0]) == 24}


def failing(ours):
    return json.loads(ours.run("-f", "json", "verify-wal", "main", "--full", code=1).stdout)["main"]


def test_the_wal_of_a_server_and_its_successor_is_good_and_what_is_done_to_it_is_found(ours):
    facts = ours.facts("verify-wal", "main")
    segments = whole(ours)
    assert (facts["verified"], facts["problems"], facts["holes"]) == (True, [], [])
    assert facts["no_of_segments"] == len(segments) > 6
    assert {name[:8] for name in segments} == {"00000001", "00000002"}
    again = ours.facts("verify-wal", "main")
    assert (again["no_of_segments"], again["no_of_segments_unchanged"]) == (0, len(segments))

    shown = ours.facts("show-backup", "main", "latest")
    first = shown["base_backup_information"]["begin_wal"][8:]
    facts = ours.facts("verify-wal", "main", "--full", "--from", "latest")
    assert facts["verified"] and facts["no_of_segments"] == sum(name[8:] >= first for name in segments)

    name, path = next((n, p) for n, p in segments.items() if n.startswith("00000002"))
    plain = ours.held(name)
    size = segment_size(ours.cluster)
    start = Segment.parse(name, size).start(size)
    content = path.read_bytes()

    # The same bytes but one, stored plainly in its place.
    for at in (8, 41, 8192 * 3 + 8, 100_000):
        damaged = bytearray(plain)
        damaged[at] ^= 0x10
        path.unlink()
        (path.parent / name).write_bytes(damaged)
        problems = failing(ours)["problems"]
        assert problems[0]["file"] == name
        assert LSN.parse(problems[0]["lsn"]) <= start + (at // 8192 + 1) * 8192
        (path.parent / name).unlink()
        path.write_bytes(content)

    path.write_bytes(content[: len(content) // 2])
    assert [each["file"] for each in failing(ours)["problems"]] == [path.name]
    os.unlink(path)
    facts = failing(ours)
    assert facts["problems"] == []
    assert [(each["kind"], each["first"], each["last"]) for each in facts["holes"]] == [
        ("missing", name, name)
    ]
    path.write_bytes(content)
    assert ours.facts("verify-wal", "main")["verified"]
