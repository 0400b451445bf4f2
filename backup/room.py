"""What a restore needs and what there is: bytes by directory, before one is written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from backup import destination
from backup.chain import needed_at_once, needed_by_archive
from backup.locations import directories_of, tablespace_locations
from backup.restore_options import RestoreOptions
from catalog import units
from catalog.errors import DestinationRefused
from catalog.recovery import RecoveryPlan


@dataclass(frozen=True, slots=True)
class Space:
    """The room for a directory: which file system it is on, what is free there, what emptying it gives back."""

    file_system: str
    free: int
    reclaimable: int


def check_room(plan: RecoveryPlan, options: RestoreOptions) -> dict[str, tuple[int, int]]:
    """For each directory to be written: bytes needed and bytes free. Refuses what cannot be used."""
    record = plan.backup
    root = os.path.abspath(options.destination)
    locations = tablespace_locations(record, options.tablespaces, root)
    for path in directories_of(root, locations):
        destination.check(path, root)
    sizes = sizes_by_directory(plan, options, root, locations)
    at_once = needed_at_once(plan.chain) + (options.wal.nbytes if options.wal is not None else 0)
    return room_for(sizes, {path: _space(path) for path in sizes}, at_once)


def room_for(
    sizes: Mapping[str, int], spaces: Mapping[str, Space], at_once: int | None = None, there: str = ""
) -> dict[str, tuple[int, int]]:
    """For each directory bytes needed and bytes free; ``DestinationRefused`` where a file system has too few.

    What an interrupted restore left counts as free. All together need at most ``at_once`` at any time, if given.
    ``there`` says in the message on which machine it is.
    """
    room: dict[str, tuple[int, int]] = {}
    for path, size in sizes.items():
        beside = [each for each in sizes if spaces[each].file_system == spaces[path].file_system]
        free = spaces[path].free + sum(spaces[each].reclaimable for each in beside)
        needed = sum(sizes[each] for each in beside)
        needed = needed if at_once is None else min(needed, at_once)
        if needed > free:
            raise DestinationRefused(
                f"{path!r} has room for {units.size(free)}{there}, {units.size(needed)} are needed on its "
                "file system",
                "make room, or choose another place",
            )
        room[path] = (size, free)
    return room


def sizes_by_directory(
    plan: RecoveryPlan, options: RestoreOptions, root: str, locations: Mapping[int, str]
) -> dict[str, int]:
    """How many bytes go to the data directory, and to each tablespace."""
    at_once = needed_at_once(plan.chain)
    sizes = {
        root if oid is None else locations[oid]: min(size, at_once)
        for oid, size in needed_by_archive(plan.chain).items()
    }
    sizes[root] += options.wal.nbytes if options.wal is not None else 0
    return sizes


def _space(path: str) -> Space:
    nearest = path
    while not os.path.exists(nearest):
        nearest = os.path.dirname(nearest)
    free = shutil.disk_usage(nearest).free
    return Space(str(os.stat(nearest).st_dev), free, destination.reclaimable(path))
