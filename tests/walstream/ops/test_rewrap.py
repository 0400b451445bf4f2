"""New recipients for what is stored: headers change, bodies do not; what cannot be opened stays as it is."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from support.age import OTHERS, OURS, decrypt, encrypt
from support.faults import fail
from support.filed_wal import filing, giving, name, new_repository, segment_bytes
from support.streams import Given, drain

from catalog.age.header import read_header
from catalog.age.keys import Identity
from catalog.codec import Codec
from catalog.errors import Busy, IdentityError, StorageError
from catalog.identity import Identities
from walstream.ops.rewrap import ENOUGH, rewrap
from walstream.ops.stored import archive_lock, backup_lock

OLD, NEW = (str(OURS.recipient),), (str(OTHERS.recipient),)
ENCRYPTED = Codec.of("zstd").encrypted(OLD)
ID = "20260131T120000"


@pytest.fixture
def identities(tmp_path):
    path = tmp_path / "identity"
    path.write_text(OURS.secret_text())
    path.chmod(0o600)
    return Identities(str(path))


@pytest.fixture
def repository(tmp_path, identities):
    """Two segments, and an archive and a beginning of a segment of a backup; and a clear segment."""
    made = new_repository(tmp_path / "main")
    store(made, name(7), segment_bytes(7))
    store(made, name(8), segment_bytes(8))
    store(made, name(9), segment_bytes(9), Codec.of("zstd"))
    made.storage.put(f"base/{ID}/base.tar.age", encrypt(b"archive" * 30000))
    made.storage.put(f"base/{ID}/wal/{name(10)}.age", encrypt(b"beginning"))
    made.storage.put(f"base/{ID}/backup_manifest.zst", b"clear")
    return made.with_identities(identities)


def store(repository, wal_name, data, codec=ENCRYPTED):
    with filing(repository.storage, codec) as ours:
        return ours.put(wal_name, giving(data))


def content(repository):
    return {key: path.read_bytes() for key, path in paths(repository).items()}


def paths(repository):
    root = repository.storage.path("")
    return {
        str(path.relative_to(root)): path
        for place in ("base", "wals")
        for path in Path(root, place).rglob("*")
        if path.is_file()
    }


def body(stored):
    return drain(read_header(Given(stored))[1])


def test_every_encrypted_file_gets_new_recipients_and_keeps_its_body(repository):
    before = content(repository)
    done = rewrap(repository, "main", NEW)
    after = content(repository)
    assert (done.files, done.refused) == (4, ())
    assert after.keys() == before.keys()
    for key, stored in after.items():
        if not key.endswith(".age"):
            assert stored == before[key]
            continue
        assert body(stored) == body(before[key])
        assert decrypt(stored, OTHERS) == decrypt(before[key], OURS)
        with pytest.raises(IdentityError):
            decrypt(stored, OURS)


def test_second_copies_are_still_known_and_the_times_stay(repository):
    times = {key: path.stat().st_mtime_ns for key, path in paths(repository).items()}
    rewrap(repository, "main", NEW)
    assert {key: path.stat().st_mtime_ns for key, path in paths(repository).items()} == times
    assert store(repository, name(7), segment_bytes(7)) is False


def test_recipients_can_be_added_too(repository):
    rewrap(repository, "main", [*OLD, *NEW])
    stored = content(repository)[f"base/{ID}/base.tar.age"]
    assert decrypt(stored, OURS) == decrypt(stored, OTHERS) == b"archive" * 30000


def test_what_cannot_be_opened_stays_as_it_is_and_is_told(repository):
    key = f"base/{ID}/base.tar.age"
    repository.storage.put(key, encrypt(b"a stranger's", Identity.new().recipient))
    repository.storage.put(f"base/{ID}/16384.tar.age", b"damaged")
    before = content(repository)
    done = rewrap(repository, "main", NEW)
    assert done.files == 3
    assert sorted(refused for refused, _ in done.refused) == [f"base/{ID}/16384.tar.age", key]
    assert content(repository)[key] == before[key]


def test_one_with_an_identity_that_opens_nothing_ends_soon(repository):
    stranger = Identity.new().recipient
    keys = [key for key in content(repository) if key.endswith(".age")]
    keys += [f"base/{ID}/{oid}.tar.age" for oid in range(16384, 16384 + 3 * ENOUGH)]
    for key in keys:
        repository.storage.delete(key)
        repository.storage.put(key, encrypt(b"a stranger's", stranger))
    done = rewrap(repository, "main", NEW)
    assert (done.files, len(done.refused), done.untried) == (0, ENOUGH, len(keys) - ENOUGH)


def test_many_old_files_of_a_stranger_keep_no_newer_ones_from_being_rewrapped(repository):
    stranger = Identity.new().recipient
    for oid in range(16384, 16384 + ENOUGH):
        repository.storage.put(f"base/20250131T120000/{oid}.tar.age", encrypt(b"a stranger's", stranger))
    done = rewrap(repository, "main", NEW)
    assert (done.files, len(done.refused), done.untried) == (4, ENOUGH, 0)


def test_an_interrupted_one_is_repeated_with_the_identities_of_both(repository, tmp_path, identities):
    class Stop(Exception):
        pass

    def stop(key):
        raise Stop

    with pytest.raises(Stop):
        rewrap(repository, "main", NEW, stop)
    both = tmp_path / "both"
    both.write_text(f"{OURS.secret_text()}\n{OTHERS.secret_text()}\n")
    both.chmod(0o600)
    done = rewrap(repository.with_identities(Identities(str(both))), "main", NEW)
    assert (done.files, done.refused) == (4, ())


def test_nobody_may_be_taking_a_backup(repository):
    with backup_lock(repository, "main"):
        with pytest.raises(Busy):
            rewrap(repository, "main", NEW)


def test_only_for_the_end_of_an_old_timeline_the_receiver_must_rest(repository):
    with archive_lock(repository, "main"):
        assert rewrap(repository, "main", [*OLD, *NEW]).files == 4
        store(repository, f"{name(11)}.partial", segment_bytes(11)[:5000] + bytes((1 << 20) - 5000))
        with pytest.raises(Busy):
            rewrap(repository, "main", [*OLD, *NEW])
    assert rewrap(repository, "main", NEW).files == 5


def test_a_failing_disk_leaves_the_file_as_it_was(repository, monkeypatch):
    before = content(repository)
    fail(monkeypatch, "fsync", errno.ENOSPC)
    with pytest.raises(StorageError, match="no space left"):
        rewrap(repository, "main", NEW)
    assert content(repository) == before
