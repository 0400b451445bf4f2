import os
import stat

import pytest

from catalog import durable
from catalog.durable import DurableFile


@pytest.fixture
def synced(monkeypatch):
    """What was synced, in order: names of files as they were called then, and of directories."""
    seen = []
    fsync = os.fsync

    def remember(fd):
        seen.append(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", remember)
    return seen


def test_a_file_appears_under_its_name_only_when_it_is_finished(tmp_path):
    file = DurableFile(str(tmp_path / "a"))
    file.write(b"one")
    file.write(memoryview(b"two"))
    assert [durable.is_temporary(name) for name in os.listdir(tmp_path)] == [True]
    file.finish()
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == {"a": b"onetwo"}
    assert file.nbytes == 6


def test_content_is_synced_before_the_name_and_the_directory_after(tmp_path, synced):
    durable.write_file(str(tmp_path / "a"), b"x")
    first, second = synced
    assert durable.is_temporary(first)
    assert second == tmp_path.name


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system cannot be asked to write back")
def test_a_large_file_goes_to_the_disk_on_the_way(tmp_path, monkeypatch, synced):
    asked = []
    monkeypatch.setattr(durable, "_WRITE_BACK", 16 << 20)
    monkeypatch.setattr(
        os, "posix_fadvise", lambda fd, start, length, advice: asked.append((start, length, list(synced)))
    )
    piece = bytes(6 << 20)
    file = DurableFile(str(tmp_path / "a"))
    for _ in range(7):
        file.write(piece)
    assert asked == [(0, 18 << 20, []), (18 << 20, 18 << 20, [])]
    file.finish()
    assert (tmp_path / "a").stat().st_size == 42 << 20


def test_an_aborted_file_leaves_nothing(tmp_path):
    file = DurableFile(str(tmp_path / "a"))
    file.write(b"x")
    file.abort()
    file.abort()
    assert os.listdir(tmp_path) == []


def test_abort_after_finish_keeps_the_file(tmp_path):
    file = DurableFile(str(tmp_path / "a"))
    file.finish()
    file.abort()
    assert os.listdir(tmp_path) == ["a"]


def test_an_existing_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"a long old content")
    durable.write_file(str(path), b"new")
    assert path.read_bytes() == b"new"


def test_without_replace_an_existing_file_stays(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    file = DurableFile(str(path), replace=False)
    file.write(b"new")
    with pytest.raises(FileExistsError):
        file.finish()
    file.abort()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_without_replace_a_free_name_is_taken(tmp_path):
    file = DurableFile(str(tmp_path / "a"), replace=False)
    file.write(b"new")
    file.finish()
    assert os.listdir(tmp_path) == ["a"]


def test_a_failed_sync_raises_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail(fd):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        durable.write_file(str(path), b"new")
    assert os.listdir(tmp_path) == ["a"]
    assert path.read_bytes() == b"old"


def test_a_disk_that_takes_a_few_bytes_at_a_time_gets_them_all(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:7])))
    durable.write_file(str(tmp_path / "a"), bytes(range(100)))
    assert (tmp_path / "a").read_bytes() == bytes(range(100))


def test_files_are_not_readable_by_others(tmp_path):
    durable.write_file(str(tmp_path / "a"), b"")
    durable.make_directories(str(tmp_path / "d"))
    assert not stat.S_IMODE((tmp_path / "a").stat().st_mode) & 0o027
    assert not stat.S_IMODE((tmp_path / "d").stat().st_mode) & 0o027


def test_every_directory_that_is_made_is_synced_into_its_parent(tmp_path, synced):
    durable.make_directories(str(tmp_path / "a" / "b" / "c"))
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert synced == [tmp_path.name, "a", "b"]
    durable.make_directories(str(tmp_path / "a" / "b" / "c"))
    assert len(synced) == 3


def test_a_file_where_a_directory_should_be_is_an_error(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(OSError):
        durable.make_directories(str(tmp_path / "a"))


def test_a_rename_syncs_both_directories(tmp_path, synced):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "a").write_bytes(b"x")
    durable.rename(str(tmp_path / "one" / "a"), str(tmp_path / "two" / "b"))
    assert synced == ["two", "one"]
    assert (tmp_path / "two" / "b").read_bytes() == b"x"


def test_a_removal_is_synced(tmp_path, synced):
    (tmp_path / "a").write_bytes(b"x")
    durable.remove(str(tmp_path / "a"))
    assert synced == [tmp_path.name]
    durable.remove_if_present(str(tmp_path / "a"))
    with pytest.raises(FileNotFoundError):
        durable.remove(str(tmp_path / "a"))


def test_temporary_names_differ_and_are_recognised():
    names = {durable.temporary_name("/x/000000010000000000000001") for _ in range(50)}
    assert len(names) == 50
    assert all(durable.is_temporary(name) and name.startswith("/x/0000") for name in names)
    assert not durable.is_temporary("000000010000000000000001.partial")
