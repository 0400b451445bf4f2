"""A restored cluster's configuration files: what leads to the origin is taken out, wherever it is included."""

import os

import pytest
from support.values import record

from backup.configure import Recovery, configure
from backup.neutralise import described
from catalog.recovery import RecoveryPlan
from catalog.target import LATEST, RecoveryTarget
from catalog.timeline import History, Path
from catalog.walname import Segment

PLAIN = Recovery("exit 1")
PLAN = RecoveryPlan(
    record(), RecoveryTarget(LATEST), Path.of(History(1, ())), Segment(1, 2), Segment(1, 9), ()
)


@pytest.fixture
def configured(tmp_path):
    """``configured(files)``: write them, configure; what was done."""

    def make(files, recovery=PLAIN):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / name).write_text(text)
        return configure(str(tmp_path), PLAN, recovery, lambda path: None)

    return make


LEADING = "data_directory = '/srv/origin'\n"


@pytest.mark.parametrize(
    "directive, name",
    [
        ("include_dir 'conf.d'", "conf.d/a.conf"),
        ("include 'extra'", "extra"),
        ("include_if_exists = sub/extra.conf", "sub/extra.conf"),
        ("include_dir = './x/../conf.d/'", "conf.d/a.conf"),
    ],
)
def test_what_is_included_is_searched_too(configured, tmp_path, directive, name):
    found = configured({"postgresql.conf": directive, name: LEADING})
    assert found.changes == (f"commented out in {name}: {LEADING.strip()}",)
    content = (tmp_path / name).read_bytes()
    assert content.startswith(b"#") and found.changed_files == {name: described(content)}
    assert found.warnings == ()


def test_an_include_in_an_included_file_is_relative_to_that_file(configured):
    files = {"postgresql.conf": "include 'a/one'", "a/one": "include two", "a/two": f"include one\n{LEADING}"}
    assert list(configured(files).changed_files) == ["a/two"]


def test_only_the_visible_conf_files_of_a_directory_are_included(configured):
    names = ("d/a.conf", "d/.b.conf", "d/c.txt")
    found = configured({"postgresql.conf": "include_dir d", **dict.fromkeys(names, LEADING)})
    assert list(found.changed_files) == ["d/a.conf"]


def test_an_absent_include_is_the_server_s_business(configured):
    found = configured({"postgresql.conf": "include_if_exists 'no'\ninclude_dir 'no.d'"})
    assert (found.changes, found.warnings) == ((), ())


@pytest.fixture
def outside(tmp_path_factory):
    """A directory that is no part of the restore."""
    return tmp_path_factory.mktemp("outside")


def lines_of(tmp_path, name="postgresql.conf"):
    return [line for line in (tmp_path / name).read_text().splitlines() if line and line[0] != "#"]


@pytest.mark.parametrize("directive", ["include", "include_if_exists", "include_dir"])
@pytest.mark.parametrize("path", ["/nonexistent/x.conf", "../x.conf"])
def test_an_include_of_what_is_not_there_is_commented_out(configured, tmp_path, directive, path):
    found = configured({"postgresql.conf": f"{directive} '{path}'\nport = 1\n"})
    (change,) = found.changes
    assert "there is no" in change and change.endswith(f"in postgresql.conf: {directive} '{path}'")
    assert lines_of(tmp_path) == ["port = 1"] and "postgresql.conf" in found.changed_files


@pytest.mark.parametrize("line", [LEADING, "external_pid_file = '/run/x'", "log_filename = '../../x.log'"])
@pytest.mark.parametrize("through", ["", "include 'b.conf'\n", "include_dir 'd'\n"])
def test_an_include_outside_that_leads_to_the_origin_is_commented_out(
    configured, tmp_path, outside, line, through
):
    (outside / "d").mkdir()
    (outside / "a.conf").write_text(through or line)
    (outside / ("d/c.conf" if "include_dir" in through else "b.conf")).write_text(f"work_mem = 1\n{line}\n")
    found = configured({"postgresql.conf": f"include '{outside}/a.conf'\nport = 1"})
    (change,) = found.changes
    assert line.strip() in change and lines_of(tmp_path) == ["port = 1"]


def test_an_include_outside_that_leads_nowhere_stays_and_is_told(configured, tmp_path, outside):
    (outside / "a.conf").write_text("work_mem = 1\ninclude a.conf\nlog_directory = log\n")
    found = configured({"postgresql.conf": f"include '{outside}/a.conf'"})
    (told,) = found.warnings
    assert f"{outside}/a.conf" in told
    assert (found.changes, found.changed_files) == ((), {})


def test_nothing_outside_is_trusted_when_the_server_runs_elsewhere(configured, tmp_path, outside):
    (outside / "a.conf").write_text("work_mem = 1\n")
    recovery = Recovery("exit 1", look_outside=False)
    found = configured({"postgresql.conf": f"include '{outside}/a.conf'\nport = 1"}, recovery)
    (change,) = found.changes
    assert "leads out" in change and lines_of(tmp_path) == ["port = 1"]


@pytest.mark.parametrize(
    "directive",
    ["include 'global/x.conf'", "include_dir 'base'", "include_dir 'pg_wal'", "include 'nothing.conf'"],
)
def test_what_is_not_read_here_is_not_included_there(configured, tmp_path, directive):
    recovery = Recovery("exit 1", look_outside=False)
    files = {"postgresql.conf": f"{directive}\ninclude_dir '.'\n", "global/x.conf": "", "base/x.conf": ""}
    assert len(configured(files, recovery).changes) == 1
    assert lines_of(tmp_path) == ["include_dir '.'"]


def test_an_include_in_the_origin_s_data_directory_leads_to_the_restored_copy(configured, tmp_path):
    files = {
        "postgresql.conf": "include_dir '/srv/pg/conf.d'\n",
        "conf.d/a.conf": f"include '/srv/pg/./it''s.conf'\n{LEADING}",
        "it's.conf": "external_pid_file = '/run/x'",
    }
    found = configured(files)
    assert lines_of(tmp_path) == ["include_dir 'conf.d'"]
    assert lines_of(tmp_path, "conf.d/a.conf") == ["include '../it''s.conf'"]
    assert set(found.changed_files) == set(files)
    assert len(found.changes) == 4 and found.warnings == ()
    for name, described_so in found.changed_files.items():
        assert described((tmp_path / name).read_bytes()) == described_so


def test_files_that_the_server_reads_elsewhere_are_told(configured):
    text = "hba_file = '/etc/pg/pg_hba.conf'\nident_file = 'pg_ident.conf'\nssl_key_file = '../server.key'\n"
    told = configured({"postgresql.conf": text}).warnings
    assert len(told) == 2 and "hba_file" in told[0] and "ssl_key_file" in told[1]


def test_settings_in_another_file_are_included_last(configured, tmp_path):
    files = {"postgresql.auto.conf": "archive_mode = 'on'\n"}
    found = configured(files, Recovery("exit 1", file="mine.conf"))
    assert lines_of(tmp_path, "postgresql.auto.conf") == ["archive_mode = 'on'", "include 'mine.conf'"]
    assert found.new_files == {"mine.conf": described((tmp_path / "mine.conf").read_bytes())}
    assert "restore_command = 'exit 1'" in lines_of(tmp_path, "mine.conf")


def test_a_configuration_of_an_absurd_size_is_not_read_into_memory(tmp_path, configured):
    (tmp_path / "huge.conf").touch()
    os.truncate(tmp_path / "huge.conf", 1 << 40)
    with pytest.raises(OSError, match="too large"):
        configured({"postgresql.conf": "include 'huge.conf'"})
