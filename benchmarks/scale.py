"""How long commands take on years of WAL; ``python -m benchmarks.scale``, see benchmarks/README.md.

On a repository from nothing (``benchmarks.large``), without a server: what asks one is told so at once.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.large import Large, make
from benchmarks.measure import Failed, Run, run_program
from benchmarks.programs import walstream
from benchmarks.service import Service
from benchmarks.tables import table
from catalog import layout
from catalog.errors import WalstreamError
from catalog.usage import CACHE

HEADINGS = ("what", "CPU s", "wall s", "goal", "peak MiB")
SCRAPES = 5
PAUSE = 3.5  # seconds: scrapes that follow closer are told the same again
CHECKED = b"walstream_check_timestamp_seconds{"


@dataclass(frozen=True, slots=True)
class Row:
    """A command, what it is to take at most, its exit code without a server, and what is done before each run."""

    what: str
    argv: Sequence[str]
    goal: float | None = None
    code: int = 0
    before: Callable[[], None] = lambda: None


def main() -> int:
    options = _parser().parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    large = Large(options.backups, options.segments, datetime.now(UTC))
    place = Path(tempfile.mkdtemp(prefix="walstream-scale-", dir=options.directory))
    try:
        began = time.perf_counter()
        make(place / "main", large)
        print(
            f"{large.backups} backups, {large.segments} segments, made in {time.perf_counter() - began:.1f} s"
        )
        print(table(HEADINGS, _measure(place, large, options.runs)))
        return 0
    except (Failed, WalstreamError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--backups", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--segments", type=int, default=500_000, help="how many (default: 500000)")
    parser.add_argument("--runs", type=int, default=3, help="of each command (default: 3)")
    parser.add_argument(
        "--directory", type=Path, default=Path("/dev/shm"), help="where it is made (default: /dev/shm)"
    )
    return parser


def _measure(place: Path, large: Large, runs: int) -> list[tuple[str, ...]]:
    lines = []
    for row in _rows(place, large):
        print(f"\r{row.what:50}", end="", file=sys.stderr, flush=True)
        found = []
        for _ in range(runs):
            row.before()
            found.append(run_program(row.argv, row.code))
        lines.append(_cells(row.what, found, row.goal))
    lines.append(_cells("one scrape of metrics", _scrapes(_configured(place, "14 MONTHS")), 1))
    half = (*_configured(place, "6 MONTHS"), "cron", "--supervised")
    lines.append(_cells("a round of maintenance, half of it goes", [run_program(half)], None))
    print("\r" + " " * 50 + "\r", end="", file=sys.stderr, flush=True)
    return lines


def _rows(place: Path, large: Large) -> list[Row]:
    ours = _configured(place, "14 MONTHS")
    sizes = place / "main" / layout.STATE / CACHE
    destination = place / "restored"
    destination.mkdir()
    restore = (*ours, "restore", "main", "auto", str(destination), "--dry-run")
    return [
        Row("list-backups, no sizes remembered", (*ours, "list-backups", "main"),
            before=lambda: sizes.unlink(missing_ok=True)),
        Row("list-backups", (*ours, "list-backups", "main"), 1),
        Row("show-backup, the oldest", (*ours, "show-backup", "main", "oldest"), 1),
        Row("list-files, a backup and its WAL", (*ours, "list-files", "main", "oldest", "--target", "full"), 1),
        Row("status", (*ours, "status", "main"), 2),
        Row("check", (*ours, "check", "main"), 2, code=1),
        Row("expire --dry-run", (*_configured(place, "6 MONTHS"), "expire", "main", "--dry-run"), 2),
        Row("restore --dry-run, all WAL", restore, 2),
        Row("restore --dry-run, to a position",
            (*restore, "--no-scan", "--target-lsn", str(large.position(large.last // 2))), 2),
        Row("a round of maintenance, nothing due", (*ours, "cron", "--supervised"), 1),
    ]  # fmt: skip


def _configured(place: Path, window: str) -> list[str]:
    """A command with a configuration in which backups of so long are kept; there is no server."""
    path = place / f"{window.replace(' ', '-')}.conf"
    path.write_text(
        f"[walstream]\nwalstream_home = {place}\n[main]\nconninfo = host={place} user=nobody\nslot_name = main\n"
        f"retention_policy = RECOVERY WINDOW OF {window}\nminimum_redundancy = 3\n",
        encoding="utf-8",
    )
    return walstream("-q", "-c", str(path))


def _scrapes(ours: Sequence[str]) -> list[Run]:
    """What each scrape costs the process that serves it, in which no check runs meanwhile."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    found = []
    with Service([*ours, "metrics", "--listen", address]) as service:
        service.wait_for(lambda: CHECKED in _scraped(address), "tell of a check")
        for _ in range(SCRAPES):
            time.sleep(PAUSE)
            cpu, began = service.cpu(), time.perf_counter()
            _scraped(address)
            found.append(Run(time.perf_counter() - began, service.cpu() - cpu, service.peak()))
        service.stop()
    return found


def _scraped(address: str) -> bytes:
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
            return bytes(answer.read())
    except urllib.error.URLError:
        return b""  # it does not listen yet


def _cells(what: str, runs: Sequence[Run], goal: float | None) -> tuple[str, ...]:
    cpu = median(run.cpu for run in runs)
    shown = "-" if goal is None else f"{goal:g}" + (" *" if cpu > goal else "")
    wall, peak = median(run.seconds for run in runs), max(run.rss for run in runs)
    return what, f"{cpu:.2f}", f"{wall:.2f}", shown, f"{peak / 2**20:.0f}"


if __name__ == "__main__":
    sys.exit(main())
