"""Planning a recovery: by example, and against a model that looks at every byte's and segment's owner."""

from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import MB, START, at, history, record, segment_names

from catalog.commits import summed_up
from catalog.coverage import Holdings, restorable
from catalog.errors import Absent, TargetUnreachable, UsageError
from catalog.inventory import Inventory, Run
from catalog.pitr import plan
from catalog.recordtypes import Ending, RestorePoint, from_time
from catalog.target import RecoveryTarget
from catalog.walname import Segment

LATEST = RecoveryTarget()
IMMEDIATE = RecoveryTarget("immediate")
NAME = RecoveryTarget("name", "before")
BACKUP = record(2.25, 3.5)
LATER = record(6.25, 7.5)
FIRST = record(3.6, 3.9, type="incremental", parent=BACKUP.id)
SECOND = record(4.25, 4.5, type="incremental", parent=FIRST.id)
OF_2 = record(8.25, 8.5, timeline=2)
H2 = history(2, (1, 5.5))
H3 = history(3, (1, 4.5))


def lsn(megabytes, **changes):
    return RecoveryTarget("lsn", at(megabytes), **changes)


def minute(minutes, **changes):
    return RecoveryTarget("time", START + timedelta(minutes=minutes), **changes)


def holdings(*names, records=(BACKUP,), histories=(), own=None):
    """What is held: ranges of segment numbers by timeline, or names."""
    listing = [name for each in names for name in ([each] if isinstance(each, str) else segment_names(*each))]
    by_timeline = {each.timeline: each for each in histories}
    return Holdings(tuple(records), Inventory.from_names(listing, MB), by_timeline, MB, own or {})


def refusal(*arguments):
    with pytest.raises(TargetUnreachable) as caught:
        plan(*arguments)
    assert caught.value.hint
    return str(caught.value)


def test_latest_needs_all_wal_from_the_backup_on():
    found = plan(holdings((1, range(1, 9))), LATEST)
    assert (found.backup, found.timeline) == (BACKUP, 1)
    assert (found.first, found.until) == (Segment(1, 2), Segment(1, 8))
    assert found.wal == (Run(1, 2, 8),)
    assert found.warnings == found.missing == ()


def test_immediate_needs_the_backup_s_own_wal_and_no_more():
    found = plan(holdings((1, [2, 3, 7])), IMMEDIATE)
    assert (found.first, found.until, found.wal) == (Segment(1, 2), Segment(1, 3), (Run(1, 2, 3),))


def test_a_position_needs_wal_up_to_the_segment_that_holds_it():
    found = plan(holdings((1, range(2, 9))), lsn(5.25))
    assert found.until == Segment(1, 5)
    assert found.wal == (Run(1, 2, 6),), "the record that ends the recovery may begin in the next segment"


def test_a_position_between_segments_needs_the_one_behind_it():
    assert plan(holdings((1, range(2, 7))), lsn(6)).until == Segment(1, 6)
    assert "is not stored" in refusal(holdings((1, range(2, 6))), lsn(6))


def test_the_end_of_the_backup_itself_can_be_reached():
    assert plan(holdings((1, [2, 3])), lsn(3.5)).until == Segment(1, 3)


@pytest.mark.parametrize("target", [lsn(3.25), minute(3.25)])
def test_a_target_before_the_end_of_the_backup_is_refused(target):
    assert f"before the end of backup {BACKUP.id}" in refusal(holdings((1, range(2, 9))), target, BACKUP.id)


def test_a_position_behind_all_wal_is_refused():
    assert "none behind 0/500000" in refusal(holdings((1, range(2, 5))), lsn(8))


def test_a_hole_before_the_target_is_refused_and_named():
    message = refusal(holdings((1, [2, 3, 6, 7])), lsn(7.5))
    assert message.endswith("000000010000000000000004 to 000000010000000000000005")
    assert plan(holdings((1, [2, 3, 4, 6, 7])), lsn(4.5)).until == Segment(1, 4)


def test_latest_does_not_end_at_a_hole_without_a_word():
    held = holdings((1, [2, 3, 4, 6]))
    with pytest.raises(TargetUnreachable, match="000000010000000000000005") as caught:
        plan(held, LATEST)
    assert "--target-lsn to a position before 0/500000" in caught.value.hint


def test_a_partial_segment_behind_missing_wal_shows_the_hole():
    held = holdings((1, range(2, 5)), "000000010000000000000006.partial")
    assert "000000010000000000000005" in refusal(held, LATEST)
    assert plan(holdings((1, range(2, 6)), "000000010000000000000006.partial"), LATEST).until == Segment(1, 5)


def test_a_position_in_a_partial_segment_may_be_reached():
    found = plan(holdings((1, range(2, 6)), "000000010000000000000006.partial"), lsn(6.5))
    assert found.until == Segment(1, 6)
    assert "partial segment" in found.warnings[0]


@pytest.mark.parametrize("target", [minute(4), NAME, RecoveryTarget("xid", "1234")])
def test_whether_a_time_an_xid_or_a_name_is_reached_is_not_promised(target):
    found = plan(holdings((1, [2, 3, 4, 6])), target, BACKUP.id)
    assert (found.until, found.wal) == (Segment(1, 4), (Run(1, 2, 4),))
    assert found.missing == (Run(1, 5, 5),)
    assert "known only when the WAL has been replayed" in found.warnings[0]
    assert "recovery can get to 0/500000" in found.warnings[1]


def test_a_backup_without_its_own_wal_is_refused_for_every_target():
    held = holdings((1, [3, 4, 5, 6]))
    for target in (LATEST, IMMEDIATE, lsn(5), minute(5), NAME):
        assert "no 000000010000000000000002" in refusal(held, target, BACKUP.id)
    assert not restorable(BACKUP, held)


def test_the_backup_s_own_copy_of_its_last_segment_makes_it_restorable_and_reaches_no_further():
    held = holdings((1, [2]), own={BACKUP.id: frozenset([Segment(1, 3)])})
    assert restorable(BACKUP, held)
    assert plan(held, IMMEDIATE).wal == (Run(1, 2, 3),)
    assert plan(held, LATEST).until == Segment(1, 3)
    assert "none behind 0/380000" in refusal(held, lsn(3.75))


def test_wal_behind_a_segment_of_which_only_the_backup_s_copy_is_held_is_behind_a_hole():
    held = holdings((1, [2, 4]), own={BACKUP.id: frozenset([Segment(1, 3)])})
    assert "000000010000000000000003" in refusal(held, LATEST)


def test_an_unknown_backup_is_refused():
    with pytest.raises(Absent):
        plan(holdings((1, range(2, 9))), LATEST, "20200101T000000")


def test_an_incremental_backup_is_laid_over_its_parents_and_needs_no_wal_of_theirs():
    held = holdings((1, range(4, 9)), records=[BACKUP, FIRST, SECOND])
    for backup in (SECOND.id, "auto"):
        found = plan(held, LATEST, backup)
        assert found.chain == (BACKUP, FIRST, SECOND)
        assert (found.parents, found.first.number) == ((BACKUP, FIRST), 4)
    assert restorable(SECOND, held) and not restorable(BACKUP, held)


def test_a_broken_chain_is_refused_and_passed_over_by_auto():
    held = holdings((1, range(2, 9)), records=[BACKUP, SECOND])
    assert FIRST.id in refusal(held, LATEST, SECOND.id)
    assert not restorable(SECOND, held)
    found = plan(held, LATEST)
    assert found.chain == (BACKUP,)
    assert any(SECOND.id in warning and FIRST.id in warning for warning in found.warnings)


def test_a_chain_upon_a_damaged_backup_is_refused():
    held = holdings((1, range(2, 9)), records=[BACKUP, FIRST, SECOND])
    held = replace(held, damaged={BACKUP.id: "'base.tar.zst' is missing"})
    assert "'base.tar.zst' is missing" in refusal(held, LATEST, SECOND.id)
    assert "no backup" in refusal(held, LATEST)


def test_a_chain_over_which_page_checksums_were_switched_on_is_warned_of():
    bare = replace(BACKUP, data_checksums=False)
    held = holdings((1, range(2, 9)), records=[bare, FIRST, SECOND])
    (warning,) = plan(held, LATEST, SECOND.id).warnings
    assert f"switched on behind backup {BACKUP.id}" in warning
    assert plan(held, LATEST, BACKUP.id).warnings == ()


def test_a_chain_upon_a_suspect_backup_is_only_restored_by_its_id():
    suspect = replace(BACKUP, checksum_errors=2)
    held = holdings((1, range(2, 9)), records=[suspect, FIRST])
    assert "no backup" in refusal(held, LATEST)
    assert f"2 bad page checksums while backup {BACKUP.id} ran" in plan(held, LATEST, FIRST.id).warnings[0]


def test_without_a_timeline_recovery_follows_the_newest_one_through_the_backup():
    held = holdings((1, range(2, 6)), (2, range(5, 9)), histories=[H2])
    for target in (LATEST, minute(9), lsn(7)):
        found = plan(held, target)
        assert (found.timeline, str(found.path)) == (2, "1@0/580000,2")
        assert found.wal[:2] == (Run(1, 2, 4), Run(2, 5, 8))
    assert plan(held, NAME, BACKUP.id).timeline == 2


def test_immediate_stays_on_the_backup_s_own_timeline():
    assert plan(holdings((1, range(2, 6)), (2, range(5, 9)), histories=[H2]), IMMEDIATE).timeline == 1


def test_immediate_takes_the_newer_copy_when_only_that_is_stored():
    held = holdings((1, [2]), (2, [3, 4]), histories=[history(2, (1, 3.75))])
    assert plan(held, IMMEDIATE).wal == (Run(1, 2, 2), Run(2, 3, 3))
    assert restorable(BACKUP, held)


def test_the_ancestor_s_copy_of_the_switch_segment_is_not_used():
    held = holdings((1, range(2, 9)), (2, [6, 7, 8]), histories=[H2])
    assert "000000020000000000000005" in refusal(held, LATEST)
    assert plan(held, replace(LATEST, timeline=1)).wal == (Run(1, 2, 8),)


def test_a_branch_that_is_left_aside_is_named():
    held = holdings((1, range(2, 9)), (2, range(5, 9)), histories=[H2])
    assert plan(held, LATEST).warnings == (
        "the WAL of timeline 1 behind 0/580000 is left aside: --target-tli 1 recovers along it",
    )
    assert plan(held, lsn(5.25)).warnings == ()
    assert plan(held, replace(LATEST, timeline=2)).warnings == ()


def test_a_new_timeline_of_which_no_wal_is_stored_is_not_followed_but_named():
    held = holdings((1, range(2, 6)), histories=[H2])
    found = plan(held, LATEST)
    assert (found.timeline, found.until) == (1, Segment(1, 5))
    assert "timeline 2 continues at 0/580000, but none of its WAL is stored" in found.warnings
    assert "no WAL of timeline 2" in refusal(held, replace(LATEST, timeline=2))


def test_latest_written_out_is_the_newest_timeline_known():
    held = holdings((1, range(2, 9)), (2, range(5, 9)), records=[LATER], histories=[H2])
    assert "branched off before the end" in refusal(held, replace(LATEST, timeline="latest"), LATER.id)
    assert plan(held, replace(LATEST, timeline="current"), LATER.id).timeline == 1
    assert plan(held, LATEST, LATER.id).timeline == 1


def test_a_timeline_without_history_cannot_be_followed():
    held = holdings((1, range(2, 9)), (2, range(5, 9)), records=[BACKUP, OF_2])
    assert "timeline 2 is not known" in refusal(held, replace(LATEST, timeline=2), BACKUP.id)
    assert "timeline 2 is not known" in refusal(held, LATEST, OF_2.id)
    assert not restorable(OF_2, held)


def test_a_timeline_that_does_not_descend_from_the_backup_s_is_refused():
    held = holdings((1, range(2, 9)), (2, range(5, 9)), (3, range(4, 9)), records=[OF_2], histories=[H2, H3])
    assert "timeline 3 does not descend from timeline 2" in refusal(held, lsn(9, timeline=3), OF_2.id)


def test_a_backup_of_a_standby_that_followed_a_switch_lies_on_both_timelines():
    across = record(4.25, 6.5, end_timeline=2)
    held = holdings((1, [4, 5, 6, 7]), (2, [5, 6, 7]), records=[across], histories=[H2])
    assert restorable(across, held)
    assert plan(held, LATEST).wal == (Run(1, 4, 4), Run(2, 5, 7))
    assert "branched off before the end" not in refusal(held, replace(LATEST, timeline=1), across.id)


def test_auto_takes_the_newest_backup_that_ended_before_the_target():
    held = holdings((1, range(2, 12)), records=[BACKUP, LATER])
    assert [plan(held, target).backup for target in (lsn(7), lsn(7.5), LATEST)] == [BACKUP, LATER, LATER]
    assert [plan(held, target).backup for target in (minute(7.4), minute(7.5))] == [BACKUP, LATER]


def test_auto_passes_over_a_backup_that_cannot_be_restored_and_says_so():
    held = holdings((1, [2, 3, 4, 5, 6, 8]), records=[BACKUP, LATER])
    found = plan(held, lsn(6.5))
    assert (found.backup, found.warnings) == (BACKUP, ())
    found = plan(held, minute(9))
    assert found.backup == BACKUP
    assert f"backup {LATER.id} was passed over" in found.warnings[-1]


def test_auto_passes_over_a_suspect_backup_that_an_id_may_still_name():
    suspect = replace(LATER, checksum_errors=3)
    held = holdings((1, range(2, 12)), records=[BACKUP, suspect])
    assert plan(held, LATEST).backup == BACKUP
    assert "3 bad page checksums" in plan(held, LATEST, suspect.id).warnings[0]


def test_auto_does_not_take_a_backup_of_an_abandoned_branch():
    held = holdings(
        (1, range(2, 6)), (2, range(5, 9)), (3, range(4, 9)), records=[BACKUP, OF_2], histories=[H2, H3]
    )
    assert (plan(held, LATEST).backup, plan(held, LATEST).timeline) == (BACKUP, 3)
    assert plan(held, replace(LATEST, timeline=2)).backup == OF_2
    assert plan(held, IMMEDIATE).backup == BACKUP


def test_auto_tells_what_is_wrong_with_the_backup_before_the_target_and_not_that_others_are_behind_it():
    held = holdings((1, [2, 5, 6, 7, 8]), records=[BACKUP, LATER])
    assert f"backup {BACKUP.id} cannot be restored: of its own WAL there is no" in refusal(held, lsn(5.5))
    assert f"before the end of backup {LATER.id}" in refusal(held, lsn(2))


@pytest.mark.parametrize("target", [lsn(2), minute(2)])
def test_of_a_target_before_all_backups_auto_tells_the_end_of_the_oldest(target):
    held = holdings((1, range(2, 12)), records=[BACKUP, LATER])
    assert f"before the end of backup {BACKUP.id}" in refusal(held, target)


def test_auto_refuses_what_it_cannot_place():
    held = holdings((1, range(2, 9)))
    for target in (NAME, RecoveryTarget("xid", "7")):
        with pytest.raises(UsageError, match="'auto' cannot choose"):
            plan(held, target)
    assert "no backup to restore" in refusal(holdings(records=[]), LATEST)
    held = holdings((1, range(2, 6)), (2, range(5, 9)), records=[OF_2], histories=[H2, H3])
    assert "no backup leads" in refusal(held, replace(LATEST, timeline=3))


# The model. Positions are quarters of a segment of 1 MB; a world is a tree of timelines, WAL, and backups.


@dataclass(frozen=True)
class World:
    parents: dict
    switches: dict
    segments: frozenset
    partials: frozenset
    records: tuple

    def ancestry(self, timeline):
        """Newest first, each with the quarter where it began."""
        while timeline in self.parents:
            yield timeline, self.switches[timeline]
            timeline = self.parents[timeline]
        yield timeline, 0

    def owner(self, timeline, quarter):
        return next(each for each, begin in self.ancestry(timeline) if begin <= quarter)

    def counts(self, timeline, number):
        owner = next(each for each, begin in self.ancestry(timeline) if begin // 4 <= number)
        return Segment(owner, number)

    def has(self, timeline, first, last):
        return all(self.counts(timeline, number) in self.segments for number in range(first, last + 1))

    def carries(self, timeline, record):
        begin, end = quarter(record.begin), quarter(record.end)
        return (self.owner(timeline, begin), self.owner(timeline, end - 1)) == (
            record.begin.timeline,
            record.end.timeline,
        )

    def restorable_along(self, timeline, record):
        own = self.has(timeline, quarter(record.begin) // 4, (quarter(record.end) - 1) // 4)
        return self.carries(timeline, record) and own

    def is_held(self, timeline):
        return any(each.timeline == timeline for each in self.segments | self.partials)

    def reaches(self, timeline, record, target):
        last = (quarter(record.end) - 1) // 4
        if not self.restorable_along(timeline, record):
            return False
        if target.kind == "immediate":
            return True
        if target.kind == "lsn":
            number = target.lsn.value // (MB.nbytes // 4) // 4
            partial = self.counts(timeline, number) in self.partials
            return target.lsn >= record.end.lsn and self.has(timeline, last, number - partial)
        complete = [n for n in range(12) if self.counts(timeline, n) in self.segments]
        partial = [n - 1 for n in range(12) if self.counts(timeline, n) in self.partials]
        return self.is_held(timeline) and self.has(timeline, last, max(complete + partial))

    def holdings(self):
        histories = []
        for timeline in self.parents:
            chain = list(self.ancestry(timeline))
            switches = [(older, begin / 4) for (_, begin), (older, _) in pairwise(chain)]
            histories.append(history(timeline, *reversed(switches)))
        names = [each.name(MB) for each in self.segments]
        names += [each.name(MB) + ".partial" for each in self.partials]
        return holdings(*names, records=self.records, histories=histories)


def quarter(point):
    return point.lsn.value // (MB.nbytes // 4)


@st.composite
def worlds(draw):
    count = draw(st.integers(1, 4))
    parents = {timeline: draw(st.integers(1, timeline - 1)) for timeline in range(2, count + 1)}
    switches = {timeline: draw(st.integers(0, 40)) for timeline in parents}
    everything = [Segment(timeline, number) for timeline in range(1, count + 1) for number in range(11)]
    lost = draw(st.sets(st.sampled_from(everything), max_size=8))
    ends = {timeline: draw(st.integers(0, 11)) for timeline in range(1, count + 1)}
    segments = {each for each in everything if each not in lost and each.number < ends[each.timeline]}
    segments = {each for each in segments if each.number >= switches.get(each.timeline, 0) // 4}
    partials = draw(st.sets(st.sampled_from(everything), max_size=2)) - segments
    partials = {each for each in partials if each.number >= switches.get(each.timeline, 0) // 4}
    world = World(parents, switches, frozenset(segments), frozenset(partials), ())
    records = []
    for minutes in range(draw(st.integers(1, 3))):
        begin = draw(st.integers(0, 30))
        end = begin + draw(st.integers(1, 8))
        tip = draw(st.integers(1, count))
        timelines = world.owner(tip, begin), world.owner(tip, end - 1)
        records.append(record(begin / 4, end / 4, *timelines, id=f"20260131T12000{minutes}"))
    return replace(world, records=tuple(records))


targets = st.sampled_from([LATEST, IMMEDIATE]) | st.integers(1, 44).map(lambda quarter: lsn(quarter / 4))


def attempt(world, target, backup_id="auto"):
    try:
        return plan(world.holdings(), target, backup_id)
    except TargetUnreachable as refused:
        assert refused.hint
        return None


def check(world, found):
    """What holds for every plan: its WAL is there and follows its path, and it was possible."""
    assert world.reaches(found.timeline, found.backup, found.target)
    copies = [Segment(run.timeline, n) for run in found.wal for n in range(run.first, run.last + 1)]
    first = found.first.number
    assert copies == [world.counts(found.timeline, n) for n in range(first, first + len(copies))]
    assert set(copies) <= world.segments
    assert found.until in copies or found.until in world.partials


@given(worlds(), targets, st.integers(1, 4))
def test_along_a_named_timeline_exactly_what_the_model_reaches_is_planned(world, target, timeline):
    target = replace(target, timeline=timeline)
    known = timeline == 1 or timeline in world.parents
    for each in world.records:
        found = attempt(world, target, each.id)
        assert (found is not None) == (known and world.reaches(timeline, each, target))
        if found:
            assert found.timeline == timeline
            check(world, found)


@given(worlds(), targets)
def test_without_a_timeline_the_model_s_choice_is_planned(world, target):
    for each in world.records:
        carrying = [timeline for timeline in (1, *world.parents) if world.carries(timeline, each)]
        alive = [t for t in carrying if t == each.end.timeline or world.is_held(t)]
        reaching = [t for t in alive if world.reaches(t, each, target)]
        expected = {
            "immediate": reaching[:1],
            "lsn": reaching[-1:],
            "latest": alive[-1:] if alive[-1] in reaching else [],
        }[target.kind]
        found = attempt(world, target, each.id)
        assert [found.timeline] if found else expected == []
        if found:
            check(world, found)


@given(worlds(), targets)
def test_auto_finds_a_backup_exactly_when_the_model_does(world, target):
    ends = {each.end.timeline for each in world.records}
    timelines = [t for t in (1, *world.parents) if t in ends or world.is_held(t)]
    if target.kind == "latest":
        timelines = timelines[-1:]
    possible = [each for each in world.records for t in timelines if world.reaches(t, each, target)]
    found = attempt(world, target)
    assert (found is not None) == bool(possible)
    if found:
        check(world, found)
        rivals = [each for each in possible if world.reaches(found.timeline, each, target)]
        assert found.backup in rivals


@given(worlds())
def test_a_backup_is_restorable_exactly_when_the_model_can_restore_it(world):
    for each in world.records:
        expected = any(world.restorable_along(timeline, each) for timeline in (1, *world.parents))
        assert restorable(each, world.holdings()) == expected


# With a WAL to ask.


class Asked:
    """WAL in which targets are where the test says; remembers what it was asked about."""

    def __init__(self, *endings):
        self.endings = endings
        self.asked = []

    def along(self, path, first, last, backup_id):
        self.asked.append((str(path), first, last, backup_id))
        return AskedLog(first, last, self.endings)


@dataclass
class AskedLog:
    first: int
    last: int
    endings: tuple

    def telling(self, number):
        here = [each for each in self.endings if MB.number_at(each.position) == number]
        return here if self.first <= number <= self.last else []

    def facts(self, number):
        return summed_up(self.telling(number), MB.start(number + 1), None)

    def first_ending(self, number):
        return self.facts(number).first

    def points(self, number):
        return self.facts(number).points

    def last_record(self):
        return max(
            (each.position for n in range(self.first, self.last + 1) for each in self.telling(n)),
            default=None,
        )

    def record_behind(self, position):
        ends = [each.end for n in range(self.first, self.last + 1) for each in self.telling(n)]
        return next((end for end in ends if end > position), None)


def commit(megabytes, minutes, xid=7, ends=None):
    time = from_time(START + timedelta(minutes=minutes))
    return Ending(at(megabytes), at(ends or megabytes + 0.001), xid, time, True)


def restore_point(megabytes, name="before"):
    return RestorePoint(at(megabytes), at(megabytes + 0.001), name, from_time(START))


def test_what_is_needed_ends_with_the_segment_in_which_the_target_s_record_ends():
    held = holdings((1, range(2, 9)))
    found = plan(held, minute(5), wal=Asked(commit(4, 4), commit(5.99, 6, ends=6.01), commit(8, 8)))
    assert (found.reached.stop, found.reached.end, found.reached.xid) == (at(5.99), at(6.01), 7)
    assert (found.until, found.wal) == (Segment(1, 6), (Run(1, 2, 6),))
    assert (found.missing, found.warnings) == ((), ())


def test_a_target_in_a_partial_segment_needs_that_too():
    held = holdings((1, range(2, 6)), "000000010000000000000006.partial")
    for target in (minute(5), lsn(6.2), RecoveryTarget("xid", "8")):
        found = plan(held, target, wal=Asked(commit(4, 4), commit(6.5, 6, xid=8)))
        assert (found.until, found.wal, found.warnings) == (Segment(1, 6), (Run(1, 2, 5),), ())


@pytest.mark.parametrize("target", [minute(9), NAME, RecoveryTarget("xid", "8"), lsn(6.75)])
def test_what_is_not_in_the_wal_is_refused_with_what_lies_behind_it(target):
    asked = Asked(commit(4, 4), commit(6.5, 6))
    assert "not yet known" in refusal(holdings((1, range(2, 7))), target, BACKUP.id, asked)
    if target.kind != "lsn":
        held = holdings((1, [*range(2, 7), 9]))
        assert "000000010000000000000008 is missing" in refusal(held, target, BACKUP.id, asked)
    held = holdings((1, range(2, 7)), (2, range(5, 9)), histories=[H2])
    said = refusal(held, replace(target, timeline=1), BACKUP.id, asked)
    assert "timeline 1 was left at 0/580000" in said


def test_auto_takes_the_newest_backup_that_ended_before_a_transaction_or_a_restore_point():
    held = holdings((1, range(2, 12)), records=[BACKUP, LATER])
    asked = Asked(commit(5, 5), restore_point(5.5), commit(9, 9, xid=9), restore_point(9.5, "later"))
    found = [plan(held, RecoveryTarget("xid", xid), wal=asked).backup for xid in ("7", "9")]
    found += [plan(held, RecoveryTarget("name", name), wal=asked).backup for name in ("before", "later")]
    assert found == [BACKUP, LATER, BACKUP, LATER]
    assert plan(held, NAME, wal=asked).warnings == ()


def test_a_time_is_looked_for_along_the_newest_timeline_s_path():
    held = holdings((1, range(2, 6)), (2, range(5, 9)), histories=[H2])
    asked = Asked(commit(4, 4), commit(7.5, 8))
    found = plan(held, minute(7), wal=asked)
    assert (found.timeline, found.until) == (2, Segment(2, 7))
    assert asked.asked == [("1@0/580000,2", 2, 8, BACKUP.id)]


def test_nothing_is_asked_when_names_tell_all():
    asked = Asked()
    assert plan(holdings((1, range(2, 6))), LATEST, wal=asked).reached is None
    assert asked.asked == []


def test_immediate_needs_a_record_to_stop_at_and_else_means_the_end_of_the_wal():
    held = holdings((1, range(2, 6)))
    found = plan(held, IMMEDIATE, wal=Asked(commit(4, 4)))
    assert (found.target, found.warnings) == (IMMEDIATE, ())
    assert plan(held, IMMEDIATE, wal=Asked(commit(3.4, 3, ends=3.5))).target == IMMEDIATE
    found = plan(held, IMMEDIATE, wal=Asked(commit(3.4, 3)))
    assert (found.target.kind, found.until) == ("latest", Segment(1, 3))
    assert "comes up for writing" in found.warnings[-1]


# Where a standby was promoted, and the old primary went on and counts.

CAME_BACK = ((1, range(1, 13)), (2, range(5, 9)))


def came_back(*records):
    """Timeline 2 branched off at 5.5 and has a backup, OF_2; timeline 1 went on."""
    return holdings(*CAME_BACK, records=[BACKUP, OF_2, *records], histories=[H2])


def test_auto_restores_the_timeline_that_was_received_last_though_another_has_a_higher_number():
    newer = record(10.25, 10.5)
    found = plan(came_back(newer), LATEST, current=1)
    assert (found.backup, found.timeline, found.until) == (newer, 1, Segment(1, 12))
    assert plan(came_back(newer), LATEST).backup == OF_2, "nothing tells which branch counts"
    assert plan(came_back(newer), LATEST, current=2).backup == OF_2
    assert plan(came_back(newer), LATEST, current=7).backup == OF_2
    assert plan(came_back(newer), replace(LATEST, timeline=2), current=1).backup == OF_2
    assert plan(came_back(newer), replace(LATEST, timeline="latest"), current=1).backup == OF_2


def test_auto_stays_on_the_current_timeline_when_only_the_abandoned_one_has_a_newer_backup():
    found = plan(came_back(), LATEST, current=1)
    assert (found.backup, found.timeline) == (BACKUP, 1)
    assert found.warnings == (
        "the WAL of timeline 2 behind 0/580000 is left aside: --target-tli 2 recovers along it",
    )


def test_a_branch_that_does_not_lead_through_the_chosen_backup_is_named_when_it_is_newer():
    newer = record(10.25, 10.5)
    for found in (plan(came_back(newer), LATEST), plan(came_back(newer), LATEST, OF_2.id, current=1)):
        assert found.backup == OF_2
        (warning,) = found.warnings
        assert warning.startswith("timeline 1") and f"holds backup {newer.id} behind 0/580000" in warning
        assert "'auto' with --target-tli 1" in warning
    assert plan(came_back(newer), LATEST, current=1).warnings == ()
    assert "timeline 1, which was received last," in plan(came_back(), LATEST, OF_2.id, current=1).warnings[0]


def test_an_old_branch_with_nothing_newer_is_not_named():
    held = holdings((1, range(2, 7)), (2, range(5, 12)), records=[BACKUP, OF_2], histories=[H2])
    assert plan(held, LATEST).warnings == ()


def test_a_named_backup_too_is_recovered_along_the_current_timeline():
    found = plan(came_back(), LATEST, BACKUP.id, current=1)
    assert found.timeline == 1
    assert found.warnings == (
        "the WAL of timeline 2 behind 0/580000 is left aside: --target-tli 2 recovers along it",
    )
    assert plan(came_back(), LATEST, BACKUP.id).timeline == 2


def test_a_time_or_a_transaction_is_looked_for_on_the_current_timeline():
    asked = Asked(commit(11.5, 12, xid=8))
    for target in (minute(11), RecoveryTarget("xid", "8"), lsn(11.25)):
        assert plan(came_back(), target, wal=asked, current=1).timeline == 1


def test_of_a_current_timeline_without_wal_the_ancestor_is_the_best():
    held = holdings(*CAME_BACK, records=[BACKUP, OF_2], histories=[H2, history(3, (1, 12.5))])
    found = plan(held, LATEST, current=3)
    assert (found.backup, found.timeline) == (BACKUP, 1)


def test_immediate_stays_on_the_backup_s_own_timeline_whatever_was_received_last():
    held = holdings((1, range(2, 6)), (2, range(5, 9)), histories=[H2])
    assert plan(held, IMMEDIATE, current=2).timeline == 1
    assert plan(held, IMMEDIATE, current=2).warnings == ()


# Up to a hole.

HOLED = holdings((1, range(2, 6)), (1, [8, 9]), "000000010000000000000006.partial")
BEFORE_IT = Asked(commit(4, 4), commit(6.25, 6), commit(8.5, 8))


@pytest.mark.parametrize("target", [LATEST, lsn(6.5), lsn(7.5), lsn(9), minute(9)])
def test_up_to_a_hole_everything_can_be_had_and_the_hint_says_how(target):
    with pytest.raises(TargetUnreachable) as caught:
        plan(HOLED, target, BACKUP.id, BEFORE_IT)
    assert f"give --target-lsn {at(6.25)} to recover all there is before the hole" in caught.value.hint
    assert "leave out the target" not in caught.value.hint
    found = plan(HOLED, lsn(6.25), BACKUP.id, BEFORE_IT)
    assert (found.until, found.reached.end) == (Segment(1, 6), at(6.251))


def test_up_to_a_hole_that_has_no_partial_segment_the_last_record_counts_as_well():
    held = holdings((1, range(2, 6)), (1, [8, 9]))
    with pytest.raises(TargetUnreachable, match="WAL is missing behind") as caught:
        plan(held, LATEST, BACKUP.id, BEFORE_IT)
    assert f"--target-lsn {at(4)} " in caught.value.hint


def test_where_a_hole_follows_the_backup_at_once_the_backup_alone_is_advised():
    with pytest.raises(TargetUnreachable, match="WAL is missing behind") as caught:
        plan(holdings((1, [2, 3, 6])), LATEST, BACKUP.id, Asked(commit(3.25, 3)))
    assert "give --target-immediate" in caught.value.hint


def test_without_wal_to_ask_a_hint_does_not_deny_what_a_partial_segment_holds():
    with pytest.raises(TargetUnreachable) as caught:
        plan(HOLED, LATEST, BACKUP.id)
    assert "before 0/600000, or in the part of a segment" in caught.value.hint


def test_where_nothing_is_missing_all_there_is_comes_without_a_target():
    with pytest.raises(TargetUnreachable) as caught:
        plan(holdings((1, range(2, 7))), minute(9), BACKUP.id, Asked(commit(4, 4)))
    assert "leave out the target to recover all there is" in caught.value.hint


# What was left on another branch.


class AskedOfBranches(Asked):
    """WAL that is different on each timeline."""

    def __init__(self, **endings):
        self.by_timeline = {int(name[1:]): each for name, each in endings.items()}

    def along(self, path, first, last, backup_id):
        return EndingLog(first, last, self.by_timeline[path.timeline])


class EndingLog(AskedLog):
    """It ends with its last record."""

    def facts(self, number):
        found = self.telling(number)
        return summed_up(found, max((each.end for each in found), default=MB.start(number)), None)


FAILED_OVER = holdings((1, range(2, 5)), (2, range(5, 9)), "000000010000000000000005.partial", histories=[H2])
LEFT = "the WAL of timeline 1 behind 0/580000 is left aside: --target-tli 1 recovers along it"


def test_wal_that_lies_in_a_partial_segment_only_is_left_aside_with_a_warning():
    with_a_lost_commit = AskedOfBranches(t1=[commit(5.6, 6)], t2=[commit(7, 7)])
    assert plan(FAILED_OVER, LATEST, wal=with_a_lost_commit).warnings == (LEFT,)
    nothing_lost = AskedOfBranches(t1=[commit(5.4, 5, ends=5.5)], t2=[commit(7, 7)])
    assert plan(FAILED_OVER, LATEST, wal=nothing_lost).warnings == ()
    assert plan(FAILED_OVER, LATEST).warnings == (LEFT,), "unless it is read nobody knows"


@pytest.mark.parametrize("backup", ["auto", BACKUP.id])
def test_a_transaction_or_a_restore_point_on_two_branches_must_be_told_apart(backup):
    points = [restore_point(5.7)], [restore_point(6.5)]
    wal = AskedOfBranches(t1=[commit(5.6, 6, xid=8), *points[0]], t2=[commit(6, 7, xid=8), *points[1]])
    for target in (RecoveryTarget("xid", "8"), NAME):
        with pytest.raises(
            UsageError, match=r"is reached on 2 branches: on timeline 2 at .*, on timeline 1 at"
        ) as caught:
            plan(FAILED_OVER, target, backup, wal)
        assert "--target-tli" in caught.value.hint
        for timeline in (1, 2):
            assert plan(FAILED_OVER, replace(target, timeline=timeline), backup, wal).timeline == timeline


def test_a_transaction_is_told_apart_from_that_of_a_branch_beside_the_backup():
    held = replace(FAILED_OVER, records=(record(6.25, 6.5, timeline=2),))
    wal = AskedOfBranches(t1=[commit(5.6, 6, xid=8)], t2=[commit(7, 7, xid=8), commit(7.5, 8, xid=9)])
    with pytest.raises(UsageError, match="on 2 branches"):
        plan(held, RecoveryTarget("xid", "8"), wal=wal)
    assert plan(held, RecoveryTarget("xid", "9"), wal=wal).timeline == 2


def test_a_transaction_before_two_branches_part_is_one():
    common = commit(4.5, 5, xid=8)
    wal = AskedOfBranches(t1=[common, commit(5.6, 6, xid=9)], t2=[common, commit(6, 7, xid=9)])
    found = plan(FAILED_OVER, RecoveryTarget("xid", "8"), wal=wal)
    assert (found.timeline, found.reached.stop) == (2, at(4.501))
