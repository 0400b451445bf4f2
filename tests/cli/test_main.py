import json
import subprocess
import sys
from importlib import import_module

import pytest
from support.configurations import MAIN, write

from walstream import __version__
from walstream.cli import main, run_light, split_command
from walstream.cli.commands import COMMANDS, GROUPS
from walstream.cli.program import command_parser

BROKEN = MAIN + "[broken]\n    conninfo = host=x\n    nonsense = 1\n"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_a_module_help_and_an_example(command):
    module = import_module(command.module)
    assert hasattr(module, "light_main" if command.light else "run")
    assert command.group in GROUPS
    assert module.EXAMPLE in command_parser(command, module).format_help()
    assert f"walstream {command.name}" in module.EXAMPLE


def test_the_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {command.name} " in shown for command in COMMANDS)


def test_the_version_is_shown_with_and_without_a_command(capsys):
    assert main(["-v"]) == main(["list-servers", "-v"]) == 0
    assert capsys.readouterr().out == f"walstream {__version__}\n" * 2


def test_an_unknown_command_is_a_usage_error_with_the_nearest_name(capsys):
    assert main(["list-serves"]) == 2
    assert capsys.readouterr().err == (
        "walstream: error: there is no command 'list-serves'\nhint: did you mean 'list-servers'?\n"
    )


@pytest.mark.parametrize(
    "arguments", [[], ["list-servers", "--nonsense"], ["-f"], ["list-servers", "-f", "xml"]]
)
def test_a_wrong_call_is_a_usage_error(arguments, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("walstream: error: ")


def test_global_options_stand_before_or_after_the_command(tmp_path, capsys):
    file = write(tmp_path, MAIN)
    assert main(["-c", file, "-f", "json", "list-servers"]) == 0
    before = capsys.readouterr().out
    assert main(["list-servers", f"--config={file}", "--format", "json"]) == 0
    assert capsys.readouterr().out == before


def test_errors_are_in_the_json_document_and_on_standard_error(capsys):
    assert main(["-f", "json", "-c", "/nonexistent", "list-servers"]) == 2
    captured = capsys.readouterr()
    assert "cannot read /nonexistent" in json.loads(captured.out)["_ERROR"][0]
    assert captured.err.startswith("walstream: error: cannot read /nonexistent")


def test_a_usage_error_is_in_the_json_document_too(capsys):
    assert main(["list-servers", "--nonsense", "--format=json"]) == 2
    assert "nonsense" in json.loads(capsys.readouterr().out)["_ERROR"][0]


def test_a_traceback_is_shown_only_on_request(capsys):
    main(["-c", "/nonexistent", "list-servers"])
    assert "Traceback" not in capsys.readouterr().err
    main(["-c", "/nonexistent", "list-servers", "-d"])
    assert "Traceback" in capsys.readouterr().err


def test_the_command_is_the_first_word_that_is_no_option():
    assert split_command(["-c", "f", "-q", "x", "-c", "y"]) == ("x", ["-c", "f", "-q", "-c", "y"])
    assert split_command(["--config=f", "-h"]) == (None, ["--config=f", "-h"])


@pytest.mark.parametrize(
    ("argument", "code"), [("0", 0), ("1", 1), ("64", 64), ("raise", 255), ("exit", 255)]
)
def test_a_light_command_that_fails_ends_with_255(argument, code):
    assert run_light("support.light_command", [argument]) == code


def test_a_light_command_that_cannot_be_imported_ends_with_255():
    assert run_light("support.nonexistent", []) == 255


def test_a_reader_that_has_gone_is_no_traceback(tmp_path):
    file = write(tmp_path, MAIN)
    program = [sys.executable, "-m", "walstream", "-c", file, "list-servers"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_a_full_disk_is_an_error_and_no_traceback(tmp_path):
    with open("/dev/full", "wb") as full:
        program = [sys.executable, "-m", "walstream", "--help"]
        run = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (run.returncode, run.stderr) == (1, "walstream: error: No space left on device\n")


def test_list_servers_shows_descriptions_and_what_is_wrong(tmp_path, capsys):
    text = BROKEN + "[old]\n    conninfo = host=x\n    active = no\n"
    assert main(["-c", write(tmp_path, text), "list-servers"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "broken (WARNING: disabled)\nmain - the shop\nold (inactive)\n"
    assert "line 10: 'nonsense' in [broken] is not an option" in captured.err


def test_list_servers_minimal_shows_names(tmp_path, capsys):
    assert main(["-c", write(tmp_path, MAIN), "list-servers", "--minimal"]) == 0
    assert capsys.readouterr().out == "main\n"


def test_list_servers_in_json_is_by_server(tmp_path, capsys):
    assert main(["-c", write(tmp_path, MAIN), "list-servers", "-f", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"main": {"description": "the shop"}}


def test_an_error_of_the_global_section_is_shown_once(tmp_path, capsys):
    text = MAIN.replace("[main]", "nonsense = 1\n[main]") + "[b]\nconninfo = host=x\n"
    assert main(["-c", write(tmp_path, text), "list-servers"]) == 2
    assert capsys.readouterr().err.count("nonsense") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("bench", "main", "--seconds", "0"), "'0' is not a number of seconds above 0 and at most 600"),
        (("bench", "main", "--seconds", "900"), "'900' is not a number of seconds from 0 to 600"),
        (
            ("backup", "main", "--wait-timeout", "soon"),
            "'soon' is not a number of seconds from 0 to 999999999",
        ),
        (("switch-wal", "main", "--archive-timeout", "-1"), "'-1' is not a number of seconds from 0 to"),
    ],
)
def test_seconds_that_cannot_be_are_refused_with_what_can_be(words, said, capsys):
    assert main(list(words)) == 2
    assert said in capsys.readouterr().err
