"""What ``walstream.api`` offers that talks to a server: plain arguments in, no configuration.

``repository`` is always the path of one server's repository directory, which is made at the first connection;
``home``, where the spool is, is the same directory unless another one is given.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from backup.incoming import Progress
from catalog.codec import Codec
from catalog.lsn import LSN
from catalog.repository import Repository
from walstream.ops import backup, place
from walstream.ops.backup import BackupOptions, BackupOutcome
from walstream.ops.place import Place
from walstream.ops.reception import Reception
from walstream.receiver import Receiver
from walstream.receiving import ReceiveOptions
from walstream.sinks import SinkFactory, SinkTarget


def create_repository(conninfo: str, repository: str, *, home: str | None = None) -> Repository:
    """Connect, and make the server's repository, or open the one that is there.

    ``WrongServer`` when it is another cluster's, ``ForeignRepository`` when the directory is not ours.
    """
    return place.connected_repository(conninfo, _absolute(repository), _absolute(home or repository))


def receive(
    conninfo: str,
    repository: str,
    *,
    slot: str | None = None,
    end: LSN | None = None,
    synchronous: bool | None = None,
    application_name: str = "walstream_receive_wal",
    codec: Codec | None = None,
    home: str | None = None,
) -> Reception:
    """Receive WAL into a repository, as ``walstream receive-wal`` does, until stopped or up to ``end``.

    A slot that is missing is made. ``synchronous`` None asks the server whether it waits for us. Lost
    connections are made again.
    """
    options = ReceiveOptions(
        conninfo=conninfo,
        application_name=application_name,
        slot=slot,
        synchronous=synchronous,
        end_position=end,
    )
    where = _place(repository, home, codec)

    @contextmanager
    def make() -> Iterator[Receiver]:
        with place.running_receiver(where, options) as (receiver, _):
            yield receiver

    return Reception(make)


def receive_to(
    conninfo: str,
    sink_factory: SinkFactory,
    *,
    start: LSN | None = None,
    end: LSN | None = None,
    slot: str | None = None,
    durable: bool = False,
    application_name: str = "walstream",
) -> Reception:
    """Receive WAL into sinks: ``sink_factory(name)`` gives one for each segment and timeline history.

    Begins with the segment that holds ``start``, or else the slot's position, or else the server's. A
    segment's sink is finished when it has all of it; one that is not complete at the end, or when the
    connection breaks, is aborted, and offered again after the next connection. With ``durable`` the end of
    the last finished segment is reported as flushed, so that the slot moves; without, nothing is. A sink
    that raises ends it, except for ``StorageError``: then the segment is tried again.
    """
    options = ReceiveOptions(
        conninfo=conninfo,
        application_name=application_name,
        slot=slot,
        synchronous=False,
        end_position=end,
    )

    @contextmanager
    def make() -> Iterator[Receiver]:
        yield Receiver(options, SinkTarget(sink_factory, start, durable=durable))

    return Reception(make)


def take_backup(
    conninfo: str,
    repository: str,
    *,
    name: str | None = None,
    incremental: str | None = None,
    slot: str | None = None,
    fast_checkpoint: bool = False,
    wait_timeout: float | None = None,
    codec: Codec | None = None,
    home: str | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> BackupOutcome:
    """Take a base backup into a repository, and wait until all WAL that it needs is stored.

    If nobody receives WAL into that repository, the backup does so itself while it lasts, with ``slot`` if
    that is given. ``incremental`` is an id, a name, ``latest`` or ``latest-full``: only what has changed since that
    backup is taken (PostgreSQL 17 and later). ``wait_timeout`` in seconds limits the wait; ``codec`` is for the
    backup and that WAL.
    """
    where = _place(repository, home, codec)
    options = BackupOptions(
        place=where,
        sql_conninfo=conninfo,
        conninfo=conninfo,
        receiving=ReceiveOptions(conninfo=conninfo, slot=slot),
        codec=where.codec,
        name=name,
        incremental=incremental,
        fast_checkpoint=fast_checkpoint,
        wait_timeout=wait_timeout,
    )
    return backup.take_backup(options, on_progress)


def _place(repository: str, home: str | None, codec: Codec | None) -> Place:
    root = _absolute(repository)
    return Place(
        name=os.path.basename(root),
        repository=root,
        home=_absolute(home or repository),
        codec=codec or Codec.of("zstd"),
    )


def _absolute(path: str) -> str:
    return os.path.abspath(path)
