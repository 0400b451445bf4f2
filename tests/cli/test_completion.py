import shutil
import subprocess
import sys

import pytest
from support.configurations import MAIN, write
from support.protection import ROOT, environment
from support.repositories import new_repository, store_backup

from walstream.cli.commands import COMMANDS
from walstream.cli.completion import SHELLS

BASH = shutil.which("bash")
FISH = shutil.which("fish")
COMPLETE = """
walstream() {{ '{python}' -P -m walstream "$@"; }}
eval "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_walstream
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def script(commands):
    """``script("bash")``: what is printed for that shell."""

    def make(shell):
        done = commands("completion", shell)
        assert (done.code, done.err) == (0, "")
        return done.out

    return make


@pytest.fixture
def completed(script, tmp_path):
    """``completed("check", "ma")``: what bash makes of the last word."""
    file = write(tmp_path, MAIN + "[other]\nconninfo = host=x\n")
    words = [BASH, "-c", COMPLETE.format(python=sys.executable), "bash", script("bash"), "walstream"]

    def complete(*typed):
        extra = {"WALSTREAM_CONFIG_FILE": file, "PYTHONPATH": ROOT}
        done = subprocess.run([*words, *typed], capture_output=True, text=True, env=environment() | extra)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    return complete


@pytest.mark.skipif(BASH is None, reason="no bash")
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["list-s"], ["list-servers", "list-server"]),
        (["-f", "json", "list-s"], ["list-servers", "list-server"]),
        (["check", "--nag"], ["--nagios"]),
        (["check", ""], ["main", "other", "all"]),
        (["backup", "main", "o"], ["other"]),
        (["-f", ""], ["console", "json"]),
        (["keep", "main", "latest", "--target", ""], ["full", "standalone"]),
        (["replication-status", "--target", "hot"], ["hot-standby"]),
        (["backup", "main", "--name", ""], []),
        (["--f"], ["--format"]),
        (["show-backup", "oth"], ["other"]),
        (["show-backup", "main", "l"], ["latest", "latest-full", "last-failed"]),
        (["restore", "--target-time", "x", "main", "old"], ["oldest"]),
        (["restore", "--target-action", "=", "pause", "main", "old"], ["oldest"]),
        (["restore", "main", "latest", ""], []),
        (["keep", "main", "latest", "--target", "="], ["full", "standalone"]),
        (["keep", "main", "latest", "--target", "=", "f"], ["full"]),
        (["verify-backup", "main", "latest", "olde"], ["oldest"]),
        (["completion", ""], ["bash", "fish", "zsh"]),
        (["nonsense", ""], []),
    ],
)
def test_bash_completes_commands_options_choices_and_servers(completed, typed, expected):
    assert completed(*typed) == expected


@pytest.mark.skipif(BASH is None, reason="no bash")
def test_bash_completes_the_ids_of_backups(completed, tmp_path):
    record = store_backup(repository := new_repository(tmp_path / "main"))
    assert completed("show-backup", repository.root, record.id[:4]) == [record.id]
    assert record.id in completed("verify-backup", repository.root, "latest", "")


def test_bash_asks_with_the_configuration_that_was_typed(completed, tmp_path):
    file = tmp_path / "another.conf"
    file.write_text("[walstream]\nwalstream_home = /nowhere\n[third]\nconninfo = host=x\n")
    assert completed("-c", str(file), "check", "") == ["third", "all"]
    assert completed("check", "--config", "=", str(file), "") == ["third", "all"]


@pytest.mark.skipif(FISH is None, reason="no fish here")
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("list-s", ["list-server", "list-servers"]),
        ("-f json check ma", ["main"]),
        ("show-backup ot", ["other"]),
        ("restore --target-time x main old", ["oldest"]),
        ("keep main latest --target f", ["full"]),
        ("check --nag", ["--nagios"]),
        ("completion z", ["zsh"]),
    ],
)
def test_fish_completes_them_too(script, tmp_path, typed, expected):
    file = write(tmp_path, MAIN + "[other]\nconninfo = host=x\n")
    program = tmp_path / "walstream"
    program.write_text(f"#!/bin/sh\nexec '{sys.executable}' -P -m walstream \"$@\"\n")
    program.chmod(0o755)
    extra = {"WALSTREAM_CONFIG_FILE": file, "PYTHONPATH": ROOT, "HOME": str(tmp_path)}
    extra["PATH"] = f"{tmp_path}:{environment()['PATH']}"
    text = f"{script('fish')}\ncomplete -C 'walstream {typed}'"
    done = subprocess.run([FISH, "-c", text], capture_output=True, text=True, env=environment() | extra)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == expected


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_in_the_script(script, shell):
    made = script(shell)
    for command in COMMANDS:
        assert command.name in made and all(alias in made for alias in command.aliases)
    assert "nagios" in made and "target-time" in made and "list-servers" in made and "list-backups" in made


@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_accepts_its_script(script, shell, tmp_path):
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"no {shell} here")
    file = tmp_path / "script"
    file.write_text(script(shell))
    done = subprocess.run([program, "-n", str(file)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_another_shell_is_refused_with_those_that_are_known(commands):
    done = commands("completion", "tcsh")
    assert done.code == 2 and "bash" in done.err and "fish" in done.err
