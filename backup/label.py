"""``backup_label`` and ``tablespace_map``: parse and format. Pure.

The first two lines of a label decide where recovery starts and must be right to the letter, as for the
server (``read_backup_label`` in ``xlogrecovery.c``). The texts behind them vary with version and
locale and are taken as they are; lines behind those that we know are passed over. Bytes that are not
UTF-8 travel as surrogate escapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from backup import names
from catalog.errors import Malformed
from catalog.lsn import LSN
from catalog.walname import SEGMENT, kind_of, timeline_in

MAX_LABEL = 64 * 1024

_LABEL = re.compile(
    rb"START WAL LOCATION: ([0-9A-F]{1,8}/[0-9A-F]{1,8}) \(file ([0-9A-F]{24})\)\n"
    rb"CHECKPOINT LOCATION: ([0-9A-F]{1,8}/[0-9A-F]{1,8})\n"
    rb"(?:BACKUP METHOD: ([^\n]*)\n)?"
    rb"(?:BACKUP FROM: ([^\n]*)\n)?"
    rb"(?:START TIME: ([^\n]*)\n)?"
    rb"(?:LABEL: ((?s:.*))\n)?"  # through the last START TIMELINE: a label may have lines of its own
    rb"START TIMELINE: ([0-9]{1,10})\n"
    rb"(?:INCREMENTAL FROM LSN: ([0-9A-F]{1,8}/[0-9A-F]{1,8})\n"
    rb"INCREMENTAL FROM TLI: ([0-9]{1,10})\n)?"
    rb"(?:[^\n]*\n)*"
)
_INCREMENTAL_LINES = (b"INCREMENTAL FROM LSN: ", b"INCREMENTAL FROM TLI: ")
_LABEL_HINT = "a backup whose backup_label is not intact cannot be started safely: take or use another one"

_MAP_LINE = re.compile(rb"([0-9]{1,10}) ((?:[^\\\r\n\0]|\\[^\0])+)\n")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_SPECIAL = re.compile(rb"[\\\r\n]")
_LINE_BREAK = re.compile(rb"[\r\n]")


@dataclass(frozen=True, slots=True)
class BackupLabel:
    """Where recovery from a base backup starts, and how the backup came to be.

    ``segment`` is the name of the WAL file that holds ``start``. The texts are the server's, empty
    where it wrote none. The last two fields are those of an incremental backup.
    """

    start: LSN
    segment: str
    checkpoint: LSN
    timeline: int
    method: str = "streamed"
    backup_from: str = "primary"
    start_time: str = ""
    label: str = ""
    incremental_from: LSN | None = None
    incremental_timeline: int | None = None


def parse_label(content: bytes) -> BackupLabel:
    """Read a backup_label; ``Malformed`` when recovery could not rely on it."""
    match = _LABEL.fullmatch(content) if len(content) <= MAX_LABEL else None
    if match is None:
        raise Malformed(f"malformed backup_label: {content[:200]!r}", _LABEL_HINT)
    start, segment, checkpoint, method, source, time, text, timeline, from_lsn, from_tli = [
        names.decode(field or b"") for field in match.groups()
    ]
    if kind_of(segment) != SEGMENT or timeline_in(segment) != int(timeline):
        raise Malformed(f"backup_label names timeline {timeline}, but file {segment!r}", _LABEL_HINT)
    return BackupLabel(
        start=LSN.parse(start),
        segment=segment,
        checkpoint=LSN.parse(checkpoint),
        timeline=int(timeline),
        method=method,
        backup_from=source,
        start_time=time,
        label=text,
        incremental_from=LSN.parse(from_lsn) if from_lsn else None,
        incremental_timeline=int(from_tli) if from_tli else None,
    )


def format_label(label: BackupLabel) -> bytes:
    """The file's content; ``Malformed`` when a text would not read back."""
    lines = [
        f"START WAL LOCATION: {label.start} (file {label.segment})",
        f"CHECKPOINT LOCATION: {label.checkpoint}",
        f"BACKUP METHOD: {label.method}",
        f"BACKUP FROM: {label.backup_from}",
        f"START TIME: {label.start_time}",
        f"LABEL: {label.label}",
        f"START TIMELINE: {label.timeline}",
    ]
    if label.incremental_from is not None:
        lines.append(f"INCREMENTAL FROM LSN: {label.incremental_from}")
        lines.append(f"INCREMENTAL FROM TLI: {label.incremental_timeline}")
    content = names.encode("\n".join(lines) + "\n")
    if parse_label(content) != label:
        raise Malformed(f"a backup_label cannot hold {label!r}")
    return content


def as_full(content: bytes) -> bytes:
    """The label of an incremental backup once it has been laid over its parents: that of a full one."""
    lines = content.split(b"\n")
    return b"\n".join(line for line in lines if not line.startswith(_INCREMENTAL_LINES))


def parse_tablespace_map(content: bytes) -> list[tuple[int, str]]:
    """The oid and location of each tablespace, in the file's order."""
    found: dict[int, str] = {}
    at = 0
    while at < len(content):
        match = _MAP_LINE.match(content, at)
        oid = int(match[1]) if match else 0
        if match is None or not 0 < oid < 1 << 32 or oid in found:
            raise Malformed(f"malformed line in tablespace_map: {content[at : at + 200]!r}")
        found[oid] = names.decode(_ESCAPED.sub(rb"\1", match[2]))
        at = match.end()
    return list(found.items())


def format_tablespace_map(tablespaces: Iterable[tuple[int, str]], server_version: int = 140000) -> bytes:
    """The file's content, newlines and backslashes in locations escaped as the server expects it.

    13 takes a backslash as it is, unless a line break follows.
    """
    special = _SPECIAL if server_version >= 140000 else _LINE_BREAK
    lines = []
    for oid, location in tablespaces:
        escaped = special.sub(rb"\\\g<0>", names.encode(location))
        lines.append(b"%d %s\n" % (oid, escaped))
    content = b"".join(lines)
    parse_tablespace_map(content)
    return content
