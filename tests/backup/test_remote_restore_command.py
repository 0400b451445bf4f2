"""The restore_command of a server on another machine: through two shells, whole or not at all, the same codes."""

import os
import re
import shlex
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backup.recovery_conf import ABSENT_CODE, RestoreCall, remote_restore_command

HOSTILE = 'it\'s 100% %p %f "q" \\n $HOME `x` ;&|<>*?[]~#! $(exit 3)'
NAME = "000000010000000000000007"
words = st.text(
    st.characters(exclude_characters="\0\n\r", exclude_categories=("Cs",)), min_size=1, max_size=30
)


@pytest.fixture(scope="session")
def machine(tmp_path_factory):
    """A data directory; ``ssh`` runs its last word in a shell, the interpreter notes what it got."""
    place = tmp_path_factory.mktemp("machine")
    (place / "data" / "pg_wal").mkdir(parents=True)
    ssh = place / "ssh"
    ssh.write_text(
        '#!/bin/sh\n[ "$SSH" = 0 ] || exit "$SSH"\nfor word; do :; done\n'
        'printf "%s\\0" "$@" >"$NOTES/noted-ssh"\nexec sh -c "$word"\n'
    )
    python = place / HOSTILE.replace("/", "")
    python.write_text(
        '#!/bin/sh\nprintf "%s\\0" "$@" >"$NOTES/noted-python"\nprintf "the content"\ncat >&2\nexit "$CODE"\n'
    )
    for path in (ssh, python):
        path.chmod(0o755)
    return place


def run(machine, call, code=0, ssh=0, way_back=("user@host",)):
    """PostgreSQL's shell runs the command; how it ends."""
    command = remote_restore_command(call, [str(machine / "ssh"), *way_back])
    values = {"%%": "%", "%f": NAME, "%p": "pg_wal/RECOVERYXLOG"}
    command = re.sub("%(.)", lambda match: values[match[0]], command, flags=re.DOTALL)
    environment = {**os.environ, "NOTES": str(machine), "CODE": str(code), "SSH": str(ssh)}
    (machine / "data/pg_wal/RECOVERYXLOG").unlink(missing_ok=True)
    done = subprocess.run(["sh", "-c", command], env=environment, cwd=machine / "data", input=b"from here")
    assert [name for name in os.listdir(machine / "data" / "pg_wal") if name != "RECOVERYXLOG"] == []
    return done.returncode


def call(machine, **changes):
    given = {
        "python": str(machine / HOSTILE.replace("/", "")),
        "repository": "/srv/main",
        "home": "/srv/main",
        "path": "1@0/707E78,2",
        "until": "000000010000000000000009",
        "backup_id": "20260131T120000",
    }
    return RestoreCall(**given | changes)


def noted(machine, what):
    return (machine / f"noted-{what}").read_bytes().decode().split("\0")[:-1]


@settings(max_examples=25)
@given(words, words, words)
@example(HOSTILE, HOSTILE + "home", HOSTILE)
def test_whatever_names_look_like_both_programs_get_them_as_they_are(machine, repository, home, option):
    asked = call(machine, repository=repository, home=home)
    assert run(machine, asked, way_back=("-o", option, "user@host")) == 0
    assert noted(machine, "ssh")[:-1] == ["-o", option, "user@host"]
    arguments = noted(machine, "python")
    assert arguments[:6] == ["-P", "-m", "walstream", "wal-restore", "--absent-code", str(ABSENT_CODE)]
    assert arguments[-3:] == [repository, NAME, "-"]
    assert (machine / "data/pg_wal/RECOVERYXLOG").read_text() == "the content"


@pytest.mark.parametrize(
    "standby, code, ssh, ends", [
        (False, 0, 0, 0), (False, ABSENT_CODE, 0, 1), (False, 1, 0, 255), (False, 255, 0, 255),
        (False, 0, 255, 255), (False, 0, 1, 255), (True, ABSENT_CODE, 0, 1), (True, 0, 255, 1), (True, 1, 0, 1),
    ],
)  # fmt: skip
def test_only_a_private_code_means_absent_and_only_what_came_whole_is_delivered(
    machine, standby, code, ssh, ends
):
    assert run(machine, call(machine, standby=standby), code, ssh) == ends
    assert (machine / "data/pg_wal/RECOVERYXLOG").exists() == (ends == 0)


def test_what_a_killed_call_left_is_removed_by_the_next(machine):
    (machine / "data/pg_wal/RECOVERYXLOG.walstream-tmp.4711").write_text("half")
    assert run(machine, call(machine)) == 0


def test_an_ssh_that_is_not_there_is_trouble(machine):
    command = remote_restore_command(call(machine), ["/nonexistent/ssh"]).replace("%p", "pg_wal/X")
    done = subprocess.run(["sh", "-c", command], cwd=machine / "data", capture_output=True)
    assert done.returncode == 255
    assert shlex.split(command)  # it is one line of balanced quotes
