"""``bench``: how fast WAL could be received, stored and waited for with this server, this host and this disk.

Harmless on a live server: it reads WAL that the server has anyhow, under a name of its own, without a slot,
and reports no flushed position, so that it holds back no WAL and releases no commit. It writes to the server
only what was asked for (``commits``, ``load``), and that is messages in the WAL that touch no table. On disk
it needs some segments' room, in a directory that is gone at the end.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from catalog.age.keys import Identity
from catalog.codec import NAMES, Codec
from catalog.errors import Interrupted, ServerRefused, StorageError, WalstreamError
from catalog.local_storage import failed
from catalog.timeline import Path
from walstream.connection import Connection
from walstream.facts import server_facts
from walstream.gap import oldest_available
from walstream.ops.bench_latency import commit_latencies, fsync_latency, make_wal
from walstream.ops.bench_measures import AGE, DISK, FSYNC, NATIVE, NOWHERE, Findings, Latency, Rate
from walstream.ops.bench_native import rate_of_pg_receivewal
from walstream.ops.bench_place import bench_directory
from walstream.ops.bench_streams import (
    APPLICATION_NAME,
    Source,
    rate_through,
    rate_to_disk,
    rate_to_nowhere,
)
from walstream.ops.local import wal_codec
from walstream.settings.server import ServerSettings

MOST = 512 << 20
"""Bytes of WAL that are streamed again and again, the newest: they are the least likely to be removed."""
LOAD = 128 << 20
_LEAST_FREE = 512 << 20
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """What is measured: ``seconds`` for each figure, on the disk of ``directory`` (the server's home if None).

    ``commits`` and ``load`` write to the server. ``pg_receivewal``: where it is; looked for if None.
    """

    seconds: float = 3.0
    commits: bool = False
    load: bool = False
    directory: str | None = None
    pg_receivewal: str | None = None


def bench(
    settings: ServerSettings, request: BenchRequest, on_measure: Callable[[str], None] = lambda name: None
) -> Findings:
    """Measure; ``on_measure`` is told the name of each figure before it is taken.

    ``StorageError`` without a directory or room in it. A figure that cannot be had is named with the reason.
    """
    place = request.directory or settings.home
    _require_room(place)
    if request.load:
        on_measure("load")
        make_wal(settings.conninfo, LOAD)
    source = find_source(settings.wal_streaming_conninfo, round(settings.check_timeout) or 1)
    with bench_directory(place) as directory:
        work = _Bench(settings, request, source, directory, on_measure)
        work.measure()
    return work.findings()


def find_source(conninfo: str, connect_timeout: int = 30) -> Source:
    """The newest whole segments that the server has on its timeline, at most ``MOST``; maybe none."""
    with Connection.open(
        conninfo, application_name=APPLICATION_NAME, connect_timeout=connect_timeout, patience=_PATIENCE
    ) as connection:
        facts = server_facts(connection)
        size, path = facts.size, Path.of(facts.history)
        end = size.floor(facts.system.position)
        # The segment in which the timeline began is shared with the one before.
        first = size.number_at(path.legs[-1].begin) + 1
        number = max(first, size.number_at(end) - max(1, MOST // size.nbytes))
        start = min(size.start(number), end)
        if start < end:
            start = oldest_available(connection, path, size.start(number - 1), size, end)
        node = connection.conninfo
    system = facts.system
    return Source(node, system.system_identifier, system.timeline, size, start, end)


class _Bench:
    """One figure after the other; what goes wrong with one does not keep the others away."""

    def __init__(
        self,
        settings: ServerSettings,
        request: BenchRequest,
        source: Source,
        directory: str,
        on_measure: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._request = request
        self._source = source
        self._directory = directory
        self._on_measure = on_measure
        self._stored, self._codecs = codecs(wal_codec(settings))
        self._rates: dict[str, Rate] = {}
        self._latencies: dict[str, Latency] = {}
        self._skipped: dict[str, str] = {}
        self._server_settings: dict[str, str] = {}

    def measure(self) -> None:
        self._measure_rates()
        self._attempt(FSYNC, self._fsync)
        if self._request.commits:
            self._attempt("commits", self._commits)

    def findings(self) -> Findings:
        return Findings(
            nbytes=self._source.nbytes,
            cores=os.cpu_count() or 1,
            stored=self._stored,
            rates=self._rates,
            latencies=self._latencies,
            skipped=self._skipped,
            settings=self._server_settings,
        )

    def _measure_rates(self) -> None:
        source, seconds = self._source, self._request.seconds
        if not source.nbytes:
            self._skipped["streaming"] = (
                "the server has not one whole segment of WAL on its timeline: measure when it has written more, "
                "or have it write some with --load"
            )
            return
        self._rate(NOWHERE, partial(rate_to_nowhere, source, seconds))
        self._rate(DISK, self._disk)
        for name, codec in self._codecs.items():
            self._rate(name, partial(rate_through, codec, source, seconds))
        self._rate(NATIVE, self._native)

    def _disk(self) -> Rate:
        settings = self._settings
        return rate_to_disk(
            self._source,
            self._request.seconds,
            self._directory,
            settings.flush_interval,
            settings.unsynced_limit,
        )

    def _native(self) -> Rate:
        program = self._request.pg_receivewal or shutil.which("pg_receivewal")
        if program is None:
            raise ServerRefused("it is not installed, or not where programs are looked for: --pg-receivewal")
        return rate_of_pg_receivewal(program, self._source, self._request.seconds, self._directory)

    def _fsync(self) -> None:
        self._latencies[FSYNC] = fsync_latency(self._directory, self._request.seconds)

    def _commits(self) -> None:
        found, self._server_settings = commit_latencies(self._settings.conninfo, self._request.seconds)
        self._latencies |= found

    def _rate(self, name: str, take: Callable[[], Rate]) -> None:
        def keep() -> None:
            self._rates[name] = take()

        self._attempt(name, keep)

    def _attempt(self, name: str, action: Callable[[], None]) -> None:
        self._on_measure(name)
        try:
            action()
        except Interrupted:
            raise
        except WalstreamError as error:
            self._skipped[name] = str(error)


def codecs(stored: Codec) -> tuple[str | None, dict[str, Codec]]:
    """What WAL is sent through, by name, and the name of how this server's is stored (None: plainly).

    Encrypted is for a recipient made here, whose identity nobody keeps.
    """
    recipients = (str(Identity.new().recipient),)
    found = {
        name: stored.clear if name == stored.name else Codec.of(name) for name in NAMES if name != "none"
    }
    found[AGE] = Codec.of("none").encrypted(recipients)
    if stored.name == "none":
        return (AGE if stored.recipients else None), found
    both = f"{stored.name} + {AGE}"
    found[both] = stored.encrypted(recipients)
    return (both if stored.recipients else stored.name), found


def _require_room(directory: str) -> None:
    try:
        free = shutil.disk_usage(directory).free
    except OSError as error:
        raise StorageError(
            f"cannot measure the disk of {directory!r}: {error.strerror}",
            "protect the server first (walstream init), or name a directory of that disk with --directory",
        ) from error
    if free < _LEAST_FREE:
        raise StorageError(
            f"only {free >> 20} MiB are free in {directory!r}", "measure where there are 512 MiB for a moment"
        )
    if not os.access(directory, os.W_OK | os.X_OK):
        raise failed("write", directory, PermissionError(13, "Permission denied"))
