import errno

import pytest
from support.faults import fail

from walstream.ops.last_said import AGAIN, LastSaid

NOW = 1_800_000_000.0


@pytest.fixture
def said(tmp_path):
    """``said(main=["no disk"])``: what is news, by a process of its own each time."""
    (tmp_path / ".rounds").mkdir()

    def ask(now=NOW, **found):
        return LastSaid(str(tmp_path)).news(found, now)

    return ask


def test_a_problem_is_news_once_and_its_end_as_well(said):
    assert said(main=["no disk"], two=[]) == ([("main", "no disk")], [])
    assert said(main=["no disk"], two=[]) == ([], [])
    assert said(main=["no disk", "no keys"], two=[]) == ([("main", "no keys")], [])
    assert said(main=[], two=[]) == ([], ["main"])
    assert said(main=[], two=[]) == ([], [])
    assert said(main=["no disk"]) == ([("main", "no disk")], [])


def test_numbers_do_not_make_another_problem(said):
    said(main=["no stream for 62 s (process 17)"])
    assert said(main=["no stream for 122 s (process 17)"]) == ([], [])


def test_what_lasts_is_said_again_each_day(said):
    said(main=["no disk"])
    assert said(NOW + AGAIN - 1, main=["no disk"]) == ([], [])
    assert said(NOW + AGAIN, main=["no disk"]) == ([("main", "no disk")], [])
    assert said(NOW + AGAIN + 60, main=["no disk"]) == ([], [])


def test_a_clock_that_was_set_back_keeps_nothing_quiet(said):
    said(main=["no disk"])
    assert said(NOW - 60, main=["no disk"]) == ([("main", "no disk")], [])


def test_of_a_server_that_was_left_out_nothing_changes(said):
    said(main=["no disk"])
    assert said(two=[]) == ([], [])
    assert said(main=["no disk"]) == ([], [])


@pytest.mark.parametrize("content", ["", "[1]", '{"main": 1}', '{"main": {"x": []}}', "[" * 100_000])
def test_where_it_cannot_be_read_everything_is_said(said, tmp_path, content):
    (tmp_path / ".rounds" / "said.json").write_text(content)
    assert said(main=["no disk"]) == ([("main", "no disk")], [])
    assert said(main=["no disk"]) == ([], [])


def test_where_it_cannot_be_written_everything_is_said(tmp_path):
    for _ in range(2):
        assert LastSaid(str(tmp_path / "nowhere")).news({"main": ["no disk"]}, NOW)[0]


def test_on_a_file_system_that_has_become_read_only_everything_is_said(said, monkeypatch):
    for call in ("rename", "unlink"):  # which fails there even for a file that does not exist
        fail(monkeypatch, call, errno.EROFS)
    for _ in range(2):
        assert said(main=["no disk"])[0] == [("main", "no disk")]
