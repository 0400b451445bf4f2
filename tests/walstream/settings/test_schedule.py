"""Five fields of a crontab: what they mean in local time, and what is no schedule."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from walstream.settings.schedule import Schedule


@pytest.fixture(autouse=True)
def in_berlin(time_zone):
    time_zone("CET-1CEST,M3.5.0,M10.5.0/3")


def local(text):
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("fields", "after", "following"),
    [
        ("0 4 * * *", "2026-01-31 03:59:59.9", "2026-01-31 04:00"),
        ("0 4 * * *", "2026-01-31 04:00", "2026-02-01 04:00"),
        ("30 1 * * sun", "2026-01-31 12:00", "2026-02-01 01:30"),
        ("*/15 8-17 1,15 * *", "2026-01-31 12:00", "2026-02-01 08:00"),
        ("0 0 29 2 *", "2026-01-31 12:00", "2028-02-29 00:00"),
        ("30 2 * * *", "2026-03-28 12:00", "2026-03-29 03:30"),  # the hour that the clocks skip
    ],
)
def test_the_next_moment_is_one_of_local_time(fields, after, following):
    assert Schedule.parse(fields).next_after(local(after)) == local(following)


@pytest.mark.parametrize(
    "text", ["", "daily", "@daily", "0 4 * *", "0 0 4 * * *", "61 * * * *", "0 0 31 2 *", "x * * * *"]
)
def test_anything_else_is_no_schedule(text):
    with pytest.raises(ValueError, match=r"."):
        Schedule.parse(text)


@given(st.text(max_size=20))
def test_any_text_is_a_schedule_or_refused(text):
    try:
        found = Schedule.parse(text)
    except ValueError:
        return
    now = local("2026-01-31 12:00")
    assert found.next_after(now) > now
