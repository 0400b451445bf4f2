"""What many servers cost one ``walstream run``: memory for each, and CPU, idle and under load.

    python -m benchmarks.receivers --servers 20

That many small servers, one configuration, one supervisor with a receiver for each. First nothing happens for a
while; then all servers write WAL at once, and the time ends when all of it is synced here. See
benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from benchmarks.measure import Failed
from benchmarks.programs import walstream
from benchmarks.service import Family, Service
from benchmarks.tables import table
from catalog.errors import WalstreamError
from walstream.connection import Connection
from walstream.ops import unprivileged
from walstream.ops.throwaway import ThrowawayServer, find_binaries

HEADINGS = ("phase", "seconds", "CPU s", "of a core, each", "MB/s", "MiB each", "largest peak MiB")
SETTLE = 10.0  # seconds: what the start costs is not what is asked
MESSAGE = 8000  # bytes of WAL written at once
SETTINGS = {
    "shared_buffers": "8MB",
    "max_connections": "10",
    "max_wal_senders": "4",
    "autovacuum": "off",
    "fsync": "off",
    "max_wal_size": "1GB",
}


def main() -> int:
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    place = Path(tempfile.mkdtemp(prefix="walstream-receivers-", dir=options.directory))
    try:
        place.chmod(0o711)
        unprivileged.way().give(str(place))
        with ExitStack() as stack:
            servers = [
                stack.enter_context(_server(place, number, options.pg)) for number in range(options.servers)
            ]
            print(table(HEADINGS, _measure(servers, place, options)))
        return 0
    except (Failed, WalstreamError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.receivers", description=__doc__)
    parser.add_argument("--servers", type=int, default=20, help="how many (default: 20)")
    parser.add_argument("--minutes", type=float, default=2.0, help="how long to look on idly (default: 2)")
    parser.add_argument("--megabytes", type=int, default=64, help="of WAL from each server (default: 64)")
    parser.add_argument("--pg", type=int, default=17, help="version of the servers (default: 17)")
    parser.add_argument(
        "--directory", type=Path, default=Path(tempfile.gettempdir()), help="where all of it is made"
    )
    return parser


def _server(place: Path, number: int, version: int) -> ThrowawayServer:
    server = ThrowawayServer(find_binaries(version), str(place / f"pg{number}"), SETTINGS)
    server.init()
    server.start()
    return server


def _measure(
    servers: Sequence[ThrowawayServer], place: Path, options: argparse.Namespace
) -> list[tuple[str, ...]]:
    with Service(_command(servers, place)) as service, ThreadPoolExecutor(len(servers)) as pool:
        service.wait_for(lambda: all(pool.map(_is_received, servers)), "receive from all servers")
        time.sleep(SETTLE)
        start, before = time.monotonic(), service.family()
        time.sleep(options.minutes * 60)
        middle, idle = time.monotonic(), service.family()
        list(pool.map(lambda server: _write_wal(server, options.megabytes), servers))
        service.wait_for(lambda: all(pool.map(_is_received, servers)), "have received what was written")
        end, loaded = time.monotonic(), service.family()
        service.stop()
    n, megabytes = len(servers), options.megabytes * len(servers)
    return [
        _cells(f"idle, {n} servers", middle - start, before, idle, n, 0),
        _cells(f"{options.megabytes} MB of WAL from each", end - middle, idle, loaded, n, megabytes),
    ]


def _cells(
    phase: str, seconds: float, before: Family, after: Family, n: int, megabytes: int
) -> tuple[str, ...]:
    cpu = after.cpu - before.cpu
    return (
        phase,
        f"{seconds:.1f}",
        f"{cpu:.2f}",
        f"{cpu / seconds / n:.2%}",
        f"{megabytes / seconds:.0f}" if megabytes else "-",
        f"{after.memory / n / 2**20:.1f}",
        f"{after.peak / 2**20:.0f}",
    )


def _command(servers: Sequence[ThrowawayServer], place: Path) -> list[str]:
    home = place / "ours"
    home.mkdir()
    sections = [
        f"[server{number}]\nconninfo = {server.conninfo()}\nslot_name = ours\n"
        for number, server in enumerate(servers)
    ]
    path = home / "walstream.conf"
    path.write_text(f"[walstream]\nwalstream_home = {home}\n{''.join(sections)}", encoding="utf-8")
    return walstream("-q", "-c", str(path), "run")


def _write_wal(server: ThrowawayServer, megabytes: int) -> None:
    """Messages that mean nothing, which are WAL all the same."""
    message = f"repeat(md5(i::text), {MESSAGE // 32})"
    _ask(
        server,
        f"SELECT count(pg_logical_emit_message(true, 'bench', {message})) "
        f"FROM generate_series(1, {megabytes * 10**6 // MESSAGE}) i",
    )


def _is_received(server: ThrowawayServer) -> bool:
    """Whether everything the server has written is synced here."""
    received = _ask(
        server, "SELECT count(*) FROM pg_stat_replication WHERE flush_lsn >= pg_current_wal_flush_lsn()"
    )
    return received == b"1"


def _ask(server: ThrowawayServer, statement: str) -> bytes | None:
    with Connection.open(server.conninfo(), application_name="benchmarks", replication=False) as connection:
        return connection.row(statement)[0]


if __name__ == "__main__":
    sys.exit(main())
