"""The data of a backup on its way into the repository: what is refused, and that memory does not grow with it."""

import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from support.members import Content, file
from support.repositories import SYSTEM, ZSTD, new_repository

from backup import stream
from backup.checksum import checksum
from backup.incoming import IncomingCopy, Space
from backup.manifest import write
from backup.manifest_entry import FileEntry, WalRange
from backup.tar import END, format_header, padding
from catalog.errors import Corrupt, ProtocolError
from catalog.frames import Workers
from catalog.lsn import LSN
from catalog.repository import Repository

ID = "20260131T120000"
LABEL = file(
    "backup_label",
    b"START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n"
    b"CHECKPOINT LOCATION: 0/2000060\nSTART TIMELINE: 1\n",
)
RANGE = WalRange(1, LSN(0x2000028), LSN(0x2000120))
MAIN = stream.ArchiveStarted("base.tar", "")


def pieces(members: Iterable[Content]) -> Iterator[bytes]:
    for member, data in members:
        yield format_header(member) + data + bytes(padding(len(data)))
    yield END


def entries(members: Iterable[Content]) -> Iterator[FileEntry]:
    for member, data in members:
        total = checksum("CRC32C")
        total.update(data)
        yield FileEntry(member.name, len(data), "", "CRC32C", total.hexdigest())


def events(
    members: Callable[[], Iterable[Content]], listed: Callable[[], Iterable[Content]]
) -> Iterator[stream.Event]:
    """What a server sends: the archive of some members, and a manifest that lists some."""
    yield MAIN
    for piece in pieces(members()):
        yield stream.Data(memoryview(piece))
    yield stream.ManifestStarted()
    for piece in write(entries(listed()), [RANGE], SYSTEM):
        yield stream.Data(memoryview(piece))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "main")


def take(repository: Repository, arriving: Iterable[stream.Event], backup_id: str = ID) -> IncomingCopy:
    """Let events arrive, to their end; the copy."""
    with Workers(2) as workers:
        copy = IncomingCopy(backup_id, ZSTD, repository, workers, [Space(None, "", 0)], lambda progress: None)
        try:
            for event in arriving:
                copy.take(event)
            copy.finish()
        finally:
            copy.abort()
    return copy


def few() -> list[Content]:
    return [LABEL, file("base/1", b"one" * 900), file("global/pg_control", b"c" * 8192)]


def test_the_label_and_the_wal_that_is_needed_are_known_at_the_end(repository: Repository) -> None:
    copy = take(repository, events(few, few))
    assert (copy.label().start, copy.wal_ranges()) == (RANGE.start, (RANGE,))
    assert set(repository.backups.sizes(ID)) == {"base.tar.zst", "backup_manifest.zst"}


@pytest.mark.parametrize(
    ("arriving", "error", "message"),
    [
        ([stream.Data(memoryview(b"x"))], ProtocolError, "data before it named an archive"),
        ([stream.ArchiveStarted("16400.tar", "/srv")], ProtocolError, "did not announce"),
        ([MAIN, stream.Data(memoryview(END))], ProtocolError, "sent no manifest"),
        ([stream.ManifestStarted()], ProtocolError, "other archives than it announced"),
        ([*events(few, few), MAIN], ProtocolError, "behind the manifest"),
        ([*events(few, few)][:3], ProtocolError, "sent no manifest"),
        ([*events(few, few)][:-1], Corrupt, "the backup manifest"),
        ([MAIN, stream.Data(memoryview(b"x" * 512)), *events(few, few)][:4], Corrupt, "tar header"),
        ([*events(few, lambda: few()[:-1])], Corrupt, "the backup manifest lacks it"),
        ([*events(lambda: few()[:-1], few)], Corrupt, "which was not sent"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_appears(
    repository: Repository, arriving: list[stream.Event], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        take(repository, arriving)
    assert repository.backups.find(ID) is None
    assert not list(Path(repository.root).rglob("*.walstream-tmp*"))


def test_memory_does_not_grow_with_the_number_of_files(repository: Repository) -> None:
    def many(count: int) -> Callable[[], Iterable[Content]]:
        def members() -> Iterable[Content]:
            yield LABEL
            for number in range(count):
                yield file(f"base/{number // 1000}/{number}", b"%d" % number * 500)

        return members

    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            take(repository, events(many(count), many(count)), f"20260131T{count:06}")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    # With 4,000 files every buffer on the way has been full; a hundred bytes for each file would show.
    assert peak(9_000) < peak(4_000) + (1 << 18)
