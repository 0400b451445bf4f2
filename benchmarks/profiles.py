"""Where the time goes in a row that falls short: our side once more, under the interpreter's own profiler.

Only its main thread is seen, which is the one that talks to the server or lays files down, and the profiler
makes every call of Python dearer: the order of the lines counts, not their seconds. Nothing is seen of what the
server or a shell starts by itself.
"""

from __future__ import annotations

import pstats
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.commits import Standby
from benchmarks.measure import Contender, Side

LINES = 25
_OURS = ["-m", "walstream"]


def profile(ours: Contender, path: Path) -> bool:
    """Write the dearest functions to a file; False for what cannot be looked into."""
    raw = path.with_suffix(".pstats")
    contender: Contender
    if isinstance(ours, Side):
        prepare = ours.prepare
        contender = replace(ours, prepare=lambda: profiled(prepare(), raw))
    elif isinstance(ours, Standby):
        contender = replace(ours, wrap=lambda argv: profiled(argv, raw))
    else:
        return False
    raw.unlink(missing_ok=True)
    contender.run()
    if not raw.exists():
        return False
    with open(path, "w", encoding="utf-8") as file:
        pstats.Stats(str(raw), stream=file).sort_stats("tottime").print_stats(LINES)
    raw.unlink()
    return True


def profiled(argv: Sequence[str], path: Path) -> list[str]:
    """A command of ours, under the profiler; any other as it is."""
    if list(argv[1:3]) != _OURS:
        return list(argv)
    return [argv[0], "-m", "cProfile", "-o", str(path), *argv[1:]]
