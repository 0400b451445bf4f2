import shutil
import subprocess
import sys

import pytest
from support.configurations import MAIN, write
from support.protection import ROOT, environment

from walstream.cli.commands import COMMANDS
from walstream.cli.completion import SHELLS

BASH = shutil.which("bash")
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
        (["completion", ""], ["bash", "fish", "zsh"]),
        (["nonsense", ""], []),
    ],
)
def test_bash_completes_commands_options_choices_and_servers(completed, typed, expected):
    assert completed(*typed) == expected


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_in_the_script(script, shell):
    made = script(shell)
    for command in COMMANDS:
        assert command.name in made and all(alias in made for alias in command.aliases)
    assert "nagios" in made and "target-time" in made and "list-servers --minimal" in made


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
