"""The one line of ``check --nagios``, as plug-ins of monitoring systems have it: state, text, figures. Pure."""

from __future__ import annotations

from collections.abc import Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Checking needs psycopg; this is text.
    from walstream.ops.check import Report
    from walstream.ops.items import Item

OK, WARNING, CRITICAL, UNKNOWN = 0, 1, 2, 3
_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_WORSE = (OK, WARNING, UNKNOWN, CRITICAL)


def state_of(reports: Sequence[Report]) -> int:
    """0: all is well; 1: something failed that keeps no backup from being taken or WAL from coming; 2: the rest.

    3 for a section that is wrong, unless another server is at 2: what is not known hides nothing that is.
    """
    states = [_state_of(item) for report in reports if report.active for item in report.items if not item.ok]
    return max(states, default=OK, key=_WORSE.index)


def line(reports: Sequence[Report]) -> str:
    """What a monitoring system is told about these servers."""
    state = state_of(reports)
    active = [report for report in reports if report.active]
    failed = [report for report in active if not report.ok]
    if failed:
        text = "; ".join(
            f"{report.server}: "
            + ", ".join(f"{item.label} ({item.hint})" for item in report.items if not item.ok)
            for report in failed
        )
    else:
        text = (
            f"ready to restore {', '.join(report.server for report in active)}"
            if active
            else "no active server"
        )
    return f"WALSTREAM {_WORDS[state]} - {_clean(text)}{_performance(active)}"


def _state_of(failed: Item) -> int:
    if failed.is_unknown:
        return UNKNOWN
    return WARNING if failed.minor else CRITICAL


def unknown(message: str) -> str:
    """The line when nothing could be checked."""
    return f"WALSTREAM {_WORDS[UNKNOWN]} - {_clean(message)}"


def _performance(reports: Sequence[Report]) -> str:
    found = [
        f"'{report.server} {name}'={value:.0f}{unit}"
        for report in reports
        for name, (value, unit) in report.figures.items()
    ]
    return f" | {' '.join(found)}" if found else ""


def _clean(text: str) -> str:
    """One line, without the sign that begins performance data."""
    return " ".join(text.replace("|", "/").split())
