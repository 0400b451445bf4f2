"""Where targets are reached: against a model that looks at every record, over logs of a few values."""

import itertools
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import MB, START, at

from catalog.commits import summed_up
from catalog.errors import TargetUnreachable
from catalog.lsn import LSN
from catalog.recordtypes import Ending, RestorePoint, Running, from_time
from catalog.search import MARGIN, Stretch, find
from catalog.target import RecoveryTarget

SECOND = 1_000_000
STRETCH = Stretch("the backup", at(2), at(2.5), "more may come")
_SPACE = 64


@dataclass
class Made:
    """A log of records given by segment; ``read`` counts how often one was read through."""

    records: dict
    first: int = 2
    ended: str | None = None
    read: int = 0

    @property
    def last(self):
        return max(self.records)

    def first_ending(self, number):
        return self.facts(number).first

    def facts(self, number):
        ended = self.ended if number == self.last else None
        return summed_up(self.records[number], MB.start(number + 1), ended)

    def telling(self, number):
        self.read += 1
        return self.records[number]

    def points(self, number):
        return self.facts(number).points

    def record_behind(self, position):
        records = itertools.chain(*self.records.values())
        return next((each.end for each in records if each.position >= position), None)


def log(*events, first=2, segments=None):
    """Events in order, each with its segment: made records at rising positions."""
    records = {number: [] for number in range(first, (segments or max(at for at, _ in events)) + 1)}
    for number, make in events:
        position = LSN(MB.start(number).value + 0x1000 + _SPACE * len(records[number]))
        records[number].append(make(position))
    return Made(records, first)


def ends(xid, seconds=0.0, *subxids, commit=True):
    time = from_time(START + timedelta(seconds=seconds))
    return lambda at: Ending(at, at + _SPACE, xid, time, commit, subxids)


def point(name):
    return lambda at: RestorePoint(at, at + _SPACE, name, from_time(START))


def runs(next_xid, oldest):
    return lambda at: Running(at, next_xid, oldest)


def time(seconds, **changes):
    return RecoveryTarget("time", START + timedelta(seconds=seconds), **changes)


def xid(number, **changes):
    return RecoveryTarget("xid", str(number), **changes)


def refusal(target, made, stretch=STRETCH):
    with pytest.raises(TargetUnreachable) as caught:
        find(target, made, stretch)
    assert caught.value.hint
    return str(caught.value)


def position_of(made, number, index):
    return made.records[number][index].position


def test_a_time_is_reached_before_the_first_end_of_a_transaction_behind_it():
    made = log((3, ends(10, 1)), (4, ends(11, 2)), (4, ends(12, 3, commit=False)), (5, ends(13, 4)))
    assert find(time(2), made, STRETCH).stop == position_of(made, 4, 1)
    assert find(time(2, inclusive=False), made, STRETCH).stop == position_of(made, 4, 0)
    assert find(time(1.5), made, STRETCH) == find(time(2, inclusive=False), made, STRETCH)
    assert find(time(2), made, STRETCH).xid == 12


def test_times_that_run_backwards_for_a_moment_do_not_matter():
    made = log(*((number, ends(number, number)) for number in range(3, 20)))
    late = made.records[8][0]
    made.records[8][0] = late._replace(time=late.time + MARGIN // 2)
    assert find(time(9), made, STRETCH).stop == late.position


def test_a_time_in_a_long_log_is_found_without_reading_much_of_it():
    made = log(*((number, ends(number, 60 * number)) for number in range(3, 2000)))
    assert find(time(60 * 1000 + 1), made, STRETCH).xid == 1001
    assert made.read <= 2


def test_a_time_behind_the_last_transaction_names_that_and_what_may_come():
    made = log((3, ends(10, 1)), (6, ends(11, 2)), segments=9)
    said = refusal(time(2), made)
    assert f"of {START + timedelta(seconds=2)}, at {position_of(made, 6, 0)}" in said
    assert said.endswith("the WAL ends at 0/A00000: more may come")
    assert "none is known" in refusal(time(2), log((3, point("x"))))


def test_damage_is_named_when_the_target_may_be_behind_it():
    made = log((3, ends(10, 1)), (4, ends(11, 2)))
    made.records |= {5: [], 6: []}
    facts = made.facts
    made.facts = lambda n: replace(facts(n), ended="the checksum is wrong") if n == 5 else facts(n)
    assert refusal(time(2), made).endswith("the WAL cannot be read beyond 0/600000: the checksum is wrong")
    assert refusal(xid(12), made).endswith("the WAL cannot be read beyond 0/600000: the checksum is wrong")


@pytest.mark.parametrize("target", [time(0.5), xid(10), RecoveryTarget("name", "p")])
def test_what_is_reached_before_the_backup_is_consistent_is_too_early(target):
    made = log((2, ends(10, 1)), (2, point("p")), (4, ends(11, 2)))
    assert "before the end of backup the backup" in refusal(target, made)


def test_what_the_recovery_does_not_replay_does_not_count():
    made = log((2, ends(10, 1)), (2, point("p")), (4, ends(11, 2)), (4, point("p")))
    later = Stretch("the backup", at(3), at(3.5), "more may come")
    assert find(time(0.5), made, later).xid == 11
    assert find(RecoveryTarget("name", "p"), made, later).stop > at(4)
    assert "the end of transaction 10 is not in the WAL" in refusal(xid(10), made, later)


def test_a_transaction_is_reached_behind_its_end_or_before():
    made = log((3, ends(10, 1)), (4, ends(11, 2, 12, 13)), (5, ends(14, 3, commit=False)))
    for number, (segment, index) in {10: (3, 0), 11: (4, 0), 14: (5, 0)}.items():
        end = made.records[segment][index]
        assert find(xid(number), made, STRETCH).stop == end.end
        assert find(xid(number, inclusive=False), made, STRETCH).stop == end.position
    assert find(xid((5 << 32) + 11), made, STRETCH).xid == 11
    assert "13 was a subtransaction of transaction 11" in refusal(xid(13), made)


def test_a_transaction_that_ended_long_after_it_began_is_found():
    events = [(3, runs(5, 5)), (3, ends(5))]
    events += [(number, ends(number * 10)) for number in range(4, 40)]
    events += [(20, runs(200, 42)), (38, ends(42))]
    made = log(*events)
    assert find(xid(42), made, STRETCH).stop == made.records[38][-1].end


def test_a_list_of_running_transactions_ends_the_search():
    events = [(3, runs(10, 10))]
    events += [(number, ends(number * 10)) for number in range(4, 2000)]
    events += [(number, runs(number * 10 + 1, number * 10 + 1)) for number in range(4, 2000)]
    made = log(*events)
    assert "it was no longer running" in refusal(xid(10_005), made)
    assert made.read < 10


def test_ids_of_transactions_go_round():
    made = log((3, ends((1 << 32) - 2)), (4, ends(3)), (4, runs(5, 4)), (5, ends(4)))
    assert find(xid(3), made, STRETCH).stop == made.records[4][0].end
    assert find(xid((1 << 32) - 2), made, STRETCH).stop == made.records[3][0].end


def test_a_name_is_reached_behind_its_restore_point():
    made = log((3, point("a")), (4, point("b")), (5, point("a")))
    assert find(RecoveryTarget("name", "b"), made, STRETCH).stop == made.records[4][0].end
    said = refusal(RecoveryTarget("name", "a"), made)
    assert "2 restore points 'a'" in said
    assert all(str(made.records[number][0].end) in said for number in (3, 5))
    assert "restore point 'c' is not in the WAL" in refusal(RecoveryTarget("name", "c"), made)


def test_a_position_is_reached_at_the_first_record_at_or_behind_it():
    made = log((3, ends(10)), (5, ends(11)))
    first, second = made.records[3][0], made.records[5][0]
    assert find(RecoveryTarget("lsn", first.position), made, STRETCH).end == first.end
    assert find(RecoveryTarget("lsn", first.position + 1), made, STRETCH).end == second.end
    assert "no record begins at or behind" in refusal(RecoveryTarget("lsn", second.position + 1), made)


@st.composite
def histories(draw):
    """Transactions that begin in order of their ids and end in any, with lists of those that run."""
    events, running_now, next_xid, clock, number = [], [], 3, 0.0, 2
    for _ in range(draw(st.integers(1, 60))):
        number += draw(st.integers(0, 1))
        what = draw(st.sampled_from(["begin", "begin", "end", "list", "wait"]))
        if what == "begin":
            running_now.append(next_xid)
            next_xid += 1
        elif what == "end" and running_now:
            ending = running_now.pop(draw(st.integers(0, len(running_now) - 1)))
            clock += draw(st.sampled_from([0, 1, 30]))
            events.append((number, ends(ending, clock + draw(st.sampled_from([0, 0, 0.5])))))
        elif what == "list":
            events.append((number, runs(next_xid, min(running_now, default=next_xid))))
    return log(*events, segments=number), next_xid, clock


@given(histories(), st.data())
def test_the_first_that_stops_a_recovery_is_found(world, data):
    made, next_xid, clock = world
    endings = [each for records in made.records.values() for each in records if isinstance(each, Ending)]
    if data.draw(st.booleans()):
        target = xid(data.draw(st.integers(3, next_xid + 2)))
        stops = [each for each in endings if each.xid == int(target.value)]
    else:
        target = time(data.draw(st.integers(-1, int(clock) + 2)), inclusive=data.draw(st.booleans()))
        goal = from_time(target.time)
        stops = [each for each in endings if each.time > goal or (each.time == goal and not target.inclusive)]
    if stops and stops[0].position >= STRETCH.consistent:
        assert find(target, made, STRETCH).end == stops[0].end
    else:
        refusal(target, made)
