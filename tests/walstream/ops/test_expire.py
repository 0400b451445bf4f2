"""Removing backups and WAL: what goes, in which order, and what a crash on the way leaves."""

import errno
import os
import resource
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.faults import Disk, PowerLoss, fail
from support.repositories import SIZE, new_repository, store_backup, store_wal

from catalog.errors import Absent, Busy, HookFailed, UsageError
from catalog.in_use import being_read, being_removed
from catalog.marks import FailedMark, KeepMark
from catalog.retention import RetentionPolicy
from catalog.statuses import DONE
from catalog.survey import survey
from catalog.walname import Segment
from walstream.ops.expire import carry_out, is_unfinished, plan_expiry, plan_removal
from walstream.ops.hooks import Hooks
from walstream.ops.retain import Rules
from walstream.ops.stored import backup_lock
from walstream.ops.sweep import sweep

DAY = timedelta(days=1)
TWO = Rules(RetentionPolicy.parse("REDUNDANCY 2"))


@pytest.fixture
def repository(tmp_path):
    """Three backups, with all WAL from a little before the first."""
    made = new_repository(tmp_path / "main")
    for day, first in enumerate((3, 7, 600)):
        store_backup(made, after=day * DAY, first=first, last=first + 1)
    store_wal(made, [*range(1, 12), *range(598, 605)])
    return made


def names(repository):
    return sorted(repository.wal.names())


def segment(number):
    return Segment(1, number).name(SIZE)


def ids(repository):
    return [each.id for each in survey(repository).backups]


def expire(repository, rules=TWO):
    return carry_out(plan_expiry(repository, repository.root, rules), repository)


def test_what_is_obsolete_goes_with_the_wal_that_nothing_needs(repository):
    first, second, third = ids(repository)
    plan = plan_expiry(repository, repository.root, TWO)
    assert list(plan.going) == [first] and "2 that are wanted are newer" in plan.going[first]
    assert [window.first.id for window in plan.before] == [first, third]
    assert [window.first.id for window in plan.after] == [second, third]
    removed = carry_out(plan, repository)
    assert (removed.backups, removed.wal_files) == ((first,), 6) and removed.wal_bytes > 0
    assert ids(repository) == [second, third]
    assert names(repository) == [segment(each) for each in (*range(7, 12), *range(598, 605))]
    assert [each.status.word for each in survey(repository).backups] == [DONE, DONE]
    assert expire(repository).wal_files == 0


def test_a_directory_of_wal_goes_with_the_last_that_is_in_it(repository):
    expire(repository, Rules(RetentionPolicy.parse("REDUNDANCY 1")))
    assert os.listdir(Path(repository.root, "wals")) == [segment(600)[:16]]


def test_an_incremental_backup_goes_before_what_it_rests_on(repository):
    first, *_ = ids(repository)
    on_first = store_backup(repository, after=DAY / 4, first=5, last=5, type="incremental", parent=first)
    on_that = store_backup(repository, after=DAY / 2, first=6, last=6, type="incremental", parent=on_first.id)
    went = []
    carry_out(plan_expiry(repository, repository.root, TWO), repository, lambda each, _: went.append(each))
    assert went == [on_that.id, on_first.id, first]


def test_what_alone_leads_over_a_gap_to_the_newest_wal_stays_with_what_it_rests_on(repository):
    first, second, third = ids(repository)
    behind = store_backup(repository, after=3 * DAY, first=605, last=605, type="incremental", parent=first)
    store_wal(repository, [605, 606])
    for path in Path(repository.root, "wals").rglob(f"{segment(603)}*"):
        path.unlink()
    plan = plan_expiry(repository, repository.root, TWO)
    assert list(plan.going) == []
    assert "leads to the newest WAL" in plan.judged.verdicts[first].reason
    assert plan.after[-1].last.number == 606
    store_backup(repository, after=4 * DAY, first=606, last=606)
    assert list(plan_expiry(repository, repository.root, TWO).going) == [behind.id, first, second]
    assert third in ids(repository)


def test_with_one_backup_go_those_that_rest_on_it(repository):
    first, second, third = ids(repository)
    child = store_backup(repository, after=DAY / 4, first=5, last=5, type="incremental", parent=first)
    plan = plan_removal(repository, repository.root, Rules(), first)
    assert list(plan.going.items()) == [(child.id, f"it rests on {first}"), (first, "it was named")]
    carry_out(plan, repository)
    assert ids(repository) == [second, third] and segment(6) not in names(repository)


def test_in_the_middle_of_others_no_wal_goes(repository):
    _, second, _ = ids(repository)
    plan = plan_removal(repository, repository.root, Rules(), second)
    assert plan.wal.runs[0].last == 2  # what was unneeded before
    carry_out(plan, repository)
    assert names(repository)[0] == segment(3)


def test_what_is_kept_or_below_the_minimum_stays(repository):
    first, second, third = ids(repository)
    repository.backups.keep(first, KeepMark(target="full", since=datetime.now(UTC)))
    with pytest.raises(UsageError, match=r"is kept \(full\)"):
        plan_removal(repository, repository.root, Rules(), "oldest")
    with pytest.raises(UsageError, match="2 restorable full backups would be left"):
        plan_removal(repository, repository.root, Rules(minimum=3), second)
    assert list(plan_removal(repository, repository.root, Rules(minimum=2), third).going) == [third]


def test_a_failed_backup_can_be_removed_whatever_the_minimum_is(repository):
    mark = FailedMark(started=datetime.now(UTC), ended=datetime.now(UTC), error="no room", hint=None)
    repository.backups.fail("20260301T000000", mark)
    carry_out(plan_removal(repository, repository.root, Rules(minimum=9), "last-failed"), repository)
    assert "20260301T000000" not in ids(repository)


def test_one_that_is_kept_alone_keeps_its_own_wal(repository):
    first, *_ = ids(repository)
    repository.backups.keep(first, KeepMark(target="standalone", since=datetime.now(UTC)))
    expire(repository)
    assert names(repository)[:3] == [segment(3), segment(4), segment(7)]
    assert ids(repository)[0] == first


def test_a_mark_that_cannot_be_read_keeps_with_everything(repository):
    first, *_ = ids(repository)
    Path(repository.root, "base", first, "keep.json").write_text("{")
    expire(repository)
    assert names(repository)[0] == segment(3) and ids(repository)[0] == first


def test_on_a_full_disk_backups_can_be_removed_all_the_same(repository, monkeypatch):
    first, *others = ids(repository)
    fail(monkeypatch, "write", errno.ENOSPC)
    fail(monkeypatch, "pwrite", errno.ENOSPC)
    with backup_lock(repository, "main"):
        assert expire(repository).wal_files == 6
        with pytest.raises(Busy):
            backup_lock(repository, "main").acquire()
    assert ids(repository) == others and not Path(repository.root, "base", first).exists()


def test_a_kept_backup_is_not_deleted_even_when_its_record_cannot_be_read(repository):
    first, *_ = ids(repository)
    repository.backups.keep(first, KeepMark(target="full", since=datetime.now(UTC)))
    Path(repository.root, "base", first, "record.json").write_text("{")
    with pytest.raises(UsageError, match="is kept"):
        plan_removal(repository, repository.root, Rules(), first)
    repository.backups.keep(first, None)
    assert list(plan_removal(repository, repository.root, Rules(), first).going) == [first]


def test_what_is_being_restored_stays_and_is_said_to(repository):
    first, second, third = ids(repository)
    obsolete = plan_expiry(repository, repository.root, TWO)
    with being_read(repository, [first]):
        plan = plan_expiry(repository, repository.root, TWO)
        assert not plan.going and plan.judged.verdicts[first].reason == "it is being restored"
        carry_out(plan, repository)
        assert names(repository)[0] == segment(3)
        with pytest.raises(Busy, match=f"{first} is being restored"):
            plan_removal(repository, repository.root, Rules(), first)
        with pytest.raises(Busy, match=f"{first} is being restored"):
            carry_out(obsolete, repository)  # it was planned before the restore began
        assert ids(repository) == [first, second, third]
    assert expire(repository).backups == (first,)


def test_what_is_being_removed_cannot_be_restored(repository):
    first, *_ = ids(repository)
    with being_removed(repository, first):
        with pytest.raises(Busy, match="is being removed"), being_read(repository, [first]):
            raise AssertionError("it was read")
    expire(repository)
    with pytest.raises(Absent, match="was removed"), being_read(repository, [first]):
        raise AssertionError("it was read")


def open_files():
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/self/fd/{fd}"))
    return found


def test_nothing_in_a_directory_is_open_any_more_when_it_goes(repository, monkeypatch):
    """NFS gives a file that is open another name when it is removed, and keeps its directory."""

    def holds_open_file(path, **named):
        return any(each.startswith(f"{path}/") for each in open_files())

    fail(monkeypatch, "rmdir", errno.ENOTEMPTY, when=holds_open_file)
    expire(repository)
    assert len(ids(repository)) == 2


def test_many_go_at_once_with_few_open_files(repository):
    for hours in range(1, 60):
        store_backup(repository, after=2 * DAY + hours * DAY / 24, first=601, last=602)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 30, hard))
    try:
        assert len(expire(repository).backups) == 60
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_what_a_script_forbids_is_not_left_for_the_next_round(repository):
    first, *_ = ids(repository)
    plan = plan_removal(repository, repository.root, Rules(), first)
    with pytest.raises(HookFailed) as caught:
        carry_out(plan, repository, hooks=Hooks("main", {"pre_delete": "exit 1"}))
    assert f"nothing was removed; until the next time {first} stays" in caught.value.hint
    assert first in ids(repository) and not is_unfinished(repository)


@pytest.mark.parametrize("begun", [(), ("started.json.walstream-tmp.1-00000000",)])
def test_a_bare_directory_that_a_crash_has_left_keeps_no_wal(repository, begun):
    bare = Path(repository.root, "base", "20260301T000000")
    bare.mkdir()
    for each in begun:
        (bare / each).touch()
    sweep(repository)
    assert not bare.exists()
    assert expire(repository).wal_files == 6


@pytest.mark.parametrize("damage", ["{", None])
def test_while_nobody_knows_what_a_backup_needs_no_wal_goes(repository, damage):
    first, *_ = ids(repository)
    record = Path(repository.root, "base", first, "record.json")
    if damage is None:
        record.unlink()
    else:
        record.write_text(damage)
    expire(repository, Rules(RetentionPolicy.parse("REDUNDANCY 1")))
    assert names(repository)[0] == segment(1)


@pytest.mark.parametrize("calls", range(60))
def test_what_is_interrupted_is_ended_by_the_next_sweep_and_expiry(repository, monkeypatch, calls):
    whole = {
        each.id: set(os.listdir(Path(repository.root, "base", each.id)))
        for each in survey(repository).backups
    }
    first, second, third = whole
    plan = plan_expiry(repository, repository.root, TWO)
    Disk(monkeypatch).stop_after(calls)
    try:
        carry_out(plan, repository)
    except PowerLoss:
        pass
    monkeypatch.undo()
    found = {each.id: each.status.word for each in survey(repository).backups}
    assert found[second] == found[third] == DONE
    if found.get(first) == DONE:  # then it is whole
        assert whole[first] <= set(os.listdir(Path(repository.root, "base", first)))
    sweep(repository)
    expire(repository)
    assert ids(repository) == [second, third]
    assert names(repository)[0] == segment(7)
    assert not list(Path(repository.root).rglob("removed.json")) and not is_unfinished(repository)
