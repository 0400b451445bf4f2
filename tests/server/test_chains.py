"""Chains of incremental backups: taken, restored in place, and judged by ``pg_combinebackup`` and the rows."""

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.clusters import Cluster, fingerprint
from support.combining import assert_same_files, combine
from support.protection import Protection, verified_by_postgres

from walstream.ops import unprivileged

pytestmark = pytest.mark.postgres(versions=[17, 18])

SETTINGS = {"summarize_wal": "on", "autovacuum": "off", "allow_in_place_tablespaces": "on"}


@dataclass
class Story:
    """A cluster, its chain of a full backup and five incrementals, and its content after each of them."""

    version: int
    place: Path
    protection: Protection
    chain: list[str]
    content: dict[str, dict[str, dict[str, tuple[int, str]]]]

    @property
    def base(self):
        return self.protection.home() / "base"


@pytest.fixture
def story(told_once, pg_version):
    return told_once(pg_version, tell)


def tell(version, place):
    place.mkdir()
    with Cluster(version, str(place / "origin"), SETTINGS) as origin:
        origin.init(checksums=True)
        origin.start()
        ours = Protection(str(place), origin)
        story = Story(version, place, ours, [], {})
        with ours.receiving():
            for chapter in CHAPTERS:
                chapter(origin, place)
                words = ("--incremental", "latest") if story.chain else ()
                story.chain.append(ours.backup(*words))
                story.content[story.chain[-1]] = rows_of(origin)
            ours.catch_up()
        origin.stop()
    return story


def rows_of(cluster):
    """Database → what is in it."""
    databases = cluster.sql("SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate")
    return {name: fingerprint(cluster, name) for (name,) in databases}


def add_tablespace(origin, place, name):
    location = place / name
    location.mkdir(mode=0o700)
    unprivileged.way().give(str(location))
    origin.sql(f"CREATE TABLESPACE {name} LOCATION '{location}'")


def fill(origin, table, rows, more=""):
    origin.sql(f"CREATE TABLE {table} (id int, body text) {more}")
    origin.sql(f"INSERT INTO {table} SELECT i, md5(i::text) FROM generate_series(1, {rows}) i")


def begin(origin, place):
    add_tablespace(origin, place, "kept")
    add_tablespace(origin, place, "dropped")
    for table in ("updated", "shrunk", "regrown", "emptied", "gone", "again", "rewritten"):
        fill(origin, table, 20000)
    fill(origin, "in_kept", 20000, "TABLESPACE kept")
    fill(origin, "in_dropped", 2000, "TABLESPACE dropped")
    fill(origin, "moved", 2000, "TABLESPACE kept")
    origin.sql("CREATE TABLESPACE in_place LOCATION ''")
    fill(origin, "inside", 5000, "TABLESPACE in_place")
    origin.sql("CREATE UNLOGGED TABLE unlogged (id int)")
    origin.sql("CREATE DATABASE doomed TABLESPACE kept")
    fill_in(origin, "doomed")


def fill_in(origin, database):
    origin.sql("CREATE TABLE inside AS SELECT i FROM generate_series(1, 9000) i", dbname=database)


def shrink_and_drop(origin, place):
    origin.sql("UPDATE updated SET body = 'first' WHERE id % 1000 = 1")
    origin.sql("UPDATE inside SET body = 'first' WHERE id % 1000 = 1")
    origin.sql("DELETE FROM shrunk WHERE id > 5000")
    origin.sql("DELETE FROM regrown WHERE id > 100")
    origin.sql("VACUUM shrunk")
    origin.sql("VACUUM regrown")
    origin.sql("INSERT INTO regrown SELECT i, 'grown' FROM generate_series(1, 30000) i")
    origin.sql("TRUNCATE emptied")
    origin.sql("DROP TABLE gone")
    origin.sql("DROP TABLE in_dropped")
    origin.sql("DROP TABLESPACE dropped")
    add_tablespace(origin, place, "added")
    origin.sql("CREATE DATABASE young TABLESPACE added")
    fill_in(origin, "young")


def recreate_and_move(origin, place):
    origin.sql("UPDATE in_kept SET body = 'second' WHERE id % 500 = 2")
    origin.sql("DROP TABLE again")
    fill(origin, "again", 300)
    origin.sql("DROP DATABASE doomed")
    origin.sql("CREATE TABLESPACE later LOCATION ''")
    fill(origin, "in_later", 1000, "TABLESPACE later")
    origin.sql("ALTER TABLE moved SET TABLESPACE added")
    origin.sql("VACUUM FULL rewritten")
    origin.sql("INSERT INTO emptied SELECT i, 'back' FROM generate_series(1, 4000) i")


def extend(origin, place):
    origin.sql("INSERT INTO shrunk SELECT i, 'third' FROM generate_series(1, 40000) i")
    origin.sql("CREATE INDEX ON updated (body)")
    origin.sql("CREATE DATABASE doomed TABLESPACE kept")
    fill_in(origin, "doomed")
    Path(origin.directory, "notes").mkdir()
    Path(origin.directory, "notes", "INCREMENTAL.1").write_text("not a relation")


def rest(origin, place):
    origin.sql("UPDATE inside SET i = -i WHERE i % 100 = 0", dbname="doomed")


def finish(origin, place):
    origin.sql("DELETE FROM regrown WHERE id % 2 = 0")
    origin.sql("VACUUM")
    origin.sql("TRUNCATE shrunk")
    origin.sql("DROP DATABASE young")
    origin.sql("DROP TABLE inside")
    origin.sql("DROP TABLESPACE in_place")
    origin.sql("DELETE FROM updated WHERE id > 10000")
    origin.sql("VACUUM updated")
    os.unlink(Path(origin.directory, "notes", "INCREMENTAL.1"))
    os.rmdir(Path(origin.directory, "notes"))


CHAPTERS = (begin, shrink_and_drop, recreate_and_move, extend, rest, finish)


def spaces_of(story, backup_id):
    record = json.loads((story.base / backup_id / "record.json").read_text())
    return [space["name"] for space in record["tablespaces"] if space["location"].startswith("/")]


def restored(story, backup_id, place, *words):
    """A cluster restored into ``place``, its tablespaces beside it; not yet started."""
    cluster = Cluster(story.version, str(place / "restored"), SETTINGS)
    mapping = []
    for name in spaces_of(story, backup_id):
        os.mkdir(place / name, 0o700)
        mapping += ["--tablespace", f"{name}:{place}/{name}"]
    story.protection.restore(Path(cluster.directory), backup_id, cluster.directory, *mapping, *words)
    unprivileged.way().give(str(place))
    return cluster


@pytest.mark.parametrize("length", [2, 4, 6])
def test_a_restored_chain_is_what_pg_combinebackup_makes_of_it(story, cluster_directory, length):
    place = Path(cluster_directory)
    chain = story.chain[:length]
    cluster = restored(story, chain[-1], place, "--target-immediate", "--target-action", "promote")
    with cluster:
        theirs = combine(story.version, story.base, chain, place / "theirs")
        assert assert_same_files(Path(cluster.directory), theirs) > 900
        assert_measured(story, chain[-1], theirs)
        verified_by_postgres(cluster)
        cluster.start()
        assert cluster.wait_for_recovery() == "ended"
        assert rows_of(cluster) == story.content[chain[-1]]


def assert_measured(story, backup_id, data):
    """The size that the record states is that of the files, and what tar needs around them."""
    record = json.loads((story.base / backup_id / "record.json").read_text())
    found = [os.path.join(at, name) for at, _, names in os.walk(data, followlinks=True) for name in names]
    nbytes = sum(os.path.getsize(path) for path in found)
    assert nbytes - (1 << 20) < record["cluster_size"] < nbytes + 1024 * (len(found) + 100)
    assert sum(archive["raw_size"] for archive in record["archives"]) < record["cluster_size"] / 2


def test_auto_chooses_a_chain_and_the_plan_names_its_backups(story, tmp_path):
    home, place = str(story.protection.home()), str(tmp_path / "data")
    os.mkdir(place)
    words = [
        w for name in spaces_of(story, story.chain[-1]) for w in ("--tablespace", f"{name}:{place}-{name}")
    ]
    facts = story.protection.facts("restore", home, "auto", place, "--dry-run", *words)
    assert facts["chain"] == story.chain
    text = story.protection.run("restore", home, "auto", place, "--dry-run", *words).stdout
    assert f"laid over    {', '.join(story.chain[:-1])}" in text


def test_a_killed_restore_of_a_chain_is_repeated_by_the_same_command(story, cluster_directory):
    ours, place = story.protection, Path(cluster_directory)
    names = spaces_of(story, story.chain[-1])
    words = [w for name in names for w in ("--tablespace", f"{name}:{place}/{name}")]
    for name in ("restored", *names):
        os.mkdir(place / name, 0o700)
    command = ("restore", str(ours.home()), "latest", str(place / "restored"), *words)
    # The full backup has about 1300 files and directories; these moments are in it, and in what comes over it.
    for moment in (400, 4000, 8000):
        process = ours.start(*command, dies_at=moment)
        assert process.wait(60) == -signal.SIGKILL, ours.log.read_text()
        assert not (place / "restored" / "global" / "pg_control").exists()
    ours.run(*command)
    unprivileged.way().give(str(place))
    with Cluster(story.version, str(place / "restored"), SETTINGS) as cluster:
        verified_by_postgres(cluster)
        cluster.start()
        assert cluster.wait_for_recovery() == "ended"
        assert rows_of(cluster) == story.content[story.chain[-1]]
