"""One line for a monitoring system: its state is the exit code, and it is one line whatever happens."""

import re

import pytest
from support.configurations import write

from walstream.cli import main, nagios
from walstream.ops.check import Report
from walstream.ops.items import failure, fine, warned

# What the guidelines of the plug-ins allow: 'label'=value[UOM], separated by blanks, behind one bar.
LINE = re.compile(r"WALSTREAM (OK|WARNING|CRITICAL|UNKNOWN) - [^|\n]+( \|( '[^'=]+'=-?[0-9.]+(s|B|))+)?")

WELL = fine("PostgreSQL", "18.6")
OLD = failure("backup maximum age", "2 days | old", "take one")
WRONG = failure("configuration", "line 3: unknown option", "correct it")
DOWN = failure("PostgreSQL", "connection\nrefused", "start it")


def report(*items, server="main", active=True):
    return Report(server, active, items, {"backup_age": (7.6, "s"), "receiver_lag": (0, "B")})


@pytest.mark.parametrize(
    ("reports", "state", "text"),
    [
        (
            [report(WELL, warned("clock", "apart"))],
            0,
            "OK - ready to restore main | 'main backup_age'=8s '",
        ),
        ([report(WELL, OLD)], 1, "WALSTREAM WARNING - main: backup maximum age (2 days / old)"),
        (
            [report(WELL, OLD, DOWN)],
            2,
            "CRITICAL - main: backup maximum age (2 days / old), PostgreSQL (",
        ),
        ([report(WELL), report(DOWN, server="two")], 2, "two: PostgreSQL (connection refused)"),
        ([report(WELL), report(WRONG, server="two")], 3, "WALSTREAM UNKNOWN - two: configuration ("),
        ([report(OLD), report(WRONG, server="two")], 3, "WALSTREAM UNKNOWN - main: backup maximum age"),
        ([report(WRONG, server="a"), report(DOWN)], 2, "WALSTREAM CRITICAL - a: configuration ("),
        ([report(DOWN), report(WRONG, server="two")], 2, "WALSTREAM CRITICAL - main: PostgreSQL ("),
        ([report(DOWN, active=False)], 0, "WALSTREAM OK - no active server"),
    ],
)
def test_the_worst_item_decides(reports, state, text):
    line = nagios.line(reports)
    assert nagios.state_of(reports) == state
    assert text in line and LINE.fullmatch(line)


def test_a_configuration_without_a_server_is_unknown(tmp_path, capsys):
    file = write(tmp_path, "")
    assert main(["-c", file, "check", "all", "--nagios"]) == 3
    line = capsys.readouterr().out.strip()
    assert line.startswith("WALSTREAM UNKNOWN - ") and LINE.fullmatch(line) and f"no server in {file}" in line


def test_a_wrong_section_does_not_hide_a_server_that_is_down(tmp_path, capsys):
    down = f"[walstream]\nwalstream_home = {tmp_path}\n[main]\nconninfo = host={tmp_path}\n"
    config = write(tmp_path, down + "[other]\nconninfo = host=x\nnonsense = 1\n")
    assert main(["-c", config, "check", "all", "--nagios"]) == 2
    line = capsys.readouterr().out.strip()
    assert line.startswith("WALSTREAM CRITICAL - main: ") and "'nonsense'" in line


@pytest.mark.parametrize(
    "words", [["check"], ["check", "all", "--nagois"], ["check", "all", "--log-level", "loud"]]
)
def test_a_command_line_that_is_wrong_is_unknown(words, capsys):
    assert main(words) == 2
    assert main([*words, "--nagios"]) == 3
    assert "walstream: error: " in capsys.readouterr().err


def test_what_cannot_be_checked_is_unknown(tmp_path, capsys):
    assert main(["-c", str(tmp_path / "none.conf"), "check", "all", "--nagios"]) == 3
    line = capsys.readouterr().out.strip()
    assert line.startswith("WALSTREAM UNKNOWN - ") and LINE.fullmatch(line)
    config = write(tmp_path, "[walstream]\nwalstream_home = /srv\n[main]\nconninfo = host=x\nnonsense = 1\n")
    assert main(["-c", config, "check", "main", "--nagios"]) == 3
    line = capsys.readouterr().out
    assert line.startswith("WALSTREAM UNKNOWN - ") and "'nonsense'" in line
    assert main(["-c", config, "check", "other", "--nagios"]) == 3
