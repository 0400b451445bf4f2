import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.checksum import HEX_DIGITS, checksum
from catalog.errors import Malformed

# what PostgreSQL 15 stated for a file with this content
PG_VERSION, PG_VERSION_SUM = b"15\n", "8a744722"


def test_a_crc_is_written_as_its_bytes_lie_in_memory() -> None:
    total = checksum("CRC32C")
    total.update(PG_VERSION)
    assert total.hexdigest() == PG_VERSION_SUM


@pytest.mark.parametrize("algorithm", ["SHA224", "SHA256", "SHA384", "SHA512"])
def test_the_others_are_those_of_hashlib(algorithm: str) -> None:
    total = checksum(algorithm)
    total.update(memoryview(bytearray(b"abc")))
    assert total.hexdigest() == hashlib.new(algorithm.lower(), b"abc").hexdigest()


@given(st.sampled_from(sorted(HEX_DIGITS)), st.lists(st.binary()))
def test_a_sum_does_not_depend_on_the_cuts_and_has_its_length(algorithm: str, pieces: list[bytes]) -> None:
    cut, whole = checksum(algorithm), checksum(algorithm)
    for piece in pieces:
        cut.update(piece)
    whole.update(b"".join(pieces))
    assert cut.hexdigest() == whole.hexdigest()
    assert len(whole.hexdigest()) == HEX_DIGITS[algorithm]


@pytest.mark.parametrize("algorithm", ["", "MD5", "crc32c", "SHA1"])
def test_an_unknown_algorithm_is_malformed(algorithm: str) -> None:
    with pytest.raises(Malformed, match="unknown checksum algorithm"):
        checksum(algorithm)
