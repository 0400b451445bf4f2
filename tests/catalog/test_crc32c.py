from hypothesis import given
from hypothesis import strategies as st

from catalog.crc32c import crc32c


def test_the_sum_is_the_published_one_for_the_check_string() -> None:
    assert crc32c(b"123456789") == 0xE3069283


@given(st.binary(), st.binary())
def test_a_sum_can_be_continued_from_any_kind_of_bytes(first: bytes, second: bytes) -> None:
    assert crc32c(memoryview(bytearray(second)), crc32c(bytearray(first))) == crc32c(first + second)
