"""How much room stored WAL takes, between any two segments, without looking at every file each time.

A directory holds up to 4 GB of WAL. Its total is read once and kept in a cache, valid as long as the directory
has not changed; only directories that a question cuts through are read file by file. The names of segments
sort as WAL does: by timeline, then position. Losing the cache loses nothing, and where it cannot be
written it is not.
"""

from __future__ import annotations

import json
import os
from bisect import bisect_left
from dataclasses import dataclass

from catalog import durable, layout
from catalog.decoding import ENDINGS
from catalog.local_storage import LocalStorage, failed
from catalog.wal import WalShelf
from catalog.walname import PARTIAL, SEGMENT, kind_of

FORMAT = 1
CACHE = "wal-sizes.json"
_PREFIX = 16
_NAME = 24
# What follows the 24 digits of a segment, complete or partial, as it is stored.
_BEHIND = frozenset(partial + suffix for partial in ("", ".partial") for suffix in ENDINGS)
# A directory that changed so recently may change again without a new time: clocks are coarse, or another host's.
_SETTLED = 60 * 10**9


@dataclass(frozen=True, slots=True)
class Usage:
    """A number of stored segments, and the bytes that they take."""

    files: int = 0
    nbytes: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.files + other.files, self.nbytes + other.nbytes)


class WalUsage:
    """The room that the segments on a WAL shelf take; segments are given by their names."""

    def __init__(self, shelf: WalShelf, totals: dict[str, Usage]) -> None:
        self._shelf = shelf
        self._directories = sorted(totals)
        self._sums = [Usage()]
        for directory in self._directories:
            self._sums.append(self._sums[-1] + totals[directory])
        self._files: dict[str, list[tuple[str, int]]] = {}

    def up_to(self, name: str) -> Usage:
        """All segments up to this one, itself included."""
        at = bisect_left(self._directories, name[:_PREFIX])
        sizes = [size for each, size in self._segments(at, name[:_PREFIX]) if each[:_NAME] <= name]
        return self._sums[at] + Usage(len(sizes), sum(sizes))

    def between(self, after: str, up_to: str | None) -> Usage:
        """The segments behind one, up to another (itself included) or the last."""
        end = self._sums[-1] if up_to is None else self.up_to(up_to)
        begin = self.up_to(after)
        return Usage(max(end.files - begin.files, 0), max(end.nbytes - begin.nbytes, 0))

    def span(self, first: str, last: str) -> Usage:
        """The segments from one to another, both included."""
        at = bisect_left(self._directories, first[:_PREFIX])
        own = [size for each, size in self._segments(at, first[:_PREFIX]) if each[:_NAME] == first]
        return self.between(first, last) + Usage(len(own), sum(own))

    def newest(self, after: str, up_to: str | None) -> str | None:
        """The name of the last complete segment behind one, up to another or the last."""
        stop = up_to or "G"
        for at in range(len(self._directories) - 1, -1, -1):
            directory = self._directories[at]
            if directory > stop[:_PREFIX]:
                continue
            if directory < after[:_PREFIX]:
                break
            names = [name for name, _ in self._segments(at, directory) if after < name <= stop]
            complete = [name for name in names if len(name) == _NAME]
            if complete:
                return max(complete)
        return None

    def _segments(self, at: int, directory: str) -> list[tuple[str, int]]:
        """What lies in a directory, if the one at this place in the order is it."""
        if at == len(self._directories) or self._directories[at] != directory:
            return []
        if directory not in self._files:
            sizes = self._shelf.sizes(directory)
            self._files[directory] = [each for each in sizes if kind_of(each[0]) in (SEGMENT, PARTIAL)]
        return self._files[directory]


def wal_usage(storage: LocalStorage, state: str, now: float) -> WalUsage:
    """The room that WAL takes; ``state`` is the directory for the cache, which need not be there."""
    cached = _read_cache(os.path.join(state, CACHE))
    settled = int(now * 10**9) - _SETTLED
    totals: dict[str, Usage] = {}
    kept: dict[str, tuple[int, int, int]] = {}
    for directory, changed in _directories(storage):
        entry = cached.get(directory)
        if entry is None or entry[0] != changed:
            usage = _measure(storage, directory)
            entry = (changed, usage.files, usage.nbytes)
        totals[directory] = Usage(*entry[1:])
        if changed < settled:
            kept[directory] = entry
    if kept != cached:
        _write_cache(os.path.join(state, CACHE), kept)
    return WalUsage(WalShelf(storage), totals)


def _directories(storage: LocalStorage) -> list[tuple[str, int]]:
    """The directories of segments, and when each has changed."""
    path = storage.path(layout.WALS)
    try:
        with os.scandir(path) as entries:
            # A history's name has as many characters as a directory's.
            own = [entry for entry in entries if kind_of(f"{entry.name}00000000") == SEGMENT]
            return [(entry.name, entry.stat().st_mtime_ns) for entry in own]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise failed("list", path, error) from error


def _measure(storage: LocalStorage, directory: str) -> Usage:
    path = storage.path(f"{layout.WALS}/{directory}")
    try:
        # Not by way of the shelf: half a million files are asked here, when there is no cache yet.
        with os.scandir(path) as entries:
            sizes = [entry.stat().st_size for entry in entries if entry.name[_NAME:] in _BEHIND]
    except FileNotFoundError:
        return Usage()  # expired meanwhile
    except OSError as error:
        raise failed("list", path, error) from error
    return Usage(len(sizes), sum(sizes))


def _read_cache(path: str) -> dict[str, tuple[int, int, int]]:
    """Directory → when it had changed, files and bytes; nothing where there is no cache that can be read."""
    try:
        with open(path, encoding="ascii") as file:
            found = json.load(file)
        if found["format"] != FORMAT:
            return {}
        return {name: (int(a), int(b), int(c)) for name, (a, b, c) in found["directories"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write_cache(path: str, kept: dict[str, tuple[int, int, int]]) -> None:
    """Replace the cache, unsynced. A reader who may not write here only does without."""
    temporary = durable.temporary_name(path)
    try:
        with open(temporary, "w", encoding="ascii", opener=_private) as file:
            json.dump({"format": FORMAT, "directories": kept}, file)
        os.rename(temporary, path)
    except OSError:
        try:
            os.unlink(temporary)
        except OSError:
            pass


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, durable.FILE_MODE)
