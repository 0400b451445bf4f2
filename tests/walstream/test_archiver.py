import errno
import os
import threading

import pytest
from support.faults import Disk, fail
from support.filed_wal import filing, name, segment_bytes
from support.memory_storage import MemoryStorage
from support.streams import drain

from catalog.errors import Conflict, StorageError, StreamRefused
from catalog.local_storage import LocalStorage
from catalog.wal import WalShelf
from walstream.archiver import Archiver, complete_segments

NAMES = [name(number) for number in range(7, 11)]


class Shelving:
    """Notes what is put, in order, and raises what it is told to."""

    def __init__(self):
        self.put_names = []
        self.errors = []
        self.called = threading.Event()

    def put(self, wal_name, open_raw, path):
        self.put_names.append(wal_name)
        reader = open_raw()
        drain(reader)
        reader.close()
        self.called.set()
        if self.errors:
            raise self.errors.pop(0)
        return True


@pytest.fixture
def shelving():
    return Shelving()


@pytest.fixture
def archiving(tmp_path, shelving):
    made = []

    def make(put=None):
        made.append(Archiver(str(tmp_path), put or shelving.put, first_pause=0.01))
        return made[-1]

    yield make
    for archiver in made:
        try:
            archiver.close(patience=0)
        except (Conflict, StreamRefused):
            pass


def fill(directory, names):
    for each in names:
        (directory / each).write_bytes(segment_bytes(int(each[16:], 16)))


def test_a_submitted_segment_is_put_and_then_removed(tmp_path, archiving, shelving):
    archiver = archiving()
    fill(tmp_path, NAMES[:1])
    archiver.submit(NAMES[0])
    archiver.close()
    assert shelving.put_names == NAMES[:1]
    assert os.listdir(tmp_path) == []
    assert (archiver.last_archived, archiver.waiting) == (NAMES[0], 0)


def test_what_a_former_run_left_behind_is_archived_in_order(tmp_path, archiving, shelving):
    fill(tmp_path, [NAMES[2], NAMES[0], NAMES[1]])
    (tmp_path / f"{NAMES[3]}.partial").write_bytes(b"x")
    (tmp_path / "README").write_bytes(b"x")
    archiving().close()
    assert shelving.put_names == NAMES[:3]
    assert sorted(os.listdir(tmp_path)) == [f"{NAMES[3]}.partial", "README"]


def test_the_file_is_removed_only_after_its_stored_copy_is_durable(tmp_path, monkeypatch, archiving):
    disk = Disk(monkeypatch)
    spool, root = tmp_path, tmp_path / "repository"
    fill(spool, NAMES[:2])
    removed = []
    real = os.unlink

    def unlink(path, **options):
        if os.path.basename(path) in NAMES and os.path.dirname(path) == str(spool):
            removed.append(any(os.path.basename(path) in key for key in disk.survivors(str(root))))
        real(path, **options)

    monkeypatch.setattr(os, "unlink", unlink)
    root.mkdir()
    with filing(LocalStorage(str(root)), "zstd") as ours:
        archiving(ours.put).close()
    assert removed == [True, True]


def test_while_the_repository_cannot_be_written_it_keeps_trying_and_says_so(tmp_path, archiving, shelving):
    shelving.errors = [StorageError("the disk is full")] * 3
    fill(tmp_path, NAMES[:2])
    archiver = archiving()
    while archiver.waiting:
        shelving.called.wait(0.01)
    archiver.close()
    assert shelving.put_names == [NAMES[0]] * 4 + [NAMES[1]]
    assert (archiver.trouble, archiver.waiting) == (None, 0)


def test_trouble_is_shown_while_it_lasts_and_closing_does_not_wait_for_its_end(tmp_path, archiving, shelving):
    shelving.errors = [StorageError("the disk is full")] * 1000
    fill(tmp_path, NAMES[:1])
    archiver = archiving()
    archiver.close(patience=600)
    assert str(archiver.trouble) == "the disk is full"
    assert archiver.waiting == 1
    assert os.listdir(tmp_path) == NAMES[:1]


def test_what_fails_while_it_ends_is_said_to_wait_for_the_next_start(tmp_path, archiving, caplog):
    fill(tmp_path, NAMES[:1])
    begun, go_on = threading.Event(), threading.Event()

    def put(wal_name, open_raw, path):
        begun.set()
        go_on.wait(30)
        raise StorageError("the script was ended")

    archiver = archiving(put)
    begun.wait(30)
    threading.Timer(0.2, go_on.set).start()
    archiver.close()
    assert f"{NAMES[0]} stays in the spool for the next start" in caplog.text
    assert "receiving goes on" not in caplog.text


def test_bytes_that_contradict_what_is_stored_end_it_and_stay(tmp_path, archiving, shelving):
    shelving.errors = [Conflict("other bytes")]
    fill(tmp_path, NAMES[:2])
    archiver = archiving()
    with pytest.raises(Conflict):
        archiver.close()
    with pytest.raises(Conflict):
        archiver.raise_error()
    assert shelving.put_names == NAMES[:1]
    assert sorted(os.listdir(tmp_path)) == NAMES[:2]


def test_a_file_that_is_not_what_its_name_says_ends_it_with_the_way_out(tmp_path, archiving):
    (tmp_path / NAMES[0]).write_bytes(segment_bytes(9))
    storage = MemoryStorage()
    with filing(storage) as ours:
        archiver = archiving(ours.put)
        with pytest.raises(StreamRefused) as caught:
            archiver.close()
    assert str(tmp_path / NAMES[0]) in caught.value.message
    assert "move the file away" in caught.value.hint
    assert os.listdir(tmp_path) == NAMES[:1]
    assert storage.content == {}


@pytest.mark.parametrize("call", ["unlink", "open"])
def test_a_file_that_cannot_be_read_or_removed_is_tried_again(
    tmp_path, archiving, shelving, monkeypatch, call
):
    fill(tmp_path, NAMES[:1])
    fail(monkeypatch, call, errno.EIO, times=2, when=lambda path, *rest: str(path).endswith(NAMES[0]))
    archiver = archiving()
    while archiver.waiting:
        shelving.called.wait(0.01)
    archiver.close()
    assert os.listdir(tmp_path) == []


def test_a_crash_between_storing_and_removing_is_made_good_at_the_next_start(tmp_path, archiving):
    fill(tmp_path, NAMES[:1])
    storage = MemoryStorage()
    with filing(storage, "zstd") as ours:
        archiving(ours.put).close()
        fill(tmp_path, NAMES[:1])
        archiving(ours.put).close()
    assert drain(WalShelf(storage).open(NAMES[0])) == segment_bytes(7)
    assert os.listdir(tmp_path) == []


def test_complete_segments_are_listed_by_name_alone(tmp_path):
    for each in [*reversed(NAMES), f"{NAMES[0]}.partial", "00000002.history", f"x{NAMES[0]}"]:
        (tmp_path / each).touch()
    assert complete_segments(str(tmp_path)) == NAMES


def test_a_segment_that_was_archived_before_it_was_submitted_is_done(
    tmp_path, archiving, shelving, eventually
):
    archiver = archiving()
    fill(tmp_path, NAMES[:2])
    for each in NAMES[:2]:
        archiver.submit(each)
    eventually(lambda: archiver.waiting == 0)
    archiver.submit(NAMES[0])  # as a receiver that connects again has listed it a moment ago
    archiver.close()
    assert shelving.put_names == NAMES[:2]


def test_a_segment_that_comes_again_is_put_again(tmp_path, archiving, shelving, eventually):
    archiver = archiving()
    for _ in range(2):
        fill(tmp_path, NAMES[:1])
        archiver.submit(NAMES[0])
        eventually(lambda: archiver.waiting == 0)
    archiver.close()
    assert shelving.put_names == [NAMES[0], NAMES[0]]
