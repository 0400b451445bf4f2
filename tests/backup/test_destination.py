"""Where a restore may write: never into what is not empty, unless a restore was interrupted there."""

import errno
import fcntl
import json
import os

import pytest
from support.faults import Disk, PowerLoss, fail

from backup.destination import MARK, Claim, check, holds_cluster, reclaimable
from catalog.errors import DestinationRefused, StorageError


def tree(path):
    return sorted(
        os.path.relpath(os.path.join(at, name), path)
        for at, dirs, files in os.walk(path)
        for name in dirs + files
    )


@pytest.fixture
def dest(tmp_path):
    return str(tmp_path / "dest")


def claimed(*paths, owner=None):
    """Begin a restore, and be killed."""
    with Claim(paths, owner):
        pass


def test_directories_are_made_private_and_marked(tmp_path, dest):
    spaces = str(tmp_path / "a" / "b")
    before = os.umask(0o077)
    try:
        claimed(dest, spaces)
    finally:
        os.umask(before)
    for path in (dest, spaces):
        assert os.stat(path).st_mode & 0o777 == 0o700
        with open(os.path.join(path, MARK), encoding="utf-8") as file:
            assert json.load(file) == {"destination": dest}
    assert os.stat(tmp_path / "a").st_mode & 0o777 == 0o755


def test_a_restore_that_is_complete_leaves_no_mark(tmp_path, dest):
    with Claim([dest, str(tmp_path / "space")], None) as claim:
        claim.release()
    assert tree(tmp_path) == ["dest", "space"]


def test_the_data_directory_loses_its_mark_last(tmp_path, dest, monkeypatch):
    with Claim([dest, str(tmp_path / "space")], None) as claim:
        fail(monkeypatch, "unlink", errno.EIO, when=lambda path: path.startswith(dest))
        with pytest.raises(StorageError):
            claim.release()
    assert tree(tmp_path) == ["dest", f"dest/{MARK}", "space"]


def test_an_empty_directory_may_be_used(dest):
    os.mkdir(dest)
    check(dest, dest)
    claimed(dest)


def test_a_directory_that_is_not_empty_is_refused_before_any_is_touched(tmp_path, dest):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("x")
    claimed(dest)
    (tmp_path / "dest" / "left").write_text("x")
    with pytest.raises(DestinationRefused, match="not empty"):
        claimed(dest, str(tmp_path / "full"))
    assert tree(tmp_path) == ["dest", f"dest/{MARK}", "dest/left", "full", "full/precious"]


def test_what_is_no_directory_is_refused(tmp_path, dest):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DestinationRefused, match="not a directory"):
        check(str(tmp_path / "file"), dest)


def test_a_directory_marked_by_another_restore_is_not_emptied(tmp_path, dest):
    space = tmp_path / "space"
    claimed(dest, str(space))
    (space / "precious").write_text("x")
    with pytest.raises(DestinationRefused, match=f"interrupted restore to '{dest}'"):
        claimed(str(tmp_path / "other"), str(space))
    assert tree(tmp_path) == ["dest", f"dest/{MARK}", "space", f"space/{MARK}", "space/precious"]


@pytest.mark.parametrize("mark", [b"", b"[]", b"{}", b"\xff"])
def test_a_mark_that_says_nothing_gives_no_right_to_empty_a_directory(tmp_path, dest, mark):
    os.mkdir(dest)
    (tmp_path / "dest" / MARK).write_bytes(mark)
    with pytest.raises(DestinationRefused, match="unknown place"):
        claimed(dest)


def test_two_restores_to_one_place_do_not_run_at_once(tmp_path, dest):
    with Claim([dest], None):
        (tmp_path / "dest" / "unpacked").write_text("x")
        with pytest.raises(DestinationRefused, match="another restore"):
            claimed(dest)
        assert tree(tmp_path) == ["dest", f"dest/{MARK}", "dest/unpacked"]
    claimed(dest)
    assert tree(tmp_path) == ["dest", f"dest/{MARK}"]


def test_a_refused_restore_leaves_no_new_mark(tmp_path, dest):
    space, new = str(tmp_path / "space"), str(tmp_path / "new")
    claimed(dest, space)
    with open(f"{space}/{MARK}", encoding="utf-8") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(DestinationRefused, match="in use"):
            claimed(dest, new, space)
    assert os.listdir(new) == []


@pytest.mark.parametrize("fate", ["whole", "moved away"])
def test_what_may_belong_to_a_whole_cluster_is_not_emptied_though_it_is_marked(tmp_path, dest, fate):
    space = str(tmp_path / "space")
    claimed(dest, space)
    os.mkdir(f"{dest}/global")
    for path in (f"{dest}/PG_VERSION", f"{dest}/global/pg_control", f"{space}/precious"):
        open(path, "w", encoding="utf-8").close()
    assert holds_cluster(dest)
    if fate == "moved away":
        os.rename(dest, f"{dest} elsewhere")
    else:
        with pytest.raises(DestinationRefused, match="only after all was in its place"):
            claimed(dest)
    with pytest.raises(DestinationRefused, match="is not empty"):
        claimed(dest, space)
    assert sorted(os.listdir(space)) == [MARK, "precious"]


def test_a_restore_that_has_ended_while_the_next_one_looked_is_not_emptied(dest, monkeypatch):
    claimed(dest)
    lock = fcntl.flock

    def ended_meanwhile(fd, kind):
        os.makedirs(f"{dest}/global", exist_ok=True)
        open(f"{dest}/global/pg_control", "w", encoding="utf-8").close()
        lock(fd, kind)

    monkeypatch.setattr(fcntl, "flock", ended_meanwhile)
    with pytest.raises(DestinationRefused, match="only after all was in its place"):
        claimed(dest)
    assert os.path.exists(f"{dest}/global/pg_control")


def test_of_the_marks_that_are_taken_back_the_data_directory_s_is_the_last(tmp_path, dest, monkeypatch):
    space = str(tmp_path / "space")
    fail(monkeypatch, "chown", errno.EPERM, when=lambda path, *owner: path == space)
    removed = []
    unlink = os.unlink

    def noted(path, **named):
        removed.append(path)
        unlink(path, **named)

    monkeypatch.setattr(os, "unlink", noted)
    with pytest.raises(StorageError):
        claimed(dest, space, owner=(os.getuid(), os.getgid()))
    assert [path for path in removed if path.endswith(MARK)] == [f"{space}/{MARK}", f"{dest}/{MARK}"]


def test_where_a_server_runs_nothing_is_emptied(tmp_path, dest):
    claimed(dest)
    lock_file = tmp_path / "dest" / "postmaster.pid"
    lock_file.write_text(f"{os.getpid()}\n{dest}\n")
    with pytest.raises(DestinationRefused, match=f"postmaster.pid, {os.getpid()}"):
        claimed(dest)
    lock_file.write_text("nonsense")
    claimed(dest)
    assert os.listdir(dest) == [MARK]


def test_what_an_interrupted_restore_left_is_removed_and_links_are_not_followed(tmp_path, dest):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_text("x")
    claimed(dest)
    os.makedirs(f"{dest}/base/1")
    (tmp_path / "dest" / "base" / "1" / "2").write_text("x")
    os.symlink(tmp_path / "elsewhere", f"{dest}/pg_wal")
    claimed(dest)
    assert tree(tmp_path) == ["dest", f"dest/{MARK}", "elsewhere", "elsewhere/precious"]


def test_what_an_interrupted_restore_left_counts_as_room(tmp_path, dest):
    claimed(dest)
    (tmp_path / "dest" / "base").mkdir()
    (tmp_path / "dest" / "base" / "1").write_bytes(b"x" * 1_000_000)
    assert 1_000_000 <= reclaimable(dest) < 1_100_000
    os.unlink(f"{dest}/{MARK}")
    assert reclaimable(dest) == reclaimable(str(tmp_path / "absent")) == 0


@pytest.mark.parametrize("calls", range(30))
def test_a_restore_that_was_killed_at_any_moment_can_be_repeated(tmp_path, dest, monkeypatch, calls):
    paths = [dest, str(tmp_path / "space")]
    disk = Disk(monkeypatch)
    disk.stop_after(calls)
    try:
        claimed(*paths)
        for path in paths:
            (open(f"{path}/data", "w", encoding="utf-8")).close()
        claimed(*paths)
    except PowerLoss:
        pass
    monkeypatch.undo()
    claimed(*paths)
    assert tree(tmp_path) == ["dest", f"dest/{MARK}", "space", f"space/{MARK}"]


def test_the_mark_is_durable_before_anything_is_written(tmp_path, dest, monkeypatch):
    disk = Disk(monkeypatch)
    claimed(dest)
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
        claimed(dest)
    assert tree(tmp_path) == ["dest", "dest/somebody's"]


def test_a_mark_is_only_a_mark_under_its_own_name(tmp_path, dest):
    os.mkdir(dest)
    (tmp_path / "dest" / f"x{MARK}").write_text("{}")
    with pytest.raises(DestinationRefused):
        claimed(dest)


@pytest.mark.parametrize("call", ["mkdir", "open", "write", "fsync"])
def test_a_directory_that_cannot_be_written_is_a_storage_error(dest, monkeypatch, call):
    fail(monkeypatch, call, errno.ENOSPC)
    with pytest.raises(StorageError, match="no space left"):
        claimed(dest)


def test_a_directory_that_cannot_be_listed_is_trouble_and_not_empty(dest, monkeypatch):
    os.mkdir(dest)
    fail(monkeypatch, "listdir", errno.EACCES)
    with pytest.raises(StorageError, match="permission denied"):
        check(dest, dest)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_every_directory_belongs_to_the_owner_though_it_was_there(tmp_path, dest):
    (tmp_path / "there").mkdir()
    claimed(dest, str(tmp_path / "there"), owner=(26, 27))
    for path in (dest, tmp_path / "there"):
        assert (os.stat(path).st_uid, os.stat(path).st_gid) == (26, 27)


def test_a_tablespace_in_the_way_is_to_be_given_another_place(tmp_path, dest):
    space = tmp_path / "space"
    space.mkdir()
    (space / "precious").touch()
    with pytest.raises(DestinationRefused, match="is not empty") as caught:
        claimed(dest, str(space))
    assert "--tablespace NAME:/absolute/path" in caught.value.hint
    with pytest.raises(DestinationRefused) as caught:
        claimed(str(space))
    assert "--tablespace" not in caught.value.hint
