"""What is due for one server each minute, beside receiving: leftovers archived and swept, retention applied.

And the sizes of stored WAL remembered, so that the first listing after a year need not look at every file.

Needs no server and no psycopg. Each part is done only while its lock is free: the receiver archives its own
segments, and a backup that runs is not swept.
"""

from __future__ import annotations

import os
import time

from catalog import layout
from catalog.errors import Busy, WalstreamError, one_line
from catalog.repository import Repository
from catalog.state import receiver_holder
from catalog.survey import survey
from catalog.units import size
from catalog.usage import wal_usage
from walstream.ops.archive import archive_waiting, is_waiting
from walstream.ops.bench_place import clear_left
from walstream.ops.expire import carry_out, is_unfinished, plan_expiry
from walstream.ops.local import hooks_of, rules_of, stored_repository
from walstream.ops.retain import Rules, judge_all
from walstream.ops.server_log import server_log
from walstream.ops.stored import backup_lock
from walstream.ops.sweep import sweep
from walstream.settings.server import ServerSettings


def maintain(settings: ServerSettings, until: float) -> list[str]:
    """Do what is due, beginning nothing new after ``until`` (monotonic clock); what went wrong, a line each."""
    if not os.path.exists(settings.repository) and not os.path.exists(settings.home):
        return []  # nothing was ever received
    problems = []
    try:
        repository = stored_repository(settings)
    except WalstreamError as error:
        return [one_line(error)]
    for work in (_archive, _sweep, _expire, _measure):
        try:
            work(settings, repository, until)
        except Busy:
            pass  # whoever holds the lock does it, or the next round
        except WalstreamError as error:
            problems.append(one_line(error))
    return problems


def _archive(settings: ServerSettings, repository: Repository, until: float) -> None:
    if is_waiting(settings) and not receiver_holder(settings.home):
        archive_waiting(settings, repository, until)


def _sweep(settings: ServerSettings, repository: Repository, until: float) -> None:
    clear_left(settings.home)
    found = [repository.backups.sizes(each).keys() for each in repository.backups.ids()]
    if any(not names or {layout.STARTED, layout.REMOVED} & names for names in found):
        with backup_lock(repository, settings.name):
            sweep(repository)


def _expire(settings: ServerSettings, repository: Repository, until: float) -> None:
    """Apply the policy when a backup is to go; a glance at the backups' own WAL tells that.

    And end a removal that was interrupted, with the WAL that it left.
    """
    rules = rules_of(settings)
    if time.monotonic() > until or not (is_unfinished(repository) or _is_due(settings, repository, rules)):
        return
    with backup_lock(repository, settings.name):
        removed = carry_out(
            plan_expiry(repository, settings.home, rules),
            repository,
            lambda backup, reason: server_log(settings.name).info("backup %s goes: %s", backup, reason),
            hooks_of(settings),
        )
    if removed.wal_files:
        freed = size(removed.wal_bytes)
        server_log(settings.name).info("%d WAL files went (%s)", removed.wal_files, freed)


def _is_due(settings: ServerSettings, repository: Repository, rules: Rules) -> bool:
    if rules.policy is None:
        return False
    verdicts = judge_all(survey(repository), repository, settings.home, rules).verdicts
    return any(verdict.goes for verdict in verdicts.values())


def _measure(settings: ServerSettings, repository: Repository, until: float) -> None:
    if time.monotonic() < until:
        wal_usage(repository.storage, os.path.join(settings.home, layout.STATE), time.time())
