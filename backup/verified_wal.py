"""What was verified of the WAL archive, kept in a server's ``state/`` so that it is not read again.

A cache: it may be deleted at any time, and what cannot be read counts as empty. A segment is known as long as its
file was not written again (``Storage.stamp``) and what came before it ends as it did then; then it is also known
how the next one follows. Only what was found good has entries. One directory of segments is in memory at a time.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from catalog import layout
from catalog.segment_cache import COMPACT, forget_others, read_entries, write_entries
from catalog.walrecord_part import Joint

# Changes when what is verified does.
_FORMAT = 1


class VerifiedWal:
    """Entries by the name of a segment; a directory's are written when the next one is begun, and by ``save``.

    Without ``home``, or where it has no ``state/``, nothing is kept; a ``fresh`` one believes nothing of what is.
    """

    def __init__(self, home: str | None, *, fresh: bool = False) -> None:
        self._home = home
        self._fresh = fresh
        self._directory = ""
        self._entries: dict[str, object] = {}
        self._changed = False

    def joint(self, name: str, stamp: str, before: Joint | None) -> Joint | None:
        """How the next segment follows, if this one is known to be good behind ``before``."""
        self._open(name[:16])
        entry = self._entries.get(name)
        if not isinstance(entry, list) or len(entry) != 3 or entry[0] != stamp:
            return None
        try:
            its_before, after = _joint(entry[1]), _joint(entry[2])
        except TypeError:
            return None
        return after if before is None or its_before == before else None

    def keep(self, name: str, stamp: str, before: Joint | None, after: Joint) -> None:
        """Remember a segment that was found good."""
        self._open(name[:16])
        self._entries[name] = [stamp, before, after]
        self._changed = True

    def save(self) -> None:
        """Write what is new; that it cannot be written is no trouble."""
        if not self._changed or not self._is_kept:
            return
        write_entries(self._path(self._directory), _FORMAT, self._entries, COMPACT)
        self._changed = False

    def forget_others(self, directories: Collection[str]) -> None:
        """Forget all but these directories of the archive."""
        if self._home is not None:
            kept = {os.path.basename(self._path(each)) for each in directories}
            forget_others(os.path.dirname(self._path("")), kept)

    def _open(self, directory: str) -> None:
        if directory == self._directory:
            return
        self.save()
        self._directory, self._entries, self._changed = directory, {}, False
        if self._fresh or not self._is_kept:
            return
        self._entries = read_entries(self._path(directory), _FORMAT)

    @property
    def _is_kept(self) -> bool:
        return self._home is not None and os.path.isdir(os.path.join(self._home, layout.STATE))

    def _path(self, directory: str) -> str:
        return os.path.join(self._home or "", layout.verified_key(directory))


def _joint(plain: object) -> Joint | None:
    """What ``keep`` was given, read again; ``TypeError`` for anything else."""
    if plain is None:
        return None
    if not isinstance(plain, list):
        raise TypeError
    joint = Joint(*plain)
    if not isinstance(joint.header, str) or not all(
        type(each) is int for each in plain if each != joint.header
    ):
        raise TypeError
    return joint
