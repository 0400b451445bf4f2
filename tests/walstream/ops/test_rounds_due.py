"""The maintenance rounds of a supervisor: what is said of them, and when they are killed."""

import logging
import signal
from dataclasses import dataclass, field

import pytest

from walstream.ops import rounds_due
from walstream.ops.rounds_due import FIRST_ROUND, LIMIT, ROUND, RoundsDue


@dataclass(eq=False)
class Round:
    words: list
    code: int | None = None
    document: dict = field(default_factory=dict)
    signals: list = field(default_factory=list)

    def hear(self):
        pass

    def poll(self):
        return self.code

    def facts(self):
        return self.document

    def error(self):
        return "; ".join(self.document.get("_ERROR", [])) or None

    def signal(self, signum):
        self.signals.append(signum)

    def close(self):
        pass


@pytest.fixture
def started(monkeypatch):
    found = []

    def make(words):
        found.append(Round(words))
        return found[-1]

    monkeypatch.setattr(rounds_due, "Child", make)
    return found


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, "walstream")

    def lines():
        found = [f"{record.name} {record.levelname} {record.message}" for record in caplog.records]
        caplog.clear()
        return found

    return lines


def play(due, started, *rounds):
    """One round after the other, each with an exit code and the document that it printed."""
    for code, document in rounds:
        now = FIRST_ROUND + ROUND * len(started)
        due.look_after("file", 0, now)
        started[-1].code, started[-1].document = code, document
        due.look_after("file", 0, now + 1)


def found(*problems):
    return 1 if problems else 0, {"main": {"problems": list(problems)}, "two": {"problems": []}}


def test_what_is_wrong_is_said_when_it_begins_and_when_it_is_over_and_not_each_minute(started, said):
    due = RoundsDue(0)
    play(due, started, found(), found("no disk"), found("no disk"), found("no disk", "no keys"), found())
    assert said() == [
        "walstream.server.main ERROR maintenance: no disk",
        "walstream.server.main ERROR maintenance: no keys",
        "walstream.server.main INFO maintenance is in order again, after 3 min",
    ]
    play(due, started, found(), found("no disk"))
    assert said() == ["walstream.server.main ERROR maintenance: no disk"]


def test_a_round_that_fails_is_said_once(started, said):
    failed = (2, {"_ERROR": ["no configuration"]})
    play(RoundsDue(0), started, failed, failed, failed)
    assert said() == ["walstream.run ERROR the maintenance round has failed: exit code 2: no configuration"]


def test_a_round_that_takes_too_long_is_killed_but_not_one_that_waits_for_scripts(started, said):
    due = RoundsDue(0)
    due.look_after("file", 100, FIRST_ROUND)
    due.look_after("file", 100, FIRST_ROUND + LIMIT + 100)
    assert started[0].signals == []
    due.look_after("file", 100, FIRST_ROUND + LIMIT + 101)
    assert started[0].signals == [signal.SIGKILL]
    started[0].code = -signal.SIGKILL
    due.look_after("file", 100, FIRST_ROUND + LIMIT + 102)
    assert said() == ["walstream.run ERROR the maintenance round has failed: killed by SIGKILL"]


def test_at_the_end_the_rounds_that_run_are_asked_to_end_and_none_begins(started, said):
    due = RoundsDue(0)
    due.look_after("file", 0, FIRST_ROUND)
    due.end()
    assert started[0].signals == [signal.SIGTERM]
    started[0].code = -signal.SIGTERM
    due.look_after("file", 0, FIRST_ROUND + 2 * ROUND)
    assert due.children == [] and len(started) == 1 and said() == []


def test_a_round_that_cannot_be_started_is_said_once(monkeypatch, said):
    def fail(words):
        raise OSError("no room for another process")

    monkeypatch.setattr(rounds_due, "Child", fail)
    due = RoundsDue(0)
    for number in range(3):
        due.look_after("file", 0, FIRST_ROUND + number * ROUND)
    assert said() == [
        "walstream.run ERROR the maintenance round cannot be started: no room for another process"
    ]
