import io
from argparse import Namespace

import pytest
from support.configurations import MAIN, write

from catalog.errors import UsageError
from walstream.cli.context import Context
from walstream.cli.output import Output


def context(file: str, log_level: str | None = None) -> Context:
    return Context(Namespace(config=file, log_level=log_level), Output(io.StringIO(), io.StringIO()))


def test_all_stands_for_every_server(tmp_path):
    here = context(write(tmp_path, MAIN + "[b]\n"))
    assert here.server_names(["all"]) == ["b", "main"]
    assert here.server_names(["x", "b", "x"]) == ["x", "b"]


def test_all_is_given_alone(tmp_path):
    with pytest.raises(UsageError):
        context(write(tmp_path, MAIN)).server_names(["all", "main"])


def test_the_log_level_of_the_command_line_wins(tmp_path):
    file = write(tmp_path, MAIN)
    assert context(file).log_level == "INFO"
    assert context(file, "debug").log_level == "DEBUG"
    with pytest.raises(UsageError):
        _ = context(file, "loud").log_level
