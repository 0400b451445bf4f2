import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cuts import truncations

from backup.label import (
    BackupLabel,
    as_full,
    format_label,
    format_tablespace_map,
    parse_label,
    parse_tablespace_map,
)
from catalog.errors import Malformed
from catalog.lsn import LSN

# as PostgreSQL 18 wrote it
INCREMENTAL = b"""\
START WAL LOCATION: 0/7000028 (file 000000010000000000000007)
CHECKPOINT LOCATION: 0/7000080
BACKUP METHOD: streamed
BACKUP FROM: primary
START TIME: 2026-11-22 19:47:26 UTC
LABEL: pg_basebackup base backup
START TIMELINE: 1
INCREMENTAL FROM LSN: 0/2000028
INCREMENTAL FROM TLI: 1
"""
FULL = INCREMENTAL.partition(b"INCREMENTAL")[0]
MAP = b"16384 /srv/t1\n16385 /srv/t2/with space \\\\ back\n"


def test_the_label_of_a_full_backup_is_understood() -> None:
    assert parse_label(FULL) == BackupLabel(
        start=LSN.parse("0/7000028"),
        segment="000000010000000000000007",
        checkpoint=LSN.parse("0/7000080"),
        timeline=1,
        method="streamed",
        backup_from="primary",
        start_time="2026-11-22 19:47:26 UTC",
        label="pg_basebackup base backup",
    )


def test_the_label_of_an_incremental_backup_names_its_parents_start() -> None:
    label = parse_label(INCREMENTAL)
    assert label.incremental_from == LSN.parse("0/2000028")
    assert label.incremental_timeline == 1


def test_laid_over_its_parents_a_label_is_that_of_a_full_backup() -> None:
    assert as_full(INCREMENTAL) == as_full(FULL) == FULL


@pytest.mark.parametrize("content", [FULL, INCREMENTAL])
def test_a_label_is_written_as_it_was_read(content: bytes) -> None:
    assert format_label(parse_label(content)) == content


def test_a_text_with_lines_of_its_own_cannot_pass_for_the_label_around_it() -> None:
    content = FULL.replace(b"LABEL: ", b"LABEL: nightly\nSTART TIMELINE: 9\nINCREMENTAL FROM LSN: 0/1\n")
    label = parse_label(content)
    assert (label.timeline, label.incremental_from) == (1, None)
    assert format_label(label) == content


@pytest.mark.parametrize(
    "line", ["BACKUP METHOD: streamed", "BACKUP FROM: primary", "LABEL: pg_basebackup base backup"]
)
def test_lines_that_recovery_can_do_without_may_be_missing(line: str) -> None:
    assert parse_label(FULL.replace(line.encode() + b"\n", b"")).timeline == 1


def test_unknown_lines_at_the_end_are_passed_over() -> None:
    assert parse_label(INCREMENTAL + b"MOON: full\n") == parse_label(INCREMENTAL)


def test_a_text_that_is_not_utf_8_is_kept() -> None:
    content = FULL.replace(b"UTC", b"\xb0\xff")
    assert format_label(parse_label(content)) == content


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (b"START WAL", b"start WAL"),
        (b"0/7000028", b"0/7000G28"),
        (b"0/7000028", b"70000280"),
        (b"(file 000000010000000000000007)", b"(file 0000000100000007)"),
        (b"(file 00000001", b"(file 00000002"),
        (b"(file 00000001", b"(file 00000000"),
        (b"CHECKPOINT LOCATION: 0/7000080\n", b""),
        (b"\n", b"\r\n"),
        (b"START TIMELINE: 1", b"START TIMELINE: 2"),
        (b"START TIMELINE: 1\n", b""),
        (b"streamed", b"streamed" * 9000),
    ],
)
def test_a_label_that_recovery_could_not_rely_on_is_malformed(right: bytes, wrong: bytes) -> None:
    with pytest.raises(Malformed):
        parse_label(FULL.replace(right, wrong))


def test_a_label_cut_short_anywhere_is_malformed() -> None:
    for beginning in truncations(FULL):
        with pytest.raises(Malformed):
            parse_label(beginning)


def test_a_label_that_would_not_read_back_is_not_written() -> None:
    label = parse_label(FULL)
    with pytest.raises(Malformed):
        format_label(BackupLabel(label.start, label.segment, label.checkpoint, 1, start_time="a\nb"))


def test_a_tablespace_map_of_a_real_server_reads_and_is_written_alike() -> None:
    expected = [(16384, "/srv/t1"), (16385, "/srv/t2/with space \\ back")]
    assert parse_tablespace_map(MAP) == expected
    assert format_tablespace_map(expected) == MAP


def test_postgresql_13_reads_no_escapes_but_those_of_line_breaks() -> None:
    assert format_tablespace_map([(16384, "/a\\b\nc")], 130023) == b"16384 /a\\b\\\nc\n"


def test_an_empty_tablespace_map_has_no_tablespaces() -> None:
    assert parse_tablespace_map(b"") == []


@pytest.mark.parametrize(
    "line",
    [
        "",
        "16384",
        "16384 ",
        "x /a",
        "0 /a",
        "4294967296 /a",
        " 1 /a",
        "1 /a\0",
        "1 /a\\",
        "1 /a\r",
        "1 /a\n1 /b",
    ],
)
def test_a_malformed_line_of_a_tablespace_map_is_refused(line: str) -> None:
    with pytest.raises(Malformed):
        parse_tablespace_map(line.encode() + b"\n")


def test_a_tablespace_map_that_ends_in_the_middle_of_a_line_is_refused() -> None:
    with pytest.raises(Malformed):
        parse_tablespace_map(MAP[:-1])


locations = st.binary(min_size=1).filter(lambda raw: b"\0" not in raw)


@given(st.dictionaries(st.integers(1, (1 << 32) - 1), locations, max_size=4))
def test_any_tablespace_map_reads_back(locations: dict[int, bytes]) -> None:
    tablespaces = [(oid, raw.decode("utf-8", "surrogateescape")) for oid, raw in locations.items()]
    assert parse_tablespace_map(format_tablespace_map(tablespaces)) == tablespaces


@given(st.binary())
def test_no_bytes_raise_anything_but_malformed(data: bytes) -> None:
    for parse in (parse_label, parse_tablespace_map):
        for content in (data, FULL + data, MAP + data):
            try:
                parse(content)
            except Malformed:
                pass
