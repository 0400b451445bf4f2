import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.names import decode, encode, stays_inside
from catalog.errors import Malformed


@given(st.binary())
def test_any_bytes_have_a_text_and_the_text_their_bytes(raw: bytes) -> None:
    assert encode(decode(raw)) == raw


def test_a_surrogate_that_stands_for_no_byte_is_malformed() -> None:
    with pytest.raises(Malformed):
        encode("a\ud800")


@pytest.mark.parametrize("raw", [b"a", b"a/b", b".a", b"..a", b"a..", b"...", b"a/...", b"\xff/ \\", b"a\n"])
def test_plain_relative_names_stay_inside(raw: bytes) -> None:
    assert stays_inside(raw)


@pytest.mark.parametrize(
    "raw",
    [b"", b"/", b"/a", b"a/", b"a//b", b".", b"..", b"./a", b"a/.", b"../a", b"a/..", b"a/../b", b"a\0"],
)
def test_names_that_lead_elsewhere_do_not(raw: bytes) -> None:
    assert not stays_inside(raw)
