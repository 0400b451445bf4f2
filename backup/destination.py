"""The directories a restore writes to: checked, marked, and emptied again only if they carry the mark.

A restore that was killed can be repeated: every directory it uses gets a synced mark before anything
else and loses it last. Only a directory that holds the mark may be emptied; whatever else is not empty is
refused before a byte is written.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence

from catalog import durable
from catalog.errors import DestinationRefused, UsageError
from catalog.local_storage import failed
from catalog.record import Tablespace

MARK = ".walstream-restore.json"
PRIVATE = 0o700


def tablespace_locations(
    tablespaces: Sequence[Tablespace], mapping: Mapping[str, str], destination: str
) -> dict[int, str]:
    """Where each tablespace goes, by oid: as mapped by name, else where it was.

    A tablespace that lay inside the data directory goes inside the new one. ``UsageError`` for a name
    that the backup does not have, a relative location, or one location for two of them.
    """
    known = {space.name: space for space in tablespaces} | {str(space.oid): space for space in tablespaces}
    for name, location in mapping.items():
        if name not in known:
            have = ", ".join(sorted(space.name for space in tablespaces)) or "none"
            raise UsageError(f"the backup has no tablespace {name!r}", f"its tablespaces: {have}")
        if not os.path.isabs(location):
            raise UsageError(
                f"the location of tablespace {name!r} is not an absolute path: {location!r}",
                "give it as NAME:/absolute/path",
            )
    locations = {}
    for space in tablespaces:
        wanted = mapping.get(space.name, mapping.get(str(space.oid), space.location))
        locations[space.oid] = os.path.normpath(os.path.join(destination, wanted))
    _refuse_overlap(destination, locations)
    return locations


def _refuse_overlap(destination: str, locations: Mapping[int, str]) -> None:
    places = [os.path.realpath(path) for path in [destination, *locations.values()]]
    in_place = os.path.join(places[0], "pg_tblspc", "")
    for i, outer in enumerate(places):
        for j, inner in enumerate(places):
            allowed = i == j or (i == 0 and inner.startswith(in_place))
            if not allowed and os.path.commonpath([outer, inner]) == outer:
                raise UsageError(
                    f"{inner!r} lies in {outer!r}, and both are to be restored to",
                    "give each tablespace a directory of its own with --tablespace NAME:LOCATION",
                )


def check(path: str) -> None:
    """``DestinationRefused`` unless the directory is absent, empty, or carries the mark of a restore."""
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise DestinationRefused(
            f"{path!r} is not a directory", "name an empty or absent directory"
        ) from None
    except OSError as error:
        raise failed("list", path, error) from error
    _require_ours(path, names)


def _require_ours(path: str, names: Sequence[str]) -> None:
    if MARK not in names and not all(map(_is_unfinished_mark, names)):
        raise DestinationRefused(
            f"{path!r} is not empty", "name an empty or absent directory; nothing was written"
        )


def _is_unfinished_mark(name: str) -> bool:
    """Whether a restore was killed while it wrote this mark: nothing else was there yet."""
    return name.startswith(MARK) and durable.is_temporary(name)


def prepare(paths: Sequence[str], note: Mapping[str, object], owner: tuple[int, int] | None) -> None:
    """Make, empty and mark the directories, each checked before; the marks are durable on return."""
    for path in paths:
        check(path)
    for path in paths:
        try:
            made = not os.path.isdir(path)
            durable.make_directories(path, PRIVATE)
            if made and owner is not None:
                os.chown(path, *owner)
            _empty(path)
            text = json.dumps({**note, "directories": list(paths)}, indent=2)
            durable.write_file(os.path.join(path, MARK), text.encode(), 0o600)
        except OSError as error:
            raise failed("write", path, error) from error


def release(paths: Sequence[str]) -> None:
    """Take the marks off again, durably: the restore is complete."""
    for path in paths:
        try:
            durable.remove(os.path.join(path, MARK))
        except OSError as error:
            raise failed("remove", os.path.join(path, MARK), error) from error


def _empty(path: str) -> None:
    """Remove what an interrupted restore left, all but the mark; refuse what came since it was checked."""
    with os.scandir(path) as entries:
        found = list(entries)
    _require_ours(path, [entry.name for entry in found])
    for entry in found:
        if entry.name == MARK:
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)
