"""Holes in the WAL that is held, and which of them matter. Pure.

A hole lies between the oldest and the newest segment of a path of timelines; segments are asked for on the
timeline whose copy counts there. A hole that was recorded when it was accepted is known, one that no backup
reaches is what retention left, or was never wanted; every other one is missing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from catalog.coverage import Holdings, carries, holds_wal_of, missing, needed, newest
from catalog.inventory import Inventory, Run
from catalog.timeline import Path

MISSING = "missing"
RECORDED = "recorded"
UNNEEDED = "unneeded"


@dataclass(frozen=True, slots=True, order=True)
class Hole:
    """Segments that are not there, and what is known of that: one of the three words."""

    run: Run
    kind: str


def holes(holdings: Holdings, recorded: Iterable[Run], alone: Collection[str]) -> list[Hole]:
    """All holes, along every path of which there is WAL; ``alone`` are kept with the WAL of their own span.

    Without any backup nothing is unneeded.
    """
    paths = holdings.paths()
    absent: set[Run] = set()
    reached: set[Run] = set()
    for timeline, path in paths.items():
        if holds_wal_of(timeline, holdings.inventory):
            absent.update(_absent(path, holdings))
        reached.update(_reached(path, holdings, alone))
    for timeline in holdings.inventory.runs:
        if timeline not in paths:
            absent.update(holdings.inventory.gaps(timeline))
    lost = _inventory(absent)
    rest = lost.without(recorded)
    unneeded = rest.without(reached) if holdings.records else Inventory()
    found = [Hole(run, RECORDED) for run in _runs(lost.without(_runs(rest)))]
    found += [Hole(run, UNNEEDED) for run in _runs(unneeded)]
    found += [Hole(run, MISSING) for run in _runs(rest.without(_runs(unneeded)))]
    return sorted(found)


def _absent(path: Path, holdings: Holdings) -> tuple[Run, ...]:
    inventory, size = holdings.inventory, holdings.size
    records = [each for each in holdings.records if carries(path, each)]
    end = newest(path, inventory, size)
    last = max([each.last_segment.number for each in records] + ([end.number] if end else []), default=-1)
    counted = needed(path, 0, last, size)
    begins = [
        max(run.first, leg.first)
        for leg in counted
        for run in inventory.spans(leg.timeline)
        if run.first <= leg.last and run.last >= leg.first
    ]
    first = min(begins + [each.first_segment.number for each in records], default=0)
    own = Inventory.of(each for record in records for each in holdings.own.get(record.id, ()))
    return missing(path, inventory | own, first, last, size)


def _reached(path: Path, holdings: Holdings, alone: Collection[str]) -> Iterable[Run]:
    """What backups need on a path; where all are kept alone, one of them is the way to the rest."""
    records = [each for each in holdings.records if carries(path, each)]
    every = all(each.id in alone for each in records)
    end = (1 << 64) // holdings.size.nbytes
    for each in records:
        last = each.last_segment.number if each.id in alone and not every else end
        yield from needed(path, each.first_segment.number, last, holdings.size)


def _inventory(runs: Iterable[Run]) -> Inventory:
    found = Inventory()
    for run in runs:
        found |= Inventory({run.timeline: (run,)})
    return found


def _runs(inventory: Inventory) -> list[Run]:
    return [run for timeline in sorted(inventory.runs) for run in inventory.runs[timeline]]
