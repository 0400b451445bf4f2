"""The directories of a restore on another machine: looked at, claimed, finished. ``destination`` from afar.

The promises are the same. A mark is written before anything else and names the restore's destination; only a
repetition of that restore empties a directory, and only while nobody works there: who claims keeps a process
running on that machine, whose number is in a lock file. ``pg_control`` gets its name when all else is synced,
and then the marks go. All of it is POSIX shell.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backup.destination import MARK, another_place
from backup.ssh import Channel, Remote
from catalog.errors import DestinationRefused, RemoteFailed, UsageError

# Named like an unfinished mark, which counts for nothing.
_LOCK = f"{MARK}.walstream-tmp.lock"
_DF = re.compile(r"\s(\d+)\s+\d+\s+(-?\d+)\s+\d+%\s+(/.*)$")

# s: what a directory is. Unfinished marks do not count, nor do those that a restore left that had come to its end.
_STATE = """
s=absent; if [ -d "$d" ]; then s=empty; [ -r "$d" ] && [ -x "$d" ] || s=closed;
for f in "$d"/* "$d"/.[!.]* "$d"/..?*; do [ -e "$f" ] || [ -L "$f" ] || continue;
case ${f##*/} in "$m".walstream-tmp.*) continue;; esac; s=full; done;
[ -f "$d/$m" ] && [ ! -e "$d/global/pg_control" ] && s=marked; elif [ -e "$d" ] || [ -L "$d" ]; then s=file; fi;
""".replace("\n", " ")

# flush: make durable what lies on the file systems of these directories.
_FLUSH = 'flush() { for x in "$@"; do sync -f "$x" 2>/dev/null || sync; done; };'

_LOOK = f"""
unset CDPATH; m=$1; shift; printf 'uid %s\\n' "$(id -u)"; command -v tar >/dev/null && echo tar yes;
for d in "$@"; do {_STATE} printf 'state %s\\n' "$s";
e=$d; until [ -d "$e" ]; do e=$(dirname "$e"); done; printf 'near %s\\n' "$e";
printf 'real %s\\n' "$(cd "$e" && pwd -P)"; [ -w "$e" ] && echo writable yes;
printf 'df %s\\n' "$(df -Pk "$e" | tail -n 1)"; printf 'owner %s\\n' "$(ls -dn "$e")";
if [ "$s" = marked ]; then printf 'mark %s\\n' "$(head -n 1 "$d/$m")"; printf 'used %s\\n' "$(du -sk "$d")";
if [ -f "$d/postmaster.pid" ]; then read p <"$d/postmaster.pid"; p=${{p#-}};
kill -0 "$p" 2>/dev/null && printf 'server %s\\n' "$p"; fi; fi; done; echo end
""".replace("\n", " ")

_HOLDS = """
if [ -f "$1/PG_VERSION" ] && [ -f "$1/global/pg_control" ]; then echo yes; fi
""".replace("\n", " ")

_CLAIM = f"""
{_FLUSH} m=$1; c=$2; l=$3/{_LOCK}; shift 2;
for d in "$@"; do umask 022; mkdir -p "$(dirname "$d")" || exit 70; umask 077; mkdir -p "$d" || exit 70; done;
printf '%s\\n' $$ >"$l.$$" || exit 70;
if ln "$l.$$" "$l" 2>/dev/null; then :; else read p <"$l";
if kill -0 "$p" 2>/dev/null; then rm -f "$l.$$"; echo "busy $p"; exit 0; fi;
mv -f "$l.$$" "$l" || exit 70; fi; rm -f "$l.$$";
for d in "$@"; do {_STATE} if [ "$s" = marked ]; then [ "$(head -n 1 "$d/$m")" = "$c" ] || s=full; fi;
case $s in empty|marked) ;; *) rm -f "$l"; printf 'changed %s\\n' "$d"; exit 0;; esac; done;
for d in "$@"; do [ -f "$d/$m" ] || {{ printf '%s\\n' "$c" >"$d/$m.walstream-tmp.$$" &&
mv "$d/$m.walstream-tmp.$$" "$d/$m"; }} || exit 70; done; flush "$@";
for d in "$@"; do for f in "$d"/* "$d"/.[!.]* "$d"/..?*; do
[ "$f" = "$d/$m" ] || [ "$f" = "$l" ] || rm -rf "$f" || exit 70; done; done;
echo claimed; cat >/dev/null; if [ -f "$l" ]; then read p <"$l"; [ "$p" != $$ ] || rm -f "$l"; fi
""".replace("\n", " ")

_FINISH = f"""
{_FLUSH} m=$1; root=$2; o=$3; n=$4; dm=$5; fm=$6; shift 6; t=$root/global/pg_control.walstream-tmp.$$; umask 077;
cat >"$t" || exit 70; if [ "$(wc -c <"$t")" -ne "$n" ]; then rm -f "$t"; echo cut >&2; exit 71; fi;
chmod "$fm" "$t" && chmod "$dm" "$root" || exit 70;
if [ -n "$o" ]; then chown -R -h "$o" "$root" "$@" || exit 70; fi; flush "$@" "$root";
mv "$t" "$root/global/pg_control" && flush "$root" || exit 70;
for d in "$@" "$root"; do rm -f "$d/$m" || exit 70; done; rm -f "$root/{_LOCK}"; flush "$@" "$root"; echo finished
""".replace("\n", " ")


@dataclass(frozen=True, slots=True)
class Directory:
    """What one directory there is, and the room on its file system; ``real`` is its path without links."""

    path: str
    state: str
    real: str
    free: int
    reclaimable: int
    file_system: str
    owner: str
    writable: bool
    mark: str = ""
    server: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found on the other machine: who we are there, and the directories by path."""

    uid: int
    directories: Mapping[str, Directory]


def holds_cluster(remote: Remote, path: str) -> bool:
    """Whether a whole cluster is there: neither what a broken-off restore left, nor anything else."""
    return remote.run(_HOLDS, path) == ["yes"]


def look(remote: Remote, directories: Sequence[str]) -> Seen:
    """Look at the directories that are to be written, and refuse what cannot be used; the first is the data's."""
    lines = remote.run(_LOOK, MARK, *directories)
    if lines[-1:] != ["end"] or not lines[0].startswith("uid "):
        raise RemoteFailed(
            f"{str(remote)!r} leads to no POSIX shell", "the user there needs one, like /bin/sh, to log in"
        )
    if "tar yes" not in lines:
        raise RemoteFailed(f"{str(remote)!r} leads to a machine without tar", "install tar there")
    starts = [number for number, line in enumerate(lines) if line.startswith("state ")]
    groups = [lines[a:b] for a, b in zip(starts, [*starts[1:], len(lines)], strict=True)]
    found = {path: _directory(path, group) for path, group in zip(directories, groups, strict=True)}
    root = found[directories[0]]
    for each in found.values():
        _require_usable(each, root)
    return Seen(int(lines[0].split()[1]), found)


def _directory(path: str, lines: Sequence[str]) -> Directory:
    facts = dict(line.split(" ", 1) for line in lines if " " in line)
    room = _DF.search(f" {facts['df']}")
    if room is None:
        raise RemoteFailed(
            f"df -Pk {path!r} said nothing useful there: {facts['df']!r}", "is df a POSIX one?"
        )
    used = int(facts.get("used", "0").split()[0])
    owner = facts["owner"].split()
    return Directory(
        path,
        facts["state"],
        os.path.normpath(os.path.join(facts["real"], os.path.relpath(path, facts["near"]))),
        int(room[2]) * 1024,
        used * 1024,
        room[3],
        ":".join(owner[2:4]),
        "writable" in facts,
        facts.get("mark", ""),
        facts.get("server", ""),
    )


def _require_usable(found: Directory, root: Directory) -> None:
    path = found.path
    if found.state == "file":
        raise DestinationRefused(f"{path!r} is not a directory there", another_place(path, root.path))
    if found.state == "full":
        raise DestinationRefused(f"{path!r} is not empty there", another_place(path, root.path))
    if found.state == "closed" or not found.writable:
        raise DestinationRefused(
            f"{path!r} cannot be written there", "log in as its owner, or make it beforehand for that user"
        )
    if found.server:
        raise _in_use(path, f"the process of its postmaster.pid, {found.server}")
    if found.state == "marked" and (found.mark != _mark(root.real) or root.state != "marked"):
        raise DestinationRefused(
            f"{path!r} is not empty there: an interrupted restore to another place left files",
            "repeat that restore, or empty the directory yourself; nothing was written",
        )


def _mark(root: str) -> str:
    return json.dumps({"destination": root})


def _in_use(path: str, whom: str) -> DestinationRefused:
    return DestinationRefused(
        f"{path!r} is in use there by {whom}",
        "stop it, wait for it, or name another directory; nothing was written",
    )


def owner_there(seen: Seen, root: str, wanted: str | None) -> str:
    """Whom the files are to be given to, for chown; "" if they are the user's who logs in."""
    if seen.uid != 0:
        if wanted is not None:
            raise UsageError("--owner needs root there", "leave it out: the files will belong to who logs in")
        return ""
    if wanted is not None:
        return wanted
    if seen.directories[root].state == "absent":
        raise UsageError(
            f"{root!r} does not exist there, and root must not own a cluster",
            "say whom it belongs to with --owner postgres, log in as that user, or make the directory first",
        )
    return seen.directories[root].owner


def claim(remote: Remote, seen: Seen, directories: Sequence[str]) -> Channel:
    """Make, lock, mark and empty the directories; they are locked until the channel is closed."""
    content = _mark(seen.directories[directories[0]].real)
    channel = remote.start(_CLAIM, MARK, content, *directories)
    try:
        answer = channel.line()
        if answer != "claimed":
            kind, _, what = answer.partition(" ")
            if kind == "busy":
                raise _in_use(directories[0], f"another restore, process {what}")
            raise DestinationRefused(
                f"{what!r} was written to meanwhile there", "name an empty or absent directory"
            )
    except BaseException:
        channel.abort()
        raise
    return channel


def finish(
    remote: Remote,
    directories: Sequence[str],
    owner: str,
    pg_control: bytes,
    modes: tuple[int, int],
) -> None:
    """Sync, put ``pg_control`` in its place, and take the marks off.

    ``modes`` are those of the data directory and of the file.
    """
    root, *others = directories
    words = [MARK, root, owner, str(len(pg_control)), *(f"{mode:o}" for mode in modes), *others]
    if remote.run(_FINISH, *words, content=pg_control) != ["finished"]:
        raise RemoteFailed(f"{str(remote)!r} did not finish the restore", "repeat it")
