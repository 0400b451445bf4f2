"""What a restore needs and what there is: bytes by directory, before one is written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

from backup import destination
from backup.chain import needed_at_once, needed_by_archive
from catalog import units
from catalog.errors import DestinationRefused
from catalog.pitr import RecoveryPlan

if TYPE_CHECKING:
    from backup.restore import RestoreOptions


def check_room(plan: RecoveryPlan, options: RestoreOptions) -> dict[str, tuple[int, int]]:
    """For each directory to be written: bytes needed and bytes free. Refuses what cannot be used.

    What an interrupted restore left counts as free.
    """
    record = plan.backup
    root = os.path.abspath(options.destination)
    locations = destination.tablespace_locations(record, options.tablespaces, root)
    for path in directories(root, locations):
        destination.check(path, root)
    sizes = sizes_by_directory(plan, options, root, locations)
    at_once = needed_at_once(plan.chain) + (options.wal.nbytes if options.wal is not None else 0)
    devices = {path: os.stat(_nearest_existing(path)).st_dev for path in sizes}
    room: dict[str, tuple[int, int]] = {}
    for path, size in sizes.items():
        beside = [each for each in sizes if devices[each] == devices[path]]
        free = shutil.disk_usage(_nearest_existing(path)).free + sum(map(destination.reclaimable, beside))
        needed = min(sum(sizes[each] for each in beside), at_once)
        if needed > free:
            raise DestinationRefused(
                f"{path!r} has room for {units.size(free)}, {units.size(needed)} are needed on its file system",
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


def places_of(plan: RecoveryPlan, options: RestoreOptions) -> list[str]:
    """The data directory, and the tablespaces that go elsewhere."""
    root = os.path.abspath(options.destination)
    return directories(root, destination.tablespace_locations(plan.backup, options.tablespaces, root))


def directories(root: str, locations: Mapping[int, str]) -> list[str]:
    """The data directory, and the tablespaces that lie outside it."""
    return [root, *(path for path in locations.values() if not destination.is_below(path, root))]


def _nearest_existing(path: str) -> str:
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path
