from hypothesis import given
from hypothesis import strategies as st

from walstream.outage import MOST_REASONS, SETTLED, Outage


def test_each_reason_is_news_once_and_the_end_has_its_length():
    outage = Outage()
    assert outage.works(0) is None
    assert outage.failed("lost", 10)
    assert not outage.failed("lost", 11)
    assert outage.failed("refused", 12)
    assert not outage.failed("lost", 20)
    assert outage.works(41) == 31
    assert outage.works(42) is None and outage.is_on
    assert outage.works(41 + SETTLED) is None and not outage.is_on


def test_after_an_end_that_has_lasted_the_same_reason_is_news_again():
    outage = Outage()
    outage.failed("lost", 0)
    outage.works(1)
    assert outage.failed("lost", 1 + SETTLED)
    assert outage.works(2 + SETTLED) == 1


def test_numbers_do_not_make_another_reason():
    outage = Outage()
    assert outage.failed("the slot is in use by process 17", 0)
    assert not outage.failed("the slot is in use by process 4711", 1)


def test_what_works_for_a_moment_only_is_said_once_and_then_when_it_lasts():
    outage = Outage()
    outage.failed("damaged", 0)
    assert outage.works(5) == 5
    for moment in range(6, 60, 5):
        assert not outage.failed("damaged", moment)
        assert outage.comes_back and outage.works(moment + 1) is None
    assert outage.works(57 + SETTLED) == 57 and not outage.is_on


def test_reasons_without_end_are_not_all_said():
    outage = Outage()
    letters = [chr(0x4E00 + number) for number in range(3 * MOST_REASONS)]
    assert sum(outage.failed(letter, 0) for letter in letters) == MOST_REASONS


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30))))
def test_there_is_one_end_for_each_outage_at_most(steps):
    outage, now, failed, ends = Outage(), 0, 0, 0
    for fails, later in steps:
        now += later
        if fails:
            failed += outage.failed("lost", now)
        else:
            ends += outage.works(now) is not None
    # One that came back has an end when it seemed over, and one when it was.
    assert ends <= 2 * failed
