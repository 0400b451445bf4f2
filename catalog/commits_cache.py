"""Facts of segments, kept in a server's ``state/`` so that no segment's records are read twice.

A cache: it may be deleted at any time, what cannot be read counts as empty, and nothing of it is believed when
the repository's file has another name, suffix or size than the one that was read. Only files of the
repository's WAL archive have entries. Without a ``state/`` nothing is kept.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import NamedTuple

from catalog import layout
from catalog.commits import SegmentFacts, from_document, to_document
from catalog.errors import Malformed
from catalog.segment_cache import forget_others, read_entries, write_entries

# Changes when the meaning of what is kept does.
_FORMAT = 1


class StoredFile(NamedTuple):
    """A file of the WAL archive: its name with the suffix of its codec, and its size."""

    name: str
    size: int


class CommitsCache:
    """Facts by segment, a file for each directory of the WAL archive; ``save`` writes what is new."""

    def __init__(self, home: str) -> None:
        self._state = os.path.join(home, layout.STATE)
        self._entries: dict[str, dict[str, object]] = {}
        self._changed: set[str] = set()

    def facts(self, segment: str, file: StoredFile, behind: StoredFile | None) -> SegmentFacts | None:
        """The facts of a segment read from ``file``, with the one ``behind`` where a record goes on there."""
        entry = self._entry(segment, file)
        if entry is None or entry.get("facts") is None or entry.get("behind") not in (None, _plain(behind)):
            return None
        try:
            return from_document(entry["facts"])
        except Malformed:
            return None

    def has_no_points(self, segment: str, file: StoredFile) -> bool:
        """Whether it is known that the segment has no restore points, though its records were not read."""
        entry = self._entry(segment, file)
        return entry is not None and entry.get("points") is False

    def keep(self, segment: str, file: StoredFile, behind: StoredFile | None, facts: SegmentFacts) -> None:
        """Remember the facts; ``behind`` is the file of the next segment if that was needed for them."""
        self._put(segment, {"file": _plain(file), "behind": _plain(behind), "facts": to_document(facts)})

    def keep_no_points(self, segment: str, file: StoredFile) -> None:
        """Remember that the segment has no restore points."""
        self._put(segment, {"file": _plain(file), "points": False})

    def save(self, directories: Collection[str]) -> None:
        """Write what is new, and forget all but these ``directories`` of the WAL archive.

        That it cannot be written is no trouble: it is read from the WAL again.
        """
        for directory in self._changed if os.path.isdir(self._state) else ():
            write_entries(self._path(directory), _FORMAT, self._entries[directory])
        self._changed.clear()
        kept = {os.path.basename(self._path(directory)) for directory in directories}
        forget_others(os.path.dirname(self._path("")), kept)

    def _entry(self, segment: str, file: StoredFile) -> dict[str, object] | None:
        entry = self._directory(segment[:16]).get(segment)
        return entry if isinstance(entry, dict) and entry.get("file") == _plain(file) else None

    def _put(self, segment: str, entry: dict[str, object]) -> None:
        self._directory(segment[:16])[segment] = entry
        self._changed.add(segment[:16])

    def _directory(self, directory: str) -> dict[str, object]:
        if directory not in self._entries:
            self._entries[directory] = read_entries(self._path(directory), _FORMAT)
        return self._entries[directory]

    def _path(self, directory: str) -> str:
        return os.path.join(os.path.dirname(self._state), layout.commits_key(directory))


def _plain(file: StoredFile | None) -> list[object] | None:
    return None if file is None else [file.name, file.size]
