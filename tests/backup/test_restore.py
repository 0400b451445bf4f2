"""A stored backup laid down: marks, tablespaces, and what damaged documents must not do."""

import json
import os
import shutil
from contextlib import nullcontext

import pytest
from support.faults import PowerLoss
from support.members import file
from support.repositories import MAIN, SPACE, new_repository, store_backup

from backup.destination import MARK, PG_CONTROL, Claim
from backup.restore import restore
from backup.restore_options import RestoreOptions
from backup.room import check_room
from backup.tree import Tree
from catalog import durable
from catalog.errors import Corrupt, DestinationRefused
from catalog.record import Tablespace
from catalog.recovery import RecoveryPlan
from catalog.target import LATEST, RecoveryTarget
from catalog.timeline import History, Path

TARGET = RecoveryTarget(LATEST)
PATH = Path.of(History(1, ()))


@pytest.fixture
def repository(tmp_path):
    return new_repository(tmp_path / "repository")


@pytest.fixture
def dest(tmp_path):
    return tmp_path / "dest"


@pytest.fixture
def restored(repository, dest):
    """``restored(**fields)``: store a backup and restore it; ``tablespaces`` are where the origin had them."""

    def make(**fields):
        record = store_backup(repository, **fields)
        plan = RecoveryPlan(record, TARGET, PATH, record.first_segment, record.last_segment, ())
        return restore(plan, repository, RestoreOptions(str(dest), repository.root, "/usr/bin/python3"))

    return make


def test_a_mark_that_a_backup_holds_is_not_restored(restored, dest):
    restored(main=[file(MARK, b"{}"), *MAIN])
    listed = {each["Path"] for each in json.loads((dest / "backup_manifest").read_text())["Files"]}
    assert not (dest / MARK).exists() and MARK not in listed
    assert PG_CONTROL in listed and (dest / PG_CONTROL).exists()


@pytest.mark.parametrize("steps", range(4))
def test_a_restore_that_is_killed_at_its_end_is_complete_or_can_be_repeated(
    repository, tmp_path, dest, monkeypatch, steps
):
    """The steps: pg_control gets its name, the tablespace's mark goes, the data directory's mark goes."""
    record = store_backup(repository, spaces={16385: SPACE}, tablespaces=spaces_in(tmp_path))
    plan = RecoveryPlan(record, TARGET, PATH, record.first_segment, record.last_segment, ())
    options = RestoreOptions(str(dest), repository.root, "/usr/bin/python3")
    left = iter(range(steps))

    def counted(real):
        def call(*arguments):
            if next(left, None) is None:
                raise PowerLoss
            return real(*arguments)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(Tree, "put_in_place", counted(Tree.put_in_place))
        patch.setattr(durable, "remove", counted(durable.remove))
        with pytest.raises(PowerLoss) if steps < 3 else nullcontext():
            restore(plan, repository, options)
    if (dest / PG_CONTROL).exists():
        with pytest.raises(DestinationRefused, match="not empty"):
            restore(plan, repository, options)
    else:
        restore(plan, repository, options)
    assert (dest / PG_CONTROL).exists() and (tmp_path / "space" / "PG_18_1" / "5" / "1").exists()


def spaces_in(directory):
    return (Tablespace(16385, "fast", str(directory / "space")),)


def test_a_restore_leaves_no_mark(restored, tmp_path, dest):
    restored(spaces={16385: SPACE}, tablespaces=spaces_in(tmp_path))
    assert not any((place / MARK).exists() for place in (dest, tmp_path / "space"))


@pytest.mark.parametrize("where", ["/srv/old/spaces/near", "pg_tblspc/16385"])
def test_a_tablespace_inside_the_data_directory_is_restored_inside(restored, dest, where):
    space = Tablespace(16385, "near", where)
    found = restored(spaces={16385: SPACE}, tablespaces=(space,), data_directory="/srv/old")
    assert found.directories == (str(dest),)
    assert any("allow_in_place_tablespaces" in each for each in found.warnings) == (where[0] != "/")
    place = dest / os.path.relpath(where, "/srv/old") if where[0] == "/" else dest / where
    assert (place / "PG_18_1" / "5" / "1").exists()
    assert (dest / "pg_tblspc" / "16385").resolve() == place


def test_a_tablespace_map_that_names_a_foreign_directory_is_corrupt(restored, dest):
    with pytest.raises(Corrupt, match="tablespace 4711"):
        restored(main=[file("tablespace_map", b"4711 /etc\n"), *MAIN])
    assert (dest / MARK).exists() and not (dest / PG_CONTROL).exists()


def test_what_a_killed_restore_left_counts_as_room_for_its_repetition(repository, dest, monkeypatch):
    record = store_backup(repository)
    plan = RecoveryPlan(record, TARGET, PATH, record.first_segment, record.last_segment, ())
    options = RestoreOptions(str(dest), repository.root, "/usr/bin/python3")
    with Claim([str(dest)], None):
        (dest / "left").write_bytes(b"x" * (1 << 20))
    full = shutil.disk_usage("/")._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    needed, free = check_room(plan, options)[str(dest)]
    assert needed < 1 << 20 <= free
    restore(plan, repository, options)
    assert (dest / PG_CONTROL).exists() and not (dest / "left").exists()


def test_without_room_nothing_is_written(repository, dest, monkeypatch):
    record = store_backup(repository)
    plan = RecoveryPlan(record, TARGET, PATH, record.first_segment, record.last_segment, ())
    full = shutil.disk_usage("/")._replace(free=10000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: full)
    with pytest.raises(DestinationRefused, match=r"room for 9\.8 KiB"):
        restore(plan, repository, RestoreOptions(str(dest), repository.root, "/usr/bin/python3"))
    assert not dest.exists()
