import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import MB, START, at, extras, lsns, record, sizes, timelines

from catalog.errors import Corrupt, Malformed, RepositoryError
from catalog.record import (
    Archive,
    BackupRecord,
    BadFile,
    Compression,
    Encryption,
    Point,
    Tablespace,
    backup_id,
    check_backup_id,
)
from catalog.walname import Segment

counts = st.integers(0, 1 << 62)
times = st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
ids = st.datetimes(datetime(1000, 1, 1)).map(lambda time: f"{time:%Y%m%dT%H%M%S}")
points = st.builds(Point, lsns, timelines, times, extras)
file_names = st.text(min_size=1).filter(lambda text: not {"/", "\0"} & set(text) and text not in (".", ".."))
archives = st.builds(Archive, file_names, st.none() | counts, counts, counts, st.text(), extras)


@st.composite
def records(draw):
    begin, end = sorted(draw(st.lists(lsns, min_size=2, max_size=2, unique=True)))
    incremental = draw(st.booleans())
    space = Tablespace(draw(counts), draw(st.text()), draw(st.text()), draw(extras))
    oids = st.sampled_from([None, space.oid])
    return replace(
        record(),
        id=draw(ids),
        name=draw(st.none() | st.text()),
        type="incremental" if incremental else "full",
        parent=draw(ids) if incremental else None,
        system_identifier=draw(st.integers(0, (1 << 64) - 1)),
        wal_segment_size=draw(sizes),
        summarize_wal=draw(st.none() | st.booleans()),
        begin=replace(draw(points), lsn=begin),
        end=replace(draw(points), lsn=end),
        copy_seconds=draw(st.floats(0, 1e9)),
        compression=Compression(draw(st.text()), draw(st.none() | counts), draw(extras)),
        encryption=Encryption(draw(st.text()), tuple(draw(st.lists(st.text(), max_size=2))), draw(extras)),
        bad_files=tuple(draw(st.lists(st.builds(BadFile, st.text(), counts, extras), max_size=2))),
        tablespaces=(space,),
        archives=tuple(replace(each, oid=draw(oids)) for each in draw(st.lists(archives, max_size=2))),
        manifest=draw(archives),
        extra=draw(extras),
    )


def content():
    return json.loads(record().to_json())


def read(content):
    return BackupRecord.from_json(json.dumps(content).encode())


@given(records())
def test_a_record_reads_back_as_it_was_written_unknown_keys_included(record):
    again = BackupRecord.from_json(record.to_json())
    assert again == record
    assert again.to_json() == record.to_json()


def test_the_document_has_the_keys_of_the_format():
    assert list(content()) == [
        "format",
        "walstream",
        "id",
        "name",
        "server",
        "type",
        "parent",
        "system_identifier",
        "server_version",
        "block_size",
        "wal_segment_size",
        "data_checksums",
        "summarize_wal",
        "data_directory",
        "from_standby",
        "label",
        "begin",
        "end",
        "copy_seconds",
        "cluster_size",
        "compression",
        "encryption",
        "checksum_errors",
        "bad_files",
        "tablespaces",
        "archives",
        "manifest",
    ]
    assert content()["begin"] == {"lsn": "0/240000", "timeline": 1, "time": "2026-01-31T12:02:15+00:00"}
    assert content()["system_identifier"] == "7711084784289903658"
    assert content()["archives"][0] == {
        "file": "base.tar.zst",
        "oid": None,
        "raw_size": 10240,
        "stored_size": 512,
        "sha256": "ab" * 32,
    }


def test_a_record_from_before_bad_files_were_named_is_read():
    document = content()
    del document["bad_files"]
    assert read(document) == record()


@pytest.mark.parametrize("key", [key for key in content() if key != "bad_files"])
def test_a_missing_key_is_named(key):
    document = content()
    del document[key]
    with pytest.raises(Corrupt, match=f"'{key}' is missing"):
        read(document)


@pytest.mark.parametrize("key", [key for key in content() if key != "format"])
@pytest.mark.parametrize("value", [[1], 1.5, True])
def test_a_value_of_a_wrong_type_is_named(key, value):
    document = content()
    if type(document[key]) is type(value) or (key, value) == ("summarize_wal", True):
        return
    with pytest.raises(Corrupt, match=f"'{key}"):
        read({**document, key: value})


@pytest.mark.parametrize(
    "path, value",
    [
        (("id",), "20261331T120000"),
        (("type",), "partial"),
        (("type",), "incremental"),
        (("parent",), "20260131T120000"),
        (("wal_segment_size",), 3),
        (("begin", "lsn"), "0-240000"),
        (("begin", "lsn"), "0/FFFFFFFF"),
        (("begin", "timeline"), 0),
        (("begin", "time"), "2026-01-31T12:00:00"),
        (("begin", "time"), "yesterday"),
        (("manifest", "file"), "../backup_manifest"),
        (("manifest", "file"), ""),
        (("encryption", "recipients"), [1]),
    ],
)
def test_a_value_that_makes_no_sense_is_corrupt(path, value):
    document = content()
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(Corrupt, match="is not"):
        read(document)


@given(st.binary())
def test_any_bytes_are_a_record_or_refused(data):
    with pytest.raises((Corrupt, RepositoryError)):
        BackupRecord.from_json(data)


def test_a_newer_format_is_refused():
    with pytest.raises(RepositoryError, match="format 2"):
        read({**content(), "format": 2})


def test_times_are_written_in_utc():
    time = START.astimezone(timezone(timedelta(hours=5)))
    written = json.loads(record(begin=2, end=3).to_json())
    assert json.loads(replace(record(), end=Point(at(3.5), 1, time)).to_json())["end"]["time"] == (
        "2026-01-31T12:00:00+00:00"
    )
    assert written["end"]["time"].endswith("+00:00")


def test_the_last_segment_holds_the_byte_before_the_end_position():
    assert record(begin=2, end=4).first_segment == Segment(1, 2)
    assert record(begin=2, end=4).last_segment == Segment(1, 3)
    assert record(begin=2, end=4.25, end_timeline=2).last_segment == Segment(2, 4)
    assert record().wal_segment_size == MB


def test_a_backup_id_is_the_time_in_utc():
    assert backup_id(START.astimezone(timezone(timedelta(hours=-7)))) == "20260131T120000"
    assert check_backup_id("20260131T120000") == "20260131T120000"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest",
        "20260131",
        "20260131t120000",
        "20261331T120000",
        "20260131T246000",
        "٢٠٢٦٠١٣١T120000",
        "20260131T120000\n",
    ],
)
def test_any_other_text_is_no_backup_id(text):
    with pytest.raises(Malformed):
        check_backup_id(text)


def test_an_archive_of_a_tablespace_that_the_record_does_not_have_is_corrupt():
    changed = content()
    changed["archives"][0]["oid"] = 4711
    with pytest.raises(Corrupt, match="archives"):
        read(changed)
