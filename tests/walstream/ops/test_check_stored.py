"""The items of ``check`` that need no server: branches that were left, and disks."""

import os
import tempfile
from collections import namedtuple
from dataclasses import replace
from datetime import timedelta

import pytest
from support.configurations import loaded
from support.repositories import file_of, new_repository, store_backup, store_wal
from support.values import history

from catalog.lsn import LSN
from catalog.reach import Branch
from walstream.ops import place
from walstream.ops.check_stored import disk_item, figures, stored_items
from walstream.ops.check_wal import branches_item
from walstream.ops.timetable import Failure, Timetable
from walstream.settings.schedule import Schedule

NOW = 1_800_000_000.0
MIB = 1 << 20
Status = namedtuple("Status", "f_bavail f_blocks f_frsize")


@pytest.fixture
def settings(tmp_path):
    """A server with an empty repository."""
    text = f"[walstream]\nwalstream_home = {tmp_path}/home\n[main]\nconninfo = host=x\n"
    return ready(loaded(tmp_path, text).server("main"))


def ready(settings):
    made = new_repository(settings.repository)
    place.known_repository("host=nowhere", made.root, settings.home)
    return settings


def items_of(settings):
    found, _ = stored_items(settings, NOW)
    return {item.label: item for item in found}


def test_no_branch_is_fine():
    assert branches_item((), 3) == branches_item((), 1)


def test_each_branch_is_named_with_how_far_it_goes_and_how_to_recover_along_it():
    found = branches_item((Branch(2, LSN(0x4000000), LSN(0x4000100)), Branch(1, LSN(16), LSN(32))), 3)
    assert found.is_warning and "timeline 2 from 0/4000000 to 0/4000100; timeline 1 from" in found.hint
    assert "only the repository has" in found.hint and found.remedy.endswith("restore --target-tli 2")


def test_a_backup_that_is_known_to_be_damaged_is_a_failed_one_and_not_the_newest(settings):
    repository = place.known_repository("host=nowhere", settings.repository, settings.home)
    store_backup(repository, first=2, last=2)
    newest = store_backup(repository, after=timedelta(days=1), first=3, last=3)
    store_wal(repository, [2, 3])
    assert items_of(settings)["failed backups"].ok
    before = figures(settings, repository, NOW)["backup_age"][0]
    file_of(repository, newest, newest.archives[0]).unlink()
    found = items_of(settings)["failed backups"]
    assert not found.ok and f"{newest.id}: " in found.hint and "is missing" in found.hint
    assert figures(settings, repository, NOW)["backup_age"][0] == before + 86400


def test_a_scheduled_backup_that_failed_before_it_began_counts_until_there_is_a_later_one(settings):
    repository = place.known_repository("host=nowhere", settings.repository, settings.home)
    settings = replace(settings, backup_schedule=Schedule.parse("0 4 * * *"))
    first = store_backup(repository, first=2, last=2)
    at = first.end.time.timestamp() + 3600
    Timetable(settings.home, settings.backup_schedule).note_end(Failure(at, "exit code 1: no server"))
    found = items_of(settings)["failed backups"]
    assert not found.ok and "exit code 1: no server" in found.hint and "walstream backup main" in found.remedy
    store_backup(repository, after=timedelta(days=1), first=3, last=3)
    store_wal(repository, [2, 3])
    assert items_of(settings)["failed backups"].ok


def test_wal_that_a_failover_has_left_is_a_warning(settings):
    repository = place.known_repository("host=nowhere", settings.repository, settings.home)
    store_wal(repository, [2, 3, 4])
    assert not items_of(settings)["old branches"].is_warning
    repository.storage.put("wals/00000002.history", history(2, (1, 3.5)).format())
    store_wal(repository, [3], timeline=2)
    found = items_of(settings)["old branches"]
    assert found.is_warning and "timeline 1 from 0/380000 to 0/500000" in found.hint
    assert "not part of timeline 2" in found.hint


@pytest.mark.parametrize(("left", "ok"), [(100 * MIB, True), (99 * MIB, False)])
def test_less_than_a_hundredth_of_a_disk_is_a_failure(left, ok):
    found = disk_item("disk space", Status(left, 10_000 * MIB, 1), MIB, "make room")
    assert found.ok is ok and found.remedy == ("" if ok else "make room")


@pytest.mark.parametrize(("left", "ok"), [(64 * MIB, True), (63 * MIB, False)])
def test_less_than_four_segments_are_a_failure(left, ok):
    assert disk_item("disk space", Status(left, 1000 * MIB, 1), 16 * MIB, "make room").ok is ok


def test_a_spool_on_another_file_system_has_an_item_of_its_own(settings, tmp_path):
    assert "disk space of walstream_home" not in items_of(settings)
    others = [
        path for path in ("/dev/shm", "/tmp", "/var/tmp") if os.stat(path).st_dev != os.stat(tmp_path).st_dev
    ]
    if not others:
        pytest.skip("there is no other file system")
    with tempfile.TemporaryDirectory(dir=others[0]) as other:
        found = items_of(ready(replace(settings, home=f"{other}/main")))
    assert "free" in found["disk space"].hint and "free" in found["disk space of walstream_home"].hint
