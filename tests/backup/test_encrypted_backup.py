"""Encrypted archives: measured without their headers, read with an identity only, and any damage is found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.age import OTHERS, OURS, decrypt
from support.repositories import SPACE, file_of, flip, new_repository, store_backup, store_wal, truncate
from support.streams import Given, drain

from backup.restore import restore
from backup.restore_options import RestoreOptions
from backup.verify import verify
from catalog.age.header import read_header
from catalog.codec import Codec
from catalog.errors import Corrupt, IdentityError
from catalog.identity import Identities
from catalog.record import BackupRecord
from catalog.recovery import RecoveryPlan
from catalog.repository import Repository, readable_holdings, stored_holdings
from catalog.target import LATEST, RecoveryTarget
from catalog.timeline import History
from catalog.timeline import Path as TimelinePath
from walstream.ops.rewrap import rewrap

RECIPIENTS = (str(OURS.recipient),)
ENCRYPTED = Codec.of("zstd").encrypted(RECIPIENTS)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "main")


@pytest.fixture
def readable(repository: Repository, tmp_path: Path) -> Repository:
    path = tmp_path / "identity"
    path.write_text(f"{OURS.secret_text()}\n")
    path.chmod(0o600)
    return repository.with_identities(Identities(str(path)))


@pytest.fixture
def record(repository: Repository) -> BackupRecord:
    stored = store_backup(repository, spaces={16400: SPACE}, codec=ENCRYPTED)
    store_wal(repository, [2, 3], codec=ENCRYPTED)
    return stored


def main_file(repository: Repository, record: BackupRecord) -> Path:
    (main,) = (each for each in record.archives if each.oid is None)
    return file_of(repository, record, main)


def problems(repository: Repository, record: BackupRecord) -> dict[str, str]:
    found = verify(repository, record, stored_holdings(repository)).problems
    return {each.what: each.message for each in found}


def test_a_record_measures_what_is_behind_the_header(repository: Repository, record: BackupRecord) -> None:
    for archive in record.archives:
        stored = file_of(repository, record, archive).read_bytes()
        header = read_header(Given(stored))[0].size
        assert archive.file.endswith(".zst.age") and len(stored) == header + archive.stored_size
        assert decrypt(stored, OURS)
    assert record.manifest.file == "backup_manifest.zst"


def test_it_is_listed_as_whole_without_a_key(repository: Repository, record: BackupRecord) -> None:
    assert readable_holdings(repository)[0].damaged == {}
    assert stored_holdings(repository).records == (record,)


@pytest.mark.parametrize("keep", [0, 10, 100, 400])
def test_one_that_was_cut_is_seen_without_a_key(
    repository: Repository, record: BackupRecord, keep: int
) -> None:
    os.truncate(main_file(repository, record), keep)
    assert record.id in stored_holdings(repository).damaged


def test_a_verification_reads_all_of_it_with_an_identity(readable: Repository, record: BackupRecord) -> None:
    assert problems(readable, record) == {}


def test_and_finds_nothing_out_without_one(repository: Repository, record: BackupRecord) -> None:
    with pytest.raises(IdentityError, match="is encrypted, and no identity was given"):
        problems(repository, record)


@pytest.mark.parametrize("place", [0, 30, 100, 160, 250, -1])
def test_a_changed_byte_is_found_wherever_it_is(
    readable: Repository, record: BackupRecord, place: int
) -> None:
    path = main_file(readable, record)
    flip(path, place if place >= 0 else os.path.getsize(path) - 1)
    try:
        found = problems(readable, record)
    except IdentityError:
        assert place < 170  # who may open it is not known any more
    else:
        assert set(found) == {path.name}


def test_a_missing_end_is_found(readable: Repository, record: BackupRecord) -> None:
    path = main_file(readable, record)
    truncate(path)
    assert "stored bytes instead of" in problems(readable, record)[path.name]


def test_new_recipients_change_nothing_that_the_record_says(
    readable: Repository, record: BackupRecord, tmp_path: Path
) -> None:
    rewrap(readable, "main", [str(OTHERS.recipient), *RECIPIENTS])
    assert stored_holdings(readable).damaged == {}
    assert problems(readable, record) == {}
    rewrap(readable, "main", [str(OTHERS.recipient)])
    with pytest.raises(IdentityError, match="does not open it"):
        problems(readable, record)


def restored(repository: Repository, record: BackupRecord, destination: Path) -> None:
    path = TimelinePath.of(History(1, ()))
    plan = RecoveryPlan(record, RecoveryTarget(LATEST), path, record.first_segment, record.last_segment, ())
    options = RestoreOptions(
        str(destination), repository.root, "/usr/bin/python3", tablespaces={"space16400": f"{destination}-s"}
    )
    restore(plan, repository, options)


def test_a_restore_passes_the_identity_on_to_the_restored_server(
    readable: Repository, record: BackupRecord, tmp_path: Path
) -> None:
    restored(readable, record, tmp_path / "data")
    settings = (tmp_path / "data" / "postgresql.auto.conf").read_text()
    assert f"--identity-file {tmp_path}/identity" in settings


def test_a_restore_finds_a_file_that_was_exchanged(
    readable: Repository, record: BackupRecord, tmp_path: Path
) -> None:
    """Who can write into the repository can encrypt too: the record's sum tells."""
    path = main_file(readable, record)
    content = decrypt(path.read_bytes(), OURS)
    from support.age import encrypt

    path.write_bytes(encrypt(content, OURS.recipient))
    with pytest.raises(Corrupt, match="SHA-256 differs"):
        restored(readable, record, tmp_path / "data")


def test_the_beginning_of_a_segment_beside_a_backup_is_encrypted_too(
    repository: Repository, readable: Repository, record: BackupRecord
) -> None:
    name = "000000010000000000000003"
    from catalog.frames import Workers, encoder

    with Workers(1) as workers:
        sink = encoder(ENCRYPTED, repository.backups.wal_writer(record.id, name, ENCRYPTED), workers)
        sink.write(b"the beginning of a segment")
        sink.finish()
    assert list(repository.backups.wal_names(record.id)) == [f"{name}.zst.age"]
    assert drain(readable.backups.wal(record.id, name)) == b"the beginning of a segment"
    with pytest.raises(IdentityError, match=f"segment '{name}' of backup"):
        repository.backups.wal(record.id, name).read(1)
