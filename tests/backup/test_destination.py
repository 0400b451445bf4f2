"""Where a restore may write: never into what is not empty, unless a restore was interrupted there."""

import errno
import json
import os

import pytest
from support.faults import Disk, PowerLoss, fail

from backup.destination import MARK, check, prepare, release, tablespace_locations
from catalog.errors import DestinationRefused, StorageError, UsageError
from catalog.record import Tablespace

FAST = Tablespace(16385, "fast", "/mnt/fast")
SLOW = Tablespace(16386, "slow", "/mnt/slow")
IN_PLACE = Tablespace(16387, "inside", "pg_tblspc/16387")
NOTE = {"backup": "20260131T120000"}


def tree(path):
    return sorted(
        os.path.relpath(os.path.join(at, name), path) for at, _, names in os.walk(path) for name in names
    )


@pytest.fixture
def dest(tmp_path):
    return str(tmp_path / "dest")


def test_tablespaces_go_where_they_were_unless_mapped_by_name_or_oid():
    wanted = {"slow": "/srv/new/", "16385": "/srv/../srv/fast"}
    found = tablespace_locations([FAST, SLOW, IN_PLACE], wanted, "/srv/pg")
    assert found == {16385: "/srv/fast", 16386: "/srv/new", 16387: "/srv/pg/pg_tblspc/16387"}
    assert tablespace_locations([FAST], {}, "/srv/pg") == {16385: "/mnt/fast"}


@pytest.mark.parametrize(
    "mapping, words", [({"other": "/x"}, "no tablespace 'other'"), ({"fast": "x"}, "'x'")]
)
def test_a_mapping_that_makes_no_sense_is_a_usage_error(mapping, words):
    with pytest.raises(UsageError, match=words) as caught:
        tablespace_locations([FAST], mapping, "/srv/pg")
    assert caught.value.hint


@pytest.mark.parametrize(
    "mapping",
    [
        {"fast": "/srv/pg"},
        {"fast": "/srv/pg/base"},
        {"fast": "/srv"},
        {"fast": "/srv/x", "slow": "/srv/x"},
        {"fast": "/srv/x", "slow": "/srv/x/y"},
        {"fast": "/srv/pg/pg_tblspc_fast"},
        {"fast": "/srv/pg/pg_tblspc/1", "slow": "/srv/pg/pg_tblspc/1"},
    ],
)
def test_what_lies_in_one_another_is_refused(mapping):
    with pytest.raises(UsageError, match="lies in"):
        tablespace_locations([FAST, SLOW], mapping, "/srv/pg")


def test_overlap_is_seen_through_links(tmp_path):
    (tmp_path / "pg").mkdir()
    os.symlink(tmp_path / "pg", tmp_path / "link")
    with pytest.raises(UsageError, match="lies in"):
        tablespace_locations([FAST], {"fast": str(tmp_path / "link" / "x")}, str(tmp_path / "pg"))


def test_directories_are_made_private_and_marked(tmp_path, dest):
    spaces = str(tmp_path / "a" / "b")
    prepare([dest, spaces], NOTE, None)
    for path in (dest, spaces):
        assert os.stat(path).st_mode & 0o777 == 0o700
        with open(os.path.join(path, MARK), encoding="utf-8") as file:
            assert json.load(file) == {**NOTE, "directories": [dest, spaces]}


def test_a_restore_that_is_complete_leaves_no_mark(dest):
    prepare([dest], NOTE, None)
    release([dest])
    assert os.listdir(dest) == []


def test_an_empty_directory_may_be_used(dest):
    os.mkdir(dest)
    check(dest)
    prepare([dest], NOTE, None)


def test_a_directory_that_is_not_empty_is_refused_before_any_is_touched(tmp_path, dest):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("x")
    prepare([dest], NOTE, None)
    (tmp_path / "dest" / "left").write_text("x")
    with pytest.raises(DestinationRefused, match="not empty"):
        prepare([dest, str(tmp_path / "full")], NOTE, None)
    assert tree(tmp_path) == [f"dest/{MARK}", "dest/left", "full/precious"]


def test_what_is_no_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DestinationRefused, match="not a directory"):
        check(str(tmp_path / "file"))


def test_what_an_interrupted_restore_left_is_removed_and_links_are_not_followed(tmp_path, dest):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_text("x")
    prepare([dest], NOTE, None)
    os.makedirs(f"{dest}/base/1")
    (tmp_path / "dest" / "base" / "1" / "2").write_text("x")
    os.symlink(tmp_path / "elsewhere", f"{dest}/pg_wal")
    prepare([dest], NOTE, None)
    assert tree(tmp_path) == [f"dest/{MARK}", "elsewhere/precious"]


@pytest.mark.parametrize("calls", range(30))
def test_a_restore_that_was_killed_at_any_moment_can_be_repeated(tmp_path, dest, monkeypatch, calls):
    paths = [dest, str(tmp_path / "space")]
    disk = Disk(monkeypatch)
    disk.stop_after(calls)
    try:
        prepare(paths, NOTE, None)
        for path in paths:
            (open(f"{path}/data", "w", encoding="utf-8")).close()
        prepare(paths, NOTE, None)
    except PowerLoss:
        pass
    monkeypatch.undo()
    prepare(paths, NOTE, None)
    assert tree(tmp_path) == [f"dest/{MARK}", f"space/{MARK}"]


def test_the_mark_is_durable_before_anything_is_written(tmp_path, dest, monkeypatch):
    disk = Disk(monkeypatch)
    prepare([dest], NOTE, None)
    assert list(disk.survivors(dest)) == [MARK]
    monkeypatch.undo()


def test_files_that_come_between_the_check_and_the_start_are_not_removed(tmp_path, dest, monkeypatch):
    os.mkdir(dest)
    real = os.path.isdir

    def isdir(path):
        if path == dest:
            (tmp_path / "dest" / "somebody's").write_text("x")
        return real(path)

    monkeypatch.setattr(os.path, "isdir", isdir)
    with pytest.raises(DestinationRefused):
        prepare([dest], NOTE, None)
    assert tree(tmp_path) == ["dest/somebody's"]


def test_a_mark_is_only_a_mark_under_its_own_name(tmp_path, dest):
    os.mkdir(dest)
    (tmp_path / "dest" / f"x{MARK}").write_text("{}")
    with pytest.raises(DestinationRefused):
        prepare([dest], NOTE, None)


@pytest.mark.parametrize("call", ["mkdir", "open", "write", "fsync"])
def test_a_directory_that_cannot_be_written_is_a_storage_error(dest, monkeypatch, call):
    fail(monkeypatch, call, errno.ENOSPC)
    with pytest.raises(StorageError, match="no space left"):
        prepare([dest], NOTE, None)


def test_a_directory_that_cannot_be_listed_is_trouble_and_not_empty(dest, monkeypatch):
    os.mkdir(dest)
    fail(monkeypatch, "listdir", errno.EACCES)
    with pytest.raises(StorageError, match="permission denied"):
        check(dest)


def test_only_what_was_made_is_given_away(tmp_path, dest, monkeypatch):
    given = []
    monkeypatch.setattr(os, "chown", lambda path, *owner: given.append((path, owner)))
    (tmp_path / "there").mkdir()
    prepare([dest, str(tmp_path / "there")], NOTE, (26, 26))
    assert given == [(dest, (26, 26))]
