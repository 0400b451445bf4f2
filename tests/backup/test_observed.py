import io
import lzma
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.members import Content, archive, contents, directory, file

from backup.checksum import HEX_DIGITS, checksum
from backup.manifest import ManifestReader, write
from backup.manifest_entry import FileEntry, WalRange
from backup.observed import Observed
from backup.tar import END, Kind, TarParser, padding, parse_header
from catalog.errors import Corrupt, Malformed
from catalog.lsn import LSN

DATA = Path(__file__).parent.parent / "data"
FILES = [
    file("backup_label", b"START WAL LOCATION"),
    directory("base"),
    file("base/odd \\ \n\udcff name", b"x" * 9000),
    file("pg_wal/000000010000000000000002", b"w" * 700),
    file("pg_wal/archive_status/000000010000000000000002.done"),
    file("global/pg_control", b"c" * 8192),
]


@pytest.fixture
def observed() -> Iterator[Observed]:
    observed = Observed("CRC32C")
    yield observed
    observed.close()


def entry(name: str, data: bytes, algorithm: str = "CRC32C") -> FileEntry:
    total = checksum(algorithm)
    total.update(data)
    return FileEntry(name, len(data), "", algorithm, total.hexdigest())


def listed(members: list[Content], prefix: str = "", algorithm: str = "CRC32C") -> list[FileEntry]:
    """What the server would list of these members."""
    return [
        entry(prefix + member.name, data, algorithm)
        for member, data in members
        if member.kind is Kind.FILE and not member.name.startswith("pg_wal/0")
    ]


def manifest(entries: list[FileEntry]) -> ManifestReader:
    text = b"".join(write(entries, [WalRange(1, LSN(0x28), LSN(0x100))], None))
    return ManifestReader(io.BytesIO(text))


def pass_by(observed: Observed, members: list[Content], prefix: str = "") -> None:
    parser = TarParser(observed.sink(prefix))
    parser.write(archive(members))
    parser.finish()


def test_a_backup_that_agrees_with_its_manifest_gives_its_wal_ranges(observed: Observed) -> None:
    pass_by(observed, [directory("PG_18"), file("PG_18/1", b"one")], "pg_tblspc/16384/")
    pass_by(observed, FILES)
    entries = listed([file("PG_18/1", b"one")], "pg_tblspc/16384/") + listed(FILES)
    assert observed.check(manifest(entries)) == (WalRange(1, LSN(0x28), LSN(0x100)),)
    assert (observed.nfiles, observed.nbytes) == (5, 3 + 18 + 9000 + 8192)


def test_a_changed_byte_is_corrupt_and_the_file_named(observed: Observed) -> None:
    pass_by(observed, [*FILES[:-1], file("global/pg_control", b"d" * 8192)])
    with pytest.raises(Corrupt, match="'global/pg_control' has checksum"):
        observed.check(manifest(listed(FILES)))


def test_another_size_is_corrupt_and_the_file_named(observed: Observed) -> None:
    pass_by(observed, [*FILES[:-1], file("global/pg_control", b"c" * 512)])
    with pytest.raises(Corrupt, match="'global/pg_control' has 512 bytes"):
        observed.check(manifest(listed(FILES)))


@pytest.mark.parametrize("gone", range(3))
def test_a_file_that_was_not_sent_is_corrupt(observed: Observed, gone: int) -> None:
    name = listed(FILES)[gone].path
    pass_by(observed, [(member, data) for member, data in FILES if member.name != name])
    with pytest.raises(Corrupt) as failure:
        observed.check(manifest(listed(FILES)))
    assert repr(name) in failure.value.message


def test_a_manifest_that_ends_before_the_files_is_corrupt(observed: Observed) -> None:
    pass_by(observed, FILES)
    with pytest.raises(Corrupt, match="'global/pg_control' was sent, but"):
        observed.check(manifest(listed(FILES[:-1])))


def test_a_manifest_that_goes_on_behind_the_files_is_corrupt(observed: Observed) -> None:
    pass_by(observed, FILES[:-1])
    with pytest.raises(Corrupt, match="lists file 'global/pg_control', which was not sent"):
        observed.check(manifest(listed(FILES)))


def test_a_manifest_with_other_checksums_than_asked_for_is_corrupt(observed: Observed) -> None:
    pass_by(observed, FILES)
    with pytest.raises(Corrupt, match="a SHA256 checksum"):
        observed.check(manifest(listed(FILES, algorithm="SHA256")))


def test_a_damaged_manifest_is_corrupt_although_its_files_agree(observed: Observed) -> None:
    pass_by(observed, FILES)
    text = b"".join(write(listed(FILES), [WalRange(1, LSN(0x28), LSN(0x100))], None))
    with pytest.raises(Corrupt, match="the backup manifest has checksum"):
        observed.check(ManifestReader(io.BytesIO(text.replace(b'"0/28"', b'"0/29"'))))


def test_an_unknown_algorithm_is_refused_at_once() -> None:
    with pytest.raises(Malformed):
        Observed("MD5")


@given(st.lists(contents, max_size=5), st.sampled_from(sorted(HEX_DIGITS)))
def test_what_was_sent_always_agrees_with_its_own_manifest(members: list[Content], algorithm: str) -> None:
    observed = Observed(algorithm)
    pass_by(observed, members)
    observed.check(manifest(listed(members, algorithm=algorithm)))
    observed.close()


def hollow(headers: bytes) -> Iterator[bytes]:
    """The archive that these headers are from, its files filled with zeros."""
    for at in range(0, len(headers), 512):
        block = headers[at : at + 512]
        size = parse_header(block).size
        yield block
        yield bytes(size + padding(size))
    yield END


@pytest.mark.parametrize("version", [15, 18])
def test_a_real_server_lists_files_in_the_order_in_which_it_sent_them(version: int) -> None:
    observed = Observed("NONE")
    for name in ("16384", "16385", "base"):
        headers = lzma.decompress((DATA / f"headers-{version}-{name}.xz").read_bytes())
        parser = TarParser(observed.sink("" if name == "base" else f"pg_tblspc/{name}/"))
        for piece in hollow(headers):
            parser.write(piece)
        parser.finish()
    text = lzma.decompress((DATA / f"manifest-{version}.xz").read_bytes())
    assert len(observed.check(ManifestReader(io.BytesIO(text)))) == 1
    observed.close()
