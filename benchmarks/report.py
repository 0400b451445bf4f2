"""What was measured as a table, as JSON, as a plot, and as the figures of docs/speed.md. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks.measure import Comparison, Run
from benchmarks.row import SEGMENT, Limit, Row
from benchmarks.tables import table
from walstream.ops.svg import Bar, Panel, bar_chart

MEGABYTE = 10**6
MOST_MEMORY = 150 << 20  # of any program of ours
BEGIN, END = "<!-- figures: written by make bench -->", "<!-- end of figures -->"
HEADINGS = ("what", "against", "who syncs", "ours", "theirs", "ratio", "from-to", "goal", "of its limit", "CPU s",
            "peak MiB")  # fmt: skip
LIMIT_HEADINGS = ("what limits", "key", "figure", "from-to", "CPU s", "peak MiB")


@dataclass(frozen=True, slots=True)
class About:
    """What the figures depend on; ``pairs`` of runs for most rows, ``load`` (average) before the first."""

    walstream: str
    python: str
    postgresql: str
    machine: str
    cores: int
    date: str
    wal_bytes: int
    cluster_bytes: int
    pairs: int
    load: float


@dataclass(frozen=True, slots=True)
class Report:
    """The rows with what was found for each."""

    about: About
    found: Sequence[tuple[Row, Comparison]]

    @property
    def circumstances(self) -> str:
        """In which the figures were found, as a sentence."""
        about = self.about
        return (
            f"{about.date}: walstream {about.walstream} on Python {about.python}, PostgreSQL {about.postgresql}, "
            f"{about.cores} cores ({about.machine}); {about.wal_bytes / MEGABYTE:.0f} MB of WAL, a cluster of "
            f"{about.cluster_bytes / MEGABYTE:.0f} MB, {about.pairs} pairs; load before it {about.load:.1f}."
        )

    @property
    def limits(self) -> list[tuple[Limit, tuple[Run, ...]]]:
        """Each limit once, with all its runs, beside whichever row they were made."""
        runs: dict[str, tuple[Run, ...]] = {}
        limits = {limit.key: limit for row, _ in self.found for limit in row.limits}
        for _, comparison in self.found:
            for key, more in comparison.limits.items():
                runs[key] = runs.get(key, ()) + more
        return [(limit, runs[key]) for key, limit in limits.items()]


def text(report: Report) -> str:
    """For the terminal: the facts, the comparisons, and below them the limits."""
    parts = [
        report.circumstances,
        table(HEADINGS, [_cells(row, comparison) for row, comparison in report.found], 3),
    ]
    if report.limits:
        parts.append(table(LIMIT_HEADINGS, [_limit_cells(*each) for each in report.limits], 2))
    return "\n\n".join(parts)


def facts(report: Report) -> dict[str, object]:
    """All figures of all runs, for programs."""
    return {
        **asdict(report.about),
        "rows": [_row_facts(row, comparison) for row, comparison in report.found],
        "limits": [
            {"key": limit.key, "what": limit.what, "bytes": limit.nbytes, "runs": _run_facts(runs)}
            for limit, runs in report.limits
        ],
    }


def plot(report: Report) -> str:
    """An SVG document: a bar for each ratio in units of its goal, and one for each limit."""
    ratios = "our speed by theirs, in units of the goal; in brackets ours : theirs"
    rates = [each for each in report.limits if each[0].nbytes > SEGMENT]
    counts = [each for each in report.limits if not each[0].nbytes]
    floor = "what limits commits: per second, with nothing but the calls that every receiver makes"
    panels = [
        Panel(ratios, [_ratio_bar(*each) for each in report.found], mark=(1.0, "the goal")),
        Panel("what limits: each part by itself, per second", [_limit_bar(*each) for each in rates]),
        Panel(floor, [_limit_bar(*each) for each in counts]),
    ]
    colours = "Orange: short of the goal. Thin lines: from the lowest pair to the highest."
    return bar_chart("walstream against PostgreSQL's own tools", panels, f"{colours} {report.circumstances}")


def section(report: Report) -> str:
    """Figures for a page of documentation, between two marks that ``replaced`` finds."""
    rows = [(*HEADINGS[:2], *HEADINGS[3:]), *(_cells_but_sync(*each) for each in report.found)]
    limits = [LIMIT_HEADINGS, *(_limit_cells(*each) for each in report.limits)]
    blocks = [
        BEGIN,
        report.circumstances,
        _markdown(rows),
        *([_markdown(limits)] if len(limits) > 1 else []),
        END,
    ]
    return "\n\n".join(blocks)


def replaced(page: str, figures: str) -> str:
    """The page with these figures in the place of those that it has; ``ValueError`` if it has no place."""
    before, mark, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"the page has no {BEGIN} with {END} behind it")
    return before + figures + after


def is_short(row: Row, comparison: Comparison) -> bool:
    """Whether the goal is missed."""
    return comparison.ratio < row.goal


def _is_large(comparison: Comparison) -> bool:
    """Whether ours needs more memory than it may; a server that recovers needs the same on both sides."""
    return _median(comparison.ours, "rss") > MOST_MEMORY >= _median(comparison.theirs, "rss")


def _cells(row: Row, comparison: Comparison) -> tuple[str, ...]:
    ours, theirs = comparison.ours, comparison.theirs
    nearest = comparison.nearest
    return (
        row.what,
        row.against,
        row.sync,
        _speed(row.nbytes, ours),
        _speed(row.nbytes, theirs),
        f"{comparison.ratio:.2f}",
        f"{min(comparison.ratios):.2f}-{max(comparison.ratios):.2f}",
        f"{row.goal:.2f}" + (" *" if is_short(row, comparison) else ""),
        "-" if nearest is None else f"{comparison.shares[nearest]:.0%} {nearest}",
        f"{_median(ours, 'cpu'):.2f} : {_median(theirs, 'cpu'):.2f}",
        f"{_peak(ours)} : {_peak(theirs)}" + (" *" if _is_large(comparison) else ""),
    )


def _cells_but_sync(row: Row, comparison: Comparison) -> tuple[str, ...]:
    cells = _cells(row, comparison)
    return (row.what + _where(row), cells[1], *cells[3:])


def _limit_cells(limit: Limit, runs: Sequence[Run]) -> tuple[str, ...]:
    each = [float(_speed(limit.nbytes, [run]).split()[0]) for run in runs]
    return (
        limit.what,
        limit.key,
        _speed(limit.nbytes, runs),
        f"{min(each):.0f}-{max(each):.0f}",
        f"{_median(runs, 'cpu'):.2f}",
        _peak(runs),
    )


def _ratio_bar(row: Row, comparison: Comparison) -> Bar:
    ours, theirs = _speed(row.nbytes, comparison.ours), _speed(row.nbytes, comparison.theirs)
    return Bar(
        row.what + _where(row),
        comparison.ratio / row.goal,
        f"{comparison.ratio:.2f} of {row.goal:.2f}  ({ours} : {theirs})",
        (min(comparison.ratios) / row.goal, max(comparison.ratios) / row.goal),
        "orange" if is_short(row, comparison) else "blue",
    )


def _limit_bar(limit: Limit, runs: Sequence[Run]) -> Bar:
    speeds = [run.speed * (limit.nbytes or 1) for run in runs]
    return Bar(limit.what, median(speeds), _speed(limit.nbytes, runs), (min(speeds), max(speeds)))


def _where(row: Row) -> str:
    """Tells rows apart that differ in nothing but who syncs."""
    return ", synced" if row.sync.startswith("both") and row.nbytes else ""


def _speed(nbytes: int, runs: Sequence[Run]) -> str:
    speed = _median(runs, "speed")
    if not nbytes:
        return f"{speed:.0f} /s"
    return f"{1000 / speed:.0f} ms" if nbytes == SEGMENT else f"{nbytes * speed / MEGABYTE:.0f} MB/s"


def _median(runs: Sequence[Run], name: str) -> float:
    return median(float(getattr(run, name)) for run in runs)


def _peak(runs: Sequence[Run]) -> str:
    return f"{_median(runs, 'rss') / 2**20:.0f}"


def _row_facts(row: Row, comparison: Comparison) -> dict[str, object]:
    return {
        "key": row.key,
        "what": row.what,
        "against": row.against,
        "syncs": row.sync,
        "bytes": row.nbytes,
        "ratio": comparison.ratio,
        "goal": row.goal,
        "limits": comparison.shares,
        "ours": _run_facts(comparison.ours),
        "theirs": _run_facts(comparison.theirs),
    }


def _run_facts(runs: Sequence[Run]) -> list[dict[str, float]]:
    return [
        {"seconds": run.seconds, "cpu_seconds": run.cpu, "peak_bytes": run.rss, "work": run.work}
        | ({} if run.latency is None else {"latency_seconds": run.latency})
        for run in runs
    ]


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    def shown(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    escaped = [[cell.replace("|", "\\|").replace("*", "\\*") for cell in line] for line in lines]
    return "\n".join([shown(escaped[0]), shown(["---"] * len(escaped[0])), *map(shown, escaped[1:])])
