"""Which WAL there is: a listing of names as runs of segments, and the questions asked of it.

Pure. A year of WAL is half a million names, so nothing is made per segment: names go in as strings, and come
out as a few runs per timeline. What is a gap for a recovery depends on its path of timelines, which is not
known here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain, groupby, pairwise
from operator import itemgetter

from catalog.lsn import SegmentSize
from catalog.walname import BACKUP, HISTORY, PARTIAL, SEGMENT, Segment, kind_of, timeline_in

_DIGITS = frozenset("0123456789ABCDEF")
_FIRST = "00000001"
_directory = itemgetter(slice(16))


@dataclass(frozen=True, order=True, slots=True)
class Run:
    """Segments ``first`` to ``last`` of one timeline, both included."""

    timeline: int
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True)
class Inventory:
    """The segments, partial segments and histories of a listing.

    ``runs`` has for each timeline its runs in order, as long as they can be. ``others`` are names that are
    no WAL file's, or of another segment size; they play no part in comparing.
    """

    runs: Mapping[int, tuple[Run, ...]] = field(default_factory=dict)
    partials: frozenset[Segment] = frozenset()
    histories: frozenset[int] = frozenset()
    others: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def from_names(cls, names: Iterable[str], size: SegmentSize) -> Inventory:
        """Take in names of WAL files, without suffixes of codecs, in any order, doubles allowed.

        Quickest, and with the names of one directory at a time in memory, when they come by directory.
        """
        rest: list[str] = []
        runs: list[Run] = []
        for prefix, group in groupby(names, _directory):
            lows = set()
            for name in group:
                if len(name) == 24:
                    lows.add(name[16:])
                else:
                    rest.append(name)
            if _are_segments(prefix, lows, size):
                runs += _stretches(prefix, lows, size)
            else:
                rest += [prefix + low for low in lows]
        partials, histories, others = set(), set(), []
        for name in rest:
            kind = kind_of(name)
            if kind == HISTORY:
                histories.add(timeline_in(name))
            elif kind in (SEGMENT, PARTIAL) and int(name[16:24], 16) < size.per_log:
                segment = Segment.parse(name[:24], size)
                if kind == PARTIAL:
                    partials.add(segment)
                else:
                    runs.append(Run(segment.timeline, segment.number, segment.number))
            elif kind != BACKUP:
                others.append(name)
        return cls(_by_timeline(runs), frozenset(partials), frozenset(histories), tuple(sorted(others)))

    @classmethod
    def of(cls, segments: Iterable[Segment]) -> Inventory:
        """Just these segments."""
        return cls(_by_timeline(Run(each.timeline, each.number, each.number) for each in segments))

    def __or__(self, other: Inventory) -> Inventory:
        """What is in either of two listings, as of a repository and its spool."""
        runs = _by_timeline(chain(*self.runs.values(), *other.runs.values()))
        return Inventory(
            runs,
            self.partials | other.partials,
            self.histories | other.histories,
            tuple(sorted({*self.others, *other.others})),
        )

    def without(self, runs: Iterable[Run], partials: Iterable[Segment] = ()) -> Inventory:
        """What is left when these are gone."""
        gone = _by_timeline(runs)
        left = dict(self.runs)
        for timeline, of_timeline in gone.items():
            kept = [part for run in self.spans(timeline) for part in _cut(run, of_timeline)]
            left[timeline] = tuple(kept)
        return Inventory(left, self.partials - {*partials}, self.histories, self.others)

    def spans(self, timeline: int) -> tuple[Run, ...]:
        """The stretches of segments that are there."""
        return self.runs.get(timeline, ())

    def run_at(self, timeline: int, number: int) -> Run | None:
        """The run that holds a segment, or None if it is not there."""
        runs = self.spans(timeline)
        at = bisect_right(runs, number, key=lambda run: run.first) - 1
        return runs[at] if at >= 0 and number <= runs[at].last else None

    def has(self, segment: Segment) -> bool:
        """Whether the complete segment is there."""
        return self.run_at(segment.timeline, segment.number) is not None

    def missing(self, timeline: int, first: int, last: int) -> tuple[Run, ...]:
        """What is not there of segments ``first`` to ``last``."""
        runs = self.spans(timeline)
        begin = bisect_right(runs, first, key=lambda run: run.last + 1)
        missing = []
        for run in runs[begin:]:
            if run.first > last:
                break
            if run.first > first:
                missing.append(Run(timeline, first, run.first - 1))
            first = run.last + 1
        if first <= last:
            missing.append(Run(timeline, first, last))
        return tuple(missing)

    def gaps(self, timeline: int) -> tuple[Run, ...]:
        """What is not there between the oldest and the newest segment of a timeline."""
        runs = self.spans(timeline)
        return tuple(Run(timeline, a.last + 1, b.first - 1) for a, b in pairwise(runs))

    def oldest(self, timeline: int) -> Segment | None:
        """The first segment that is there."""
        runs = self.spans(timeline)
        return Segment(timeline, runs[0].first) if runs else None

    def newest(self, timeline: int) -> Segment | None:
        """The last segment that is there."""
        runs = self.spans(timeline)
        return Segment(timeline, runs[-1].last) if runs else None


def _cut(run: Run, gone: Iterable[Run]) -> list[Run]:
    """The parts of a run that none of ``gone``, in order, holds."""
    parts, first = [], run.first
    for each in gone:
        if each.first > first:
            parts.append(Run(run.timeline, first, min(run.last, each.first - 1)))
        first = max(first, each.last + 1)
    parts.append(Run(run.timeline, first, run.last))
    return [part for part in parts if part.first <= part.last]


def _are_segments(prefix: str, lows: set[str], size: SegmentSize) -> bool:
    """Whether prefix and low parts make names of segments; the low parts have eight characters each."""
    if not lows:
        return False
    digits = _DIGITS.issuperset(prefix) and _DIGITS.issuperset("".join(lows))
    return digits and prefix >= _FIRST and int(max(lows), 16) < size.per_log


def _stretches(prefix: str, lows: set[str], size: SegmentSize) -> list[Run]:
    """The runs among segments that share a prefix; a number is made of each only if there are holes."""
    timeline, base = int(prefix[:8], 16), int(prefix[8:], 16) * size.per_log
    first, last = int(min(lows), 16), int(max(lows), 16)
    if last - first == len(lows) - 1:
        return [Run(timeline, base + first, base + last)]
    numbers = sorted(base + int(low, 16) for low in lows)
    breaks = [n for n, (a, b) in enumerate(pairwise(numbers), 1) if b != a + 1]
    return [Run(timeline, numbers[a], numbers[b - 1]) for a, b in pairwise([0, *breaks, len(numbers)])]


def _by_timeline(runs: Iterable[Run]) -> dict[int, tuple[Run, ...]]:
    """Runs in any order, which may touch and overlap, as the runs of each timeline."""
    merged: dict[int, list[Run]] = {}
    for run in sorted(runs):
        of_timeline = merged.setdefault(run.timeline, [])
        if of_timeline and run.first <= of_timeline[-1].last + 1:
            before = of_timeline.pop()
            run = Run(run.timeline, before.first, max(before.last, run.last))
        of_timeline.append(run)
    return {timeline: tuple(of_timeline) for timeline, of_timeline in merged.items()}
