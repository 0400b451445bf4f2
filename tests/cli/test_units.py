from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.units import duration, size
from walstream.cli.units import local_time


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (12_897_485, "12.3 MiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (1 << 40, "1.0 TiB"),
    ],
)
def test_a_size_is_in_the_unit_that_fits(nbytes, text):
    assert size(nbytes) == text


@given(st.integers(0, 1 << 70))
def test_every_size_has_a_text(nbytes):
    assert size(nbytes).endswith("B")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (12, "12 s"), (59.7, "1 min"), (184, "3 min 4 s"), (7200, "2 h"), (176_400, "2 d 1 h")],
)
def test_a_length_of_time_is_in_its_two_greatest_units(seconds, text):
    assert duration(seconds) == text


def test_a_local_time_shows_its_offset():
    shown = local_time(datetime(2026, 1, 31, 12, tzinfo=UTC))
    assert datetime.fromisoformat(shown) == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert shown[-6] in "+-"
