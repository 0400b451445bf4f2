import pytest
from hypothesis import given
from hypothesis import strategies as st

from walstream.settings import values
from walstream.settings.options import OPTIONS


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1), ("500ms", 0.5), ("2min", 120), ("7", 7), ("1.5 h", 5400), ("30 SECONDS", 30), ("5 minutes", 300),
        ("1 Hour", 3600), ("1 day", 86400),
    ],
)  # fmt: skip
def test_a_time_has_a_unit_or_is_in_seconds(text, seconds):
    assert values.duration(0).parse(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "-1s", "1 fortnight", "1.", ".5", "5ss", "5m", "1.2.3", "٣", "1e3", "nan"]
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError):
        values.duration(0).parse(text)


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("64MiB", 64 << 20),
        ("1GB", 10**9),
        ("3k", 3000),
        ("2Ki", 2048),
        ("10kB", 10000),
        ("5", 5),
        ("64 mib", 64 << 20),
        ("2G", 2 * 10**9),
    ],
)
def test_a_size_has_powers_of_1000_or_1024(text, nbytes):
    assert values.size(0, 1 << 40).parse(text) == nbytes


def test_a_value_outside_of_its_bounds_is_refused():
    assert values.whole(32, 100).parse("32") == 32
    with pytest.raises(ValueError):
        values.whole(32, 100).parse("31")


@pytest.mark.parametrize("text", ["A", "a-b", "", "a" * 64])
def test_a_slot_name_is_one_that_postgresql_accepts(text):
    with pytest.raises(ValueError):
        values.SLOT_NAME.parse(text)


@given(st.sampled_from(list(OPTIONS.values())), st.text())
def test_no_text_raises_anything_but_value_error(option, text):
    try:
        option.kind.parse(text)
    except ValueError:
        pass
