import io
from argparse import Namespace

import pytest
from support.configurations import MAIN, write

from catalog.errors import UsageError
from walstream.cli import main
from walstream.cli.context import Context
from walstream.cli.output import Output


def context(file: str, log_level: str | None = None) -> Context:
    return Context(Namespace(config=file, log_level=log_level), Output(io.StringIO(), io.StringIO()))


def test_all_stands_for_every_server(tmp_path):
    here = context(write(tmp_path, MAIN + "[b]\n"))
    assert here.server_names(["all"]) == ["b", "main"]
    assert here.server_names(["x", "b", "x"]) == ["x", "b"]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "'walstream_home' is not set"),
        ("[walstream]\nwalstream_home = /srv/walstream\n", ""),
        ("conninfo = host=x\n", "'conninfo' stands in no section"),
        ("[walstream]\nwalstream_home = /srv/walstream\n[main\nconninfo = host=x\n", "not a section header"),
        (
            "[walstream]\nwalstream_home = /srv/walstream\nconfiguration_files_directory = absent.d\n",
            "cannot read",
        ),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        "check",
        "backup",
        "status",
        "expire",
        "list-backups",
        "show-servers",
        "replication-status",
        "switch-wal",
    ],
)
def test_all_is_an_error_where_no_server_is(command, text, cause, tmp_path, capsys):
    file = write(tmp_path, text)
    assert main(["-c", file, command, "all"]) == 2
    said = capsys.readouterr().err
    assert f"no server in {file}" in said and cause in said
    assert main(["-c", file, "-f", "json", command, "all"]) == 2
    assert f"no server in {file}" in capsys.readouterr().out


def test_all_is_given_alone(tmp_path):
    with pytest.raises(UsageError):
        context(write(tmp_path, MAIN)).server_names(["all", "main"])


def test_the_log_level_of_the_command_line_wins(tmp_path):
    file = write(tmp_path, MAIN)
    assert context(file).log_level == "INFO"
    assert context(file, "debug").log_level == "DEBUG"
    with pytest.raises(UsageError):
        _ = context(file, "loud").log_level
