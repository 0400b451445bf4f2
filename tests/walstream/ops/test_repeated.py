"""A question that is asked again and again: never twice at a time, and not sooner than it may be."""

import threading
import time

import pytest

from walstream.ops.repeated import Repeated

LONG = 30.0


def test_it_is_answered_once_as_long_as_the_answer_is_new():
    asked = []
    question = Repeated("q", lambda: asked.append(1) or len(asked), LONG)
    assert question.last is None
    for _ in range(3):
        question.begin()
        assert question.wait(LONG).value == 1
    assert question.last.value == 1 and question.last.error is None


def test_it_is_asked_again_when_its_answer_is_old(eventually):
    asked = []
    question = Repeated("q", lambda: asked.append(1), 0.001)

    def again():
        question.begin()
        question.wait(LONG)
        return len(asked) >= 3

    eventually(again)


def test_one_that_hangs_is_not_asked_again_and_leaves_its_last_answer():
    may_go, asked = threading.Event(), []

    def hang():
        asked.append(threading.current_thread())
        assert may_go.wait(LONG)
        return len(asked)

    question = Repeated("q", hang, 0.0)
    question.begin()
    may_go.set()
    assert question.wait(LONG).value == 1
    may_go.clear()
    for _ in range(5):
        question.begin()
        assert question.wait(0.001) is None
    assert len(asked) == 2 and question.last.value == 1
    may_go.set()
    assert question.wait(LONG).value == 2


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1)])
def test_what_it_fails_with_is_its_answer(error):
    def fail():
        raise error

    question = Repeated("q", fail, LONG)
    before = time.time()
    question.begin()
    answer = question.wait(LONG)
    assert (answer.value, answer.error) == (None, error)
    assert before - 1 <= answer.at <= time.time() + 1 and answer.seconds >= 0
