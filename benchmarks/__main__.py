"""``python -m benchmarks``: one table, ours against PostgreSQL's own tools; see benchmarks/README.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import walstream
from benchmarks.measure import Comparison, Failed, Run, compare
from benchmarks.rows import Row, all_rows
from benchmarks.scene import Scene, scene
from catalog.errors import WalstreamError
from walstream.ops.installation import version_text

GIGABYTE = 10**9
MEGABYTE = 10**6


def main() -> int:
    options = _parser().parse_args()
    signal.signal(
        signal.SIGTERM, lambda number, frame: sys.exit(128 + number)
    )  # so that the server is stopped
    if options.quick:
        options.size, options.runs, options.seconds = min(options.size, 0.1), 1, 1
        options.segments = min(options.segments, 20)
    try:
        with scene(round(options.size * GIGABYTE), options.pg, options.memory, options.directory) as place:
            return _measure(place, options)
    except (Failed, WalstreamError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1


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
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there, too")
    return parser


def _measure(place: Scene, options: argparse.Namespace) -> int:
    rows = all_rows(place, options.seconds, options.segments)
    if options.rows:
        rows = [row for row in rows if row.key.startswith(tuple(options.rows))]
    found: list[tuple[Row, Comparison]] = []
    for number, row in enumerate(rows, 1):
        print(f"\r{number}/{len(rows)} {row.what:40}", end="", file=sys.stderr, flush=True)
        found.append((row, compare(row.ours, row.theirs, options.runs * row.runs)))
    print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)
    about = {
        "walstream": walstream.__version__,
        "python": platform.python_version(),
        "postgresql": version_text(place.server.bin_dir),
        "cores": os.cpu_count(),
        "wal_bytes": place.wal_bytes,
        "cluster_bytes": place.cluster_bytes(),
        "pairs": options.runs,
    }
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(_table([_cells(row, comparison) for row, comparison in found]))
    if options.json:
        lines = [_facts(row, comparison) for row, comparison in found]
        options.json.write_text(json.dumps(about | {"rows": lines}, indent=2) + "\n", encoding="utf-8")
    return 0


HEADINGS = ("what", "against", "who syncs", "ours", "theirs", "ratio", "from-to", "goal", "CPU s", "peak MiB")


def _cells(row: Row, comparison: Comparison) -> tuple[str, ...]:
    ratios = sorted(comparison.ratios)
    ours, theirs = comparison.ours, comparison.theirs
    return (
        row.what,
        row.against,
        row.sync,
        _speed(row, ours),
        _speed(row, theirs),
        f"{comparison.ratio:.2f}",
        f"{ratios[0]:.2f}-{ratios[-1]:.2f}",
        f"{row.goal:.2f}" + (" *" if comparison.ratio < row.goal else ""),
        f"{_median(ours, 'cpu'):.2f} : {_median(theirs, 'cpu'):.2f}",
        f"{_median(ours, 'rss') / 2**20:.0f} : {_median(theirs, 'rss') / 2**20:.0f}",
    )


def _speed(row: Row, runs: Sequence[Run]) -> str:
    if not row.nbytes:
        return f"{_median(runs, 'speed'):.0f} /s"
    seconds = _median(runs, "seconds")
    return f"{seconds * 1000:.0f} ms" if seconds < 0.2 else f"{row.nbytes / seconds / MEGABYTE:.0f} MB/s"


def _median(runs: Sequence[Run], name: str) -> float:
    return median(getattr(run, name) for run in runs)


def _facts(row: Row, comparison: Comparison) -> dict[str, object]:
    def side(runs: Sequence[Run]) -> list[dict[str, float]]:
        return [
            {"seconds": run.seconds, "cpu_seconds": run.cpu, "peak_bytes": run.rss}
            | ({} if run.latency is None else {"work": run.work, "latency_seconds": run.latency})
            for run in runs
        ]

    return {
        "key": row.key,
        "what": row.what,
        "against": row.against,
        "syncs": row.sync,
        "bytes": row.nbytes,
        "ratio": comparison.ratio,
        "goal": row.goal,
        "ours": side(comparison.ours),
        "theirs": side(comparison.theirs),
    }


def _table(lines: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(HEADINGS, *lines, strict=True)]
    ruled = [HEADINGS, tuple("-" * width for width in widths), *lines]
    return "\n".join(
        "  ".join(cell.ljust(width) if column < 3 else cell.rjust(width) for column, (cell, width) in
                  enumerate(zip(line, widths, strict=True)))
        for line in ruled
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
