"""Targets that WAL records tell about: planned where they are reached, refused where they are not."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.clusters import Cluster, fingerprint, together
from support.protection import Protection
from support.values import MB

from catalog.lsn import LSN
from catalog.timeline import History
from catalog.walname import Segment
from walstream.ops import unprivileged

QUIET = {
    "autovacuum": "off",
    "max_prepared_transactions": "4",
    "wal_keep_size": "1GB",
    "bgwriter_delay": "10s",
}


@dataclass
class Story:
    """What an origin did: backups, targets by name, and what it held at moments by name."""

    protection: Protection
    place: Path
    backups: list = field(default_factory=list)
    targets: dict = field(default_factory=dict)
    content: dict = field(default_factory=dict)


@pytest.fixture
def story(told_once, pg_version):
    return told_once(pg_version, tell)


def tell(version, place):
    place.mkdir()
    origin = Cluster(version, str(place / "origin"), QUIET)
    origin.init(segment_megabytes=1)
    origin.start()
    story = Story(Protection(str(place), origin), place)
    try:
        with story.protection.receiving():
            origin.sql("CREATE TABLE moments (what text)")
            story.targets["before all"] = transaction(origin, "before all")
            story.backups.append(story.protection.backup())
            live(story, origin)
            story.backups.append(story.protection.backup())
            origin.load(rows=10_000)
            story.targets["last"] = transaction(origin, "the last")
            story.targets["after the last"] = origin.one("SELECT clock_timestamp()::text")
            story.targets["next xid"] = str(int(story.targets["last"]) + 1)
            story.protection.catch_up()
            story.targets["end"] = str(origin.one("SELECT pg_current_wal_flush_lsn()::text"))
    finally:
        origin.close()
    return story


def transaction(origin, what):
    """Insert a row; the id of the transaction that did."""
    with origin.connect() as connection, connection.transaction():
        connection.execute("INSERT INTO moments VALUES (%s)", [what])
        return connection.execute("SELECT pg_current_xact_id()::text").fetchone()[0]


def live(story, origin):
    def note(name, target):
        story.targets[name] = target
        story.content[name] = fingerprint(origin)

    origin.load(rows=10_000)
    note("time", origin.one("SELECT clock_timestamp()::text"))
    origin.load(rows=10_000)
    note("xid", transaction(origin, "a transaction"))
    note("name", 'it\'s "the one"')
    story.targets["point"] = origin.one("SELECT pg_create_restore_point(%s)::text", story.targets["name"])
    origin.load(rows=5000)
    with origin.connect() as connection:
        connection.execute("BEGIN")
        connection.execute("INSERT INTO moments VALUES ('prepared')")
        prepared = connection.execute("SELECT pg_current_xact_id()::text").fetchone()[0]
        connection.execute("SAVEPOINT s")
        connection.execute("INSERT INTO moments VALUES ('below')")
        connection.execute("PREPARE TRANSACTION 'p'")
        origin.load(rows=5000)
        connection.execute("COMMIT PREPARED 'p'")
    note("prepared", prepared)
    story.targets["subtransaction"] = str(int(prepared) + 1)
    for _ in range(2):
        story.targets.setdefault("twice", []).append(
            origin.one("SELECT pg_create_restore_point('twice')::text")
        )
        origin.load(rows=5000)


def planned(story, *words, backup="auto"):
    """What a plan says, without carrying it out."""
    place = story.place / "planned"
    place.mkdir(exist_ok=True)
    found = story.protection.facts("restore", "main", backup, str(place), "--dry-run", *words)
    del found["destinations"]  # how much room there is changes
    return found


def refused(story, *words, backup="auto"):
    """What is said of a target; nothing of a destination exists then."""
    before = story.protection.listing()
    destination = story.place / "never"
    said = story.protection.refusal("restore", "main", backup, str(destination), *words)
    assert not destination.exists()
    assert story.protection.listing() == before
    return said


REACHED = [
    ("time", ["--target-time"], "time"),
    ("xid", ["--target-xid"], "xid"),
    ("name", ["--target-name"], "name"),
    ("prepared", ["--target-xid"], "prepared"),
    ("xid", ["--target-xid", "--exclusive"], None),
]


@pytest.mark.parametrize(("target", "words", "moment"), REACHED, ids=lambda value: str(value))
def test_a_target_is_reached_where_the_plan_says(story, target, words, moment, cluster_directory):
    place = Path(cluster_directory, "restored")
    option, *rest = words
    words = [option, story.targets[target], *rest, "--target-action", "promote"]
    found = story.protection.restore(place, "auto", str(place), *words, server="main")
    assert found["backup_id"] == story.backups[0]
    restored = Cluster(story.protection.cluster.version, str(place), QUIET)
    try:
        restored.start()
        assert restored.wait_for_recovery() == "ended"
        if moment is not None:
            assert fingerprint(restored) == story.content[moment]
        else:
            assert restored.one("SELECT count(*) FROM moments WHERE what = 'a transaction'") == 0
        history = History.parse(2, (place / "pg_wal" / "00000002.history").read_bytes())
    finally:
        restored.close()
    stop = LSN.parse(found["reached_lsn"])
    # A record behind a page's header is behind a record that ended before it.
    header = stop.value % 8192 if stop.value % 8192 in (24, 40) else 0
    assert history.switches[0].position == LSN(stop.value - header)
    assert Segment.parse(found["last_needed_wal"], MB).number >= MB.number_before(stop)
    if target in ("xid", "prepared"):
        assert found["reached_xid"] == int(story.targets[target])


def test_what_is_needed_ends_with_the_segment_of_the_target(story):
    found = planned(story, "--target-name", story.targets["name"])
    point = LSN.parse(story.targets["point"])
    assert LSN.parse(found["reached_lsn"]) == point
    assert found["last_needed_wal"] == Segment(1, MB.number_before(point)).name(MB)
    assert planned(story)["last_needed_wal"] > found["last_needed_wal"]


def test_a_name_that_was_given_twice_is_refused_with_both_places(story):
    said = refused(story, "--target-name", "twice", backup=story.backups[0])
    assert "2 restore points 'twice'" in said
    assert all(position in said for position in story.targets["twice"])
    assert (
        planned(story, "--target-lsn", story.targets["twice"][1])["reached_lsn"] == story.targets["twice"][1]
    )


@pytest.mark.parametrize("backup", ["auto", "latest"])
def test_a_name_that_nobody_gave_is_refused(story, backup):
    assert "restore point 'never' is not in the WAL stored so far" in refused(
        story, "--target-name", "never", backup=backup
    )


def test_a_backup_that_ended_too_late_is_refused_and_auto_finds_the_one_before(story):
    for option, target in (("--target-name", "name"), ("--target-xid", "xid"), ("--target-xid", "prepared")):
        words = (option, story.targets[target])
        assert "backup" in refused(story, *words, backup=story.backups[1])
        assert planned(story, *words)["backup_id"] == story.backups[0]
    assert planned(story, "--target-xid", story.targets["last"])["backup_id"] == story.backups[1]


def test_a_time_behind_the_last_transaction_is_refused_and_the_last_one_named(story):
    said = refused(story, "--target-time", story.targets["after the last"])
    assert "no transaction ended after it" in said and "the last one is of" in said
    assert "not yet known" in said


def test_a_transaction_that_never_was_is_refused(story):
    assert "is not in the WAL stored so far" in refused(story, "--target-xid", story.targets["next xid"])
    far = str(int(story.targets["last"]) + 1_000_000_000)
    assert "is not in the WAL stored so far" in refused(story, "--target-xid", far)
    assert "does not end behind the begin" in refused(story, "--target-xid", story.targets["before all"])


def test_a_subtransaction_is_refused_and_the_transaction_above_it_named(story):
    said = refused(story, "--target-xid", story.targets["subtransaction"], backup=story.backups[0])
    assert f"--target-xid {story.targets['prepared']}" in said


def test_a_position_behind_the_last_record_is_refused(story):
    end = LSN.parse(story.targets["end"])
    assert "no record begins at or behind" in refused(story, "--target-lsn", str(end + 8000))


def test_without_a_scan_nothing_is_promised(story):
    found = planned(story, "--target-name", "never", "--no-scan", backup="latest")
    assert found["reached_lsn"] is None
    assert "known only when" in found["warnings"][0]


def test_plans_are_the_same_with_what_was_kept_and_without(story):
    kept = story.protection.home() / "state" / "commits"
    words = [("--target-name", story.targets["name"]), ("--target-time", story.targets["time"])]
    with_it = [planned(story, *each) for each in words]
    assert list(kept.iterdir())
    for each in kept.iterdir():
        each.unlink()
    assert [planned(story, *each) for each in words] == with_it
    unprivileged.way().give(str(story.place))


def test_a_time_after_a_promotion_is_found_on_the_later_timeline(
    cluster_factory, standby_factory, protect, cluster_directory, eventually
):
    primary = cluster_factory(QUIET, segment_megabytes=1)
    standby = standby_factory(primary, QUIET)
    ours = protect(primary, conninfo=together(primary, standby, target_session_attrs="read-write"))
    with ours.receiving():
        ours.backup()
        primary.load(rows=5000)
        position = primary.one("SELECT pg_current_wal_flush_lsn()::text")
        eventually(lambda: standby.one("SELECT pg_last_wal_replay_lsn() >= %s", position))
        primary.stop("fast")
        assert standby.one("SELECT pg_promote()")
        ours.cluster = standby
        eventually(ours.streams, timeout=120)
        standby.load(rows=5000)
        moment, content = standby.one("SELECT clock_timestamp()::text"), fingerprint(standby)
        standby.load(rows=5000)
        ours.catch_up()
    place = Path(cluster_directory, "restored")
    said = ours.refusal("restore", "main", "auto", str(place), "--target-time", moment, "--target-tli", "1")
    assert "timeline 1 was left at" in said and not place.exists()
    found = ours.restore(place, "auto", str(place), "--target-time", moment, server="main")
    assert found["timeline"] == 2 and found["last_needed_wal"].startswith("00000002")
    restored = cluster_factory(QUIET, start=False, directory=str(place))
    restored.start()
    assert restored.wait_for_recovery() == "paused"
    assert fingerprint(restored) == content
