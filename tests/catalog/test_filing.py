import errno
import os

import pytest
from support.faults import Disk, PowerLoss, fail
from support.filed_wal import filing, giving, name, segment_bytes
from support.memory_storage import MemoryStorage
from support.streams import Given, drain

from catalog.codec import NAMES
from catalog.errors import Conflict, Malformed, StorageError
from catalog.local_storage import LocalStorage
from catalog.wal import WalShelf

WAL = segment_bytes(7)
SAME_NAME_OTHER_BYTES = segment_bytes(7, fill=b"\x5a")
HISTORY = b"1\t0/700028\tno recovery target specified\n"


@pytest.fixture
def storage():
    return MemoryStorage()


def put(storage, wal_name, data, codec="none"):
    with filing(storage, codec) as ours:
        return ours.put(wal_name, giving(data))


def raw(storage, wal_name):
    return drain(WalShelf(storage).open(wal_name))


@pytest.mark.parametrize("codec", NAMES)
def test_a_segment_is_stored_and_an_identical_copy_is_accepted(storage, codec):
    assert put(storage, name(7), WAL, codec) is True
    before = dict(storage.content)
    assert put(storage, name(7), WAL, codec) is False
    assert storage.content == before
    assert raw(storage, name(7)) == WAL


@pytest.mark.parametrize("first", NAMES)
@pytest.mark.parametrize("second", NAMES)
def test_what_a_name_holds_is_judged_over_all_codecs(storage, first, second):
    put(storage, name(7), WAL, first)
    assert put(storage, name(7), WAL, second) is False
    with pytest.raises(Conflict, match=name(7)):
        put(storage, name(7), SAME_NAME_OTHER_BYTES, second)
    assert len(storage.content) == 1
    assert raw(storage, name(7)) == WAL


def test_the_copy_we_have_is_synced_before_a_second_one_is_accepted(storage):
    put(storage, name(7), WAL, "gzip")
    put(storage, name(7), WAL)
    assert storage.synced == list(storage.content)


def test_a_copy_that_is_removed_while_it_is_compared_is_stored_again(tmp_path):
    class Expiring(LocalStorage):
        def sync(self, key):
            self.delete(key)
            super().sync(key)

    storage = Expiring(str(tmp_path))
    assert put(storage, name(7), WAL, "zstd") is True
    assert put(storage, name(7), WAL, "zstd") is True
    assert raw(storage, name(7)) == WAL


@pytest.mark.parametrize("data", [WAL[:-1], WAL + b"x", WAL[: 1 << 19], b""])
def test_a_second_copy_of_another_length_is_a_conflict(storage, data):
    put(storage, name(7), WAL)
    with pytest.raises(Conflict):
        put(storage, name(7), data)
    assert raw(storage, name(7)) == WAL


def test_a_stored_copy_that_is_damaged_is_a_conflict_with_the_way_out(storage):
    put(storage, name(7), WAL, "gzip")
    (key,) = storage.content
    storage.content[key] = storage.content[key][:-100]
    with pytest.raises(Conflict) as caught:
        put(storage, name(7), WAL)
    assert key in caught.value.message and "move the damaged file away" in caught.value.hint


WRONG = {
    "too short": WAL[:-8192],
    "too long": WAL + bytes(8192),
    "empty": b"",
    "cut in its first page": WAL[:100],
    "cut in its header": WAL[:39],
    "another segment": segment_bytes(8),
    "a later timeline": segment_bytes(7, timeline=2),
    "not WAL": bytes(1 << 20),
    "another cluster": WAL[:24] + b"\0" + WAL[25:],
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_a_segment_that_is_not_what_its_name_says_is_malformed_and_leaves_nothing(storage, data, codec):
    with pytest.raises(Malformed):
        put(storage, name(7), data, codec)
    assert storage.content == {}


def test_a_segment_may_begin_with_the_pages_of_an_older_timeline(storage):
    assert put(storage, name(7, timeline=2), WAL)


@pytest.mark.parametrize("wal_name", ["", "README", f"{name(7)}.zst", "../../etc/passwd", "00000000.history"])
def test_only_wal_files_are_filed(storage, wal_name):
    with pytest.raises(Malformed, match="not the name of a WAL file"):
        put(storage, wal_name, WAL)
    assert storage.content == {}


@pytest.mark.parametrize("wal_name", ["00000002.history", f"{name(7)}.00000028.backup"])
def test_small_files_stay_plain_and_are_judged_alike(storage, wal_name):
    assert put(storage, wal_name, HISTORY, "zstd") is True
    assert put(storage, wal_name, HISTORY, "zstd") is False
    with pytest.raises(Conflict):
        put(storage, wal_name, HISTORY + b"\n")
    assert list(storage.content.values()) == [HISTORY]


def test_a_partial_segment_has_its_own_name_and_full_length(storage):
    padded = WAL[:300_000].ljust(1 << 20, b"\0")
    assert put(storage, f"{name(7)}.partial", padded, "zstd") is True
    assert put(storage, name(7), WAL, "zstd") is True
    with pytest.raises(Malformed):
        put(storage, f"{name(8)}.partial", padded[:-1])


def padded(length):
    return WAL[:length].ljust(1 << 20, b"\0")


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_a_longer_copy_of_a_partial_segment_takes_the_place_of_its_beginning(storage, codec):
    put(storage, f"{name(7)}.partial", padded(300_000), "zstd")
    assert put(storage, f"{name(7)}.partial", padded(500_000), codec) is True
    assert len(storage.content) == 1
    assert raw(storage, f"{name(7)}.partial") == padded(500_000)
    assert put(storage, f"{name(7)}.partial", padded(300_000), codec) is False
    assert raw(storage, f"{name(7)}.partial") == padded(500_000)


def test_a_partial_segment_of_another_branch_is_a_conflict(storage):
    put(storage, f"{name(7)}.partial", padded(300_000))
    other = bytearray(padded(500_000))
    other[299_990] ^= 1
    with pytest.raises(Conflict):
        put(storage, f"{name(7)}.partial", bytes(other))
    assert raw(storage, f"{name(7)}.partial") == padded(300_000)


def test_a_longer_partial_segment_that_cannot_be_stored_is_stored_at_the_next_try(tmp_path, monkeypatch):
    storage = LocalStorage(str(tmp_path))
    put(storage, f"{name(7)}.partial", padded(300_000))
    with monkeypatch.context() as faults:
        fail(faults, "fsync", errno.EIO, times=1, when=lambda fd: "tmp" in os.readlink(f"/proc/self/fd/{fd}"))
        with pytest.raises(StorageError):
            put(storage, f"{name(7)}.partial", padded(500_000))
    assert put(storage, f"{name(7)}.partial", padded(500_000)) is True
    assert raw(storage, f"{name(7)}.partial") == padded(500_000)


def test_what_was_opened_is_closed_however_it_ends(storage):
    for data in (WAL, WAL, SAME_NAME_OTHER_BYTES, b""):
        given = Given(data)
        with filing(storage) as ours:
            try:
                ours.put(name(7), lambda given=given: given)
            except (Conflict, Malformed):
                pass
        assert given.closed == 1


def test_bytes_may_arrive_in_pieces_of_any_size(storage):
    with filing(storage, "zstd") as ours:
        ours.put(name(7), lambda: Given(WAL, most=1000))
        ours.put(name(7), lambda: Given(WAL, most=777))
    assert raw(storage, name(7)) == WAL


@pytest.mark.parametrize("calls", range(24))
def test_a_power_loss_at_any_moment_leaves_the_whole_segment_or_none(tmp_path, monkeypatch, calls):
    disk = Disk(monkeypatch)
    storage = LocalStorage(str(tmp_path))
    disk.stop_after(calls)
    stored = False
    try:
        stored = put(storage, name(7), WAL)
    except PowerLoss:
        pass
    monkeypatch.undo()
    survived = {key: data for key, data in disk.survivors(str(tmp_path)).items() if "tmp" not in key}
    assert survived == {f"wals/0000000100000000/{name(7)}": WAL} or (survived == {} and not stored)
    put(storage, name(7), WAL)
    assert raw(storage, name(7)) == WAL


def put_file(storage, wal_name, path, codec="none"):
    with filing(storage, codec) as ours:
        return ours.put(wal_name, giving(path.read_bytes()), str(path))


@pytest.fixture
def spooled(tmp_path):
    path = tmp_path / "segment"
    path.write_bytes(WAL)
    return path


@pytest.mark.parametrize("codec, shared", [("none", True), ("zstd", False)])
def test_a_local_segment_is_linked_where_nothing_is_compressed(tmp_path, spooled, codec, shared):
    storage = LocalStorage(str(tmp_path / "repository"))
    assert put_file(storage, name(7), spooled, codec) is True
    stored = storage.path(WalShelf(storage).find(name(7))[0])
    assert os.path.samefile(stored, spooled) is shared
    assert put_file(storage, name(7), spooled, codec) is False
    spooled.unlink()
    assert raw(storage, name(7)) == WAL


def test_a_storage_without_links_gets_a_copy(storage, spooled):
    assert put_file(storage, name(7), spooled) is True
    assert raw(storage, name(7)) == WAL


@pytest.mark.parametrize("data", [WAL[:-1], WAL + b"x", segment_bytes(8)])
def test_a_local_file_is_judged_before_it_is_linked(tmp_path, spooled, data):
    storage = LocalStorage(str(tmp_path / "repository"))
    spooled.write_bytes(data)
    with pytest.raises(Malformed):
        put_file(storage, name(7), spooled)
    assert list(storage.names(f"wals/{name(7)[:16]}")) == []


@pytest.mark.parametrize("calls", range(16))
def test_a_power_loss_while_a_local_segment_is_filed_leaves_it_whole_or_absent(
    tmp_path, spooled, monkeypatch, calls
):
    disk = Disk(monkeypatch)
    storage = LocalStorage(str(tmp_path))
    disk.stop_after(calls)
    stored = False
    try:
        stored = put_file(storage, name(7), spooled)
    except PowerLoss:
        pass
    monkeypatch.undo()
    survived = {key: data for key, data in disk.survivors(str(tmp_path)).items() if key.startswith("wals")}
    assert survived == {f"wals/0000000100000000/{name(7)}": WAL} or (survived == {} and not stored)
