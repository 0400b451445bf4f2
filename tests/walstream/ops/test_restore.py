"""Planning a restore from directories: what lies there that cannot be read, or says nothing."""

import os
from dataclasses import replace
from datetime import timedelta

import pytest
from support.repositories import (
    SIZE,
    SYSTEM,
    new_repository,
    segment_bytes,
    store_backup,
    store_in_backup,
    store_wal,
)
from support.wal_records import WalWriter

from catalog.errors import Busy, TargetUnreachable, UsageError
from catalog.marks import StartedMark
from catalog.target import RecoveryTarget
from catalog.walname import Segment
from walstream.ops import offline
from walstream.ops.expire import plan_removal
from walstream.ops.restore import RestoreRequest, plan_restore, restore_planned
from walstream.ops.retain import Rules
from walstream.ops.sweep import sweep
from walstream.settings.options import PREFETCH_SEGMENTS

DAMAGED = "20250101T000000"


@pytest.fixture
def repository(tmp_path):
    made = new_repository(tmp_path / "main")
    store_backup(made, first=2, last=3)
    store_wal(made, [2, 3, 4])
    os.mkdir(tmp_path / "restored")
    return made


def planned(repository, tmp_path, backup="auto", target=None, **options):
    request = RestoreRequest(backup, str(tmp_path / "restored"), target or RecoveryTarget(), **options)
    return plan_restore(repository, repository.root, request).plan


@pytest.mark.parametrize("backup", ["auto", "latest"])
@pytest.mark.parametrize("file", ["record.json", "failed.json", "started.json"])
def test_one_damaged_document_blocks_neither_a_restore_nor_the_next_backup(
    repository, tmp_path, backup, file
):
    repository.storage.put(f"base/{DAMAGED}/{file}", b"{ damaged")
    killed = repository.backups.records()[0].end.time if file != "record.json" else None
    if killed:
        mark = StartedMark(pid=1, name=None, started=killed + timedelta(days=1), parent=None)
        repository.backups.mark_started("20270101T000000", mark)
    found = planned(repository, tmp_path, backup)
    assert any(DAMAGED in warning for warning in found.warnings) == (file == "record.json")
    sweep(repository)
    assert os.listdir(repository.storage.path(f"base/{DAMAGED}")) == [file]
    assert not killed or repository.backups.failed("20270101T000000") is not None


def test_a_partial_segment_that_is_blank_is_not_planned_with(repository, tmp_path):
    spool = os.path.join(repository.root, "streaming")
    os.mkdir(spool)
    path = os.path.join(spool, f"{Segment(1, 5).name(SIZE)}.partial")
    with open(path, "wb") as file:
        file.write(bytes(SIZE.nbytes))
    assert planned(repository, tmp_path).until == Segment(1, 4)
    with open(path, "wb") as file:
        file.write(segment_bytes(Segment(1, 5)))
    assert planned(repository, tmp_path).until == Segment(1, 5)


def test_the_library_has_the_options_of_the_command(repository, tmp_path):
    where = (repository.root, str(tmp_path / "restored"))
    chosen = {"prefetch_segments": 3, "jobs": 2, "partial_wal": False, "conf_file": "restored.conf"}
    options = offline.plan_restore(*where, **chosen).options
    assert {name: getattr(options, name) for name in chosen} == chosen
    assert offline.plan_restore(*where).options.prefetch_segments == int(PREFETCH_SEGMENTS.default)
    for wrong in ({"prefetch_segments": -1}, {"prefetch_segments": 1025}, {"jobs": 0}, {"jobs": 65}):
        with pytest.raises(UsageError, match="cannot be"):
            offline.plan_restore(*where, **wrong)


def test_while_a_backup_is_restored_nobody_removes_it(repository, tmp_path):
    request = RestoreRequest("auto", str(tmp_path / "restored"), RecoveryTarget())
    refusals = []

    def remove(nbytes):
        with pytest.raises(Busy) as caught:
            plan_removal(repository, repository.root, Rules(), "latest")
        refusals.append(str(caught.value))

    restore_planned(plan_restore(repository, repository.root, request), remove)
    assert refusals and "is being restored" in refusals[0]
    assert plan_removal(repository, repository.root, Rules(), "latest").going


@pytest.fixture
def with_records(tmp_path):
    """A backup in segment 2, and WAL with a commit in each minute from there to segment 5."""
    made = new_repository(tmp_path / "main")
    record = store_backup(made, first=2, last=2)
    wal = WalWriter(SIZE, 2, system_identifier=SYSTEM)
    wal.fill(0x10000)
    for minute in range(10):
        wal.commit(700 + minute, record.end.time + timedelta(minutes=minute))
        wal.fill(SIZE.nbytes // 3)
    for number, data in wal.segments.items():
        name = Segment(1, number).name(SIZE)
        made.storage.put(f"wals/{name[:16]}/{name}", data)
    os.mkdir(tmp_path / "restored")
    return made, record


def test_a_target_that_is_not_in_the_wal_is_refused_unless_nothing_is_read(with_records, tmp_path):
    repository, record = with_records
    never = RecoveryTarget("time", record.end.time + timedelta(hours=1))
    with pytest.raises(TargetUnreachable, match="not in the WAL stored so far"):
        planned(repository, tmp_path, target=never)
    assert planned(repository, tmp_path, target=never, scan=False).reached is None


def test_a_standby_may_wait_for_a_target_that_is_not_in_the_wal_yet(with_records, tmp_path):
    repository, record = with_records
    later = RecoveryTarget("time", record.end.time + timedelta(hours=1))
    assert planned(repository, tmp_path, target=later, standby_mode=True).reached is None
    here = RecoveryTarget("time", record.end.time + timedelta(minutes=3))
    assert planned(repository, tmp_path, target=here, standby_mode=True).reached.xid == 704
    with pytest.raises(TargetUnreachable):
        planned(repository, tmp_path, target=RecoveryTarget("name", "never"), standby_mode=True)


def test_how_much_wal_was_read_is_told(with_records, tmp_path):
    repository, _ = with_records
    read = []
    request = RestoreRequest("auto", str(tmp_path / "restored"), RecoveryTarget("xid", "708"))
    plan_restore(repository, repository.root, request, read.append)
    assert read == sorted(read) and read[-1] > 0
    read.clear()
    plan_restore(repository, repository.root, replace(request, target=RecoveryTarget()), read.append)
    assert read == []


def test_wal_that_only_the_backup_has_is_read_too(tmp_path):
    repository = new_repository(tmp_path / "main")
    record = store_backup(repository, first=2, last=2)
    wal = WalWriter(SIZE, 2, system_identifier=SYSTEM)
    wal.fill(0x10000)
    wal.commit(700, record.end.time)
    store_in_backup(repository, record, Segment(1, 2).name(SIZE), wal.segments[2])
    os.mkdir(tmp_path / "restored")
    found = planned(repository, tmp_path, target=RecoveryTarget("xid", "700"))
    assert (found.reached.xid, found.until) == (700, Segment(1, 2))
    with pytest.raises(TargetUnreachable, match=f"the WAL ends at {wal.position}"):
        planned(repository, tmp_path, target=RecoveryTarget("xid", "701"))


def test_without_a_configuration_as_many_segments_are_fetched_ahead_as_by_default_with_one(
    repository, tmp_path
):
    request = RestoreRequest("auto", str(tmp_path / "restored"), RecoveryTarget())
    options = plan_restore(repository, repository.root, request).options
    assert options.prefetch_segments == PREFETCH_SEGMENTS.default


def asked(tmp_path, **options):
    """A request whose plan goes by names: the segments here hold no records."""
    given = {"target": RecoveryTarget(), "scan": False} | options
    return RestoreRequest("auto", str(tmp_path / "restored"), **given)


def test_the_room_for_copied_wal_counts(repository, tmp_path):
    (fetched,), (copied,) = (
        plan_restore(repository, repository.root, asked(tmp_path, get_wal=get_wal)).room.values()
        for get_wal in (True, False)
    )
    assert copied[0] - fetched[0] == 3 * SIZE.nbytes


@pytest.mark.parametrize("get_wal", [True, False])
def test_a_target_that_needs_a_partial_segment_is_refused_without_those(repository, tmp_path, get_wal):
    (path,) = store_wal(repository, [5])
    os.rename(path, path.replace(".zst", ".partial.zst"))
    target = RecoveryTarget.from_options({"lsn": f"0/{5 * SIZE.nbytes + 0x3000:X}"})
    found = plan_restore(repository, repository.root, asked(tmp_path, target=target, get_wal=get_wal))
    assert found.plan.until == Segment(1, 5)
    for off in ({"partial_wal": False}, {"standby_mode": True}):
        with pytest.raises(TargetUnreachable, match="not complete"):
            plan_restore(repository, repository.root, asked(tmp_path, target=target, get_wal=get_wal, **off))


def test_wal_that_is_missing_is_refused_before_a_byte(repository, tmp_path):
    store_wal(repository, [6])
    with pytest.raises(TargetUnreachable, match=Segment(1, 5).name(SIZE)):
        plan_restore(repository, repository.root, asked(tmp_path, get_wal=False))
    assert os.listdir(tmp_path / "restored") == []
