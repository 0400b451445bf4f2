"""Backups and WAL that are to go: planned, shown with reasons, and removed in an order that survives a crash.

A plan is made and carried out under the backup lock. Backups go first, each by its record, an incremental one
before those that it rests on; then the WAL that nothing needs any more, oldest first. What is interrupted is
ended by the next sweep, or is found to be unneeded again: a mark says that there is such WAL. Offline.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from catalog import layout
from catalog.errors import HookFailed, StorageError, UsageError
from catalog.expiry import Staying, Unneeded, unneeded
from catalog.in_use import being_removed, in_use, is_read
from catalog.inventory import Run
from catalog.lsn import SegmentSize
from catalog.marks import RemovedMark
from catalog.reach import Window, windows
from catalog.repository import Repository
from catalog.retention import POTENTIALLY_OBSOLETE, Candidate, Verdict, satisfies
from catalog.survey import Survey, Surveyed, survey
from catalog.walname import PARTIAL, Segment, kind_of
from walstream.ops.hooks import DELETE, NO_HOOKS, WAL_DELETE, Hooks
from walstream.ops.retain import Judged, Rules, judge_all, kept


@dataclass(frozen=True)
class Plan:
    """``going`` are the ids of the backups to remove, in that order, each with the reason.

    ``before`` and ``after`` are what can be recovered on the path that counts.
    """

    survey: Survey
    judged: Judged
    going: Mapping[str, str]
    wal: Unneeded
    before: tuple[Window, ...]
    after: tuple[Window, ...]
    size: SegmentSize

    def names_of(self, run: Run) -> tuple[str, str]:
        """The names of a run's first and last segment."""
        return (
            Segment(run.timeline, run.first).name(self.size),
            Segment(run.timeline, run.last).name(self.size),
        )


@dataclass(frozen=True)
class Removed:
    """What was removed; bytes as they were stored, of the WAL."""

    backups: tuple[str, ...]
    wal_files: int
    wal_bytes: int


def plan_expiry(repository: Repository, home: str, rules: Rules) -> Plan:
    """What the policy lets go; without a policy, nothing but WAL that no backup needs."""
    found = survey(repository)
    verdicts = judge_all(found, repository, home, rules)
    going = {each: verdict.reason for each, verdict in verdicts.verdicts.items() if verdict.goes}
    plan = _plan(repository, found, verdicts, going)
    # An incremental backup behind a gap can be the only one behind it, and its full one be obsolete.
    spared = dict.fromkeys(
        _leading_to_the_end(plan), "only it, or what rests on it, leads to the newest WAL"
    ) | {each: "it is being restored" for each in going if is_read(repository, each)}
    if not spared:
        return plan
    words = {each: Verdict(POTENTIALLY_OBSOLETE, reason) for each, reason in spared.items()}
    verdicts = replace(verdicts, verdicts={**verdicts.verdicts, **words})
    return _plan(repository, found, verdicts, {each: going[each] for each in going if each not in spared})


def plan_removal(repository: Repository, home: str, rules: Rules, word: str) -> Plan:
    """What goes with one backup, those that rest on it included; ``UsageError`` when it is to stay.

    ``Busy`` when it is being restored.
    """
    found = survey(repository)
    verdicts = judge_all(found, repository, home, rules)
    wanted = found.find(word)
    going = {wanted.id: "it was named"}
    for each in verdicts.candidates:  # oldest first, so that parents come before those that rest on them
        if each.record.parent in going:
            going[each.record.id] = f"it rests on {each.record.parent}"
    _refuse(going, repository, verdicts, rules)
    _refuse_read(going, repository)
    return _plan(repository, found, verdicts, going)


def carry_out(
    plan: Plan,
    repository: Repository,
    on_backup: Callable[[str, str], None] = lambda backup, reason: None,
    hooks: Hooks = NO_HOOKS,
) -> Removed:
    """Remove what the plan says, between the operator's scripts; under the backup lock since before it was made.

    ``Busy`` when a restore of one of the backups has begun meanwhile: what is left is for the next plan.
    ``HookFailed`` says what was removed before the script that failed.
    """
    _refuse_read(plan.going, repository)
    gone: list[str] = []

    def note(each: str, reason: str) -> None:
        gone.append(each)
        on_backup(each, reason)

    try:
        _remove_backups(plan, repository, note, hooks)
        files, nbytes = _remove_wal(plan, repository, hooks) if len(plan.wal) else (0, 0)
    except HookFailed as failure:
        raise HookFailed(failure.message, f"see the script; {_so_far(plan, gone)}") from failure
    repository.storage.delete(layout.REMOVING)
    return Removed(tuple(plan.going), files, nbytes)


def is_unfinished(repository: Repository) -> bool:
    """Whether a removal was interrupted, or runs: then WAL may be there that no backup needs."""
    directory, _, name = layout.REMOVING.rpartition("/")
    return name in repository.storage.names(directory)


def _so_far(plan: Plan, gone: Sequence[str]) -> str:
    """What is removed, and what stays, when a script stops the work."""
    stays = ", ".join(each for each in plan.going if each not in gone) or "the WAL that no backup needs"
    removed = f"removed before it: {', '.join(gone)}" if gone else "nothing was removed"
    return f"{removed}; until the next time {stays} stays"


def _note_begin(repository: Repository) -> None:
    """Only when something goes: what a script has forbidden is not to be done by the next round."""
    if not is_unfinished(repository):
        with suppress(StorageError):  # a full disk needs the removal most
            repository.storage.put(layout.REMOVING, b"")


def _refuse_read(going: Collection[str], repository: Repository) -> None:
    for each in going:
        if is_read(repository, each):
            raise in_use(each)


def _remove_backups(
    plan: Plan, repository: Repository, on_backup: Callable[[str, str], None], hooks: Hooks
) -> None:
    statuses = {each.id: each.status.word for each in plan.survey.backups}
    for each, reason in plan.going.items():
        directory = repository.storage.path(layout.backup_directory(each))
        facts = {"backup_id": each, "backup_dir": directory, "status": statuses[each], "reason": reason}
        with being_removed(repository, each) as let_go, hooks.around(DELETE, facts):
            _note_begin(repository)
            repository.backups.remove(each, RemovedMark(at=datetime.now(UTC), reason=reason), let_go)
        on_backup(each, reason)


def _remove_wal(plan: Plan, repository: Repository, hooks: Hooks) -> tuple[int, int]:
    files = nbytes = 0
    runs = [plan.names_of(run) for run in plan.wal.runs]
    with hooks.around(WAL_DELETE, {"segments": len(plan.wal), "runs": runs}) as later:
        _note_begin(repository)
        for directory in sorted(_directories(plan.wal, plan.size), key=lambda name: name[8:]):
            removed = repository.wal.remove(directory, lambda name: _goes(name, plan.wal, plan.size))
            files, nbytes = files + removed[0], nbytes + removed[1]
        later |= {"files": files, "size": nbytes}
    return files, nbytes


def _plan(repository: Repository, found: Survey, verdicts: Judged, going: Mapping[str, str]) -> Plan:
    holdings = replace(found.holdings, inventory=repository.inventory())
    current = verdicts.current
    staying = [
        Staying(each.record, verdicts.verdicts[each.record.id].stands_alone)
        for each in verdicts.candidates
        if each.record.id not in going
    ]
    # Of one that has lost its record nobody knows which WAL it needs; one that is STARTED holds the backup lock.
    unknown = [each for each in found.backups if each.id not in going and _is_unknown(each)]
    wal = Unneeded() if unknown else unneeded(staying, holdings, current)
    after = replace(
        holdings,
        records=tuple(each.record for each in staying),
        inventory=holdings.inventory.without(wal.runs, wal.partials),
    )
    order = _in_order(going, verdicts.candidates)
    return Plan(
        found,
        verdicts,
        {each: going[each] for each in order},
        wal,
        windows(current, holdings),
        windows(current, after),
        repository.identity.wal_segment_size,
    )


def _leading_to_the_end(plan: Plan) -> set[str]:
    """The backups that are to go although nothing that stays reaches as far as they do."""
    furthest = max(plan.before, key=lambda window: window.last.number, default=None)
    if furthest is None or any(window.last.number >= furthest.last.number for window in plan.after):
        return set()
    return {each.id for each in plan.survey.holdings.lineage(furthest.first).records} & plan.going.keys()


def _is_unknown(each: Surveyed) -> bool:
    traces = each.traces
    return traces.unreadable is not None or not (traces.record or traces.failed or traces.started)


def _in_order(going: Collection[str], candidates: Sequence[Candidate]) -> list[str]:
    """Oldest first, but for incremental ones, which go before what they rest on."""
    parents = {each.record.id: each.record.parent for each in candidates}

    def root(backup_id: str) -> str:
        parent = parents.get(backup_id)
        return root(parent) if parent in parents and parent is not None and parent < backup_id else backup_id

    newest_first = sorted(going, reverse=True)
    return sorted(newest_first, key=root)


def _refuse(going: Mapping[str, str], repository: Repository, verdicts: Judged, rules: Rules) -> None:
    for each in going:
        mark = kept(repository, each)  # also of one whose record cannot be read
        if mark is not None:
            raise UsageError(
                f"backup {each} is kept ({mark.target})",
                f"release it first: walstream keep {os.path.basename(repository.root)} {each} --release",
            )
    leaving = [each for each in verdicts.candidates if each.record.id in going]
    there = satisfies(verdicts.candidates, verdicts.current)
    left = there - satisfies(leaving, verdicts.current)
    if left < min(there, rules.minimum):
        raise UsageError(
            f"{left} restorable full backups would be left, and minimum_redundancy is {rules.minimum}",
            "take a new backup first, or lower minimum_redundancy",
        )


def _directories(wal: Unneeded, size: SegmentSize) -> set[str]:
    """The directories in which something goes."""
    found = {segment.name(size)[:16] for segment in wal.partials}
    for run in wal.runs:
        numbers = {*range(run.first, run.last + 1, size.per_log), run.last}
        found |= {Segment(run.timeline, number).name(size)[:16] for number in numbers}
    return found


def _goes(name: str, wal: Unneeded, size: SegmentSize) -> bool:
    """A segment, a partial one, or what an archive_command noted about a backup that began in it."""
    segment = Segment.parse(name[:24], size)
    return segment in wal.partials if kind_of(name) == PARTIAL else wal.has(segment)
