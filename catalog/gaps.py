"""Gaps that had to be accepted: ``state/gaps.json`` says when and why.

That there is a gap is seen in the listing of WAL; this document only keeps a receiver from asking for what the
server no longer has, and tells an operator what happened. It is written durably before any WAL behind the
gap is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from catalog import durable, layout
from catalog.coverage import Holdings, carries, needed, restorable
from catalog.errors import Corrupt
from catalog.inventory import Inventory, Run
from catalog.local_storage import failed
from catalog.lsn import SegmentSize
from catalog.timeline import Path
from catalog.walname import Segment

_FILE = "gaps.json"


@dataclass(frozen=True, slots=True)
class Gap:
    """Segments ``run.first`` to ``run.last`` that could not be had any more."""

    run: Run
    accepted: datetime
    reason: str


def gaps_path(home: str) -> str:
    """Where the document is."""
    return os.path.join(home, layout.STATE, _FILE)


def read_gaps(home: str, size: SegmentSize) -> tuple[Gap, ...]:
    """The recorded gaps, oldest first; none when there is no document."""
    path = gaps_path(home)
    try:
        with open(path, encoding="utf-8") as file:
            return tuple(_gap(entry, size) for entry in json.load(file)["gaps"])
    except FileNotFoundError:
        return ()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        hint = "move it away: the receiver asks the server again for what is missing"
        raise Corrupt(f"{path!r} is damaged: {error}", hint) from None
    except OSError as error:
        raise failed("read", path, error) from error


def record_gap(home: str, gap: Gap, size: SegmentSize) -> None:
    """Add a gap, durably."""
    gaps = [*read_gaps(home, size), gap]
    document = {
        "format": 1,
        "gaps": [
            {
                "first": Segment(each.run.timeline, each.run.first).name(size),
                "last": Segment(each.run.timeline, each.run.last).name(size),
                "accepted": each.accepted.isoformat(),
                "reason": each.reason,
            }
            for each in gaps
        ],
    }
    try:
        durable.make_directories(os.path.dirname(gaps_path(home)))
        durable.write_file(gaps_path(home), json.dumps(document, indent=2).encode() + b"\n")
    except OSError as error:
        raise failed("write", gaps_path(home), error) from error


def as_inventory(gaps: Iterable[Gap]) -> Inventory:
    """The segments of the gaps, to be counted as done with."""
    inventory = Inventory()
    for gap in gaps:
        inventory |= Inventory(runs={gap.run.timeline: (gap.run,)})
    return inventory


def open_gaps(gaps: Iterable[Gap], holdings: Holdings, path: Path | None = None) -> list[Gap]:
    """The gaps behind which no restorable backup begins yet: until then nothing behind them can be reached.

    ``path`` is the server's, or else the one to the newest timeline known. A gap on another branch is none of it,
    and one that was filled since, with segments from elsewhere, is none at all.
    """
    path = path or next(iter(holdings.paths().values()))
    return [gap for gap in gaps if _is_open(gap.run, holdings, path)]


def _is_open(run: Run, holdings: Holdings, path: Path) -> bool:
    on_path = needed(path, run.first, run.last, holdings.size)
    lost = [part for part in on_path if part.timeline == run.timeline]
    if not any(holdings.inventory.missing(part.timeline, part.first, part.last) for part in lost):
        return False
    return not any(
        record.first_segment.number > run.last and carries(path, record) and restorable(record, holdings)
        for record in holdings.records
    )


def _gap(entry: dict[str, str], size: SegmentSize) -> Gap:
    first, last = Segment.parse(entry["first"], size), Segment.parse(entry["last"], size)
    when = datetime.fromisoformat(entry["accepted"]).astimezone(UTC)
    return Gap(Run(first.timeline, first.number, last.number), when, entry["reason"])
