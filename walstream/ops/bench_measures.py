"""What a bench found, as values, and what they say about the setup in one sentence. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NOWHERE, DISK, AGE, NATIVE = "nowhere", "disk", "age", "pg_receivewal"
FSYNC, ROUND_TRIP, COMMIT = "fsync", "round_trip", "commit"

_KEEPS_UP = 0.85
"""Of what the server sends to nowhere: who takes in that much is not what limits. Figures of one run differ so."""
_BUSY = 0.9
"""Of the cores' time (or of the one that a single thread can have): beyond it the CPU is what limits."""


@dataclass(frozen=True, slots=True)
class Rate:
    """WAL taken in: bytes, the seconds it took, and the CPU seconds of this process for it.

    ``cpu`` is None where another process did the work.
    """

    nbytes: int
    seconds: float
    cpu: float | None

    @property
    def per_second(self) -> float:
        """Bytes per second."""
        return self.nbytes / self.seconds if self.seconds > 0 else 0.0

    @property
    def cores(self) -> float | None:
        """How many cores were busy with it, on average."""
        return None if self.cpu is None or self.seconds <= 0 else self.cpu / self.seconds


@dataclass(frozen=True, slots=True)
class Latency:
    """How long something took, in seconds, each of ``count`` times."""

    count: int
    median: float
    p99: float

    @classmethod
    def of(cls, times: Sequence[float]) -> Latency:
        """The summary of at least one time."""
        ordered = sorted(times)
        return cls(len(ordered), _rank(ordered, 50), _rank(ordered, 99))


@dataclass(frozen=True, slots=True)
class Findings:
    """All figures by name, and by name why there are no others; ``stored`` is how this server's WAL is stored.

    ``nbytes`` is how much WAL of the server there was to measure with; ``settings`` are those of the server
    that a commit's latency depends on, if commits were measured.
    """

    nbytes: int
    cores: int
    stored: str | None
    rates: Mapping[str, Rate]
    latencies: Mapping[str, Latency]
    skipped: Mapping[str, str]
    settings: Mapping[str, str]

    @property
    def limit(self) -> str:
        """What limits this setup, in one sentence."""
        nowhere, disk = self.rates.get(NOWHERE), self.rates.get(DISK)
        if nowhere is None or disk is None:
            return "nothing can be said of what limits this setup: there was too little WAL to measure with"
        enough = nowhere.per_second * _KEEPS_UP
        stored = self.rates.get(self.stored or "")
        if disk.per_second < enough and (stored is None or disk.per_second <= stored.per_second):
            return self._limited_by("the disk", "writing and syncing", disk, threads=1)
        if stored is not None and stored.per_second < enough:
            return self._limited_by(
                f"the codec ({self.stored})", f"{self.stored}", stored, threads=self.cores
            )
        if (nowhere.cores or 0) >= _BUSY:
            return f"the CPU of this host limits this setup: receiving alone keeps {nowhere.cores:.1f} cores busy"
        return (
            f"the server's walsender (or the network) limits this setup: it sends {_rate(nowhere)}, and "
            "this host takes in all of it"
        )

    def _limited_by(self, what: str, doing: str, rate: Rate, threads: int) -> str:
        nowhere = _rate(self.rates[NOWHERE])
        if (rate.cores or 0) >= _BUSY * threads:
            return (
                f"the CPU of this host limits this setup: {doing} keeps {rate.cores:.1f} of {self.cores} cores "
                f"busy at {_rate(rate)}, where the server sends {nowhere}"
            )
        return f"{what} limits this setup: {_rate(rate)}, where the server sends {nowhere}"


def _rate(rate: Rate) -> str:
    return f"{rate.per_second / (1 << 20):.0f} MiB/s"


def _rank(ordered: Sequence[float], percent: int) -> float:
    """The smallest of the values that so many percent of all do not exceed."""
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
