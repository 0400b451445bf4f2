"""Recovery settings: what PostgreSQL reads from them, and what its shell then runs."""

import os
import re
import resource
import signal
import subprocess
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from backup import lookahead
from backup.recovery_conf import (
    ABSENT_CODE,
    RestoreCall,
    comment_out,
    conf_quoted,
    harmless_settings,
    includes,
    recovery_settings,
    restore_command,
    settings_block,
)
from catalog.lsn import LSN
from catalog.target import IMMEDIATE, LATEST, NAME, POSITION, TIME, XID, RecoveryTarget

HOSTILE = 'it\'s 100% %p %f "q" \\n \\\\ $HOME `x` ;&|<>*?[]~#!\n\ttab ä'
UNTIL = "000000010000000000000009"

# What a path may hold; PostgreSQL and the shell see bytes.
words = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=40)

# guc-file.l: a string has doubled quotes or backslashes before anything but a newline.
_STRING = re.compile(r"'((?:[^'\\\n]|\\.|'')*)'")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def unquoted(text):
    """The value as PostgreSQL reads it (``DeescapeQuotedString``)."""
    inside = _STRING.fullmatch(text)[1]

    def plain(match):
        escape = match[0]
        if escape == "''":
            return "'"
        if escape[1] in "01234567":
            return chr(int(escape[1:], 8))
        return _ESCAPES.get(escape[1], escape[1])

    return re.sub(r"''|\\[0-7]{1,3}|\\.", plain, inside)


def read(block):
    """The settings of a block of lines, the last of a name winning, as PostgreSQL does."""
    lines = [line for line in block.split("\n") if line and not line.startswith("#")]
    return {name: unquoted(value) for name, _, value in (line.partition(" = ") for line in lines)}


def substituted(command, name="000000010000000000000007", path="pg_wal/RECOVERYXLOG"):
    """The command that PostgreSQL hands to the shell (``replace_percent_placeholders``)."""
    values = {"%%": "%", "%f": name, "%p": path}
    return re.sub("%(.)", lambda match: values[match[0]], command, flags=re.DOTALL)


def call(**changes):
    given = {
        "python": "/usr/bin/python3",
        "repository": "/srv/main",
        "home": "/srv/main",
        "path": "1",
        "until": UNTIL,
        "backup_id": "20260131T120000",
    }
    return RestoreCall(**given | changes)


@pytest.fixture(scope="session")
def interpreter(tmp_path_factory):
    """A stand-in for Python with a hostile path: it notes its arguments and ends with $CODE."""
    path = tmp_path_factory.mktemp("bin") / HOSTILE.replace("/", "")
    path.write_text('#!/bin/sh\nprintf "%s\\0" "$@" > "$ARGUMENTS"\nexit "${CODE:-0}"\n')
    path.chmod(0o755)
    return str(path)


def shell(command, directory, code=0):
    """What the shell's end is, and which arguments the program got."""
    notes = directory / "arguments"
    environment = {**os.environ, "ARGUMENTS": str(notes), "CODE": str(code)}
    done = subprocess.run(["sh", "-c", command], env=environment, cwd=directory)
    return done.returncode, notes.read_bytes().decode().split("\0")[:-1]


@given(words)
@example(HOSTILE)
def test_a_value_is_read_as_it_was_written_and_stays_on_one_line(value):
    assert unquoted(conf_quoted(value)) == value
    assert "\n" not in conf_quoted(value)


@settings(max_examples=25)
@given(words, words, words, st.sampled_from([0, 8]))
@example(HOSTILE, HOSTILE + "home", HOSTILE, 8)
def test_whatever_paths_look_like_the_program_gets_them_as_they_are(
    interpreter, tmp_path_factory, repository, home, backup_id, prefetch
):
    given = call(python=interpreter, repository=repository, home=home, backup_id=backup_id, prefetch=prefetch)
    block = settings_block([("restore_command", restore_command(given))], "by a test")
    command = substituted(read(block)["restore_command"])
    code, arguments = shell(command, tmp_path_factory.getbasetemp())
    assert code == 0
    assert arguments[:6] == ["-P", "-m", "walstream", "wal-restore", "--absent-code", str(ABSENT_CODE)]
    assert arguments[-3:] == [repository, "000000010000000000000007", "pg_wal/RECOVERYXLOG"]
    options = arguments[6:-3]
    assert options[options.index("--backup") + 1] == backup_id
    assert (options[options.index("--home") + 1] == home) if home != repository else "--home" not in options
    assert (options[options.index("--prefetch") + 1] == "8") if prefetch else "--prefetch" not in options


@pytest.mark.parametrize("prefetch", [0, 8])
@pytest.mark.parametrize(
    "standby, code, ends", [
        (False, 0, 0), (False, ABSENT_CODE, 1), (False, 1, 255), (False, 2, 255), (False, 255, 255),
        (False, 126, 255), (True, 0, 0), (True, ABSENT_CODE, 1), (True, 1, 1), (True, 255, 1),
    ],
)  # fmt: skip
def test_only_a_private_code_means_absent(interpreter, tmp_path, standby, code, ends, prefetch):
    given = call(python=interpreter, standby=standby, prefetch=prefetch)
    command = substituted(restore_command(given))
    assert shell(command, tmp_path, code)[0] == ends


@pytest.mark.parametrize("prefetch", [0, 8])
@pytest.mark.parametrize("standby, ends", [(False, 255), (True, 1)])
def test_an_interpreter_that_is_missing_is_trouble_and_not_the_end_of_wal(standby, ends, prefetch):
    given = call(python="/nonexistent/python", standby=standby, prefetch=prefetch)
    command = substituted(restore_command(given))
    assert subprocess.run(["sh", "-c", command], capture_output=True).returncode == ends


@pytest.mark.parametrize("standby", [False, True])
def test_what_waits_in_the_lookahead_is_renamed_into_place_and_no_program_starts(tmp_path, standby):
    given = call(python="/nonexistent/python", standby=standby, prefetch=8)
    waiting = tmp_path / lookahead.DIRECTORY / "000000010000000000000007"
    waiting.parent.mkdir(parents=True)
    waiting.write_bytes(b"a segment")
    file = waiting.stat().st_ino
    (tmp_path / "pg_wal" / "RECOVERYXLOG").write_bytes(b"left from before")
    command = substituted(restore_command(given))
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    delivered = tmp_path / "pg_wal" / "RECOVERYXLOG"
    assert (delivered.read_bytes(), delivered.stat().st_ino) == (b"a segment", file)
    assert os.listdir(waiting.parent) == []


def test_without_a_number_of_segments_there_is_no_lookahead():
    assert "EXIT; /usr/bin/python3 " in restore_command(call())
    assert f"EXIT; mv -f {lookahead.DIRECTORY}/%f %p 2>/dev/null || /usr" in restore_command(call(prefetch=8))


@pytest.mark.parametrize("prefetch", [0, 8])
@pytest.mark.parametrize("standby, ends", [(False, 255), (True, 1)])
def test_a_shell_that_cannot_start_processes_does_not_end_the_recovery_early(standby, ends, prefetch):
    command = substituted(restore_command(call(standby=standby, prefetch=prefetch)))
    done = subprocess.run(
        ["sh", "-c", command],
        cwd="/",
        user=65534 if os.geteuid() == 0 else None,  # root may have any number of processes
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (0, 0)),
        capture_output=True,
    )
    assert done.returncode == ends


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("prefetch", [0, 8])
def test_a_shutdown_that_signals_the_command_is_seen_as_one(tmp_path, shell, prefetch):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho started\nexec sleep 600\n")
    program.chmod(0o755)
    command = substituted(restore_command(call(python=str(program), prefetch=prefetch)))
    with subprocess.Popen([shell, "-c", command], stdout=subprocess.PIPE, start_new_session=True) as running:
        assert running.stdout.readline() == b"started\n"
        os.killpg(running.pid, signal.SIGTERM)
        assert running.wait(60) == -signal.SIGTERM


def test_the_plan_travels_in_the_command():
    command = restore_command(call(path="1@0/707E78,2", home="/srv/home"))
    assert "--path 1@0/707E78,2" in command
    assert f"--until {UNTIL}" in command
    assert "--home /srv/home" in command and "--partial" in command and "--standby" not in command
    standby = restore_command(call(standby=True, partial=False))
    assert "--standby" in standby and "--until" not in standby and "--partial" not in standby


TARGETS = [
    (RecoveryTarget(LATEST), None, None),
    (RecoveryTarget(IMMEDIATE), "recovery_target", "immediate"),
    (RecoveryTarget(POSITION, LSN(0x707E78)), "recovery_target_lsn", "0/707E78"),
    (RecoveryTarget(XID, "4711"), "recovery_target_xid", "4711"),
    (RecoveryTarget(NAME, "it's"), "recovery_target_name", "it's"),
    (
        RecoveryTarget(TIME, datetime(2026, 1, 31, 12, 30, 1, 500000, UTC)),
        "recovery_target_time",
        "2026-01-31 12:30:01.500000+00:00",
    ),
]


@pytest.mark.parametrize("target, name, value", TARGETS, ids=[str(name) for _, name, _ in TARGETS])
def test_exactly_the_wanted_target_is_set_and_all_others_are_emptied_before_it(target, name, value):
    found = recovery_settings(target, 3, "command", 180004)
    names = [each for each, _ in found]
    targets = {each: text for each, text in found if each in {other for _, other, _ in TARGETS if other}}
    assert len(targets) == 5
    assert {each: text for each, text in targets.items() if text} == ({name: value} if name else {})
    if name:
        assert all(names.index(name) >= names.index(other) for other in targets)
    assert dict(found)["recovery_target_timeline"] == "3"
    assert dict(found)["restore_command"] == "command"


def test_how_a_recovery_ends_is_as_asked_for():
    found = dict(recovery_settings(RecoveryTarget(XID, "5"), 1, "c", 150000))
    assert (found["recovery_target_inclusive"], found["recovery_target_action"]) == ("on", "pause")
    asked = RecoveryTarget(XID, "5", inclusive=False, action="promote")
    found = dict(recovery_settings(asked, 1, "c", 150000))
    assert (found["recovery_target_inclusive"], found["recovery_target_action"]) == ("off", "promote")


@pytest.mark.parametrize("version", [130000, 140000, 150000, 180004])
def test_a_restored_cluster_cannot_touch_its_origin(version):
    found = dict(harmless_settings(version))
    assert found["archive_mode"] == "off"
    assert found["recovery_min_apply_delay"] == found["max_logical_replication_workers"] == "0"
    assert ("archive_library" in found) == (version >= 150000)
    for name in ("archive_command", "primary_conninfo", "primary_slot_name", "synchronous_standby_names"):
        assert found[name] == ""
    assert ("promote_trigger_file" in found) == (version < 160000)
    assert found.get("stats_temp_directory") == ("pg_stat_tmp" if version < 150000 else None)
    for name in ("recovery_end_command", "archive_cleanup_command"):
        assert found[name] == ""
    whole = recovery_settings(RecoveryTarget(LATEST), 1, "c", version)
    assert dict(whole) == dict(whole) | found


def test_what_comes_last_in_the_file_counts():
    block = settings_block([("a", "1"), ("b", "x'y")], "restored by walstream")
    assert block == "\n# restored by walstream\na = '1'\nb = 'x''y'\n"


CONF = """# data_directory = '/commented/out'
port = 5433
 Data_Directory = '/srv/old'
data_directory'/srv/old'
external_pid_file='/run/pg.pid'
log_directory = '/var/log/pg'
log_directory = "log"
log_directory = 'log'
data_directory_mode = 0700
include 'data_directory'
"""


def test_settings_that_lead_outside_are_commented_out_and_named():
    names = ("data_directory", "external_pid_file", "log_directory")
    text, changed = comment_out(CONF, names, "walstream:")
    assert changed == [
        "Data_Directory = '/srv/old'",
        "data_directory'/srv/old'",
        "external_pid_file='/run/pg.pid'",
        "log_directory = '/var/log/pg'",
    ]
    kept = [line for line in text.split("\n") if not line.startswith("#")]
    assert kept == [
        line for line in CONF.split("\n") if not line.startswith("#") and line.strip() not in changed
    ]
    assert comment_out(text, names, "walstream:") == (text, [])


@pytest.mark.parametrize(
    "value, stays",
    [
        ("'log'", True), ("log # ../x", True), ("'a/../log'", True), ("'..log'", True), ("'a''b'", True),
        ("'../log'", False), ("'a/../../log'", False), ("..", False), ("'/log'", False),
        (r"'\057log'", False), (r"'\.\./log'", False), ("/log", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["log_directory", "Stats_Temp_Directory"])
@pytest.mark.parametrize("between", [" = ", "=", " "])
def test_a_path_that_leads_out_of_the_data_directory_counts_as_absolute(name, between, value, stays):
    lines = comment_out(f"{name}{between}{value}", ("log_directory", "stats_temp_directory"), "x")[1]
    assert (lines == []) is stays


def test_include_directives_are_found_as_the_server_reads_them():
    text = """include 'a b.conf' # why
  Include_Dir='conf.d'
include_if_exists = it''s.conf
include 'it''s'
include plain.conf
#include 'no'
included = 'no'
include ''
"""
    assert includes(text) == [
        ("include", "a b.conf"),
        ("include_dir", "conf.d"),
        ("include_if_exists", "it"),
        ("include", "it's"),
        ("include", "plain.conf"),
    ]


@given(words)
@example(HOSTILE)
def test_an_included_path_is_read_as_it_was_quoted(path):
    assert includes(f"include {conf_quoted(path)}") == [("include", path)]


@given(st.text(max_size=200))
def test_only_whole_lines_are_commented_out(text):
    done, changed = comment_out(text, ("data_directory",), "x")
    assert len(done.split("\n")) == len(text.split("\n"))
    assert len(changed) == sum(a != b for a, b in zip(done.split("\n"), text.split("\n"), strict=True))


def test_a_real_server_reads_what_was_written(cluster_factory):
    cluster = cluster_factory(start=False)
    given = call(repository=HOSTILE, home=f"{HOSTILE}/home", python="/it's/python", prefetch=8)
    wanted = [("restore_command", restore_command(given)), *harmless_settings(cluster.version * 10000)]
    with open(os.path.join(cluster.directory, "postgresql.auto.conf"), "a", encoding="utf-8") as file:
        file.write(settings_block(wanted, "by a test"))
    cluster.start()
    found = dict(cluster.sql("SELECT name, setting FROM pg_settings"))
    shown = {name: found[name] for name, _ in wanted}
    assert shown == dict(wanted) | {"archive_command": "(disabled)"}  # as archive_mode is off
