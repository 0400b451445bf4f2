import threading

import pytest

from catalog.errors import ConnectionFailed
from walstream.ops.asking import Questions


def test_answers_come_by_the_names_of_the_questions():
    assert Questions({"a": lambda: 1, "b": lambda: 2}, 30).answers() == {"a": 1, "b": 2}


def test_an_error_of_ours_is_the_answer_and_the_others_are_asked_all_the_same():
    error = ConnectionFailed("no")

    def fail():
        raise error

    assert Questions({"a": fail, "b": lambda: 2}, 30).answers() == {"a": error, "b": 2}


def test_a_mistake_of_the_program_is_raised():
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Questions({"a": fail}, 30).answers()


def test_what_is_not_answered_in_time_is_an_error():
    never = threading.Event()
    try:
        found = Questions({"slow": never.wait, "b": lambda: True}, 0.2).answers()
    finally:
        never.set()
    assert found["b"] is True
    assert "did not answer within 0.2 seconds" in found["slow"].message


def test_without_a_limit_it_is_waited_for():
    gate = threading.Event()
    asked = Questions({"a": gate.wait}, 0)
    gate.set()
    assert asked.answers() == {"a": True}
