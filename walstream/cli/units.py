"""Sizes, times and lengths of time as people read them. Pure."""

from __future__ import annotations

from datetime import datetime

_PREFIXES = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size(nbytes: float) -> str:
    """A number of bytes: ``512 B``, ``12.3 MiB``."""
    if abs(nbytes) < 1023.95:
        return f"{nbytes:.0f} B"
    power = 0
    value = float(nbytes)
    while abs(value) >= 1023.95 and power < len(_PREFIXES):
        value /= 1024
        power += 1
    return f"{value:.1f} {_PREFIXES[power - 1]}"


def duration(seconds: float) -> str:
    """A length of time, in its two greatest units: ``0.4 s``, ``12 s``, ``3 min 4 s``, ``2 d 1 h``."""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    for unit, length, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= length:
            rest = whole % length // part
            return f"{whole // length} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s"


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
