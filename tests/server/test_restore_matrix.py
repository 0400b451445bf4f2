"""Every kind of restore from one story: each restored cluster is started and compared with what the origin held.

The origin is told once per version: tablespaces, checksums, load while the backup runs, then moments whose
content is written down, a table that is dropped, and the end. It is stopped before the first restore.
"""

import contextlib
import os
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.clusters import Cluster, fingerprint, pg_tool
from support.protection import (
    Protection,
    stop,
    timeline_of,
    verified_by_postgres,
    wait_until,
)

from walstream.ops import unprivileged
from walstream.ops.installation import SUPERUSER

CODECS = ("zstd", "lz4", "gzip", "none")
SPACES = ("first", "with blank")


@dataclass
class Story:
    """What is known of the origin: targets by name, and its content at moments by name."""

    version: int
    place: Path
    protection: Protection
    targets: dict[str, str] = field(default_factory=dict)
    content: dict[str, dict[str, tuple[int, str]]] = field(default_factory=dict)
    busy_at_begin: int = 0


@pytest.fixture
def story(told_once, pg_version):
    return told_once(pg_version, tell)


def tell(version, place):
    place.mkdir()
    origin = Cluster(version, str(place / "origin"), {"track_commit_timestamp": "on", "autovacuum": "off"})
    origin.init(checksums=True)
    origin.configure(
        {
            "archive_mode": "on",
            "archive_command": f"touch {place}/archived-%f",
            "log_directory": str(place / "log"),
            "external_pid_file": str(place / "external.pid"),
            "recovery_end_command": f"touch {place}/ended",
            "bgwriter_delay": "10s",
        }
    )
    origin.start()
    story = Story(
        version, place, Protection(str(place), origin, {name: {"compression": name} for name in CODECS})
    )
    receivers = [story.protection.start("receive-wal", name) for name in CODECS]
    try:
        for name, receiver in zip(CODECS, receivers, strict=True):
            story.protection.wait_for_stream(receiver, name)
        _make_tables(story, origin)
        _back_up_under_load(story, origin)
        _live_on(story, origin)
        origin.stop()  # it waits until the receivers have everything
    finally:
        for receiver in receivers:
            stop(receiver)
        origin.close()
    for each in place.glob("archived-*"):
        each.unlink()
    (place / "external.pid").unlink(missing_ok=True)
    os.unlink(story.protection.config)  # restoring needs none
    return story


def _make_tables(story, origin):
    for name in SPACES:
        location = story.place / name
        location.mkdir(mode=0o700)
        unprivileged.way().give(str(location))
        origin.sql(f"CREATE TABLESPACE \"{name}\" LOCATION '{location}'")
        origin.sql(f'CREATE TABLE "{name} table" (id int, body text) TABLESPACE "{name}"')
        origin.sql(f'INSERT INTO "{name} table" SELECT i, md5(i::text) FROM generate_series(1, 20000) i')
    if origin.one("SELECT count(*) FROM pg_available_extensions WHERE name = 'amcheck'"):
        origin.sql("CREATE EXTENSION amcheck")
    origin.sql("CREATE TABLE moments (what text)")
    origin.sql("CREATE TABLE busy (id bigserial, body text)")
    origin.load(rows=20000)


def _back_up_under_load(story, origin):
    done = threading.Event()

    def write():
        with origin.connect() as connection:
            while not done.wait(0.001):
                connection.execute(
                    "INSERT INTO busy (body) SELECT md5(i::text) FROM generate_series(1, 20) i"
                )

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with _pgbench(origin):
            story.busy_at_begin = origin.one("SELECT count(*) FROM busy")
            story.protection.run("backup", "all", "--name", "the one")
    finally:
        done.set()
        writer.join()


@contextlib.contextmanager
def _pgbench(origin):
    """PostgreSQL's own load, where the installation has it; the block begins when it has had some effect."""
    program = pg_tool(origin.version, "pgbench")
    if program is None:
        yield
        return
    subprocess.run([program, "-iq", "--tablespace=first", origin.conninfo()], check=True, capture_output=True)
    load = subprocess.Popen([program, "-n", "-c2", "-T600", origin.conninfo()], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: origin.one("SELECT count(*) FROM pgbench_history") > 0)
        yield
        assert load.poll() is None
    finally:
        load.terminate()
        load.wait()
        wait_until(
            lambda: (
                origin.one("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'") == 0
            )
        )


def _live_on(story, origin):
    def note(name):
        story.content[name] = fingerprint(origin)

    origin.sql("INSERT INTO moments VALUES ('before the restore point')")
    note("before")
    origin.sql("SELECT pg_create_restore_point('before it''s upgraded')")
    with origin.connect() as connection:
        connection.execute("BEGIN")
        connection.execute("INSERT INTO moments VALUES ('the transaction')")
        xid, lsn = connection.execute(
            "SELECT pg_current_xact_id()::text, pg_current_wal_insert_lsn()::text"
        ).fetchone()
        connection.execute("COMMIT")
    note("after")
    time = origin.one("SELECT pg_xact_commit_timestamp(%s::xid)::text", xid)
    story.targets = {"xid": xid, "lsn": lsn, "time": time, "name": "before it's upgraded"}
    # A recovery that pauses at the commit of the drop already holds its lock: have another one before it.
    origin.sql("INSERT INTO moments VALUES ('too late')")
    origin.sql('DROP TABLE "first table"')
    origin.load(rows=40000)
    origin.sql("INSERT INTO moments VALUES ('the end')")
    note("end")


MATRIX = [
    ("auto", [], "end", "zstd"),
    ("latest", ["--target-time"], "after", "zstd"),
    ("auto", ["--target-time", "--exclusive"], "before", "zstd"),
    ("auto", ["--target-lsn", "--target-action", "promote"], "after", "zstd"),
    ("the one", ["--target-lsn", "--exclusive"], "before", "zstd"),
    ("latest", ["--target-xid"], "after", "zstd"),
    ("latest", ["--target-name"], "before", "zstd"),
    ("latest", ["--target-xid", "--exclusive"], "before", "lz4"),
    ("latest", ["--target-name", "--target-action", "promote"], "before", "gzip"),
    ("auto", [], "end", "none"),
]


@pytest.fixture
def restored(story, tmp_path_factory):
    """``restored(codec, id, *options)``: a cluster that was restored, not yet started."""
    made = []

    def make(codec, backup, *words):
        place = story.place / f"restored-{os.urandom(4).hex()}"
        destination = place.with_name(f"{place.name} 50% o'data")
        spaces = {name: f"{place}-{name}" for name in SPACES}
        mapping = [w for name, path in spaces.items() for w in ("--tablespace", f"{name}:{path}")]
        for path in spaces.values():
            os.mkdir(path, 0o700)
        repository = str(story.protection.home(codec))
        story.protection.restore(destination, backup, str(destination), *words, *mapping, server=repository)
        cluster = Cluster(story.version, str(destination))
        made.append(cluster)
        return cluster, spaces

    yield make
    for cluster in made:
        cluster.close()


@pytest.mark.parametrize(
    ("backup", "words", "moment", "codec"),
    MATRIX,
    ids=lambda value: None if isinstance(value, list) else value,
)
def test_a_restored_cluster_holds_what_the_origin_held(story, restored, backup, words, moment, codec):
    target = [w for word in words for w in (word, story.targets.get(word.removeprefix("--target-"))) if w]
    cluster, spaces = restored(codec, backup, *target)
    verified_by_postgres(cluster)
    cluster.start()
    pauses = any(word.startswith("--target") for word in words) and "promote" not in words
    assert cluster.wait_for_recovery() == ("paused" if pauses else "ended")
    assert fingerprint(cluster) == story.content[moment]
    assert_in_their_places(cluster, spaces)
    assert_harmless(cluster, story)
    if pauses:
        cluster.sql("SELECT pg_wal_replay_resume()")
        wait_until(lambda: not cluster.one("SELECT pg_is_in_recovery()"))
    assert timeline_of(cluster) == 2
    cluster.load(rows=10)
    assert_sound(cluster)


COPIED = [
    ([], "end", "zstd"),
    (["--target-time"], "after", "zstd"),
    (["--target-lsn", "--exclusive"], "before", "none"),
    (["--target-xid"], "after", "lz4"),
    (["--target-name"], "before", "gzip"),
    (["--target-immediate"], None, "zstd"),
]


@pytest.mark.parametrize(
    ("words", "moment", "codec"),
    COPIED,
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_with_its_wal_copied_a_cluster_recovers_without_the_repository(story, restored, words, moment, codec):
    target = [w for word in words for w in (word, story.targets.get(word.removeprefix("--target-"))) if w]
    cluster, _ = restored(codec, "latest", *target, "--no-get-wal")
    verified_by_postgres(cluster)
    with story.protection.away(codec):
        cluster.start()
        assert cluster.wait_for_recovery() == ("paused" if words else "ended")
        assert moment is None or fingerprint(cluster) == story.content[moment]
        if words:
            cluster.sql("SELECT pg_wal_replay_resume()")
            wait_until(lambda: not cluster.one("SELECT pg_is_in_recovery()"))
        assert timeline_of(cluster) == 2
        cluster.load(rows=10)
        assert_harmless(cluster, story)


def test_a_standby_with_its_wal_copied_waits_for_more(story, restored):
    cluster, _ = restored("zstd", "latest", "--standby-mode", "--no-get-wal")
    with story.protection.away("zstd"):
        cluster.start()
        assert cluster.one("SHOW restore_command") == ""
        assert cluster.one("SELECT pg_is_in_recovery()")
        # To wait in a query would hold up the replay that is waited for.
        assert cluster.one("SELECT pg_promote(false)")
        wait_until(lambda: not cluster.one("SELECT pg_is_in_recovery()"))
        assert cluster.one("SELECT count(*) FROM busy") >= story.busy_at_begin
        assert timeline_of(cluster) == 2


def test_recovery_settings_in_a_file_of_their_own_are_in_force_and_stay_so(story, restored):
    cluster, _ = restored("zstd", "latest", "--recovery-conf-filename", "it's recovered.conf")
    verified_by_postgres(cluster)
    cluster.start()
    assert cluster.wait_for_recovery() == "ended"
    assert fingerprint(cluster) == story.content["end"]
    cluster.sql("ALTER SYSTEM SET work_mem = '5MB'")  # which writes the file anew that includes the other
    cluster.stop()
    cluster.start()
    assert cluster.one("SHOW work_mem") == "5MB"
    assert_harmless(cluster, story)


def test_an_immediate_restore_holds_what_was_written_when_the_backup_ended(story, restored):
    cluster, spaces = restored("zstd", "auto", "--target-immediate")
    verified_by_postgres(cluster)
    cluster.start()
    assert cluster.wait_for_recovery() == "paused"
    assert_in_their_places(cluster, spaces)
    newest = cluster.one("SELECT max(id) FROM busy")
    assert cluster.one("SELECT count(*) FROM busy") == newest > story.busy_at_begin
    assert cluster.one("SELECT count(*) FROM moments") == 0
    assert cluster.one('SELECT count(*) FROM "first table"') == 20000
    if pg_tool(story.version, "pgbench") is not None:
        sums = [
            f"(SELECT coalesce(sum({what}), 0) FROM pgbench_{table})"
            for what, table in (("abalance", "accounts"), ("tbalance", "tellers"), ("delta", "history"))
        ]
        assert len(set(*cluster.sql(f"SELECT {', '.join(sums)}"))) == 1
    assert_sound(cluster)


def test_a_dry_run_writes_nothing(story, tmp_path):
    destination = tmp_path / "data"
    destination.mkdir()
    repository = str(story.protection.home("zstd"))
    before = story.protection.listing()
    mapping = [w for name in SPACES for w in ("--tablespace", f"{name}:{tmp_path}/{name}")]
    found = story.protection.facts(
        "restore", repository, "auto", str(destination), "--dry-run", *mapping, name="zstd"
    )
    assert found["target"] == "latest" and found["destinations"]
    assert (list(destination.iterdir()), story.protection.listing()) == ([], before)
    assert not (tmp_path / "first").exists()


def assert_sound(cluster):
    """``pg_amcheck`` finds nothing wrong with any table or index, where the installation has it."""
    program = pg_tool(cluster.version, "pg_amcheck")
    if program is not None and cluster.one("SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'"):
        where = ["-h", cluster.socket_directory, "-p", str(cluster.port), "-U", SUPERUSER, "-d", "postgres"]
        command = [program, "--heapallindexed", *where]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def assert_in_their_places(cluster, spaces):
    shown = cluster.sql("SELECT spcname, pg_tablespace_location(oid) FROM pg_tablespace WHERE oid > 16000")
    assert dict(shown) == spaces


def assert_harmless(cluster, story):
    for name in ("archive_command", "primary_conninfo", "primary_slot_name", "recovery_end_command"):
        assert cluster.one(f"SHOW {name}") in ("", "(disabled)")
    assert cluster.one("SHOW archive_mode") == "off"
    assert cluster.one("SHOW log_directory") == "log"
    assert cluster.one("SHOW external_pid_file") == ""
    left = {path.name for path in story.place.iterdir()}
    assert not {"ended", "external.pid"} & left and not any(name.startswith("archived") for name in left)
