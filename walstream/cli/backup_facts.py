"""A finished backup as ``show-backup`` words it: groups of lines for people, Barman's keys for JSON. Pure."""

from __future__ import annotations

from datetime import datetime

from catalog.lsn import LSN
from catalog.marks import VerifiedMark
from catalog.record import Archive, BackupRecord
from catalog.statuses import bad_pages
from catalog.units import duration, size
from walstream.cli.units import local_time
from walstream.ops.details import Details, compression_ratio
from walstream.ops.listing import segment_names

Lines = list[tuple[str, str]]
Facts = dict[str, object]

CATALOG_GROUP = "Catalog information"
_HOUR = 3600


def groups_of_details(shown: Details, server: str, status: str) -> list[tuple[str, Lines]]:
    """The groups of lines, those without content left out; the first has no title."""
    record = shown.record
    groups = [
        ("", _top_lines(record, server, status)),
        ("Server information", _server_lines(record)),
        ("Tablespaces", [(s.name, f"{s.location} (oid: {s.oid})") for s in record.tablespaces]),
        ("Base backup information", _base_lines(shown)),
        ("Archives", [_archive_line(each) for each in (*record.archives, record.manifest)]),
        ("WAL information", _wal_lines(shown)),
        (CATALOG_GROUP, _catalog_lines(shown)),
    ]
    return [(title, lines) for title, lines in groups if lines]


def facts_of_details(shown: Details) -> Facts:
    """The JSON object of a backup, less its id and status."""
    record = shown.record
    top: Facts = {
        "backup_type": record.type,
        "system_id": str(record.system_identifier),
        **_bytes("cluster_size", record.cluster_size),
        "pgdata_directory": record.data_directory,
        "postgresql_version": record.server_version,
        "tablespaces": [{"name": s.name, "location": s.location, "oid": s.oid} for s in record.tablespaces],
        "label": record.label,
        "from_standby": record.from_standby,
        **bad_page_facts(record),
        "archives": [_archive_facts(each) for each in record.archives],
        "manifest": _archive_facts(record.manifest),
        "server_information": {
            "data_checksums": _switch(record.data_checksums),
            "summarize_wal": _switch(record.summarize_wal),
        },
        "base_backup_information": _base_facts(shown),
        "wal_information": _wal_facts(shown),
        "catalog_information": _catalog_facts(shown),
    }
    return top | ({} if record.name is None else {"backup_name": record.name})


def bad_page_facts(record: BackupRecord) -> Facts:
    """What the server found damaged: how many pages, and in which files."""
    return {
        "checksum_errors": record.checksum_errors,
        "bad_files": [{"file": each.file, "pages": each.pages} for each in record.bad_files],
    }


def _top_lines(record: BackupRecord, server: str, status: str) -> Lines:
    version = record.server_version
    lines = [("Backup Name", record.name)] if record.name is not None else []
    lines += [
        ("Server Name", server),
        ("System Id", str(record.system_identifier)),
        ("Status", status),
        ("PostgreSQL Version", f"{version // 10000}.{version % 10000} ({version})"),
        ("PGDATA directory", record.data_directory or "not known"),
        ("Estimated Cluster Size", size(record.cluster_size)),
        ("Label", record.label),
    ]
    if record.checksum_errors:
        lines.append(("Suspect", bad_pages(record)))
    return lines


def _server_lines(record: BackupRecord) -> Lines:
    lines = [("Checksums", _switch(record.data_checksums) or "")]
    if record.summarize_wal is not None:
        lines.append(("WAL summarizer", _switch(record.summarize_wal) or ""))
    return lines


def _base_lines(shown: Details) -> Lines:
    record, room = shown.record, shown.room
    first, last = segment_names(record)
    level = "" if record.compression.level is None else f" (level {record.compression.level})"
    return [
        ("Backup Method", "postgres"),
        ("Encryption", record.encryption.method),
        *(("Recipients when taken", recipient) for recipient in record.encryption.recipients),
        ("Backup Type", record.type),
        ("Taken from", "standby" if record.from_standby else "primary"),
        ("Backup Size", f"{size(room.nbytes)} ({size(room.with_span)} with WALs)"),
        ("Backup Compression", record.compression.codec + level),
        ("WAL Size", size(room.span.nbytes)),
        ("Timeline", str(record.end.timeline)),
        ("Begin WAL", first),
        ("End WAL", last),
        ("Number of WALs", str(_wal_number(record))),
        ("WAL compression ratio", _percent(compression_ratio(room.span, record))),
        ("Begin time", local_time(record.begin.time)),
        ("End time", local_time(record.end.time)),
        ("Copy time", duration(record.copy_seconds)),
        ("Estimated throughput", f"{size(_throughput(record))}/s"),
        ("Begin Offset", str(_offset(record, record.begin.lsn))),
        ("End Offset", str(_offset(record, record.end.lsn))),
        ("Begin LSN", str(record.begin.lsn)),
        ("End LSN", str(record.end.lsn)),
    ]


def _base_facts(shown: Details) -> Facts:
    record, room = shown.record, shown.room
    first, last = segment_names(record)
    return {
        "backup_method": "postgres",
        "encryption": record.encryption.method,
        "encryption_recipients": list(record.encryption.recipients),
        "compression": record.compression.codec,
        "compression_level": record.compression.level,
        **_bytes("backup_size", room.nbytes),
        **_bytes("backup_size_with_wals", room.with_span),
        **_bytes("wal_size", room.span.nbytes),
        "timeline": record.end.timeline,
        "begin_wal": first,
        "end_wal": last,
        "wal_num": _wal_number(record),
        "wal_compression_ratio": round(compression_ratio(room.span, record), 4),
        **_times("begin_time", record.begin.time),
        **_times("end_time", record.end.time),
        "begin_offset": _offset(record, record.begin.lsn),
        "end_offset": _offset(record, record.end.lsn),
        "begin_lsn": str(record.begin.lsn),
        "end_lsn": str(record.end.lsn),
        "copy_time": duration(record.copy_seconds),
        "copy_time_seconds": record.copy_seconds,
        "throughput": f"{size(_throughput(record))}/s",
        "throughput_bytes": _throughput(record),
        "number_of_workers": 1,
        "own_wal": list(shown.own_wal),
    }


def _archive_line(archive: Archive) -> tuple[str, str]:
    return (
        archive.file,
        f"{size(archive.stored_size)} stored, {size(archive.raw_size)} raw, sha256 {archive.sha256}",
    )


def _archive_facts(archive: Archive) -> Facts:
    return {
        "file": archive.file,
        "oid": archive.oid,
        **_bytes("raw_size", archive.raw_size),
        **_bytes("stored_size", archive.stored_size),
        "sha256": archive.sha256,
    }


def _wal_lines(shown: Details) -> Lines:
    record, wal = shown.record, shown.wal
    rate = wal.per_second(record.end.time)
    lines = [("Number of files", str(wal.usage.files)), ("Disk usage", size(wal.usage.nbytes))]
    if rate is not None:
        lines.append(("WAL rate", f"{rate * _HOUR:.2f}/hour"))
    lines += [
        ("Compression ratio", _percent(compression_ratio(wal.usage, record))),
        ("Last available", wal.last or "none"),
    ]
    if len(wal.timelines) > 1:
        lines.append(("Reachable timelines", ", ".join(map(str, wal.timelines))))
    return lines


def _wal_facts(shown: Details) -> Facts:
    record, wal = shown.record, shown.wal
    rate = wal.per_second(record.end.time)
    return {
        "no_of_files": wal.usage.files,
        **_bytes("disk_usage", wal.usage.nbytes),
        "wal_rate": None if rate is None else f"{rate * _HOUR:.2f}/hour",
        "wal_rate_per_second": rate,
        "compression_ratio": round(compression_ratio(wal.usage, record), 4),
        "last_available": wal.last,
        "timelines": list(wal.timelines),
    }


def _catalog_lines(shown: Details) -> Lines:
    lines = [
        ("Previous Backup", shown.previous or "- (this is the oldest base backup)"),
        ("Next Backup", shown.following or "- (this is the latest base backup)"),
        ("Verified", _verified_text(shown.verified)),
    ]
    if shown.record.parent is not None:
        lines += [
            ("Root Backup", shown.chain[0]),
            ("Parent Backup", shown.record.parent),
            ("Backup chain size", str(len(shown.chain))),
        ]
    if shown.children:
        lines.append(("Children Backup(s)", ", ".join(shown.children)))
    return lines


def _catalog_facts(shown: Details) -> Facts:
    facts: Facts = {
        "previous_backup": shown.previous,
        "next_backup": shown.following,
        "children_backup_ids": list(shown.children) or None,
        "verified_time": None if shown.verified is None else shown.verified.at.astimezone().isoformat(" "),
    }
    if shown.record.parent is not None:
        facts |= {
            "root_backup_id": shown.chain[0],
            "parent_backup_id": shown.record.parent,
            "chain_size": len(shown.chain),
        }
    return facts


def _wal_number(record: BackupRecord) -> int:
    return record.last_segment.number - record.first_segment.number + 1


def _offset(record: BackupRecord, position: LSN) -> int:
    return record.wal_segment_size.offset(position)


def _throughput(record: BackupRecord) -> int:
    return round(record.raw_size / record.copy_seconds) if record.copy_seconds else 0


def _bytes(key: str, nbytes: int) -> Facts:
    return {key: size(nbytes), f"{key}_bytes": nbytes}


def _times(key: str, time: datetime) -> Facts:
    return {key: time.astimezone().isoformat(" "), f"{key}_timestamp": str(int(time.timestamp()))}


def _switch(value: bool | None) -> str | None:
    return None if value is None else "on" if value else "off"


def _percent(ratio: float) -> str:
    return f"{ratio * 100:.2f}%"


def _verified_text(mark: VerifiedMark | None) -> str:
    if mark is None:
        return "never since it was taken"
    return local_time(mark.at) + (f", FAILED: {mark.problems[0]}" if mark.problems else "")
