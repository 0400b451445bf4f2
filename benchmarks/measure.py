"""Programs timed in pairs: command lines in; speed, CPU seconds and peak memory out.

Both sides of a comparison run as fresh processes, alternating (theirs, ours, theirs, ours, …), so that whatever
else the machine does falls on both; the ratio is the median over the pairs. What limits both is measured
between them, once in each round, for the same reason. Knows nothing of what runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
class Probe:
    """A program that times itself, so that its start does not count, and prints what it found as JSON.

    ``nbytes`` is how much makes one piece of work; the program may do more or less. ``clear`` as in ``Side``.
    """

    argv: Sequence[str]
    nbytes: int
    clear: Callable[[], None] = lambda: None

    def run(self) -> Run:
        try:
            run, said = _ended(self.argv, 0)
        finally:
            self.clear()
        found = json.loads(said.splitlines()[-1])
        return Run(found["seconds"], found["cpu_seconds"], run.rss, found["bytes"] / self.nbytes)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was measured for one row, ours and theirs, and by their keys its limits, all in the same order."""

    ours: tuple[Run, ...]
    theirs: tuple[Run, ...]
    limits: Mapping[str, tuple[Run, ...]] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        """Our speed by theirs, pair by pair: above 1, ours is faster."""
        return [a.speed / b.speed for a, b in zip(self.ours, self.theirs, strict=True)]

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    @property
    def shares(self) -> dict[str, float]:
        """By the key of each limit how much of it we reach."""
        return {
            key: median(a.speed / b.speed for a, b in zip(self.ours, runs, strict=True))
            for key, runs in self.limits.items()
        }

    @property
    def nearest(self) -> str | None:
        """The key of the limit that we come nearest to."""
        return max(self.shares, key=self.shares.__getitem__, default=None)


def run_program(argv: Sequence[str], code: int = 0) -> Run:
    """Run a program to its end; ``Failed`` with what it said when it has another exit code."""
    return _ended(argv, code)[0]


def compare(
    ours: Contender, theirs: Contender, times: int, limits: Mapping[str, Contender] | None = None
) -> Comparison:
    """Run both sides ``times`` times, alternating, and behind each pair whatever limits them."""
    sides = {"theirs": theirs, "ours": ours}
    bounds = limits or {}
    runs: dict[str, list[Run]] = {name: [] for name in (*sides, *bounds)}
    for _ in range(times):
        for name, contender in (sides | bounds).items():
            runs[name].append(contender.run())
    return Comparison(tuple(runs["ours"]), tuple(runs["theirs"]), {key: tuple(runs[key]) for key in bounds})


def _ended(argv: Sequence[str], code: int) -> tuple[Run, str]:
    with tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            argv, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read().decode(errors="replace")
        if process.returncode != code:
            raise Failed(f"exit code {process.returncode} of {' '.join(argv)}\n{said[-2000:]}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024), said


def environment() -> dict[str, str]:
    """Ours, with the code of this tree, compiled once like an installed program's."""
    left_out = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PGOPTIONS")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return kept | {"PYTHONPATH": str(ROOT)}
