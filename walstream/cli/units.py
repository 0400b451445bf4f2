"""Moments and tables as people read them. Pure."""

from __future__ import annotations

from datetime import datetime


def local_time(moment: datetime) -> str:
    """A moment, which must know its zone, in local time with the offset: ``2026-01-31 12:00:00+01:00``."""
    return moment.astimezone().isoformat(" ", "seconds")


def table(headers: list[str], rows: list[list[str]], right: frozenset[int] = frozenset()) -> list[str]:
    """Rows as aligned lines; the columns in ``right`` are aligned to the right."""
    lines = [headers, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
