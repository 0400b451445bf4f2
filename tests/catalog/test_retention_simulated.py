"""Two years of daily backups, with failures, failovers and marks: what a policy lets go breaks no promise.

Beside the repository that expires runs one that never does. What a promise covers, and what could be recovered in
that one, must still be recoverable in the other.
"""

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from support.values import MB, START, at, record

from catalog.coverage import Holdings, carries, missing, restorable
from catalog.expiry import Staying, unneeded
from catalog.inventory import Inventory, Run
from catalog.marks import KeepMark
from catalog.record import Point
from catalog.retention import Candidate, RetentionPolicy, judge, satisfies
from catalog.statuses import Traces, status_of
from catalog.timeline import History, Path, Switch

DAYS = 730
PER_DAY = 6  # segments
DAY = timedelta(days=1)


class World:
    """A cluster's life: ``all`` is what a repository holds from which nothing ever went, ``kept`` what expires."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.timeline = 1
        self.number = 1  # the segment that is being written
        self.histories = {1: History(1)}
        self.all = Holdings((), Inventory(), self.histories, MB)
        self.kept = self.all
        self.marks = {}
        self.moments = []  # a segment and its day, while the path that led there is the current one

    @property
    def path(self):
        return Path.of(self.histories[self.timeline])

    def add_wal(self, first, last):
        """Receive these segments; now and then one is lost for good."""
        lost = self.chance.randint(first, last) if self.chance.random() < 0.02 else None
        runs = [Run(self.timeline, first, last)]
        if lost is not None:
            runs = [Run(self.timeline, first, lost - 1), Run(self.timeline, lost + 1, last)]
        inventory = Inventory({self.timeline: tuple(run for run in runs if run.first <= run.last)})
        self.change(lambda holdings: replace(holdings, inventory=holdings.inventory | inventory))

    def change(self, change):
        self.all, self.kept = change(self.all), change(self.kept)

    def fail_over(self):
        """A standby takes over, which may have been behind; the old branch keeps what was received."""
        switch = self.number - self.chance.choice([0, 0, 1, 3])
        history = self.histories[self.timeline]
        switches = [each for each in history.switches if each.position < at(switch + 0.5)]
        newest = max(self.histories) + 1
        ancestor = self.timeline if len(switches) == len(history.switches) else switches[-1].timeline
        self.histories = {
            **self.histories,
            newest: History(newest, (*switches, Switch(ancestor, at(switch + 0.5), ""))),
        }
        self.change(lambda holdings: replace(holdings, histories=self.histories))
        self.moments = [each for each in self.moments if each[0] < switch]
        self.timeline, self.number = newest, switch

    def live(self, day):
        """One day: WAL, perhaps a failover in the middle, a backup or none, WAL again."""
        first = self.number
        self.number += PER_DAY // 2
        self.add_wal(first, self.number - 1)
        if self.chance.random() < 0.01:
            self.fail_over()
        self.back_up(day)
        self.number += PER_DAY // 2
        self.add_wal(self.number - PER_DAY // 2, self.number - 1)
        self.moments.append((self.number - 1, day))

    def back_up(self, day):
        if self.chance.random() < 0.05:
            return  # it failed
        moment = START + day * DAY
        ends = moment + timedelta(minutes=5)
        parents = [
            each for each in self.kept.records if restorable(each, self.kept) and carries(self.path, each)
        ]
        is_full = day % 7 == 0 or not parents or self.chance.random() < 0.1
        made = record(
            id=f"{moment:%Y%m%dT%H%M%S}",
            type="full" if is_full else "incremental",
            parent=None if is_full else parents[-1].id,
            begin=0,
            end=0,
            checksum_errors=int(self.chance.random() < 0.02),
        )
        made = replace(
            made,
            begin=Point(at(self.number + 0.25), self.timeline, moment),
            end=Point(at(self.number + 0.75), self.timeline, ends),
        )
        self.change(lambda holdings: replace(holdings, records=(*holdings.records, made)))

    def mark(self, day):
        """Somebody keeps a backup, or lets one go again."""
        full = [each for each in self.kept.records if each.type == "full" and restorable(each, self.kept)]
        full = [
            each for each in full if each.id not in self.marks
        ]  # what stood alone has lost its WAL for good
        if full and self.chance.random() < 0.03:
            target = self.chance.choice(["full", "standalone"])
            self.marks[self.chance.choice(full).id] = KeepMark(target=target, since=START + day * DAY)
        if self.marks and self.chance.random() < 0.02:
            del self.marks[self.chance.choice(list(self.marks))]

    def candidates(self, holdings):
        return [
            Candidate(each, status_of(Traces(each.id, each), holdings).word, self.marks.get(each.id))
            for each in holdings.records
        ]

    def expire(self, policy, minimum, now):
        candidates = self.candidates(self.kept)
        verdicts = judge(candidates, policy, minimum, self.path, now)
        staying = [each for each in candidates if not verdicts[each.record.id].goes]
        going = [each.record.id for each in candidates if verdicts[each.record.id].goes]
        gone = unneeded(
            [Staying(each.record, verdicts[each.record.id].stands_alone) for each in staying],
            self.kept,
            self.path,
        )
        inventory = self.kept.inventory.without(gone.runs, gone.partials)
        self.kept = replace(self.kept, records=tuple(each.record for each in staying), inventory=inventory)
        return verdicts, going


def recoverable(holdings, path, number, end):
    """Whether a backup that ended before leads to the end of a segment."""
    return any(
        each.end.time <= end
        and carries(path, each)
        and restorable(each, holdings)
        and not missing(path, holdings.inventory_for(each), each.first_segment.number, number, MB)
        for each in holdings.records
        if each.first_segment.number <= number
    )


def reaches(holdings, path, each):
    """Up to which segment a recovery from a backup gets, 0 if it cannot begin."""
    if each not in holdings.records or not restorable(each, holdings) or not carries(path, each):
        return 0
    holes = missing(path, holdings.inventory_for(each), each.first_segment.number, 1 << 20, MB)
    return holes[0].first


@pytest.mark.parametrize(
    ("text", "minimum", "seed"),
    [
        ("RECOVERY WINDOW OF 2 WEEKS", 0, 1),
        ("REDUNDANCY 3", 2, 4),
    ],
)
def test_two_years_of_backups_break_no_promise(text, minimum, seed):
    policy, world = RetentionPolicy.parse(text), World(seed)
    removed = 0
    for day in range(DAYS):
        world.live(day)
        world.mark(day)
        now = START + (day + 0.9) * DAY
        there = satisfies(world.candidates(world.kept), world.path)
        verdicts, going = world.expire(policy, minimum, now)
        removed += len(going)
        left = world.candidates(world.kept)
        assert satisfies(left, world.path) >= min(there, max(minimum, policy.redundancy or 1))
        assert not set(going) & set(world.marks)
        if day % 30:
            continue
        paths = world.kept.paths().values()
        for each in left:
            alone = verdicts[each.record.id].stands_alone
            for path in paths:
                before = reaches(world.all, path, each.record)
                wanted = min(before, each.record.last_segment.number + 1) if alone else before
                assert reaches(world.kept, path, each.record) >= wanted, (day, each.record.id)
        if policy.window is not None:
            for number, moment in world.moments:
                end = START + (moment + 0.5) * DAY
                if end >= now - policy.window and recoverable(world.all, world.path, number, end):
                    assert recoverable(world.kept, world.path, number, end), (day, moment)
    assert removed > DAYS / 2, "the policy never let anything go"
    assert len(world.kept.records) < 80
    segments = sum(len(run) for runs in world.kept.inventory.runs.values() for run in runs)
    assert segments < DAYS * PER_DAY, "no WAL ever went"
