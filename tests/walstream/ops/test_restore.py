"""Planning a restore from directories: what lies there that cannot be read, or says nothing."""

import os
from datetime import timedelta

import pytest
from support.repositories import SIZE, new_repository, segment_bytes, store_backup, store_wal

from catalog.errors import TargetUnreachable
from catalog.marks import StartedMark
from catalog.target import RecoveryTarget
from catalog.walname import Segment
from walstream.ops.restore import RestoreRequest, plan_restore
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


def planned(repository, tmp_path, backup="auto"):
    request = RestoreRequest(backup, str(tmp_path / "restored"), RecoveryTarget())
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


def test_without_a_configuration_as_many_segments_are_fetched_ahead_as_by_default_with_one(
    repository, tmp_path
):
    request = RestoreRequest("auto", str(tmp_path / "restored"), RecoveryTarget())
    options = plan_restore(repository, repository.root, request).options
    assert options.prefetch_segments == PREFETCH_SEGMENTS.default


def asked(tmp_path, **options):
    return RestoreRequest("auto", str(tmp_path / "restored"), **{"target": RecoveryTarget()} | options)


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
