"""What ``bench`` found as a table, as JSON and as a plot. Pure."""

from __future__ import annotations

from catalog.units import size
from walstream.ops.bench_measures import (
    AGE,
    COMMIT,
    DISK,
    FSYNC,
    NATIVE,
    NOWHERE,
    ROUND_TRIP,
    Findings,
    Latency,
    Rate,
)
from walstream.ops.svg import Bar, Panel, bar_chart

_LABELS = {
    NOWHERE: "streamed to nowhere",
    DISK: "written and synced",
    AGE: "encrypted",
    NATIVE: "by pg_receivewal, start included",
    FSYNC: "sync of 8 KiB on the disk",
    ROUND_TRIP: "question to the server",
    COMMIT: "commit",
    "load": "writing WAL to measure with",
    "commits": "commits",
    "streaming": "streaming",
}


def label(name: str) -> str:
    """What a figure is called to people."""
    return _LABELS.get(name) or f"through {name}"


def lines_of_rates(findings: Findings) -> list[list[str]]:
    """Rows of a table: what, how fast, how many cores of this host were busy, how much was measured."""
    return [[label(name), *_shown_rate(rate)] for name, rate in findings.rates.items()]


def lines_of_latencies(findings: Findings) -> list[list[str]]:
    """Rows of a table: what, the median, what 99 of 100 do not exceed, how often it was measured."""
    return [
        [label(name), milliseconds(each.median), milliseconds(each.p99), str(each.count)]
        for name, each in findings.latencies.items()
    ]


def milliseconds(seconds: float) -> str:
    """A latency as people read it."""
    return f"{seconds * 1000:.{2 if seconds >= 0.0001 else 3}f} ms"


def facts(findings: Findings) -> dict[str, object]:
    """All of it, for programs; rates in bytes per second, times in seconds."""
    return {
        "wal_bytes": findings.nbytes,
        "cores": findings.cores,
        "stored_as": findings.stored or "none",
        "rates": {name: _rate_facts(rate) for name, rate in findings.rates.items()},
        "latencies": {name: _latency_facts(each) for name, each in findings.latencies.items()},
        "skipped": dict(findings.skipped),
        "server_settings": dict(findings.settings),
        "limit": findings.limit,
    }


def plot(server: str, findings: Findings) -> str:
    """An SVG document."""
    rates = [
        Bar(label(name), rate.per_second, f"{size(rate.per_second)}/s")
        for name, rate in findings.rates.items()
    ]
    latencies = [
        Bar(f"{label(name)}, {which}", value, milliseconds(value))
        for name, each in findings.latencies.items()
        for which, value in (("median", each.median), ("99 %", each.p99))
    ]
    panels = [
        Panel("WAL per second (longer is better)", rates),
        Panel("Time (shorter is better)", latencies, colour="orange"),
    ]
    return bar_chart(f"walstream bench {server}", panels, findings.limit)


def _shown_rate(rate: Rate) -> list[str]:
    cores = "" if rate.cores is None else f"{rate.cores:.1f}"
    return [f"{size(rate.per_second)}/s", cores, size(rate.nbytes)]


def _rate_facts(rate: Rate) -> dict[str, object]:
    return {
        "bytes": rate.nbytes,
        "seconds": rate.seconds,
        "bytes_per_second": rate.per_second,
        "cpu_seconds": rate.cpu,
    }


def _latency_facts(latency: Latency) -> dict[str, object]:
    return {"count": latency.count, "median_seconds": latency.median, "p99_seconds": latency.p99}
