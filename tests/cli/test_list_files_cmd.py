"""``list-files`` on repositories made without a server: what it lists is enough to restore from a copy of it."""

import json
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from support.repositories import (
    SIZE,
    SPACE,
    START,
    new_repository,
    segment_bytes,
    store_backup,
    store_in_backup,
    store_wal,
)

from backup.verify import verify
from catalog.marks import FailedMark
from catalog.repository import open_repository, stored_holdings
from catalog.walname import Segment
from walstream.cli import main


@pytest.fixture
def repository(tmp_path):
    return new_repository(tmp_path / "main")


@pytest.fixture
def listed(repository, capsys):
    """``listed(*words)``: the paths that are listed, relative to the repository."""

    def make(*words):
        assert main(["list-files", repository.root, *words]) == 0
        return [os.path.relpath(line, repository.root) for line in capsys.readouterr().out.splitlines()]

    return make


@pytest.fixture
def backups(repository):
    """Two backups, of segments 2 to 3 and 6, with the WAL between and behind them."""
    first = store_backup(repository, first=2, last=3, spaces={16400: SPACE})
    second = store_backup(repository, after=timedelta(days=1), first=6, last=6)
    store_wal(repository, [1, *range(2, 9)])
    repository.storage.put("wals/00000002.history", b"1\t0/500000\tno recovery target specified\n")
    return first, second


def wal(*numbers):
    return [f"wals/0000000100000000/{Segment(1, number).name(SIZE)}.zst" for number in numbers]


def files(record):
    names = ("record.json", *(each.file for each in (*record.archives, record.manifest)))
    return [f"base/{record.id}/{name}" for name in names]


def test_data_is_the_backup_alone(backups, listed):
    assert listed("oldest", "--target", "data") == files(backups[0])
    assert len(files(backups[0])) == 4


def test_standalone_has_the_wal_that_the_backup_needs(backups, listed):
    assert listed("oldest") == listed("oldest", "--target", "standalone") == [*files(backups[0]), *wal(2, 3)]


def test_wal_reaches_to_the_next_backup_or_the_end(backups, listed):
    history = ["wals/00000002.history"]
    assert listed("oldest", "--target", "wal") == [*wal(2, 3, 4, 5), *history]
    assert listed("latest", "--target", "wal") == [*wal(6, 7, 8), *history]
    assert listed("latest", "--target", "full") == [*files(backups[1]), *wal(6, 7, 8), *history]


def test_an_incremental_backup_stands_on_those_that_it_is_laid_over(repository, backups, listed, capsys):
    _, second = backups
    days = timedelta(days=2)
    third = store_backup(repository, after=days, first=7, last=7, type="incremental", parent=second.id)
    assert listed(third.id) == [*files(second), *files(third), *wal(7)]
    assert listed(third.id, "--target", "data") == files(third)
    shutil.rmtree(Path(repository.root, "base", second.id))
    assert main(["list-files", repository.root, third.id]) == 1
    assert f"builds on {second.id}, which is not there" in capsys.readouterr().err


def test_a_copy_of_what_is_listed_is_a_backup_that_can_be_restored(repository, backups, listed, tmp_path):
    place = tmp_path / "copy"
    for name in ("identity.json", *listed("oldest")):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(repository.root, name), place / name)
    copy = open_repository(str(place))
    assert verify(copy, backups[0], stored_holdings(copy)).problems == ()


def test_a_last_segment_that_is_stored_with_the_backup_is_listed(repository, listed):
    record = store_backup(repository, first=2, last=3)
    store_wal(repository, [2])
    name = Segment(1, 3).name(SIZE)
    store_in_backup(repository, record, name, segment_bytes(Segment(1, 3)))
    own = f"base/{record.id}/wal/{name}.zst"
    assert own in listed("latest") and own in listed("latest", "--target", "full")


def test_a_backup_without_all_of_its_wal_is_not_standalone(repository, listed, capsys):
    record = store_backup(repository)
    store_wal(repository, [2])
    assert main(["list-files", repository.root, record.id]) == 1
    assert "not all WAL that backup" in capsys.readouterr().err
    assert listed(record.id, "--target", "full") == [*files(record), *wal(2)]


def test_the_files_are_listed_as_json(repository, backups, capsys):
    assert main(["list-files", repository.root, "latest", "--target", "data", "-f", "json"]) == 0
    found = json.loads(capsys.readouterr().out)["main"]
    assert (found["backup_id"], found["target"]) == (backups[1].id, "data")
    assert found["files"] == [os.path.join(repository.root, name) for name in files(backups[1])]


def test_a_failed_backup_has_no_files_to_list(repository, capsys):
    mark = FailedMark(started=START, ended=START, error="no room", hint=None)
    repository.backups.fail("20260301T000000", mark)
    assert main(["list-files", repository.root, "last-failed"]) == 1
    assert "backup 20260301T000000 is FAILED: no room" in capsys.readouterr().err
