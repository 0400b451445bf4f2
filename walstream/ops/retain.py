"""What a server's retention policy says of its backups: marks and statuses from disk, verdicts out. Offline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from catalog.coverage import Holdings
from catalog.errors import Malformed, RepositoryError, WalstreamError
from catalog.marks import KEEP_FULL, KeepMark
from catalog.repository import Repository
from catalog.retention import Candidate, RetentionPolicy, Verdict, judge
from catalog.state import read_receiver_state
from catalog.survey import Survey, survey
from catalog.timeline import Path


@dataclass(frozen=True, slots=True)
class Rules:
    """What an operator wants kept: a policy, if there is one, and so many restorable backups in any case."""

    policy: RetentionPolicy | None = None
    minimum: int = 0


@dataclass(frozen=True)
class Judged:
    """The backups with a record, oldest first, the verdicts on them by id, and the path that counts."""

    candidates: tuple[Candidate, ...]
    verdicts: Mapping[str, Verdict]
    current: Path


def judge_all(found: Survey, repository: Repository, home: str, rules: Rules) -> Judged:
    """Judge what a survey has found; ``home`` says which timeline was received last."""
    current = current_path(found.holdings, repository, home)
    candidates = tuple(
        Candidate(each.record, each.status.word, kept(repository, each.id))
        for each in found.backups
        if each.record is not None
    )
    verdicts = judge(candidates, rules.policy, rules.minimum, current, datetime.now(UTC))
    return Judged(candidates, verdicts, current)


def is_obsolete(repository: Repository, home: str, rules: Rules, backup_id: str) -> bool:
    """Whether the policy lets a backup go, and nobody has marked it as kept."""
    if rules.policy is None:
        return False
    try:
        verdict = judge_all(survey(repository), repository, home, rules).verdicts.get(backup_id)
    except (WalstreamError, OSError):
        return False  # it is only asked for the sake of a warning
    return verdict is not None and verdict.goes


def kept(repository: Repository, backup_id: str) -> KeepMark | None:
    """The mark of who wants a backup kept; one that cannot be read keeps it with everything."""
    try:
        return repository.backups.kept(backup_id)
    except (Malformed, RepositoryError):
        return KeepMark(target=KEEP_FULL, since=datetime.fromtimestamp(0, UTC))


def current_path(holdings: Holdings, repository: Repository, home: str) -> Path:
    """The path to the timeline that was received last, or else to the newest of which there is anything."""
    paths = holdings.paths()
    state = read_receiver_state(home)
    if state is not None and state.timeline in paths:
        return paths[state.timeline]
    known = {record.end.timeline for record in holdings.records}
    known |= {int(directory[:8], 16) for directory in repository.wal.directories()}
    return next((path for timeline, path in paths.items() if timeline in known), paths[1])
