"""Recovery settings as text: a target and a plan in, lines for ``postgresql.auto.conf`` out. Pure.

All quoting is here: a word for the shell, a percent sign for PostgreSQL's ``%f``, a value for a
configuration file. What a restored cluster must not do to its origin is here too, as settings.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from backup import lookahead
from catalog.target import IMMEDIATE, NAME, POSITION, TIME, XID, RecoveryTarget

ABSENT_CODE = 64
STDOUT = "-"

_TARGET_SETTINGS = {
    TIME: "recovery_target_time",
    POSITION: "recovery_target_lsn",
    XID: "recovery_target_xid",
    NAME: "recovery_target_name",
}
STAY_INSIDE = ("log_directory", "log_filename", "stats_temp_directory")
INCLUDE_DIR = "include_dir"
INCLUDES = ("include", "include_if_exists", INCLUDE_DIR)

_LINE = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.]*)\s*=?\s*(.*)")
_VALUE = re.compile(r"'((?:[^'\\]|\\.|'')*)'|([^\s#'\"]+)")
_ESCAPE = re.compile(r"''|\\[0-7]{1,3}|\\.")


@dataclass(frozen=True, slots=True)
class RestoreCall:
    """How PostgreSQL gets WAL back: what the restore_command needs to know.

    ``python`` is the interpreter, ``repository`` and ``home`` the server's directories, ``path`` the
    timelines of the plan as ``Path`` writes them, ``until`` the last segment that the plan surely needs,
    ``prefetch`` how many segments are to be decoded ahead.
    """

    python: str
    repository: str
    home: str
    path: str
    until: str
    backup_id: str
    partial: bool = True
    standby: bool = False
    identity_file: str | None = None
    identity_command: str | None = None
    prefetch: int = 0


def restore_command(call: RestoreCall) -> str:
    """The shell command for ``restore_command``, percent signs doubled where they are not PostgreSQL's.

    PostgreSQL takes any code from 1 to 125 as the end of WAL, and Python itself fails with 1 or 2, a shell that
    cannot fork with 2. So only a private code means absent, and however the shell ends its trap turns everything
    else into 255. A serving standby would be shut down by that, so there trouble is 1: it asks again. What waits in
    the lookahead needs no Python at all.
    """
    quoted = " ".join(map(shlex.quote, [*_words(call), call.repository])).replace("%", "%%")
    ahead = f"mv -f {lookahead.DIRECTORY}/%f %p 2>/dev/null || " if call.prefetch else ""
    return f"{_codes(call)}; {ahead}{quoted} %f %p"


def _codes(call: RestoreCall) -> str:
    trouble = 1 if call.standby else 255
    return f"trap 'case $? in 0) ;; {ABSENT_CODE}) exit 1 ;; *) exit {trouble} ;; esac' EXIT"


def _words(call: RestoreCall) -> list[str]:
    words = [call.python, "-P", "-m", "walstream", "wal-restore", "--absent-code", str(ABSENT_CODE)]
    words += ["--backup", call.backup_id, "--path", call.path]
    if call.standby:
        words += ["--standby"]
    else:
        words += ["--until", call.until]
    if call.partial:
        words += ["--partial"]
    if call.prefetch:
        words += ["--prefetch", str(call.prefetch)]
    if call.home != call.repository:
        words += ["--home", call.home]
    if call.identity_file is not None:
        words += ["--identity-file", call.identity_file]
    if call.identity_command is not None:
        words += ["--identity-command", call.identity_command]
    return words


def remote_restore_command(call: RestoreCall, way_back: Sequence[str]) -> str:
    """The same for a server on another machine, which reaches this one by ``way_back``: ``ssh user@host``.

    The inner command passes two shells, so it is quoted twice. It writes to its standard output; what came whole
    gets its name by a rename. The codes mean the same: ssh's own 255 is trouble. A killed call may leave a
    file, which the next one removes. There is no lookahead.
    """
    words = [*_words(replace(call, prefetch=0)), call.repository]
    inner = " ".join(map(shlex.quote, words)).replace("%", "%%") + f" %f {STDOUT}"
    outer = " ".join(map(shlex.quote, way_back)).replace("%", "%%")
    return (
        f'{_codes(call)}; t=%p.walstream-tmp; rm -f "$t".*; t="$t.$$"; '
        f'{outer} {shlex.quote(inner)} </dev/null >"$t" && mv -f "$t" %p; c=$?; rm -f "$t"; exit $c'
    )


def no_restore_command(standby: bool) -> str:
    """The setting of a cluster whose WAL lies in ``pg_wal``, where PostgreSQL looks when a command fails.

    A recovery must have a command, so this one says that all is absent; a standby asks for ever, and needs none.
    """
    return "" if standby else "exit 1"


def recovery_settings(
    target: RecoveryTarget, timeline: int, command: str, version: int
) -> list[tuple[str, str]]:
    """The settings that make a server of this version (150018) recover to ``target`` on ``timeline``.

    Every other target is emptied, because the origin may have left one behind; that has to come before the one
    that counts (emptying one while another is set is "multiple recovery targets" to PostgreSQL).
    """
    wanted = "recovery_target" if target.kind == IMMEDIATE else _TARGET_SETTINGS.get(target.kind)
    names = ("recovery_target", *_TARGET_SETTINGS.values())
    settings = {name: "" for name in names if name != wanted}
    settings["restore_command"] = command
    settings["recovery_target_timeline"] = str(timeline)
    settings["recovery_target_inclusive"] = "on" if target.inclusive else "off"
    settings["recovery_target_action"] = target.action or "pause"
    if wanted is not None:
        settings[wanted] = "immediate" if target.kind == IMMEDIATE else _target_text(target)
    return [*settings.items(), *harmless_settings(version)]


def harmless_settings(version: int) -> list[tuple[str, str]]:
    """What keeps a restored cluster from touching its origin: no archiving, no replication, no commands."""
    settings = [
        ("archive_mode", "off"),
        ("archive_command", ""),
        ("primary_conninfo", ""),
        ("primary_slot_name", ""),
        ("synchronous_standby_names", ""),
        ("recovery_end_command", ""),
        ("archive_cleanup_command", ""),
        ("recovery_min_apply_delay", "0"),
        ("max_logical_replication_workers", "0"),
    ]
    if version < 150000:
        settings.append(("stats_temp_directory", "pg_stat_tmp"))
    if version < 160000:
        settings.append(("promote_trigger_file", ""))
    if version >= 150000:
        settings.insert(2, ("archive_library", ""))
    return settings


def settings_block(settings: Sequence[tuple[str, str]], title: str) -> str:
    """Lines to append to a configuration file; the last line for a setting is the one that counts."""
    lines = [f"{name} = {conf_quoted(value)}" for name, value in settings]
    return "\n".join(["", f"# {title}", *lines, ""])


def conf_quoted(value: str) -> str:
    """A string of a PostgreSQL configuration file: backslashes and quotes doubled, on one line."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''").replace("\n", "\\n") + "'"


def comment_out(text: str, names: Sequence[str], note: str) -> tuple[str, list[str]]:
    """A configuration file with the lines for some settings commented out, and the lines that were.

    Of ``STAY_INSIDE`` only those that lead out of the data directory are: from there a relative path counts.
    """
    lines, changed = [], []
    for line in text.split("\n"):
        match = _LINE.fullmatch(line)
        if match and match[1].lower() in names and not _stays_inside(match[1], match[2]):
            changed.append(line.strip())
            line = f"#{note} {line}"
        lines.append(line)
    return "\n".join(lines), changed


def includes(text: str) -> list[tuple[str, str]]:
    """The include directives of a configuration file: ``include``, ``include_dir``, …, and the path as written."""
    return values_of(text, INCLUDES)


def redirect_includes(
    text: str, redirected: Callable[[str, str], tuple[str | None, str]], note: str
) -> tuple[str, list[tuple[str, str]]]:
    """A configuration file with include directives that lead elsewhere, and each that did with what was done.

    ``redirected`` tells of a kind and path the new path, if there is one, and what that is called: "" keeps
    the line.
    """
    lines, changed = [], []
    for line in text.split("\n"):
        for kind, path in includes(line):
            instead, what = redirected(kind, path)
            if what:
                changed.append((line.strip(), what))
                lines += [f"{kind} {conf_quoted(instead)}"] if instead is not None else []
                line = f"#{note} {line}"
        lines.append(line)
    return "\n".join(lines), changed


def values_of(text: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """The settings of these names in a configuration file, each with its value, as they follow each other."""
    found = []
    for line in text.split("\n"):
        match = _LINE.fullmatch(line)
        value = _conf_unquoted(match[2]) if match and match[1].lower() in names else None
        if match and value:
            found.append((match[1].lower(), value))
    return found


def _stays_inside(name: str, value: str) -> bool:
    path = _conf_unquoted(value)
    if name.lower() not in STAY_INSIDE or path is None:
        return name.lower() in STAY_INSIDE  # what cannot be read, the server refuses
    return not os.path.isabs(path) and os.path.normpath(path).split("/")[0] != ".."


def _conf_unquoted(value: str) -> str | None:
    """The value at the beginning of what follows a name, read as PostgreSQL does; None if it is none."""
    match = _VALUE.match(value)
    if match is None:
        return None
    return match[2] if match[1] is None else _ESCAPE.sub(_unescaped, match[1])


def _unescaped(match: re.Match[str]) -> str:
    escape = match[0][1:]
    if escape[0] in "01234567":
        return chr(int(escape, 8) & 0xFF)
    return {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}.get(escape, escape)


def _target_text(target: RecoveryTarget) -> str:
    if target.time is not None:
        return target.time.isoformat(sep=" ")
    return str(target.value)
