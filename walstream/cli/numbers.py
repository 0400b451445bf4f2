"""Numbers on the command line: what is no such number is refused with what would be one."""

from __future__ import annotations

import argparse

MOST_SECONDS = 999_999_999.0


def seconds(text: str, most: float = MOST_SECONDS) -> float:
    """A time in seconds, from 0; ``ArgumentTypeError`` says what may be given."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to {most:.0f}")
    return found
