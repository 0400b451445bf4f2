"""What is due for one server each minute, beside receiving: the spool's leftovers archived, killed backups swept.

Needs no server and no psycopg. Each part is done only while its lock is free: the receiver archives its own
segments, and a backup that runs is not swept.
"""

from __future__ import annotations

import os
import time

from catalog import layout
from catalog.errors import Busy, WalstreamError, one_line
from catalog.filing import Filing
from catalog.frames import Workers
from catalog.repository import Repository
from catalog.state import receiver_holder
from walstream.archiver import Archiver, complete_segments
from walstream.ops.local import stored_repository, wal_codec
from walstream.ops.stored import archive_lock, backup_lock
from walstream.ops.sweep import sweep
from walstream.settings.server import ServerSettings

CODEC_THREADS = 2
POLL = 0.05


def maintain(settings: ServerSettings, until: float) -> list[str]:
    """Do what is due, beginning nothing new after ``until`` (monotonic clock); what went wrong, a line each."""
    if not os.path.exists(settings.repository) and not os.path.exists(settings.home):
        return []  # nothing was ever received
    problems = []
    try:
        repository = stored_repository(settings)
    except WalstreamError as error:
        return [one_line(error)]
    for work in (_archive_leftovers, _sweep):
        try:
            work(settings, repository, until)
        except Busy:
            pass  # whoever holds the lock does it, or the next round
        except WalstreamError as error:
            problems.append(one_line(error))
    return problems


def _archive_leftovers(settings: ServerSettings, repository: Repository, until: float) -> None:
    directory = os.path.join(settings.home, layout.STREAMING)
    if not os.path.isdir(directory) or not complete_segments(directory) or receiver_holder(settings.home):
        return
    identity = repository.identity
    with archive_lock(repository, settings.name), Workers(CODEC_THREADS) as workers:
        filing = Filing(
            repository.storage,
            identity.wal_segment_size,
            identity.system_identifier,
            wal_codec(settings),
            workers,
        )
        archiver = Archiver(directory, filing.put)
        try:
            # A receiver that starts meanwhile waits for the lock: it is not kept waiting.
            while archiver.waiting and not archiver.trouble and time.monotonic() < until:
                archiver.raise_error()
                if receiver_holder(settings.home):
                    break
                time.sleep(POLL)
        finally:
            archiver.close(patience=0)
        if archiver.trouble is not None:
            raise archiver.trouble


def _sweep(settings: ServerSettings, repository: Repository, until: float) -> None:
    shelf = repository.backups
    if any(layout.STARTED in shelf.sizes(each) for each in shelf.ids()):
        with backup_lock(repository, settings.name):
            sweep(repository)
