"""Which backups a retention policy still wants, and why. Pure.

Only restorable full backups on the current path of timelines count: one that waits for WAL, has bad pages or
lies on a branch that was left never makes another one obsolete. Incremental backups share the fate of the full
backup that they rest on. The words are Barman's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from catalog.coverage import carries
from catalog.marks import KEEP_FULL, KEEP_STANDALONE, KeepMark
from catalog.record import INCREMENTAL, BackupRecord
from catalog.statuses import DONE
from catalog.timeline import Path

VALID = "VALID"
OBSOLETE = "OBSOLETE"
POTENTIALLY_OBSOLETE = "OBSOLETE*"
UNJUDGED = "-"

_REDUNDANCY = re.compile(r"REDUNDANCY\s+([0-9]{1,6})", re.IGNORECASE)
_WINDOW = re.compile(r"RECOVERY\s+WINDOW\s+OF\s+([0-9]{1,6})\s+(HOUR|DAY|WEEK|MONTH)S?", re.IGNORECASE)
_UNITS = {"HOUR": 1, "DAY": 24, "WEEK": 7 * 24, "MONTH": 31 * 24}


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """Either so many backups, or every moment of so long a time; ``text`` is how it is written."""

    text: str
    redundancy: int | None = None
    window: timedelta | None = None

    @classmethod
    def parse(cls, text: str) -> RetentionPolicy:
        """Read ``REDUNDANCY n`` or ``RECOVERY WINDOW OF n HOURS|DAYS|WEEKS|MONTHS``; else ``ValueError``."""
        if (match := _REDUNDANCY.fullmatch(text.strip())) and int(match[1]):
            return cls(f"REDUNDANCY {int(match[1])}", redundancy=int(match[1]))
        if (match := _WINDOW.fullmatch(text.strip())) and int(match[1]):
            count, unit = int(match[1]), match[2].upper()
            return cls(f"RECOVERY WINDOW OF {count} {unit}S", window=timedelta(hours=count * _UNITS[unit]))
        raise ValueError("its number must be above 0, and nothing stands behind it, no comment either")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backup to be judged: what ``statuses`` says of it, and the mark of who wants it kept."""

    record: BackupRecord
    status: str
    keep: KeepMark | None = None

    @property
    def kept(self) -> str | None:
        """``full`` or ``standalone`` if it is to be kept."""
        return self.keep.target if self.keep is not None else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policy says of a backup, and why; ``kept`` overrules it."""

    word: str
    reason: str
    kept: str | None = None

    @property
    def shown(self) -> str:
        """The word as listings have it."""
        return f"KEEP:{self.kept.upper()}" if self.kept is not None else self.word

    @property
    def goes(self) -> bool:
        """Whether the backup is to be removed."""
        return self.word == OBSOLETE and self.kept is None

    @property
    def stands_alone(self) -> bool:
        """Whether only the WAL of its own span is wanted: it is kept so, and the policy would let it go."""
        return self.kept == KEEP_STANDALONE and self.word == OBSOLETE


def judge(
    candidates: Sequence[Candidate],
    policy: RetentionPolicy | None,
    minimum: int,
    current: Path,
    now: datetime,
) -> dict[str, Verdict]:
    """The verdict on each backup, by id; ``minimum`` of those that count on the ``current`` path always stay."""
    found: dict[str, Verdict] = {}
    full = sorted(
        (each for each in candidates if each.record.type != INCREMENTAL),
        key=lambda each: (each.record.end.time, each.record.id),
        reverse=True,
    )
    counted = 0
    anchored = False
    for each in full:
        counts = _counts(each, current)
        word, reason = _word(each, policy, minimum, counted, anchored, now)
        if counts:
            counted += 1
            anchored = anchored or _is_behind(each, policy, now)
        found[each.record.id] = Verdict(word, reason, each.kept)
    roots = {each.record.id: each.record.parent for each in candidates}
    for each in candidates:
        if each.record.type == INCREMENTAL:
            found[each.record.id] = _inherited(each, found, _root(each.record.id, roots))
    return found


def satisfies(candidates: Iterable[Candidate], current: Path) -> int:
    """How many backups count for ``minimum_redundancy``."""
    return sum(_counts(each, current) for each in candidates)


def _counts(each: Candidate, current: Path) -> bool:
    record = each.record
    return record.type != INCREMENTAL and each.status == DONE and carries(current, record)


def _word(
    each: Candidate,
    policy: RetentionPolicy | None,
    minimum: int,
    counted: int,
    anchored: bool,
    now: datetime,
) -> tuple[str, str]:
    """``counted`` are the newer ones that count; ``anchored``: one of them makes the whole window reachable."""
    if policy is None:
        return UNJUDGED, "there is no retention policy"
    if each.status != DONE:
        return UNJUDGED, f"it is {each.status}: such a backup is never removed by itself"
    if policy.redundancy is not None:
        wanted = max(policy.redundancy, minimum)
        if counted < wanted:
            return VALID, f"{_newer(counted)}, {wanted} are wanted"
        return OBSOLETE, f"the {wanted} that are wanted are newer"
    begin = now - (policy.window or timedelta())
    if not anchored:
        inside = each.record.end.time >= begin
        where = "it is inside the window" if inside else "recovery to the window's beginning starts from it"
        return VALID, where
    if counted < minimum:
        return (
            POTENTIALLY_OBSOLETE,
            f"minimum_redundancy: only {_newer(counted)}, {minimum} are wanted",
        )
    return OBSOLETE, "a newer one reaches the whole window"


def _newer(count: int) -> str:
    return "1 newer one counts" if count == 1 else f"{count} newer ones count"


def _is_behind(each: Candidate, policy: RetentionPolicy | None, now: datetime) -> bool:
    return policy is not None and policy.window is not None and each.record.end.time < now - policy.window


def _root(backup_id: str, parents: Mapping[str, str | None]) -> str | None:
    """The full backup that a chain rests on; None if a parent is missing."""
    seen = set()
    while backup_id not in seen:
        seen.add(backup_id)
        if backup_id not in parents:
            return None
        parent = parents[backup_id]
        if parent is None:
            return backup_id
        backup_id = parent
    return None


def _inherited(each: Candidate, found: Mapping[str, Verdict], root: str | None) -> Verdict:
    """An incremental backup's verdict: the one on its full backup."""
    if root is None or root not in found:
        return Verdict(UNJUDGED, "a backup that it rests on is missing")
    of_root = found[root]
    if of_root.kept == KEEP_FULL and of_root.word == OBSOLETE:
        return Verdict(VALID, f"it rests on {root}, which is kept")
    return Verdict(of_root.word, f"it rests on {root}: {of_root.reason}")
