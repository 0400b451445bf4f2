"""Sizes and lengths of time as people read them, in tables, logs and errors. Pure."""

from __future__ import annotations

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


def counted(number: int, thing: str) -> str:
    """How many of a thing: ``1 segment``, ``2 segments``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
