"""Which WAL there is: a listing of names as runs of segments, and the questions asked of it.

Pure. A year of WAL is half a million names, so nothing is made per segment: names go in as strings, and come
out as a few runs per timeline. What is a gap for a recovery depends on its path of timelines, which is not
known here.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, pairwise

from catalog.lsn import SegmentSize
from catalog.walname import BACKUP, HISTORY, PARTIAL, SEGMENT, Segment, kind_of, timeline_in

_DIGITS = frozenset("0123456789ABCDEF")
_FIRST = "00000001"


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
        """Take in names of WAL files, without suffixes of codecs, in any order, doubles allowed."""
        distinct = set(names)
        runs, rest = _group(sorted(name for name in distinct if len(name) == 24), size)
        rest += [name for name in distinct if len(name) != 24]
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


def _group(names: list[str], size: SegmentSize) -> tuple[list[Run], list[str]]:
    """Sorted, distinct names of 24 characters as runs; and those from where some are not as they should be.

    Names that share their first 16 characters are judged together: digits all, so many from first to last.
    """
    runs: list[Run] = []
    rest: list[str] = []
    end = 0
    while end < len(names):
        begin, prefix = end, names[end][:16]
        end = max(bisect_left(names, prefix + "G", begin), begin + 1)
        group = names[begin:end]
        last = group[-1]
        if not _DIGITS.issuperset("".join(group)) or last < _FIRST or int(last[16:], 16) >= size.per_log:
            rest += group
            continue
        timeline, base = int(prefix[:8], 16), int(prefix[8:], 16) * size.per_log
        for first, last in _stretches(group):
            runs.append(Run(timeline, base + int(first[16:], 16), base + int(last[16:], 16)))
    return runs, rest


def _stretches(names: list[str]) -> Iterator[tuple[str, str]]:
    """The first and last of each stretch without a hole among names that differ in their low part."""
    if int(names[-1][16:], 16) - int(names[0][16:], 16) == len(names) - 1:
        yield names[0], names[-1]
    else:
        yield from ((name, name) for name in names)


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
