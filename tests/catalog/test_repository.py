"""What is ours and what is not, told before a byte is written."""

import errno
import json
import os
import threading
from pathlib import Path

import pytest
from support.faults import Disk, PowerLoss, fail
from support.filed_wal import IDENTITY, name, new_repository, segment_bytes, store
from support.values import history, record

from catalog.errors import (
    Absent,
    Corrupt,
    ForeignRepository,
    Malformed,
    RepositoryError,
    StorageError,
    WrongServer,
)
from catalog.lsn import SegmentSize
from catalog.repository import (
    create_repository,
    open_repository,
    readable_holdings,
    refuse_foreign,
    stored_holdings,
)
from catalog.repository_identity import RepositoryIdentity
from catalog.walname import Segment


@pytest.fixture
def root(tmp_path):
    return tmp_path / "home" / "main"


def files(root):
    return sorted(str(path.relative_to(root)) for path in Path(root).rglob("*"))


@pytest.mark.parametrize("there", [None, [], ["lost+found"]])
def test_it_is_made_in_an_absent_or_empty_directory(root, there):
    for directory in there or []:
        (root / directory).mkdir(parents=True)
    repository = create_repository(str(root), IDENTITY)
    assert repository.identity == IDENTITY
    assert files(root) == sorted(["base", "identity.json", "lock", "wals", *(there or [])])
    assert open_repository(str(root)).identity == IDENTITY


def test_one_that_is_there_keeps_its_own_identity(root):
    create_repository(str(root), IDENTITY)
    again = RepositoryIdentity(IDENTITY.system_identifier, 15, IDENTITY.wal_segment_size, b"x" * 16, "later")
    assert create_repository(str(root), again).identity == IDENTITY


def test_another_clusters_repository_is_refused_with_the_way_out(root):
    create_repository(str(root), IDENTITY)
    other = RepositoryIdentity(1, 15, SegmentSize(1 << 24), bytes(16), "now")
    with pytest.raises(WrongServer) as caught:
        create_repository(str(root), other)
    assert "new server name" in caught.value.hint
    assert open_repository(str(root)).identity == IDENTITY


def barman(root):
    for directory in ("base", "wals", "incoming", "streaming", "errors"):
        (root / directory).mkdir(parents=True)
    (root / "identity.json").write_text(json.dumps({"systemid": "7711084784289903658", "version": "15"}))


def barman_without_identity(root):
    for directory in ("base/20260131T120000", "wals", "errors"):
        (root / directory).mkdir(parents=True)


def a_data_directory(root):
    root.mkdir(parents=True)
    (root / "PG_VERSION").write_text("15\n")


def somebodys_json(root):
    root.mkdir(parents=True)
    (root / "identity.json").write_text('{"name": "me"}')


@pytest.mark.parametrize("fill", [barman, barman_without_identity, a_data_directory, somebodys_json])
def test_what_is_not_ours_is_refused_and_left_as_it_is(root, fill):
    fill(root)
    before = files(root)
    for work in (lambda: create_repository(str(root), IDENTITY), lambda: open_repository(str(root))):
        with pytest.raises(ForeignRepository) as caught:
            work()
        assert caught.value.hint
    assert files(root) == before


def test_barmans_repository_is_called_by_its_name(root):
    barman(root)
    with pytest.raises(ForeignRepository, match="Barman"):
        open_repository(str(root))


@pytest.mark.parametrize("there", [False, True])
def test_opening_makes_nothing(root, there):
    if there:
        root.mkdir(parents=True)
    with pytest.raises(Absent):
        open_repository(str(root))
    assert root.exists() is there


def test_a_damaged_identity_is_corrupt_and_never_replaced(root):
    root.mkdir(parents=True)
    (root / "identity.json").write_text("{")
    with pytest.raises(Corrupt):
        create_repository(str(root), IDENTITY)
    assert (root / "identity.json").read_text() == "{"


def test_a_newer_format_is_refused(root):
    create_repository(str(root), IDENTITY)
    text = (root / "identity.json").read_text()
    (root / "identity.json").write_text(text.replace('"format": 1', '"format": 2'))
    with pytest.raises(RepositoryError, match="format 2"):
        open_repository(str(root))


def test_a_directory_that_cannot_be_read_is_trouble_and_not_foreign(root, monkeypatch):
    root.mkdir(parents=True)
    fail(monkeypatch, "listdir", errno.EACCES)
    with pytest.raises(StorageError):
        refuse_foreign(str(root))


def test_one_that_is_made_between_two_looks_is_taken(root, monkeypatch):
    look = os.listdir

    def made_meanwhile(path):
        monkeypatch.undo()
        create_repository(str(root), IDENTITY)
        return look(path)

    monkeypatch.setattr(os, "listdir", made_meanwhile)
    mine = RepositoryIdentity(IDENTITY.system_identifier, 15, IDENTITY.wal_segment_size, b"x" * 16, "later")
    assert create_repository(str(root), mine).identity == IDENTITY


@pytest.mark.parametrize("calls", range(0, 24, 2))
def test_making_one_that_was_interrupted_can_be_repeated(root, monkeypatch, calls):
    disk = Disk(monkeypatch)
    disk.stop_after(calls)
    try:
        create_repository(str(root), IDENTITY)
    except PowerLoss:
        pass
    monkeypatch.undo()
    assert create_repository(str(root), IDENTITY).identity == IDENTITY


def test_of_two_that_make_it_at_once_both_get_the_same(root):
    found = []
    salts = [bytes([number]) * 16 for number in range(8)]

    def make(salt):
        mine = RepositoryIdentity(IDENTITY.system_identifier, 15, IDENTITY.wal_segment_size, salt, "now")
        found.append(create_repository(str(root), mine).identity.salt)

    threads = [threading.Thread(target=make, args=(salt,)) for salt in salts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1


def test_a_lock_lies_in_the_repository(root):
    repository = create_repository(str(root), IDENTITY)
    with repository.lock("archive", "archiving"):
        assert os.listdir(root / "lock") == ["archive"]
        assert repository.lock_path("archive") == str(root / "lock" / "archive")


def test_the_inventory_is_what_the_shelf_lists(root):
    repository = new_repository(root)
    store(repository, {name(7): segment_bytes(7), name(8): segment_bytes(8)}, "zstd")
    store(repository, {f"{name(9)}.partial": segment_bytes(9)}, "gzip")
    inventory = repository.inventory()
    assert inventory.has(Segment(1, 8)) and not inventory.has(Segment(1, 9))
    assert inventory.partials == {Segment(1, 9)}


def test_histories_are_those_stored_and_timeline_1s(root):
    repository = new_repository(root)
    assert repository.histories() == {1: history(1)}
    store(repository, {"00000002.history": history(2, (1, 8.25)).format()})
    assert repository.histories() == {1: history(1), 2: history(2, (1, 8.25))}


def test_holdings_have_what_backups_store_themselves(root):
    repository = new_repository(root)
    ours = record()
    repository.backups.commit(ours)
    repository.storage.put(f"base/{ours.id}/wal/{name(3)}.zst", b"x")
    holdings = stored_holdings(repository)
    assert holdings.records == (ours,)
    assert holdings.own == {ours.id: frozenset({Segment(1, 3)})}


def test_a_damaged_document_spoils_nothing_but_itself_for_who_only_reads(root):
    repository = new_repository(root)
    ours = record()
    repository.backups.commit(ours)
    for key in ("base/20250101T000000/record.json", "wals/00000002.history"):
        repository.storage.put(key, b"{ damaged")
    repository.storage.put(f"base/{ours.id}/wal/README", b"stray")
    holdings, problems = readable_holdings(repository)
    assert (holdings.records, list(holdings.histories)) == ((ours,), [1])
    assert holdings.own == {ours.id: frozenset()}
    assert "20250101T000000/record.json" in problems[0] and "00000002.history" in problems[1]
    with pytest.raises(Malformed):
        stored_holdings(repository)
