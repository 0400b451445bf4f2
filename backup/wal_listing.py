"""What the listing of the WAL archive tells: stored names, files that lie wrong, histories that do not fit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from catalog import layout
from catalog.coverage import Holdings
from catalog.decoding import split_suffix
from catalog.lsn import LSN
from catalog.repository import Repository
from catalog.timeline import contradicts
from catalog.walname import history_name, kind_of


@dataclass(frozen=True, slots=True)
class WalProblem:
    """What is wrong with a file: its name, and where the first bytes are that are not as they should be."""

    file: str
    message: str
    position: LSN | None = None
    offset: int | None = None


class StoredNames:
    """Under which names, with suffixes, WAL files are stored; one directory at a time."""

    def __init__(self, repository: Repository) -> None:
        self._storage = repository.storage
        self._directory = ""
        self._names: dict[str, list[str]] = {}

    def of(self, name: str) -> list[str]:
        """The stored names of a WAL file, the one that is read first."""
        if name[:16] != self._directory:
            self._directory = name[:16]
            names: defaultdict[str, list[str]] = defaultdict(list)
            for stored in sorted(self._storage.names(layout.wal_directory(name))):
                names[split_suffix(stored)[0]].append(stored)
            self._names = names
        return self._names.get(name, [])


def misplaced(repository: Repository) -> Iterator[WalProblem]:
    """Files of the archive that no recovery finds: no WAL file's name, another's directory, or stored twice."""
    size = repository.identity.wal_segment_size
    storage = repository.storage
    for directory in ["", *repository.wal.directories()]:
        lying = sorted(storage.names(f"{layout.WALS}/{directory}".rstrip("/")))
        seen: set[str] = set()
        directories = {*repository.wal.directories()} if not directory else set()
        for stored in lying:
            name = split_suffix(stored)[0]
            if stored in directories:
                continue
            if (reason := _misplacement(name, directory, size.per_log)) is not None:
                yield WalProblem(f"{directory}/{stored}".lstrip("/"), reason)
            elif name in seen:
                yield WalProblem(stored, "it is stored twice, under two suffixes")
            seen.add(name)


def _misplacement(name: str, directory: str, per_log: int) -> str | None:
    kind = kind_of(name)
    if kind is None:
        return "this is no WAL file's name"
    if layout.wal_directory(name) != f"{layout.WALS}/{directory}".rstrip("/"):
        return f"it belongs into {layout.wal_directory(name)!r}, and is not found here"
    if directory and int(name[16:24], 16) >= per_log:
        return "it is the name of a segment of another size"
    return None


def strange_histories(holdings: Holdings) -> Iterator[WalProblem]:
    """Histories that tell different ancestries, and those that are missing. They were parsed already."""
    for a, b in combinations(sorted(holdings.histories), 2):
        if contradicts(holdings.histories[a], holdings.histories[b]):
            yield WalProblem(history_name(b), f"it contradicts {history_name(a)}: one of them is wrong")
    inventory = holdings.inventory
    timelines = {*inventory.runs, *(each.timeline for each in inventory.partials)}
    for timeline in sorted(timelines - holdings.histories.keys() - {1}):
        yield WalProblem(history_name(timeline), f"it is missing, and there is WAL of timeline {timeline}")
