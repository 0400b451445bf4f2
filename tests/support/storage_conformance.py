"""What every storage must do, as tests: subclass, and give a fixture ``storage``."""

from __future__ import annotations

import contextlib
import threading

import pytest
from support.streams import drain

from catalog.errors import Absent, Conflict
from catalog.storage import Storage

KEY = "wals/0000000100000000/000000010000000000000007.zst"
NEIGHBOUR = "wals/0000000100000000/000000010000000000000008"


def content(storage: Storage, key: str) -> bytes:
    reader = storage.read(key)
    try:
        return drain(reader)
    finally:
        reader.close()


def write(storage: Storage, key: str, *pieces: bytes) -> None:
    sink = storage.write(key)
    for piece in pieces:
        sink.write(piece)
    sink.finish()


class StorageConformance:
    def test_what_was_written_can_be_read(self, storage):
        write(storage, KEY, b"abc", b"", bytearray(b"def"), memoryview(b"ghi"))
        assert content(storage, KEY) == b"abcdefghi"

    def test_a_key_may_have_no_bytes(self, storage):
        write(storage, KEY)
        assert content(storage, KEY) == b""

    def test_a_reader_gives_at_most_what_was_asked_for(self, storage):
        write(storage, KEY, bytes(range(256)) * 100)
        reader = storage.read(KEY)
        assert drain(reader, 1000) == bytes(range(256)) * 100
        assert reader.read(10) == b""
        reader.close()
        reader.close()

    def test_readers_do_not_disturb_each_other(self, storage):
        write(storage, KEY, b"abcdef")
        first, second = storage.read(KEY), storage.read(KEY)
        assert (first.read(3), second.read(2), first.read(3)) == (b"abc", b"ab", b"def")
        first.close()
        assert second.read(9) == b"cdef"
        second.close()

    def test_a_missing_key_is_absent(self, storage):
        write(storage, KEY, b"abc")
        for key in ("base/x/record.json", NEIGHBOUR, f"{KEY}/below"):
            with pytest.raises(Absent):
                storage.read(key)

    def test_a_key_appears_when_its_sink_is_finished_and_not_before(self, storage):
        sink = storage.write(KEY)
        sink.write(b"abc")
        with pytest.raises(Absent):
            storage.read(KEY)
        assert list(storage.names("wals/0000000100000000")) == []
        assert list(storage.sizes("wals/0000000100000000")) == []
        sink.finish()
        assert content(storage, KEY) == b"abc"

    def test_an_aborted_sink_leaves_nothing(self, storage):
        sink = storage.write(KEY)
        sink.write(b"abc")
        sink.abort()
        sink.abort()
        with pytest.raises(Absent):
            storage.read(KEY)
        write(storage, KEY, b"other")
        assert content(storage, KEY) == b"other"

    def test_an_existing_key_is_never_replaced_by_a_sink(self, storage):
        write(storage, KEY, b"abc")
        sink = storage.write(KEY)
        sink.write(b"other")
        with pytest.raises(Conflict):
            sink.finish()
        sink.abort()
        assert content(storage, KEY) == b"abc"

    def test_of_two_sinks_for_a_key_the_first_to_finish_wins(self, storage):
        first, second = storage.write(KEY), storage.write(KEY)
        first.write(b"first")
        second.write(b"second")
        second.finish()
        with pytest.raises(Conflict):
            first.finish()
        first.abort()
        assert content(storage, KEY) == b"second"

    def test_a_local_file_is_linked_or_nothing_happens(self, storage, tmp_path):
        file = tmp_path / "segment"
        file.write_bytes(b"abc")
        if storage.link(str(file), KEY):
            file.unlink()
            assert content(storage, KEY) == b"abc"
        else:
            assert list(storage.names(KEY.rpartition("/")[0])) == []

    def test_a_link_never_replaces_what_is_there(self, storage, tmp_path):
        file = tmp_path / "segment"
        file.write_bytes(b"other")
        write(storage, KEY, b"abc")
        with contextlib.suppress(Conflict):
            assert storage.link(str(file), KEY) is False
        assert content(storage, KEY) == b"abc"

    def test_put_writes_and_replaces(self, storage):
        storage.put("identity.json", b"one")
        storage.put("identity.json", memoryview(b"two"))
        assert content(storage, "identity.json") == b"two"
        storage.put("base/a/b.json", b"deep")
        assert content(storage, "base/a/b.json") == b"deep"

    def test_a_small_document_is_had_whole_and_a_missing_one_is_absent(self, storage):
        storage.put("a.json", b"document" * 20_000)
        assert storage.get("a.json") == b"document" * 20_000
        with pytest.raises(Absent):
            storage.get("b.json")

    def test_a_reader_goes_on_reading_what_put_replaced(self, storage):
        storage.put("a", b"one")
        reader = storage.read("a")
        storage.put("a", b"another")
        assert drain(reader) == b"one"
        reader.close()

    def test_names_are_what_lies_directly_below(self, storage):
        for key in (KEY, NEIGHBOUR, "wals/00000002.history", "identity.json"):
            storage.put(key, b"abc")
        assert sorted(storage.names("wals")) == ["0000000100000000", "00000002.history"]
        assert sorted(storage.names("")) == ["identity.json", "wals"]
        assert len(list(storage.names("wals/0000000100000000"))) == 2

    def test_sizes_are_those_of_the_files_alone(self, storage):
        storage.put(KEY, b"abc")
        storage.put("wals/00000002.history", b"abcde")
        assert list(storage.sizes("wals")) == [("00000002.history", 5)]
        assert dict(storage.sizes("wals/0000000100000000")) == {KEY.rpartition("/")[2]: 3}

    def test_a_missing_directory_lists_nothing(self, storage):
        assert list(storage.names("base")) == list(storage.sizes("base/20260131T120000")) == []

    def test_below_a_file_there_is_nothing(self, storage):
        storage.put("wals/00000002.history", b"abc")
        assert list(storage.names("wals/00000002.history")) == []
        assert list(storage.sizes("wals/00000002.history")) == []

    def test_a_stamp_differs_once_the_bytes_were_written_again(self, storage):
        storage.put(KEY, b"abc")
        before = storage.stamp(KEY)
        assert storage.stamp(KEY) == before
        storage.put(KEY, b"abd")
        assert storage.stamp(KEY) != before
        with pytest.raises(Absent):
            storage.stamp(NEIGHBOUR)

    def test_a_key_that_exists_can_be_synced_and_a_missing_one_is_absent(self, storage):
        storage.put(KEY, b"abc")
        storage.sync(KEY)
        for key in (NEIGHBOUR, "base/x/y"):
            with pytest.raises(Absent):
                storage.sync(key)

    def test_a_deleted_key_is_absent_and_its_neighbour_is_not(self, storage):
        storage.put(KEY, b"abc")
        storage.put(NEIGHBOUR, b"def")
        storage.delete(KEY)
        with pytest.raises(Absent):
            storage.read(KEY)
        assert content(storage, NEIGHBOUR) == b"def"

    def test_deleting_what_is_missing_is_no_error(self, storage):
        storage.delete(KEY)
        storage.delete_tree("base/x")
        storage.delete_tree("base/x", keep="failed.json")
        storage.remove_leftovers("wals")

    def test_some_files_are_deleted_and_their_neighbours_stay(self, storage):
        storage.delete_some("wals/0000000100000000", [NEIGHBOUR.rpartition("/")[2]])
        storage.put(KEY, b"abc")
        storage.put(NEIGHBOUR, b"def")
        storage.delete_some("wals/0000000100000000", [NEIGHBOUR.rpartition("/")[2], "missing"])
        assert [KEY.rpartition("/")[2]] == list(storage.names("wals/0000000100000000"))
        storage.delete_some("wals/0000000100000000", [KEY.rpartition("/")[2]])
        assert list(storage.names("wals")) == []

    def test_a_tree_is_deleted_with_all_that_is_in_it(self, storage):
        for key in ("base/x/record.json", "base/x/wal/1", "base/y/record.json"):
            storage.put(key, b"abc")
        storage.delete_tree("base/x")
        assert list(storage.names("base/x")) == list(storage.names("base/x/wal")) == []
        assert list(storage.names("base")) == ["y"]

    def test_of_a_tree_one_file_may_be_kept(self, storage):
        for key in ("base/x/failed.json", "base/x/base.tar", "base/x/wal/1", "base/x/wal/failed.json"):
            storage.put(key, b"abc")
        storage.delete_tree("base/x", keep="failed.json")
        assert list(storage.names("base/x")) == ["failed.json"]

    def test_removing_leftovers_removes_nothing_else(self, storage):
        storage.put(KEY, b"abc")
        storage.put("wals/00000002.history", b"abc")
        storage.remove_leftovers("wals")
        storage.remove_leftovers("wals/0000000100000000")
        assert content(storage, KEY) == content(storage, "wals/00000002.history") == b"abc"

    def test_it_can_be_used_by_several_threads(self, storage):
        def fill(number: int) -> None:
            for each in range(10):
                write(storage, f"wals/{number}/{each}", b"abc")

        threads = [threading.Thread(target=fill, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [len(list(storage.names(f"wals/{number}"))) for number in range(4)] == [10] * 4
