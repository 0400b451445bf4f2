"""Files as a storage: what every storage does, and what the operating system can do to it."""

import contextlib
import errno
import os

import pytest
from support.faults import Disk, PowerLoss, fail
from support.storage_conformance import KEY, NEIGHBOUR, StorageConformance, content, write

from catalog.errors import Absent, Conflict, StorageError
from catalog.local_storage import LocalStorage


@pytest.fixture
def storage(tmp_path):
    return LocalStorage(str(tmp_path / "repository"))


class TestLocalStorage(StorageConformance):
    @pytest.fixture
    def storage(self, tmp_path):
        return LocalStorage(str(tmp_path / "repository"))


def files(storage):
    """All files below the root, temporary ones too."""
    return sorted(name for _, _, names in os.walk(storage.root) for name in names)


def test_the_root_may_be_relative_when_the_process_moves_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    storage = LocalStorage("here")
    os.chdir("/")
    storage.put("a", b"abc")
    assert (tmp_path / "here" / "a").read_bytes() == b"abc"


def test_nobody_outside_the_group_may_read(storage):
    write(storage, KEY, b"abc")
    storage.put("identity.json", b"abc")
    for key in (KEY, "identity.json"):
        assert os.stat(storage.path(key)).st_mode & 0o777 == 0o640
    assert os.stat(os.path.dirname(storage.path(KEY))).st_mode & 0o777 == 0o750


DISK_FULL = [
    ("mkdir", lambda storage: write(storage, KEY, b"abc")),
    ("open", lambda storage: write(storage, KEY, b"abc")),
    ("write", lambda storage: write(storage, KEY, b"abc")),
    ("fsync", lambda storage: write(storage, KEY, b"abc")),
    ("open", lambda storage: storage.put(KEY, b"abc")),
    ("write", lambda storage: storage.put(KEY, b"abc")),
    ("rename", lambda storage: storage.put(KEY, b"abc")),
]


@pytest.mark.parametrize("call, work", DISK_FULL)
def test_a_full_disk_is_a_storage_error_and_no_key_appears(storage, monkeypatch, call, work):
    with monkeypatch.context() as faults:
        fail(faults, call, errno.ENOSPC)
        with pytest.raises(StorageError) as caught:
            work(storage)
    assert "no space left on device" in caught.value.message
    assert "make room" in caught.value.hint
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(Absent):
        storage.read(KEY)


@pytest.mark.parametrize(
    "call, work",
    [
        ("open", lambda storage: storage.read(KEY)),
        ("open", lambda storage: storage.sync(KEY)),
        ("listdir", lambda storage: storage.names("wals")),
        ("scandir", lambda storage: storage.sizes("wals")),
        ("unlink", lambda storage: storage.delete(KEY)),
        ("unlink", lambda storage: storage.delete_tree("wals")),
        ("rmdir", lambda storage: storage.delete_tree("wals")),
        ("listdir", lambda storage: storage.remove_leftovers("wals")),
    ],
)
@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
def test_what_the_system_refuses_is_a_storage_error_and_never_taken_for_absence(
    storage, monkeypatch, call, work, code
):
    write(storage, KEY, b"abc")
    with monkeypatch.context() as faults:
        fail(faults, call, code)
        with pytest.raises(StorageError) as caught:
            work(storage)
    assert os.strerror(code).lower() in caught.value.message
    assert storage.root in caught.value.message
    assert (caught.value.hint is not None) == (code == errno.EACCES)


def test_a_key_whose_bytes_cannot_be_read_is_a_storage_error(storage, monkeypatch):
    write(storage, KEY, b"abc")
    reader = storage.read(KEY)
    fail(monkeypatch, "read", errno.EIO)
    with pytest.raises(StorageError, match="cannot read"):
        reader.read(3)
    reader.close()


def test_a_sink_can_be_aborted_on_a_disk_that_has_become_read_only(storage, monkeypatch):
    sink = storage.write(KEY)
    fail(monkeypatch, "unlink", errno.EROFS)
    sink.abort()


def test_a_sink_whose_sync_failed_leaves_no_key_and_can_be_repeated(storage, monkeypatch):
    with monkeypatch.context() as faults:
        fail(faults, "fsync", errno.EIO, when=lambda fd: not os.path.isdir(f"/proc/self/fd/{fd}"))
        sink = storage.write(KEY)
        sink.write(b"abc")
        with pytest.raises(StorageError):
            sink.finish()
        sink.abort()
    assert files(storage) == []
    write(storage, KEY, b"abc")
    assert content(storage, KEY) == b"abc"


def test_without_hard_links_a_key_is_still_never_replaced(storage, monkeypatch):
    fail(monkeypatch, "link", errno.EPERM)
    write(storage, KEY, b"abc")
    with pytest.raises(Conflict):
        write(storage, KEY, b"other")
    assert content(storage, KEY) == b"abc"


def test_a_file_that_vanishes_while_sizes_are_asked_for_hides_no_other(storage, monkeypatch):
    write(storage, KEY, b"abc")
    write(storage, NEIGHBOUR, b"abcd")

    real = os.scandir

    @contextlib.contextmanager
    def scandir(path):
        with real(path) as entries:
            found = list(entries)
        os.unlink(storage.path(KEY))
        yield found

    with monkeypatch.context() as faults:
        faults.setattr(os, "scandir", scandir)
        assert dict(storage.sizes("wals/0000000100000000")) == {NEIGHBOUR.rpartition("/")[2]: 4}


def test_leftovers_of_killed_writers_are_not_listed_and_can_be_removed(storage):
    storage.write(KEY).write(b"abc")
    directory = "wals/0000000100000000"
    assert len(files(storage)) == 1
    assert list(storage.names(directory)) == list(storage.sizes(directory)) == []
    storage.remove_leftovers(directory)
    assert files(storage) == []


def test_a_directory_that_is_written_to_while_it_is_emptied_stays(storage, monkeypatch):
    write(storage, KEY)
    remove = os.rmdir

    def somebody_was_faster(path):
        write(storage, NEIGHBOUR)
        remove(path)

    monkeypatch.setattr(os, "rmdir", somebody_was_faster)
    directory, _, file = KEY.rpartition("/")
    storage.delete_some(directory, [file])
    assert list(storage.names(directory)) == [NEIGHBOUR.rpartition("/")[2]]


def test_a_link_in_a_tree_is_deleted_and_not_followed(storage, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_text("x")
    storage.put("base/x/record.json", b"abc")
    os.symlink(tmp_path / "elsewhere", storage.path("base/x/link"))
    storage.delete_tree("base/x")
    assert (tmp_path / "elsewhere" / "precious").exists()
    assert not os.path.exists(storage.path("base/x"))


@pytest.mark.parametrize("calls", range(40))
def test_a_power_loss_at_any_moment_leaves_a_whole_key_or_none(tmp_path, monkeypatch, calls):
    disk = Disk(monkeypatch)
    storage = LocalStorage(str(tmp_path))
    disk.stop_after(calls)
    finished = False
    try:
        write(storage, KEY, b"abc", b"def")
        finished = True
        storage.put(KEY, b"replaced")
        storage.delete(KEY)
        calls = -1
    except PowerLoss:
        pass
    monkeypatch.undo()
    survived = {name: data for name, data in disk.survivors(str(tmp_path)).items() if "tmp" not in name}
    if calls == -1:
        assert survived == {}
    else:
        assert survived in ([{KEY: b"abcdef"}, {KEY: b"replaced"}] + [{}] * (not finished))


def test_a_link_shares_the_file_and_needs_nobody_else_to_sync_it(storage, tmp_path, monkeypatch):
    file = tmp_path / "segment"
    file.write_bytes(b"abc")
    disk = Disk(monkeypatch)
    assert storage.link(str(file), KEY) is True
    assert os.path.samefile(file, storage.path(KEY))
    assert disk.survivors(str(tmp_path))[f"repository/{KEY}"] == b"abc"


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK])
def test_where_links_are_not_to_be_had_nothing_is_linked(storage, tmp_path, monkeypatch, number):
    file = tmp_path / "segment"
    file.write_bytes(b"abc")
    with monkeypatch.context() as faults:
        fail(faults, "link", number)
        assert storage.link(str(file), KEY) is False
    assert files(storage) == []


def test_a_link_that_fails_otherwise_is_a_storage_error(storage, tmp_path, monkeypatch):
    file = tmp_path / "segment"
    file.write_bytes(b"abc")
    with monkeypatch.context() as faults:
        fail(faults, "link", errno.ENOSPC)
        with pytest.raises(StorageError, match="no space left"):
            storage.link(str(file), KEY)
