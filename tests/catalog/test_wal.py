import bz2
import gzip
import lzma

import pytest
from support.filed_wal import filing, giving, name, segment_bytes
from support.memory_storage import MemoryStorage
from support.streams import drain

from catalog.codec import NAMES
from catalog.errors import Absent, Corrupt
from catalog.local_storage import LocalStorage
from catalog.wal import WalShelf

DIRECTORY = "wals/0000000100000000"


@pytest.fixture
def storage():
    return MemoryStorage()


def shelf(storage, **content):
    storage.content |= {key.replace("__", "/"): data for key, data in content.items()}
    return WalShelf(storage)


@pytest.mark.parametrize("codec", NAMES)
def test_a_segment_is_found_whatever_codec_stored_it(storage, codec):
    with filing(storage, codec) as ours:
        ours.put(name(7), giving(segment_bytes(7)))
    assert drain(WalShelf(storage).open(name(7))) == segment_bytes(7)


@pytest.mark.parametrize(
    "suffix, compress", [(".bz2", bz2.compress), (".xz", lzma.compress), (".gz", gzip.compress)]
)
def test_files_that_the_formats_own_tools_made_are_read(storage, suffix, compress):
    storage.content[f"{DIRECTORY}/{name(7)}{suffix}"] = compress(b"some WAL")
    key, reader = WalShelf(storage).find(name(7))
    assert key == f"{DIRECTORY}/{name(7)}{suffix}"
    assert drain(reader) == b"some WAL"


def test_what_is_stored_under_no_suffix_is_absent(storage):
    with pytest.raises(Absent, match=name(7)):
        WalShelf(storage).open(name(7))


def test_a_damaged_file_is_corrupt_and_not_absent(storage):
    storage.content[f"{DIRECTORY}/{name(7)}.gz"] = b"this is no gzip"
    with pytest.raises(Corrupt):
        drain(WalShelf(storage).open(name(7)))


def test_names_are_those_of_wal_files_without_suffixes(storage):
    for key in (
        f"{DIRECTORY}/{name(7)}.zst",
        f"{DIRECTORY}/{name(8)}.partial.gz",
        f"{DIRECTORY}/{name(7)}.00000028.backup",
        "wals/00000002.history",
    ):
        storage.content[key] = b"x"
    assert sorted(WalShelf(storage).names()) == [
        name(7),
        f"{name(7)}.00000028.backup",
        f"{name(8)}.partial",
        "00000002.history",
    ]


def test_what_cannot_be_found_by_its_name_is_not_listed(storage):
    for key in (
        f"wals/{name(7)}",  # not in its directory
        f"wals/0000000200000000/{name(7)}",  # in another's
        f"{DIRECTORY}/00000002.history",
        f"{DIRECTORY}/README",
        f"{DIRECTORY}/{name(7)}.old",
        f"{DIRECTORY}/{name(7)[:23]}",
        f"{DIRECTORY}/{name(7)[:23]}g",
        f"{DIRECTORY}/{name(7)[:23]}.zst",
        "wals/lost+found/x",
    ):
        storage.content[key] = b"x"
    shelf = WalShelf(storage)
    assert list(shelf.names()) == []
    assert [size for directory in shelf.directories() for size in shelf.sizes(directory)] == []


def test_everything_can_be_listed_on_files_beside_histories(tmp_path):
    storage = LocalStorage(str(tmp_path))
    storage.put("wals/00000002.history", b"1\t0/700028\tx\n")  # a name as long as a directory's
    storage.put("wals/0000000200000001", b"a file where a directory is expected")
    storage.put(f"{DIRECTORY}/{name(7)}", b"x")
    shelf = WalShelf(storage)
    shelf.remove_leftovers()
    assert sorted(shelf.names()) == [name(7), "00000002.history"]
    assert list(shelf.sizes("0000000100000000")) == [(name(7), 1)]


def test_sizes_are_of_the_stored_bytes(storage):
    storage.content[f"{DIRECTORY}/{name(7)}.zst"] = b"abc"
    assert list(WalShelf(storage).sizes("0000000100000000")) == [(name(7), 3)]


def test_keys_are_those_under_which_files_are_found(storage):
    for stored in (
        name(7),
        f"{name(7)}.zst",
        f"{name(8)}.zst.age",
        f"{name(8)}.gz",
        f"{name(9)}.partial.lz4.age",
        f"{name(7)}.00000028.backup",
    ):
        storage.content[f"{DIRECTORY}/{stored}"] = b"x"
    storage.content[f"{DIRECTORY}/README"] = b"x"
    shelf = WalShelf(storage)
    keys = shelf.keys("0000000100000000")
    assert sorted(keys) == sorted({*shelf.names()}) and len(keys) == 4
    readable = {each: key for each, key in keys.items() if not key.endswith(".age")}
    assert readable == {each: shelf.key(each) for each in readable} and len(readable) == 3


def test_a_history_is_read_whole_and_a_missing_one_is_absent(storage):
    storage.content["wals/00000002.history"] = b"1\t0/3000000\tx\n" * 5000
    assert WalShelf(storage).history("00000002.history") == b"1\t0/3000000\tx\n" * 5000
    with pytest.raises(Absent):
        WalShelf(storage).history("00000003.history")
