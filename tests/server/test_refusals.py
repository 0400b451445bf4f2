"""What is refused: in a line that says what is wrong, with one that says what to do, and nothing is written."""

import json
import os
import shutil
from pathlib import Path

import pytest
from support.clusters import Cluster, short_directory
from support.protection import Protection, listing, segment_size, stop, wait_until

from catalog.lsn import LSN, SegmentSize
from catalog.walname import Segment
from walstream.cli import main


@pytest.fixture(scope="module")
def originals():
    with short_directory() as directory:
        yield {}, directory


@pytest.fixture
def protected(originals, pg_version, cluster_directory, this_tree):
    """Two backups, and WAL of several segments behind them, in a copy to break; the cluster does not run."""
    made, directory = originals
    if pg_version not in made:
        made[pg_version] = make_original(pg_version, Path(directory, f"pg{pg_version}"))
    place = Path(cluster_directory, "protection")
    shutil.copytree(made[pg_version].place, place)
    origin = Cluster(pg_version, os.path.join(cluster_directory, "origin"))
    origin.socket_directory = cluster_directory  # where no server listens
    ours = Protection(str(place), origin)
    records = [json.loads(path.read_text()) for path in sorted(ours.home().glob("base/*/record.json"))]
    return ours, records


def make_original(version, place):
    place.mkdir()
    with Cluster(version, f"{place}-origin") as cluster:
        cluster.init(segment_megabytes=1)
        cluster.start()
        cluster.load(rows=100)
        ours = Protection(str(place), cluster)
        with ours.receiving():
            ours.backup("--name", "the first")
            cluster.load(rows=100)
            ours.backup("--name", "second")
            cluster.load(rows=30000)
            ours.catch_up()
    return ours


def held_until(ours):
    """The end of the WAL that is held."""
    return LSN.parse(json.loads((ours.home() / "state" / "receiver.json").read_text())["flushed"])


@pytest.fixture
def refused(protected, tmp_path, capsys):
    """``refused(backup, *options, code=1, target=…)``: what a restore said that left everything as it was."""
    ours, _ = protected

    def run(backup, *words, code=1, target=None):
        if target is None:
            target = tmp_path / "target"
            target.mkdir(exist_ok=True)
        before = ours.listing(), listing(tmp_path)
        capsys.readouterr()
        assert main(["-c", ours.config, "restore", "main", backup, str(target), *words]) == code
        assert (ours.listing(), listing(tmp_path)) == before
        return ours.one_error(capsys.readouterr().err)

    return run


def test_restores_that_cannot_work(protected, refused):
    end = held_until(protected[0])
    expected = {
        ("nothing",): "no backup 'nothing'",
        ("second", "--target-lsn", "0/100000"): "before the end of backup",
        ("second", "--target-time", "2020-01-01 00:00:00+00"): "before the end of backup",
        ("auto", "--target-time", "2020-01-01 00:00:00+00"): "before the end of backup",
        ("auto", "--target-lsn", str(end + (1 << 30))): "is not stored",
        ("auto", "--target-lsn", str(end + 1000)): "not in the WAL stored so far",
        ("auto", "--target-name", "point"): "not in the WAL stored so far",
        ("auto", "--target-xid", "1000000000"): "not in the WAL stored so far",
        ("auto", "--target-time", "2100-01-01 00:00:00+00"): "not in the WAL stored so far",
        ("latest", "--target-tli", "7"): "timeline 7",
    }
    for words, text in expected.items():
        assert text in refused(*words), words


def test_restores_that_make_no_sense(refused):
    expected = {
        ("auto", "--tablespace", "unknown:/somewhere"): "no tablespace 'unknown'",
        ("auto", "--tablespace", "unknown"): "'unknown'",
        ("auto", "--target-time", "yesterday"): "'yesterday'",
        ("auto", "--target-lsn", "0/1", "--target-xid", "700"): "more than one",
        ("auto", "--target-name", "point", "--no-scan"): "'auto' cannot choose",
        ("latest", "--target-immediate", "--exclusive"): "boundary",
    }
    for words, text in expected.items():
        assert text in refused(*words, code=2), words


def test_a_destination_that_is_in_use(refused, tmp_path):
    full, file = tmp_path / "full", tmp_path / "file"
    full.mkdir()
    (full / "precious").write_text("data")
    file.write_text("data")
    assert "is not empty" in refused("auto", target=full)
    assert "is not a directory" in refused("auto", target=file)


def test_a_hole_in_the_wal_is_refused_before_a_byte_is_written(protected, refused):
    ours, (record, _) = protected
    size = SegmentSize(record["wal_segment_size"])
    middle = sorted(name for name in ours.stored() if len(name) == 24)[-3]
    behind = Segment.parse(middle, size).end(size) + 1
    ours.stored()[middle].unlink()
    for target in ([], ["--target-lsn", str(behind)]):
        said = refused("auto", *target)
        assert middle in said and "missing" in said


def test_a_backup_whose_files_were_altered(protected, refused):
    ours, (_, record) = protected
    base = ours.home() / "base" / record["id"] / "base.tar.zst"
    base.write_bytes(base.read_bytes()[:-100])
    assert "instead of" in refused("second")
    base.unlink()
    assert "is missing" in refused("second")


def test_a_damaged_archive_leaves_a_destination_that_does_not_start_and_can_be_used_again(
    protected, tmp_path
):
    ours, (_, record) = protected
    base = ours.home() / "base" / record["id"] / "base.tar.zst"
    content = bytearray(base.read_bytes())
    content[len(content) // 2] ^= 0xFF
    base.write_bytes(content)
    target = tmp_path / "target"
    target.mkdir()
    ours.refusal("restore", "main", "second", str(target))
    assert not (target / "global" / "pg_control").exists()
    ours.run("restore", "main", "the first", str(target))
    assert (target / "global" / "pg_control").exists()


def test_wal_that_is_not_there(protected, tmp_path):
    ours, _ = protected
    before = ours.listing()
    wanted = str(tmp_path / "wanted")
    for words, code, text in (
        (("get-wal", "main", "0000000100000000000000FF", "-o", wanted), 1, "is not in"),
        (("get-wal", "main", "00000002.history", "-o", wanted), 1, "is not in"),
        (("get-wal", "main", "../identity.json", "-o", wanted), 255, "not the name of a WAL file"),
        (("get-wal", "other", "0000000100000000000000FF"), 255, "no server 'other'"),
        (("get-wal", str(tmp_path / "gone"), "0000000100000000000000FF"), 255, "holds no repository"),
        (("get-wal", "main"), 255, "expected"),
        (("wal-restore", "main", "0000000100000000000000FF", wanted), 1, ""),
    ):
        assert text in ours.run(*words, code=code).stderr
    assert ours.listing() == before and not os.listdir(tmp_path)


def test_a_second_receiver_and_a_second_backup(cluster_factory, protect):
    ours = protect(cluster_factory())
    with ours.receiving():
        assert "is receiving WAL of 'main'" in ours.refusal("receive-wal", "main")
        slow = ours.start("backup", "main", "--bwlimit", "2000")
        wait_until(lambda: any("base.tar.zst" in name for name in listing(ours.home())))
        assert "is taking or removing backups of 'main'" in ours.refusal("backup", "main")
        assert stop(slow) == 130


def test_a_directory_of_somebody_else(cluster_factory, protect):
    ours = protect(cluster_factory())
    ours.home().mkdir(parents=True)
    (ours.home() / "base").mkdir()
    (ours.home() / "identity.json").write_text('{"systemid": "123", "version": "18"}')
    before = ours.listing()
    for command in ("receive-wal", "backup"):
        assert "Barman" in ours.refusal(command, "main", code=2)
    (ours.home() / "identity.json").rename(ours.home() / "notes.txt")
    for command in ("receive-wal", "backup"):
        assert "not a walstream repository" in ours.refusal(command, "main")
    assert list(ours.listing().values()) == list(before.values())


def test_the_repository_of_another_cluster(protected, cluster_factory):
    ours, _ = protected
    ours.cluster = cluster_factory()
    ours.configure({"main": {}})
    before = ours.listing()
    for command in ("receive-wal", "backup"):
        assert "system identifier" in ours.refusal(command, "main")
    assert ours.listing() == before
    assert ours.cluster.one("SELECT count(*) FROM pg_replication_slots") == 0


@pytest.mark.parametrize(
    ("settings", "texts"),
    [
        ({"wal_level": "minimal", "max_wal_senders": "0"}, ("wal_level", "max_wal_senders")),
        ({"max_wal_senders": "0"}, ("max_wal_senders",)),
        ({"max_replication_slots": "0"}, ("max_replication_slots",)),
    ],
    ids=["wal_level minimal", "no walsenders", "no slots"],
)
def test_a_server_that_cannot_be_streamed_from(cluster_factory, protect, settings, texts):
    ours = protect(cluster_factory(settings))
    for command in ("receive-wal", "backup"):
        said = ours.refusal(command, "main")
        assert any(text in said for text in texts), said
    assert not list(ours.home().glob("base/*/record.json"))


def test_a_role_without_the_privilege_and_a_server_that_is_down(cluster_factory, protect):
    cluster = cluster_factory()
    cluster.sql("CREATE ROLE nobody LOGIN")
    ours = protect(cluster, conninfo=cluster.conninfo(user="nobody"))
    for command in ("receive-wal", "backup"):
        assert "REPLICATION" in ours.refusal(command, "main")
    conninfo = cluster.conninfo()
    cluster.stop()
    ours.configure({"main": {"conninfo": conninfo}})
    for command in ("receive-wal", "backup"):
        assert "check that the server runs" in ours.refusal(command, "main")
    assert not ours.home().exists()


def test_servers_and_repositories_that_are_not_there(cluster_factory, protect, tmp_path):
    ours = protect(cluster_factory())
    for command in (
        ("receive-wal", "other"),
        ("backup", "other"),
        ("restore", "other", "auto", str(tmp_path)),
    ):
        assert "no server 'other'" in ours.refusal(*command, code=2)
    assert "no repository" in ours.refusal("restore", "main", "auto", str(tmp_path))
    assert "no repository" in ours.refusal("restore", str(tmp_path), "auto", str(tmp_path / "x"))
    assert not ours.home().exists() and not os.listdir(tmp_path)


def test_a_server_that_was_rewound_without_a_new_timeline(protected):
    ours, (record, _) = protected
    with ours.cluster as cluster:
        os.mkdir(cluster.directory, 0o700)
        ours.run("restore", "main", "the first", cluster.directory)
        recover_as_after_a_crash(ours, cluster.directory, record)
        cluster.socket_directory = None
        cluster.start()
        ours.configure({"main": {}})
        assert LSN.parse(cluster.one("SELECT pg_current_wal_lsn()::text")) < held_until(ours)
        assert segment_size(cluster).nbytes == record["wal_segment_size"]
        before = ours.listing()
        assert "without a new timeline" in ours.refusal("receive-wal", "main")
        assert ours.listing() == before


def recover_as_after_a_crash(ours, directory, record):
    """Give a restored cluster the WAL of its backup alone, and no archive: it goes on along its timeline."""
    Path(directory, "recovery.signal").unlink()
    Path(directory, "postgresql.auto.conf").write_text("")
    size = SegmentSize(record["wal_segment_size"])
    first, end = (LSN.parse(record[point]["lsn"]) for point in ("begin", "end"))
    for number in range(size.number_at(first), size.number_before(end) + 1):
        name = Segment(1, number).name(size)
        ours.run("get-wal", "main", name, "-o", os.path.join(directory, "pg_wal", name))
