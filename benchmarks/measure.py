"""Programs timed in pairs: command lines in; speed, CPU seconds and peak memory out.

Both sides of a comparison run as fresh processes, alternating (theirs, ours, theirs, ours, …), so that whatever
else the machine does falls on both; the ratio is the median over the pairs. Knows nothing of what runs.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Protocol

ROOT = Path(__file__).parent.parent


class Failed(Exception):
    """A program failed, or did not do what it was timed for: there is nothing to compare."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one program: its children count, the server does not. ``rss`` in bytes.

    ``work`` is what was done in that time: the whole of a job, or so many pieces; ``latency`` how long one
    piece took on the average, in seconds, where several are done at a time.
    """

    seconds: float
    cpu: float
    rss: int
    work: float = 1
    latency: float | None = None

    @property
    def speed(self) -> float:
        return self.work / self.seconds


class Contender(Protocol):
    """Whatever can be run once from a fresh start; raises ``Failed`` when it did not do its work."""

    def run(self) -> Run: ...


@dataclass(frozen=True, slots=True)
class Side:
    """A program as one side of a comparison.

    ``prepare`` makes everything fresh and returns the command line; ``check`` says what is wrong with what
    the program left, or nothing; ``clear`` removes it. Neither of the three is timed.
    """

    name: str
    prepare: Callable[[], Sequence[str]]
    check: Callable[[], str | None] = lambda: None
    clear: Callable[[], None] = lambda: None

    def run(self) -> Run:
        argv = self.prepare()
        try:
            run = run_program(argv)
            complaint = self.check()
            if complaint:
                raise Failed(f"{self.name}: {complaint}")
        finally:
            self.clear()
        return run


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was measured for one row, ours and theirs in the same order."""

    ours: tuple[Run, ...]
    theirs: tuple[Run, ...]

    @property
    def ratios(self) -> list[float]:
        """Our speed by theirs, pair by pair: above 1, ours is faster."""
        return [a.speed / b.speed for a, b in zip(self.ours, self.theirs, strict=True)]

    @property
    def ratio(self) -> float:
        return median(self.ratios)


def run_program(argv: Sequence[str], code: int = 0) -> Run:
    """Run a program to its end; ``Failed`` with what it said when it has another exit code."""
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            argv, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != code:
            output.seek(0)
            said = output.read()[-2000:].decode(errors="replace")
            raise Failed(f"exit code {process.returncode} of {' '.join(argv)}\n{said}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def compare(ours: Contender, theirs: Contender, times: int) -> Comparison:
    """Run both sides ``times`` times, alternating."""
    found: dict[str, list[Run]] = {"ours": [], "theirs": []}
    for _ in range(times):
        found["theirs"].append(theirs.run())
        found["ours"].append(ours.run())
    return Comparison(tuple(found["ours"]), tuple(found["theirs"]))


def environment() -> dict[str, str]:
    """Ours, with the code of this tree, compiled once like an installed program's."""
    left_out = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PGOPTIONS")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return kept | {"PYTHONPATH": str(ROOT)}
