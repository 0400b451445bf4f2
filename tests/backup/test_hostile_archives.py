"""Backups that somebody made to do harm: whatever their archives hold, a restore writes nothing outside."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.members import archive, file
from support.repositories import MAIN, PLAIN, SPACE, ZSTD, file_of, new_repository, store_backup

from backup.destination import PG_CONTROL
from backup.restore import restore
from backup.restore_options import RestoreOptions
from backup.tar import END, Kind, Member, format_header
from catalog import layout
from catalog.codec import Codec
from catalog.errors import DestinationRefused, Malformed, WalstreamError
from catalog.record import BackupRecord, Tablespace
from catalog.recovery import RecoveryPlan
from catalog.repository import Repository
from catalog.sink import Measured
from catalog.target import LATEST, RecoveryTarget
from catalog.timeline import History
from catalog.timeline import Path as Timelines

CONTROL = archive([file(PG_CONTROL, b"c" * 8192)])


def forged(name: bytes = b"x", kind: bytes = b"0", link: bytes = b"", size: int = 0) -> bytes:
    """The header of a member that our own code would never write, its checksum made right."""
    block = bytearray(format_header(Member("name")))
    for at, value, width in ((0, name, 100), (156, kind, 1), (157, link, 100)):
        block[at : at + width] = value.ljust(width, b"\0")
    block[124:136] = b"\x80" + size.to_bytes(11, "big")
    block[148:156] = b" " * 8
    block[148:156] = b"%07o " % sum(block)
    return bytes(block)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return new_repository(tmp_path / "repository")


@pytest.fixture
def harmless(repository: Repository, tmp_path: Path) -> Callable[[bytes, int | None], WalstreamError]:
    """``harmless(raw, oid)``: the error of restoring a backup with such an archive, which changed nothing."""
    dest, space, outside = tmp_path / "dest", tmp_path / "space", tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"data")

    def run(
        raw: bytes, oid: int | None = None, codec: Codec = PLAIN, raw_size: int | None = None
    ) -> WalstreamError:
        record = store_backup(
            repository,
            spaces={16400: SPACE},
            tablespaces=(Tablespace(16400, "fast", str(space)),),
            codec=codec,
        )
        record = with_archive(repository, record, oid, raw, raw_size)
        before = snapshot(tmp_path, dest, space)
        with pytest.raises(WalstreamError) as caught:
            restore(
                plan_of(record), repository, RestoreOptions(str(dest), repository.root, "/usr/bin/python3")
            )
        assert snapshot(tmp_path, dest, space) == before
        assert not (dest / PG_CONTROL).exists()
        return caught.value

    return run


def with_archive(
    repository: Repository, record: BackupRecord, oid: int | None, stored: bytes, raw_size: int | None
) -> BackupRecord:
    """The record as if one of its archives had always had these stored bytes."""
    (old,) = [each for each in record.archives if each.oid == oid]
    file_of(repository, record, old).unlink()
    sink = Measured(repository.backups.writer(record.id, old.file))
    sink.write(stored)
    sink.finish()
    raw = old.raw_size if raw_size is None else raw_size
    new = replace(old, raw_size=max(raw, len(stored)), stored_size=sink.nbytes, sha256=sink.sha256)
    if raw_size is not None:
        new = replace(new, raw_size=raw_size)
    return replace(record, archives=tuple(new if each.oid == oid else each for each in record.archives))


def plan_of(record: BackupRecord) -> RecoveryPlan:
    timelines = Timelines.of(History(1, ()))
    return RecoveryPlan(
        record, RecoveryTarget(LATEST), timelines, record.first_segment, record.last_segment, ()
    )


def snapshot(root: Path, *but: Path) -> dict[str, tuple[int, bytes]]:
    """Everything below a directory, apart from some others: kind, and content of files."""
    found = {}
    for path in root.rglob("*"):
        if not any(path == other or other in path.parents for other in but):
            mode = os.lstat(path).st_mode
            found[str(path)] = (mode, path.read_bytes() if path.is_file() else b"")
    return found


HOSTILE = {
    "absolute name": forged(b"/tmp/walstream-was-here", size=4) + b"evil".ljust(512, b"\0"),
    "parent": forged(b"../outside/evil", size=4) + b"evil".ljust(512, b"\0"),
    "parent further on": forged(b"base/../../outside/evil"),
    "parent as a directory": forged(b"../outside/evil/", kind=b"5"),
    "symbolic link": forged(b"base/link", kind=b"2", link=b"../../outside"),
    "hard link": forged(b"base/link", kind=b"1", link=b"../outside/precious"),
    "character device": forged(b"null", kind=b"3"),
    "block device": forged(b"disk", kind=b"4"),
    "pipe": forged(b"pipe", kind=b"6"),
    "long name": forged(b"././@LongLink", kind=b"L", size=600),
    "extended header": forged(b"pax", kind=b"x", size=30),
    "absurd size": forged(b"base/huge", size=1 << 60),
    "large size without content": forged(b"base/large", size=1 << 40),
    "a directory with content": forged(b"base/d/", kind=b"5", size=512),
}


@pytest.mark.parametrize("member", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("oid", [None, 16400], ids=["main archive", "tablespace"])
def test_a_hostile_member_is_refused_and_nothing_is_written_outside(harmless, member, oid):
    harmless(format_header(Member("base", Kind.DIRECTORY)) + member + CONTROL, oid)
    assert not os.path.exists("/tmp/walstream-was-here")


@pytest.mark.parametrize("name", ["pg_tblspc/4711/x", "pg_tblspc/16400/x", "pg_tblspc/x"])
def test_the_main_archive_reaches_into_no_tablespace(harmless, name):
    error = harmless(archive([file(name, b"evil")]) + END)
    assert "where PostgreSQL puts nothing" in str(error)


def test_a_map_of_tablespaces_names_only_those_of_the_record(harmless, tmp_path):
    line = f"4711 {tmp_path / 'outside'}\n".encode()
    assert "tablespace 4711" in str(harmless(archive([file("tablespace_map", line), *MAIN])))


@pytest.mark.parametrize("codec", ["zstd", "lz4", "gzip"])
@pytest.mark.parametrize("cut", [1, 8, 200])
def test_a_frame_that_is_cut_short_is_refused(repository, harmless, codec, cut):
    compress = Codec.of(codec).compressor()
    stored = bytes(compress(archive([file("base/1", os.urandom(9000))])))
    assert isinstance(harmless(stored[:-cut], None, Codec.of(codec)), Malformed)


def test_what_is_no_frame_at_all_is_refused(harmless):
    assert isinstance(harmless(b"nonsense" * 100, None, ZSTD), Malformed)


def test_an_archive_that_unpacks_to_more_than_its_record_says_is_refused(harmless):
    raw = archive([file("base/zeros", bytes(8 << 20))])
    stored = bytes(ZSTD.compressor()(raw))
    error = harmless(stored, None, ZSTD, raw_size=4 << 20)
    assert f"more than {4 << 20} bytes" in str(error)


def test_an_archive_that_would_need_more_room_than_there_is_is_refused(harmless):
    error = harmless(archive(MAIN), None, PLAIN, raw_size=1 << 60)
    assert isinstance(error, DestinationRefused) and "room for" in str(error)


@pytest.mark.parametrize("file_name", ["../../outside/precious", "/etc/passwd", "..", ""])
def test_a_record_names_only_files_beside_it(repository, file_name):
    record = store_backup(repository)
    path = Path(repository.storage.path(layout.backup_key(record.id, layout.RECORD)))
    path.write_text(path.read_text().replace('"base.tar.zst"', f'"{file_name}"'))
    with pytest.raises(Malformed, match="the name of a file beside the record"):
        repository.backups.find(record.id)
