"""``python -m benchmarks``: one table, ours against PostgreSQL's own tools; see benchmarks/README.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import walstream
from benchmarks.measure import ROOT, Comparison, Failed, compare
from benchmarks.profiles import profile
from benchmarks.report import About, Report, facts, is_short, plot, replaced, section, text
from benchmarks.row import Row
from benchmarks.rows import all_rows
from benchmarks.scene import Scene, scene
from catalog.errors import WalstreamError
from walstream.ops.installation import version_text

GIGABYTE = 10**9
DOCS = ROOT / "docs"
PAGE, FIGURES, PLOT = DOCS / "speed.md", DOCS / "speed.json", DOCS / "speed.svg"


def main() -> int:
    parser = _parser()
    options = parser.parse_args()
    signal.signal(
        signal.SIGTERM, lambda number, frame: sys.exit(128 + number)
    )  # so that the server is stopped
    if options.quick:
        options.size, options.runs, options.seconds = min(options.size, 0.1), 1, 1
        options.segments = min(options.segments, 20)
    if options.docs:
        if options.rows or options.quick:
            parser.error(
                "the page shows all rows, measured in earnest: leave out rows and --quick, or --docs"
            )
        options.json, options.svg = options.json or FIGURES, options.svg or PLOT
    for path in filter(None, (options.json, options.svg)):
        if path.is_dir() or not path.parent.is_dir():
            parser.error(f"cannot be written: {path}; name a file in a directory that exists")
    load = os.getloadavg()[0]  # of others: a server that fills its cluster is a load, too
    try:
        with scene(round(options.size * GIGABYTE), options.pg, options.memory, options.directory) as place:
            report, failures = _measure(place, options, load)
            if report.found:
                _put(report, options)
            if options.profile:
                _profile(report, options.profile)
    except (Failed, WalstreamError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    for failure in failures:
        print(f"benchmarks: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only rows whose key begins with this")
    parser.add_argument(
        "--quick", action="store_true", help="0.1 GB, one run each: only to see that it works"
    )
    parser.add_argument("--size", type=float, default=1.0, help="GB of cluster and of WAL (default: 1)")
    parser.add_argument("--runs", type=int, default=5, help="pairs for each row (default: 5)")
    parser.add_argument(
        "--seconds", type=int, default=10, help="how long each run commits (rows commits-…; default: 10)"
    )
    parser.add_argument(
        "--segments", type=int, default=200, help="how many each recovery replays (row replay; default: 200)"
    )
    parser.add_argument("--pg", type=int, default=17, help="version of server and tools (default: 17)")
    parser.add_argument(
        "--memory", type=Path, default=Path("/dev/shm"), help="where nothing is synced (default: /dev/shm)"
    )
    parser.add_argument(
        "--directory", type=Path, default=Path(tempfile.gettempdir()), help="the server, and what is synced"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures of all runs there, too")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write a plot there, too")
    parser.add_argument(
        "--profile", type=Path, metavar="DIR", help="write a profile there of each of ours that falls short"
    )
    parser.add_argument(
        "--docs",
        action="store_true",
        help="write docs/speed.json, docs/speed.svg and the figures of docs/speed.md",
    )
    return parser


def _measure(place: Scene, options: argparse.Namespace, load: float) -> tuple[Report, list[str]]:
    """All rows that are wanted; one that fails is told of at the end, and does not stop the others."""
    wanted = tuple(options.rows) or ("",)
    every = all_rows(place, options.seconds, options.segments)
    rows = {key: make for key, make in every.items() if key.startswith(wanted)}
    if not rows:
        raise Failed(f"no row begins with {' or '.join(wanted)}: there are {', '.join(every)}")
    about = _about(place, options.runs, load)
    found: list[tuple[Row, Comparison]] = []
    failures = []
    for number, (key, make) in enumerate(rows.items(), 1):
        print(f"\r{number}/{len(rows)} {key:40}", end="", file=sys.stderr, flush=True)
        try:
            row = make()
            limits = {limit.key: limit.contender for limit in row.limits}
            found.append((row, compare(row.ours, row.theirs, options.runs * row.runs, limits)))
        except (Failed, WalstreamError) as error:
            failures.append(f"{key}: {error}")
    print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)
    return Report(about, found), failures


def _profile(report: Report, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for row, comparison in report.found:
        if is_short(row, comparison):
            path = directory / f"{row.key}.txt"
            print(f"profile: {path}" if profile(row.ours, path) else f"no profile: {row.key}")


def _about(place: Scene, pairs: int, load: float) -> About:
    return About(
        walstream=walstream.__version__,
        python=platform.python_version(),
        postgresql=version_text(place.server.bin_dir),
        machine=_processor(),
        cores=os.cpu_count() or 1,
        date=datetime.now(UTC).date().isoformat(),
        wal_bytes=place.wal_bytes,
        cluster_bytes=place.cluster_bytes(),
        pairs=pairs,
        load=load,
    )


def _processor() -> str:
    """What the processor calls itself, where that can be known."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, None) or platform.machine()


def _put(report: Report, options: argparse.Namespace) -> None:
    print(text(report))
    if options.json:
        options.json.write_text(json.dumps(facts(report), indent=2) + "\n", encoding="utf-8")
        print(f"\nfigures of all runs: {options.json}")
    if options.svg:
        options.svg.write_text(plot(report), encoding="utf-8")
        print(f"plot: {options.svg}")
    if options.docs:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(replaced(page, section(report)), encoding="utf-8")
        print(f"page: {PAGE}")


if __name__ == "__main__":
    sys.exit(main())
