"""CRC-32C against the published check value and its own definition."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.crc32c import crc32c


def by_definition(data: bytes) -> int:
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def test_the_check_value_of_the_castagnoli_polynomial():
    assert crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@given(data=st.binary(max_size=300))
def test_it_is_the_checksum_of_the_definition_for_any_kind_of_bytes(kind, data):
    assert crc32c(kind(data)) == by_definition(data)


@given(first=st.binary(), second=st.binary())
def test_a_sum_continues_where_another_left_off(first, second):
    assert crc32c(second, crc32c(first)) == crc32c(first + second)
