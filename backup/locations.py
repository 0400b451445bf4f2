"""Where a restore writes: the data directory and the tablespaces, and which places it never writes to.

Decided by paths, links followed; what lies there already is ``backup.destination``'s business.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping

from catalog.errors import Corrupt, DestinationRefused, UsageError
from catalog.record import BackupRecord, Tablespace


def tablespace_locations(record: BackupRecord, mapping: Mapping[str, str], root: str) -> dict[int, str]:
    """Where each tablespace goes, by oid: as mapped by name or oid, else where it was.

    One that lay inside the data directory and is not mapped goes inside the new one. ``UsageError`` for a
    name that the backup does not have, a relative location, or places that lie in one another.
    """
    known = {space.name for space in record.tablespaces} | {str(space.oid) for space in record.tablespaces}
    for name, location in mapping.items():
        if name not in known:
            have = ", ".join(sorted(space.name for space in record.tablespaces)) or "none"
            raise UsageError(f"the backup has no tablespace {name!r}", f"its tablespaces: {have}")
        if not os.path.isabs(location):
            raise UsageError(
                f"the location of tablespace {name!r} is not an absolute path: {location!r}",
                "give it as NAME:/absolute/path",
            )
    locations = {}
    inside = set()
    for space in record.tablespaces:
        mapped = mapping.get(space.name, mapping.get(str(space.oid)))
        within = _within_data_directory(space, record.data_directory) if mapped is None else None
        if within is not None:
            inside.add(space.oid)
        locations[space.oid] = os.path.normpath(os.path.join(root, within or mapped or space.location))
    _refuse_overlap(root, locations, inside)
    return locations


def directories_of(root: str, locations: Mapping[int, str]) -> list[str]:
    """The data directory, and the tablespaces that lie outside it."""
    return [root, *(path for path in locations.values() if not is_below(path, root))]


def is_below(path: str, root: str) -> bool:
    """Whether a path lies inside the directory ``root``, as they are written."""
    return path.startswith(os.path.join(root, ""))


def refuse_misplaced(paths: Iterable[str], ours: Iterable[str]) -> None:
    """Refuse places in ``ours``, which are a repository and a spool, and in the data directory of a cluster."""
    own = [os.path.realpath(each) for each in ours]
    for path in paths:
        real = os.path.realpath(path)
        for each in own:
            if real == each or is_below(real, each):
                raise DestinationRefused(
                    f"{path!r} lies in {each!r}, where backups and WAL are kept",
                    "name a directory elsewhere; nothing was written",
                )
        parent = os.path.dirname(real)
        while parent != os.path.dirname(parent):
            if os.path.isfile(os.path.join(parent, "PG_VERSION")):
                raise DestinationRefused(
                    f"{path!r} lies in {parent!r}, the data directory of a cluster",
                    "name a directory elsewhere; nothing was written",
                )
            parent = os.path.dirname(parent)


def _within_data_directory(space: Tablespace, data_directory: str) -> str | None:
    """A tablespace's location relative to the data directory, if it lay there."""
    if os.path.isabs(space.location):
        location = os.path.normpath(space.location)
        data_directory = os.path.normpath(data_directory)
        return os.path.relpath(location, data_directory) if is_below(location, data_directory) else None
    if space.location != f"pg_tblspc/{space.oid}":
        raise Corrupt(
            f"the record has a relative location for tablespace {space.name!r}: {space.location!r}",
            "give it another one with --tablespace NAME:LOCATION",
        )
    return space.location


def _refuse_overlap(root: str, locations: Mapping[int, str], inside: Collection[int]) -> None:
    """No place may lie in another, but those ``inside`` in the data directory, as they did at the origin."""
    places: dict[int | None, str] = {None: os.path.realpath(root)}
    places |= {oid: os.path.realpath(path) for oid, path in locations.items()}
    for one, outer in places.items():
        for other, inner in places.items():
            allowed = one == other or (one is None and other in inside)
            if not allowed and os.path.commonpath([outer, inner]) == outer:
                raise UsageError(
                    f"{inner!r} lies in {outer!r}, and both are to be restored to",
                    "give each tablespace a directory of its own with --tablespace NAME:LOCATION",
                )
