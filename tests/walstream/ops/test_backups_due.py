"""Scheduled backups: due once for each time, made up for when nobody looked, and never all at once."""

import json
import os
from dataclasses import dataclass, field

import pytest
from support.configurations import loaded

from walstream.ops import backups_due
from walstream.ops.backups_due import STAGGER, BackupsDue
from walstream.ops.timetable import Failure, Timetable, last_failure
from walstream.settings.schedule import Schedule

HOUR = 3600.0
NOW = 500_000 * HOUR  # a full hour
HOURLY = Schedule.parse("0 * * * *")


@pytest.fixture(autouse=True)
def state(tmp_path):
    """As the first connection makes it."""
    made = tmp_path / "state"
    made.mkdir()
    return made


def timetable(tmp_path, schedule=HOURLY):
    return Timetable(str(tmp_path), schedule)


def test_a_new_schedule_begins_to_count_when_it_is_first_seen(tmp_path):
    table = timetable(tmp_path)
    assert not table.is_due(NOW + 10)
    assert not table.is_due(NOW + HOUR - 1)
    assert table.is_due(NOW + HOUR)


def test_what_was_started_is_remembered_and_what_was_missed_is_made_up_for_once(tmp_path):
    timetable(tmp_path).note_start(NOW + 10)
    assert not timetable(tmp_path).is_due(NOW + HOUR - 1)
    late = timetable(tmp_path)
    assert late.is_due(NOW + 7.5 * HOUR)
    late.note_start(NOW + 7.5 * HOUR)
    assert not late.is_due(NOW + 8 * HOUR - 1) and late.is_due(NOW + 8 * HOUR)


def test_another_schedule_or_a_clock_that_was_set_back_begins_anew(tmp_path):
    timetable(tmp_path).note_start(NOW)
    assert not timetable(tmp_path, Schedule.parse("30 * * * *")).is_due(NOW + 20 * HOUR)
    timetable(tmp_path).note_start(NOW + 100 * HOUR)
    assert not timetable(tmp_path).is_due(NOW + 1)
    assert timetable(tmp_path).is_due(NOW + HOUR)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"since": "x", "schedule": "0 * * * *"}'])
def test_a_damaged_document_only_says_less(tmp_path, content):
    (tmp_path / "state" / "schedule.json").write_text(content)
    assert not timetable(tmp_path).is_due(NOW)
    assert json.loads((tmp_path / "state" / "schedule.json").read_text())["since"] == NOW


def test_before_the_first_connection_nothing_lies_where_it_will_make_a_repository(tmp_path, state):
    state.rmdir()
    table = timetable(tmp_path)
    assert not table.is_due(NOW) and table.is_due(NOW + HOUR)
    table.note_start(NOW + HOUR)
    assert os.listdir(tmp_path) == []
    state.mkdir()
    assert not table.is_due(NOW + HOUR + 1)
    assert json.loads((state / "schedule.json").read_text())["since"] == NOW + HOUR


def test_the_end_of_one_changes_nothing_about_when_the_next_is_due(tmp_path):
    timetable(tmp_path).note_start(NOW + 10)
    timetable(tmp_path).note_end(Failure(NOW + 20, "no room"))
    assert timetable(tmp_path).next_due(NOW + 30) == NOW + HOUR


@dataclass
class FakeChild:
    words: list
    code: int | None = None
    signals: list = field(default_factory=list)

    def hear(self):
        pass

    def poll(self):
        return self.code

    def error(self):
        return "no room"

    def warnings(self):
        return []

    def facts(self):
        return {}

    def signal(self, signum):
        self.signals.append(signum)

    def close(self):
        pass


@pytest.fixture
def started(monkeypatch):
    found = []

    def make(words):
        found.append(FakeChild(words))
        return found[-1]

    monkeypatch.setattr(backups_due, "Child", make)
    return found


@pytest.fixture
def servers(tmp_path):
    text = f"[walstream]\nwalstream_home = {tmp_path}/home\n"
    for name, lines in {
        "one": "",
        "two": "",
        "none": "backup_schedule = none\n",
        "off": "active = off\n",
    }.items():
        schedule = "" if "schedule" in lines else "backup_schedule = 0 * * * *\n"
        text += f"[{name}]\nconninfo = host=x\n{schedule}{lines}"
    return loaded(tmp_path, text).servers


def test_backups_start_one_after_the_other_and_none_twice(servers, started, caplog):
    due = BackupsDue()
    due.renew(servers)
    due.look_after("file", NOW, 0)
    assert started == []
    due.look_after("file", NOW + HOUR, 10)
    due.look_after("file", NOW + HOUR + 5, 15)
    assert [each.words[-2] for each in started] == ["one"]
    due.look_after("file", NOW + HOUR + STAGGER, 10 + STAGGER)
    assert [each.words[-2:] for each in started] == [["one", "--supervised"], ["two", "--supervised"]]
    due.look_after("file", NOW + 3 * HOUR, 3 * HOUR)
    assert len(started) == len(due.children) == 2
    started[0].code, started[1].code = 0, 1
    due.look_after("file", NOW + 3 * HOUR, 3 * HOUR)
    assert "the scheduled backup has failed: exit code 1: no room" in caplog.text
    assert len(started) == 3 and len(due.children) == 1


def test_a_broken_section_keeps_its_schedule_so_that_the_failure_is_said(servers, started):
    due = BackupsDue()
    due.renew(servers)
    due.look_after("file", NOW, 0)
    due.renew({}, broken={"two"})
    due.look_after("file", NOW + HOUR, 10)
    due.look_after("file", NOW + HOUR + STAGGER, 10 + STAGGER)
    assert [each.words[-2] for each in started] == ["two"]


def test_new_settings_leave_a_backup_that_runs_alone_and_the_end_asks_it_to_undo_itself(
    servers, started, caplog
):
    due = BackupsDue()
    due.renew(servers)
    due.look_after("file", NOW, 0)
    due.look_after("file", NOW + HOUR, 10)
    due.renew({})
    assert len(due.children) == 1 and started[0].signals == []
    due.end()
    assert len(started[0].signals) == 1
    started[0].code = 1
    due.look_after("file", NOW + 5 * HOUR, 9000)
    assert "the scheduled backup was ended: exit code 1: no room" in caplog.text
    assert len(started) == 1


def test_how_the_last_one_failed_is_kept_until_one_succeeds(servers, started):
    home = servers["one"].home
    os.makedirs(os.path.join(home, "state"))
    due = BackupsDue()
    due.renew({"one": servers["one"]})
    due.look_after("file", NOW, 0)
    due.look_after("file", NOW + HOUR, 10)
    assert last_failure(home) is None
    started[0].code = 1
    due.look_after("file", NOW + HOUR + 5, 15)
    assert last_failure(home) == Failure(NOW + HOUR + 5, "exit code 1: no room")
    again = BackupsDue()  # after a restart
    again.renew({"one": servers["one"]})
    again.look_after("file", NOW + 2 * HOUR, 0)
    assert last_failure(home) == Failure(NOW + HOUR + 5, "exit code 1: no room")
    started[1].code = 0
    again.look_after("file", NOW + 2 * HOUR + 5, 5)
    assert last_failure(home) is None
