"""Stands in for a light command: answers, or fails, as its first argument says."""

from __future__ import annotations

import sys


def light_main(arguments: list[str]) -> int:
    match arguments:
        case ["raise"]:
            raise ValueError("something unforeseen")
        case ["exit"]:
            sys.exit(2)
        case [code]:
            return int(code)
    return 0
