"""Stored archives → the directories of a restore: one archive after the other, decoded while files are written.

Where each goes is in ``Places``. What ``pg_control`` waits for is the caller's to know: it is held back in the
``Extractor`` of the main archive, which is returned.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass

from backup import destination
from backup.extract import Extractor
from backup.locations import is_below
from backup.stored import CheckedFile
from backup.tar import Member, MemberSink, TarParser
from backup.tree import Tree
from catalog.errors import Corrupt
from catalog.record import Archive, BackupRecord
from catalog.relay import Relay
from catalog.repository import Repository
from catalog.sink import PIECE

TABLESPACES = "pg_tblspc"

Transforms = Mapping[str, Callable[[bytes], bytes]]


@dataclass(frozen=True, slots=True)
class Places:
    """The new data directory, where each tablespace goes by oid, and whom it will belong to."""

    root: str
    locations: Mapping[int, str]
    owner: tuple[int, int] | None

    def of(self, archive: Archive) -> str:
        """Where an archive goes."""
        return self.root if archive.oid is None else self.locations[archive.oid]

    def make_below(self) -> None:
        """Make the tablespaces' directories that lie in the data directory; the others are made."""
        for path in self.locations.values():
            if is_below(path, self.root):
                with closing(Tree(self.root, self.owner)) as tree:
                    tree.make_directory(os.path.relpath(path, self.root), destination.PRIVATE)


class Unpacker:
    """Reads stored archives into member sinks; ``done`` counts the decoded bytes of all of them."""

    def __init__(self, repository: Repository, on_progress: Callable[[int], None], jobs: int = 1) -> None:
        self.done = 0
        self._repository = repository
        self._on_progress = on_progress
        self._jobs = jobs

    def unpack(self, record: BackupRecord, archive: Archive, sink: MemberSink) -> None:
        """Push all members of an archive into a sink, and prove that they are what was stored."""
        with CheckedFile(self._repository, record.id, archive, self._jobs) as reader:
            # Behind the relay files are written while the next piece is decompressed.
            relay = Relay(TarParser(_OutsideTablespaces(sink) if archive.oid is None else sink))
            left = archive.raw_size
            try:
                while piece := reader.read(PIECE * 4):
                    left -= len(piece)
                    if left < 0:
                        raise Corrupt(f"it holds more than {archive.raw_size} bytes")
                    relay.write(piece)
                    self.done += len(piece)
                    self._on_progress(self.done)
                relay.finish()
            except Corrupt as damage:
                relay.abort()
                raise Corrupt(
                    f"{archive.file!r} of backup {record.id} is damaged: {damage}",
                    "restore another backup into the same place: what was laid down so far carries a mark, "
                    "PostgreSQL does not start on it, and the next restore clears it away",
                ) from damage
            except BaseException:
                relay.abort()
                raise


class _OutsideTablespaces:
    """A member sink for a main archive, which holds nothing of a tablespace: those have archives of their own."""

    def __init__(self, sink: MemberSink) -> None:
        self._sink = sink
        self.data = sink.data
        self.end = sink.end

    def begin(self, member: Member, /) -> None:
        if member.name.startswith(f"{TABLESPACES}/"):
            raise Corrupt(f"member {member.name!r} is where PostgreSQL puts nothing into a backup")
        self._sink.begin(member)


def archives_of(record: BackupRecord) -> list[Archive]:
    """The archives of a backup, the main one last, because pg_control is in it."""
    found = sorted(record.archives, key=lambda archive: archive.oid is None)
    if not found or found[-1].oid is not None:
        raise Corrupt(f"backup {record.id} has no main archive", "restore another backup")
    return found


def lay_down(unpacker: Unpacker, record: BackupRecord, places: Places, transforms: Transforms) -> Extractor:
    """Lay a full backup down; returns the main archive's extractor, which still holds pg_control."""
    *spaces, main = archives_of(record)
    for archive in spaces:
        with closing(Extractor(places.of(archive), owner=places.owner)) as extractor:
            unpacker.unpack(record, archive, extractor)
    extractor = Extractor(
        places.root,
        owner=places.owner,
        transform=transforms,
        hold=(destination.PG_CONTROL,),
        skip=(destination.MARK,),
    )
    unpacker.unpack(record, main, extractor)
    return extractor
