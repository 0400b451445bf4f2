"""A true backup is DONE and verifies; whatever is then done to it is found, and named."""

import os
from pathlib import Path

import pytest
from support.configurations import loaded
from support.repositories import file_of, flip, truncate

from backup.verify import verify
from catalog import layout
from catalog.repository import open_repository
from catalog.statuses import DONE, WAITING_FOR_WALS
from catalog.survey import survey
from walstream.cli import main
from walstream.ops import wiring
from walstream.ops.backup import BackupRequest, take_backup

CONFIGURATION = """
    [walstream]
    walstream_home = {home}

    [main]
    conninfo = {conninfo}
    slot_name = walstream_verify
"""


@pytest.fixture
def taken(server, tmp_path):
    """The repository and the record of a backup of a server with some rows."""
    server.load(2000)
    text = CONFIGURATION.format(home=tmp_path / "home", conninfo=server.conninfo())
    try:
        settings = loaded(tmp_path, text).server("main")
        outcome = take_backup(
            wiring.backup_options(settings, BackupRequest(name="the first", fast_checkpoint=True))
        )
        yield open_repository(settings.repository), outcome.record
    finally:
        server.sql(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
            "WHERE slot_name = 'walstream_verify'"
        )
        server.sql("DROP TABLE load")


def problems(repository, record):
    found = survey(repository)
    return {each.what: each.message for each in verify(repository, record, found.holdings).problems}


def first_segment(repository, record):
    name = record.first_segment.name(record.wal_segment_size)
    directory = repository.storage.path(layout.wal_directory(name))
    own = Path(repository.storage.path(layout.backup_key(record.id, layout.BACKUP_WAL)))
    stored = [*Path(directory).glob(f"{name}*"), *own.glob(f"{name}*")]
    assert stored
    return name, stored


def test_a_backup_is_done_and_the_command_verifies_it(taken, tmp_path, capsys):
    repository, record = taken
    assert survey(repository).find("the first").status.word == DONE
    assert main(["-c", str(tmp_path / "walstream.conf"), "verify-backup", "main", "latest"]) == 0
    assert "OK, " in capsys.readouterr().out
    mark = repository.backups.verified(record.id)
    assert mark.sums == {each.file: each.sha256 for each in (*record.archives, record.manifest)}


def test_what_is_done_to_a_backup_is_found_and_named(taken):
    repository, record = taken
    assert problems(repository, record) == {}
    main_archive, manifest = (
        file_of(repository, record, each) for each in (record.archives[0], record.manifest)
    )
    archive, listing = main_archive.read_bytes(), manifest.read_bytes()

    flip(main_archive, len(archive) // 2)
    assert "its SHA-256 is not the one of the record" in problems(repository, record)[main_archive.name]
    main_archive.write_bytes(archive)

    truncate(main_archive, 1000)
    assert f"it has {len(archive) - 1000} stored bytes" in problems(repository, record)[main_archive.name]
    main_archive.write_bytes(archive)

    manifest.write_bytes(archive[: len(listing)])
    assert list(problems(repository, record)) == [manifest.name]
    manifest.write_bytes(listing)
    assert problems(repository, record) == {}


def test_a_lost_segment_is_named_and_the_backup_waits_for_it(taken):
    repository, record = taken
    name, stored = first_segment(repository, record)
    for path in stored:
        os.unlink(path)
    assert problems(repository, record) == {name: "the segment is missing"}
    assert survey(repository).find("latest").status.word == WAITING_FOR_WALS
