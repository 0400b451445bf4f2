import json
from datetime import UTC, datetime

import pytest
from support.memory_storage import MemoryStorage
from support.streams import drain
from support.values import record

from catalog.backups import BackupShelf
from catalog.codec import NAMES, Codec
from catalog.errors import Absent, Conflict, Corrupt
from catalog.marks import FailedMark, RemovedMark, StartedMark, VerifiedMark

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
OLD, NEW = record(2), record(9, 10)
STARTED = StartedMark(pid=4711, name="nightly", started=NOW, parent=None)
FAILED = FailedMark(started=NOW, ended=NOW, error="the disk is full", hint=None)
REMOVED = RemovedMark(at=NOW, reason="obsolete")
NAME = "000000010000000000000003"


@pytest.fixture
def storage():
    return MemoryStorage()


@pytest.fixture
def shelf(storage):
    return BackupShelf(storage)


def write(sink, data):
    sink.write(data)
    sink.finish()


def test_a_backup_exists_from_its_record_on(shelf, storage):
    shelf.mark_started(OLD.id, STARTED)
    write(shelf.writer(OLD.id, "base.tar"), b"data")
    assert shelf.ids() == [OLD.id]
    assert shelf.records() == [] and shelf.find(OLD.id) is None
    assert shelf.started(OLD.id) == STARTED
    shelf.commit(OLD)
    assert shelf.records() == [OLD]
    assert shelf.find(OLD.id) == OLD
    assert shelf.started(OLD.id) is None


def test_records_are_listed_oldest_first(shelf):
    for each in (NEW, OLD):
        shelf.commit(each)
    assert shelf.records() == [OLD, NEW]
    assert shelf.ids() == [OLD.id, NEW.id]


def test_a_record_is_never_replaced(shelf):
    shelf.commit(OLD)
    with pytest.raises(Conflict):
        shelf.commit(record(2, label="another"))
    assert shelf.find(OLD.id) == OLD


def test_what_is_no_backup_is_not_listed(shelf, storage):
    for key in ("base/README", "base/20260231T120000/x", "base/lost+found/x", "base/2026/record.json"):
        storage.content[key] = b"x"
    assert shelf.ids() == []


def test_a_damaged_record_is_corrupt_and_not_missing(shelf, storage):
    storage.content[f"base/{OLD.id}/record.json"] = b"{"
    with pytest.raises(Corrupt):
        shelf.find(OLD.id)


def test_the_commit_is_one_write_and_the_mark_goes_behind_it(storage):
    order = []

    class Watched(MemoryStorage):
        def put(self, key, data):
            order.append(("put", key.rpartition("/")[2]))
            super().put(key, data)

        def delete(self, key):
            order.append(("delete", key.rpartition("/")[2]))
            super().delete(key)

        def delete_tree(self, directory, keep=None):
            order.append(("delete_tree", keep))
            super().delete_tree(directory, keep)

    shelf = BackupShelf(Watched())
    shelf.commit(OLD)
    shelf.remove(OLD.id, REMOVED)
    assert order == [
        ("put", "record.json"),
        ("delete", "started.json"),
        ("put", "removed.json"),
        ("delete", "record.json"),
        ("delete_tree", "removed.json"),
        ("delete_tree", None),
    ]


def test_a_failed_backup_leaves_its_mark_alone(shelf, storage):
    shelf.mark_started(OLD.id, STARTED)
    write(shelf.writer(OLD.id, "base.tar"), b"data")
    write(shelf.wal_writer(OLD.id, NAME, Codec.of("none")), b"wal")
    shelf.fail(OLD.id, FAILED)
    assert list(storage.content) == [f"base/{OLD.id}/failed.json"]
    assert shelf.failed(OLD.id) == FAILED
    assert shelf.started(OLD.id) is None
    assert shelf.ids() == [OLD.id] and shelf.records() == []


def test_a_removed_backup_leaves_nothing_and_its_neighbour_stays(shelf, storage):
    for each in (OLD, NEW):
        shelf.commit(each)
        write(shelf.writer(each.id, "base.tar"), b"data")
    shelf.remove(OLD.id, REMOVED)
    assert shelf.ids() == [NEW.id]
    assert not any(OLD.id in key for key in storage.content)
    shelf.remove(OLD.id, REMOVED)


def test_marks_are_read_as_they_were_written_and_missing_ones_are_none(shelf):
    assert shelf.verified(OLD.id) is shelf.started(OLD.id) is shelf.failed(OLD.id) is None
    shelf.commit(OLD)
    verified = VerifiedMark(at=NOW, sums={"base.tar": "ab"})
    shelf.mark_verified(OLD.id, verified)
    assert shelf.verified(OLD.id) == verified


def test_a_backup_that_was_removed_while_it_was_verified_does_not_come_back(shelf, storage):
    shelf.commit(OLD)
    shelf.remove(OLD.id, REMOVED)
    shelf.mark_verified(OLD.id, VerifiedMark(at=NOW, sums={}))
    assert shelf.ids() == [] and not storage.content


def test_a_mark_may_say_more_later(shelf, storage):
    shelf.mark_started(OLD.id, STARTED)
    more = StartedMark(pid=4711, name="nightly", started=NOW, parent=None, begin=OLD.begin)
    shelf.mark_started(OLD.id, more)
    assert shelf.started(OLD.id) == more
    assert json.loads(storage.content[f"base/{OLD.id}/started.json"])["begin"]["timeline"] == 1


def test_stored_files_are_read_as_they_are(shelf):
    write(shelf.writer(OLD.id, "base.tar.zst"), b"stored")
    assert drain(shelf.stored(OLD.id, "base.tar.zst")) == b"stored"
    with pytest.raises(Absent):
        shelf.stored(OLD.id, "16385.tar")
    assert shelf.sizes(OLD.id) == {"base.tar.zst": 6}


@pytest.mark.parametrize("codec", NAMES)
def test_the_beginning_of_a_segment_is_read_whatever_codec_stored_it(shelf, codec):
    compress = Codec.of(codec).compressor()
    sink = shelf.wal_writer(OLD.id, NAME, Codec.of(codec))
    write(sink, compress(b"some WAL") if compress else b"some WAL")
    assert drain(shelf.wal(OLD.id, NAME)) == b"some WAL"
    assert [each[:24] for each in shelf.wal_names(OLD.id)] == [NAME]
    with pytest.raises(Absent):
        shelf.wal(NEW.id, NAME)
