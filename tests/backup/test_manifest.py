import hashlib
import io
import json
import lzma
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cuts import truncations, ways
from support.members import names

from backup.checksum import HEX_DIGITS
from backup.manifest import MAX_LINE, ManifestReader, rewrite, write
from backup.manifest_entry import FileEntry, WalRange
from catalog.errors import Corrupt, Malformed
from catalog.lsn import LSN

DATA = Path(__file__).parent.parent / "data"
ENTRIES = [
    FileEntry("backup_label", 225, "2026-11-22 19:47:19 GMT", "CRC32C", "0a1b2c3d"),
    FileEntry("global/pg_control", 8192, "2026-11-22 19:47:19 GMT", "CRC32C", "8a744722"),
]
RANGES = [WalRange(2, LSN(0x3000028), LSN(0x3000100)), WalRange(1, LSN(0x2000028), LSN(0x3000028))]
SAMPLE = b"".join(write(ENTRIES, RANGES, 7711084820815947054))


class Pieces:
    """A reader that gives the pieces it was made of."""

    def __init__(self, pieces: list[memoryview]) -> None:
        self._pieces = iter([bytes(piece) for piece in pieces if piece])

    def read(self, n: int, /) -> bytes:
        return next(self._pieces, b"")

    def close(self) -> None:
        pass


def read(manifest: bytes) -> tuple[list[FileEntry], tuple[WalRange, ...]]:
    reader = ManifestReader(io.BytesIO(manifest))
    return list(reader), reader.finish()


def sealed(body: str | bytes) -> bytes:
    """A manifest whose own checksum is right, whatever the rest is."""
    body = body if isinstance(body, bytes) else body.encode()
    return body + b'"Manifest-Checksum": "%s"}\n' % hashlib.sha256(body).hexdigest().encode()


def with_file(line: str) -> bytes:
    return sealed(
        f'{{ "PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [\n{line}\n],\n"WAL-Ranges": [\n],\n'
    )


def with_range(line: str) -> bytes:
    return sealed(
        f'{{ "PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [\n],\n"WAL-Ranges": [\n{line}\n],\n'
    )


@pytest.mark.parametrize(("version", "system", "count"), [(15, None, 971), (18, 7711084820815947054, 975)])
def test_a_real_manifest_is_read_and_copied_to_the_byte(version: int, system: int | None, count: int) -> None:
    manifest = lzma.decompress((DATA / f"manifest-{version}.xz").read_bytes())
    reader = ManifestReader(io.BytesIO(manifest))
    paths = [entry.path for entry in reader]
    assert (reader.system_identifier, len(paths)) == (system, count)
    assert {"stray\udcff\udcfe", 'quote"back\\slash', "tablespace_map"} <= set(paths)
    assert [span.timeline for span in reader.finish()] == [1]
    assert b"".join(rewrite(io.BytesIO(manifest), {})) == manifest


def test_files_and_ranges_read_back_as_they_were_written() -> None:
    assert read(SAMPLE) == (ENTRIES, tuple(RANGES))


def test_a_manifest_does_not_depend_on_how_it_was_cut() -> None:
    for pieces in ways(SAMPLE):
        reader = ManifestReader(Pieces(pieces))
        assert list(reader) == ENTRIES
        assert reader.finish() == tuple(RANGES)


def test_a_manifest_cut_short_anywhere_is_corrupt() -> None:
    for beginning in truncations(SAMPLE):
        with pytest.raises(Corrupt):
            read(beginning)


def test_any_changed_byte_is_noticed() -> None:
    for at in range(len(SAMPLE)):
        changed = bytearray(SAMPLE)
        changed[at] ^= 0x04
        with pytest.raises(Malformed):
            read(bytes(changed))


def test_finish_reads_past_files_that_nobody_asked_for_and_may_be_called_again() -> None:
    reader = ManifestReader(io.BytesIO(SAMPLE))
    assert reader.finish() == reader.finish() == tuple(RANGES)


def test_a_wrong_checksum_of_the_manifest_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="but states"):
        read(SAMPLE.replace(b"0a1b2c3d", b"0a1b2c3e"))


def test_a_manifest_without_files_is_fine() -> None:
    assert read(b"".join(write([], [], None))) == ([], ())
    assert read(sealed(b'{ "PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [\n],\n"WAL-Ranges": [\n],\n'))


def test_a_path_may_be_encoded_although_it_need_not() -> None:
    assert read(with_file('{ "Encoded-Path": "612f62", "Size": 0 }'))[0] == [FileEntry("a/b", 0)]


def test_names_of_algorithms_and_sums_are_read_in_either_case() -> None:
    line = '{ "Path": "a", "Size": 0, "Checksum-Algorithm": "crc32c", "Checksum": "ABCDEF00" }'
    assert read(with_file(line))[0] == [FileEntry("a", 0, "", "CRC32C", "abcdef00")]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "null",
        "{",
        "[" * 20_000,
        '{ "Size": 1 }',
        '{ "Path": "a" }',
        '{ "Path": "a", "Size": 1 },',
        '{ "Path": "a", "Size": 1 }\n{ "Path": "b", "Size": 1 }',
        '{ "Path": "a", "Size": 1 }, { "Path": "b", "Size": 1 }',
        '{ "Path": "a", "Size": 1, "Size": 1 }',
        '{ "Path": "a", "Size": 1, "Colour": "red" }',
        '{ "Path": "a", "Encoded-Path": "61", "Size": 1 }',
        '{ "Path": "a", "Encoded-Path": null, "Size": 1 }',
        '{ "Path": ["a"], "Size": 1 }',
        '{ "Encoded-Path": "6", "Size": 1 }',
        '{ "Encoded-Path": "6g", "Size": 1 }',
        '{ "Encoded-Path": " 61", "Size": 1 }',
        '{ "Encoded-Path": "", "Size": 1 }',
        '{ "Encoded-Path": "6100", "Size": 1 }',
        '{ "Path": "\\udc80", "Size": 1 }',
        '{ "Path": "a\\u0000", "Size": 1 }',
        '{ "Path": "../a", "Size": 1 }',
        '{ "Path": "/a", "Size": 1 }',
        '{ "Path": "", "Size": 1 }',
        '{ "Path": "a", "Size": -1 }',
        '{ "Path": "a", "Size": 1.5 }',
        '{ "Path": "a", "Size": true }',
        '{ "Path": "a", "Size": "1" }',
        '{ "Path": "a", "Size": 9223372036854775808 }',
        '{ "Path": "a", "Size": ' + "9" * 5000 + " }",
        '{ "Path": "a", "Size": 1, "Last-Modified": 5 }',
        '{ "Path": "a", "Size": 1, "Checksum": "00000000" }',
        '{ "Path": "a", "Size": 1, "Checksum-Algorithm": "CRC32C" }',
        '{ "Path": "a", "Size": 1, "Checksum-Algorithm": "CRC32C", "Checksum": "0000000g" }',
        '{ "Path": "a", "Size": 1, "Checksum-Algorithm": "CRC32C", "Checksum": "000000" }',
        '{ "Path": "a", "Size": 1, "Checksum-Algorithm": "MD5", "Checksum": "" }',
        '{ "Path": "a", "Size": 1, "Checksum-Algorithm": 1, "Checksum": "" }',
    ],
)
def test_a_malformed_file_is_refused(line: str) -> None:
    with pytest.raises(Malformed):
        read(with_file(line))


@pytest.mark.parametrize(
    "line",
    [
        '{ "Timeline": 0, "Start-LSN": "0/1", "End-LSN": "0/2" }',
        '{ "Timeline": "1", "Start-LSN": "0/1", "End-LSN": "0/2" }',
        '{ "Timeline": 1, "Start-LSN": "oink", "End-LSN": "0/2" }',
        '{ "Timeline": 1, "Start-LSN": "0/1" }',
        '{ "Timeline": 1, "Start-LSN": "0/1", "End-LSN": 2 }',
        '{ "Timeline": 1, "Start-LSN": "0/1", "End-LSN": "0/2", "Extra": 1 }',
    ],
)
def test_a_malformed_wal_range_is_refused(line: str) -> None:
    with pytest.raises(Malformed):
        read(with_range(line))


@pytest.mark.parametrize(
    "manifest",
    [
        b"\n",
        b"{}\n",
        sealed(b'{ "Files": [\n],\n"WAL-Ranges": [\n],\n'),
        sealed(b'{ "PostgreSQL-Backup-Manifest-Version": 3,\n"Files": [\n],\n"WAL-Ranges": [\n],\n'),
        sealed(b'{ "PostgreSQL-Backup-Manifest-Version": 2,\n"Files": [\n],\n"WAL-Ranges": [\n],\n'),
        sealed(b'{ "PostgreSQL-Backup-Manifest-Version": 1,\n"WAL-Ranges": [\n],\n'),
        sealed(b'{ "PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [\n],\n'),
        SAMPLE + b"\n",
        b"x" * (5 * MAX_LINE),
    ],
)
def test_what_is_no_manifest_is_malformed(manifest: bytes) -> None:
    with pytest.raises(Malformed):
        read(manifest)


def test_a_changed_file_has_its_new_size_and_sum_in_the_copy() -> None:
    copied = b"".join(rewrite(io.BytesIO(SAMPLE), {"backup_label": (3, "00000001")}))
    entries, ranges = read(copied)
    assert entries == [FileEntry("backup_label", 3, ENTRIES[0].mtime, "CRC32C", "00000001"), ENTRIES[1]]
    assert ranges == tuple(RANGES)


def test_a_file_without_a_sum_gets_none_in_the_copy() -> None:
    original = b"".join(write([FileEntry("a", 1)], [], None))
    assert read(b"".join(rewrite(io.BytesIO(original), {"a": (2, "00000000")})))[0] == [FileEntry("a", 2)]


def test_a_file_that_is_dropped_is_no_longer_listed() -> None:
    files = [entry.path for entry in read(SAMPLE)[0]]
    copied = read(b"".join(rewrite(io.BytesIO(SAMPLE), {}, (files[0], "not listed"))))[0]
    assert [entry.path for entry in copied] == files[1:]


def test_changing_a_file_that_is_not_listed_is_refused() -> None:
    with pytest.raises(Malformed, match="does not list 'gone'"):
        list(rewrite(io.BytesIO(SAMPLE), {"gone": (1, "")}))


def test_a_damaged_original_is_never_copied_to_the_end() -> None:
    with pytest.raises(Corrupt):
        list(rewrite(io.BytesIO(SAMPLE.replace(b"8192", b"8193")), {}))


def _entry(path: str, size: int, mtime: str, algorithm: str) -> FileEntry:
    return FileEntry(path, size, mtime, algorithm, "0f" * (HEX_DIGITS[algorithm] // 2))


@given(
    st.lists(
        st.builds(
            _entry,
            names,
            st.integers(0, (1 << 63) - 1),
            st.text(st.characters(exclude_categories=["Cs"])),
            st.sampled_from(sorted(HEX_DIGITS)),
        )
    )
)
def test_any_files_read_back_and_the_manifest_is_json(entries: list[FileEntry]) -> None:
    manifest = b"".join(write(entries, [], None))
    assert read(manifest)[0] == entries
    assert len(json.loads(manifest)["Files"]) == len(entries)


@given(st.binary())
def test_no_bytes_raise_anything_but_malformed(data: bytes) -> None:
    for hostile in (data, with_file(data.decode("latin-1")), with_range(data.decode("latin-1"))):
        try:
            read(hostile)
        except Malformed:
            pass
