"""WAL that waits, filed while no receiver runs: the spool's leftovers, and what ``put-wal`` delivered. Offline."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from catalog import layout
from catalog.filing import Filing
from catalog.frames import Workers
from catalog.incoming import Incoming, Put
from catalog.repository import Repository
from catalog.state import receiver_holder
from walstream.archiver import Archiver, complete_segments
from walstream.ops.hooks import hooked
from walstream.ops.local import hooks_of, wal_codec
from walstream.ops.stored import archive_lock
from walstream.settings.server import ServerSettings

CODEC_THREADS = 2
POLL = 0.05


@dataclass(frozen=True, slots=True)
class Archived:
    """How many segments of the spool were filed, and how many delivered files."""

    streamed: int
    delivered: int


def incoming_of(settings: ServerSettings, repository: Repository) -> Incoming:
    """Where ``put-wal`` delivers to."""
    identity = repository.identity
    return Incoming(settings.home, identity.wal_segment_size, identity.system_identifier)


def is_waiting(settings: ServerSettings) -> bool:
    """Whether there is anything to file."""
    incoming = os.path.join(settings.home, layout.INCOMING)
    return bool(_streamed(settings) or (os.path.isdir(incoming) and os.listdir(incoming)))


def archive_waiting(settings: ServerSettings, repository: Repository, until: float) -> Archived:
    """File what waits, beginning nothing new after ``until`` (monotonic clock), or when a receiver wants to start.

    ``Busy`` when a receiver runs, which does it by itself; ``StorageError`` when the repository cannot be written.
    """
    identity = repository.identity
    with archive_lock(repository, settings.name), Workers(CODEC_THREADS) as workers:
        filing = Filing(
            repository.storage,
            identity.wal_segment_size,
            identity.system_identifier,
            wal_codec(settings),
            workers,
            identity.salt,
        )
        put = hooked(filing.put, hooks_of(settings))

        def may_go_on() -> bool:
            # A receiver that starts meanwhile waits for the lock: it is not kept waiting.
            return time.monotonic() < until and receiver_holder(settings.home) is None

        delivered = incoming_of(settings, repository).file_all(put, may_go_on)
        before = len(_streamed(settings))
        if before:
            _empty_spool(settings, put, may_go_on)
        return Archived(before - len(_streamed(settings)), delivered)


def _empty_spool(settings: ServerSettings, put: Put, may_go_on: Callable[[], bool]) -> None:
    archiver = Archiver(os.path.join(settings.home, layout.STREAMING), put)
    try:
        while archiver.waiting and not archiver.trouble and may_go_on():
            archiver.raise_error()
            time.sleep(POLL)
    finally:
        archiver.close(patience=0)
    if archiver.trouble is not None:
        raise archiver.trouble


def _streamed(settings: ServerSettings) -> list[str]:
    directory = os.path.join(settings.home, layout.STREAMING)
    return complete_segments(directory) if os.path.isdir(directory) else []
