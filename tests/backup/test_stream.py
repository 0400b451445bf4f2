import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.stream import ArchiveStarted, Data, ManifestStarted, Progress, parse
from catalog.errors import ProtocolError


def test_the_main_archive_has_no_location_and_no_tablespace() -> None:
    event = parse(b"nbase.tar\0\0")
    assert event == ArchiveStarted("base.tar", "")
    assert event.tablespace is None


def test_the_archive_of_a_tablespace_is_named_after_its_oid() -> None:
    event = parse(b"n16384.tar.zst\0/srv/\xff\0")
    assert event == ArchiveStarted("16384.tar.zst", "/srv/\udcff")
    assert event.tablespace == 16384


def test_data_is_a_view_of_the_message() -> None:
    message = bytearray(b"dabc")
    event = parse(message)
    assert isinstance(event, Data)
    assert event.payload.obj is message
    assert event.payload == b"abc"


def test_data_may_be_empty() -> None:
    assert parse(b"d") == Data(memoryview(b""))


def test_the_manifest_starts_and_progress_is_a_number_of_eight_bytes() -> None:
    assert parse(b"m") == ManifestStarted()
    assert parse(b"p" + (5 << 32).to_bytes(8, "big")) == Progress(5 << 32)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".tar",
        "../base.tar",
        "a/base.tar",
        "a\\b.tar",
        "base",
        "0.tar",
        "base.tar.exe",
        "١.tar",
        "base.tar\n",
    ],
)
def test_an_archive_with_an_unexpected_name_is_refused(name: str) -> None:
    with pytest.raises(ProtocolError):
        parse(b"n" + name.encode() + b"\0\0")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"x",
        b"mm",
        b"p",
        b"p1234567",
        b"p123456789",
        b"n",
        b"nbase.tar",
        b"nbase.tar\0",
        b"nbase.tar\0\0\0",
    ],
)
def test_anything_else_is_a_protocol_error(message: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(message)


@given(st.binary())
def test_no_message_raises_anything_but_a_protocol_error(message: bytes) -> None:
    try:
        parse(message)
    except ProtocolError:
        pass
